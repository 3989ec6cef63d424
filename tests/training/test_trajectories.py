"""Twenty steps of each trainer, loss by loss and parameter by parameter, against the peers' own trainers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from saejax.sae.frame import Frame
from saejax.sae.relu import relu
from saejax.sae.tied import tied
from saejax.sae.topk import topk
from saejax.training import step as step_lib
from saejax.training.optimizers import Optimizer
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions

PEER_LOSS = 2e-5
PEER_PARAMETERS = 1e-5
SAELENS = ("W_enc", "b_enc", "W_dec", "b_dec")


def train(sae, options, params, hparams, batches):
    """Every step's metrics, and the states, of an ensemble with leading axis M."""
    update = jax.jit(jax.vmap(step_lib.train_step(sae, options, "member"), in_axes=(0, 0, None, None), axis_name="member"))
    state = jax.vmap(lambda params: step_lib.start(sae, options, params, 80))(params)
    states, metrics = [], []
    for batch in batches:
        state, values = update(state, hparams, batch, batch)
        states.append(state)
        metrics.append(values)
    return states, jax.tree.map(lambda *a: np.stack(a), *metrics)


def saelens(data, prefix):
    return {name: jnp.asarray(data[f"{prefix}/{name}"])[None] for name in SAELENS}


def check_saelens(data, close, states, metrics):
    close(metrics["loss"][:, 0], data["loss/total"], PEER_LOSS, "losses")
    close(metrics["l0"][:, 0], data["l0"], 1e-6, "l0")
    for name in SAELENS:
        close(states[0].params[name][0], data[f"params_after_1/{name}"], PEER_PARAMETERS, f"{name} after one step")
        close(states[-1].params[name][0], data[f"params_final/{name}"], PEER_PARAMETERS, f"{name} at the end")


def test_saelens_standard(reference, close):
    data = reference("train_saelens_standard")
    hparams = {
        "l1_coefficient": jnp.float32([data["hparams/l1_coefficient"]]),
        "learning_rate": jnp.float32([1e-3]),
        "bias_decay": jnp.zeros(1),
    }
    options = StepOptions(Schedules(20), Optimizer(gradient_clip=1.0))
    states, metrics = train(
        relu(Frame(24, 80), relu_form="april2024"), options, saelens(data, "params_init"), hparams, data["batches"]
    )
    check_saelens(data, close, states, metrics)


def test_saelens_topk_with_dead_latents(reference, close):
    data = reference("train_saelens_topk")
    hparams = {"k": jnp.int32([8]), "auxk_coefficient": jnp.float32([1]), "learning_rate": jnp.float32([1e-3])}
    options = StepOptions(
        Schedules(20), Optimizer(gradient_clip=1.0), dead_window_steps=int(data["hparams/dead_feature_window"])
    )
    states, metrics = train(
        topk(Frame(24, 80), topk_form="saelens"), options, saelens(data, "params_init"), hparams, data["batches"]
    )
    check_saelens(data, close, states, metrics)
    since_fired = np.stack([state.steps_since_fired_F[0] for state in states])
    np.testing.assert_array_equal(since_fired, data["n_forward_passes_since_fired"])
    np.testing.assert_allclose(metrics["dead_fraction"][:, 0], data["dead_neuron_mask"].mean(1), rtol=1e-6)


def test_sparse_coding_ensemble_with_adam_as_published(reference, close):
    """Three members at once, against the peer's trajectory with Adam's step count advancing (its own never does)."""
    data = reference("train_sparse_coding_functional_tied_sae")
    l1 = jnp.asarray(data["hparams/l1_alpha"], jnp.float32)
    hparams = {"l1_coefficient": l1, "bias_decay": jnp.zeros(3), "learning_rate": jnp.full(3, 1e-3)}
    params = {"W_dec": jnp.asarray(data["params_init/encoder"]), "b_enc": jnp.asarray(data["params_init/encoder_bias"])}
    states, metrics = train(tied(Frame(24, 80)), StepOptions(Schedules(20)), params, hparams, data["batches"])
    close(metrics["loss"], data["loss_corrected/total"], PEER_LOSS, "losses")
    close(metrics["l0"], data["l0_corrected"], 1e-6, "l0")
    close(states[-1].params["W_dec"], data["params_final_corrected/encoder"], PEER_PARAMETERS, "dictionary")
    close(states[-1].params["b_enc"], data["params_final_corrected/encoder_bias"], PEER_PARAMETERS, "bias")


def test_schedules(reference, close):
    data = reference("train_saelens_standard")
    steps = jnp.arange(20)
    schedules = Schedules(20, lr_warm_up_steps=5, lr_decay_steps=4, sparsity_warm_up_steps=6)
    close(1e-3 * schedules.learning_rate(steps), data["schedule/lr_constant_warm5_decay4"], 1e-6, "learning rate")
    coefficients = schedules.hparams({"l1_coefficient": data["hparams/l1_coefficient"]}, steps)["l1_coefficient"]
    close(coefficients, data["schedule/l1_coefficient_warm6"], 1e-6, "l1")
    cosine = Schedules(20, lr_warm_up_steps=5, lr_schedule="cosine")
    close(1e-3 * jax.vmap(cosine.learning_rate)(steps), data["schedule/lr_cosine_warm5"], 1e-6, "cosine")


def test_cosines_start_again_and_k_falls_in_whole_numbers():
    rates = np.asarray(jax.vmap(Schedules(12, lr_schedule="cosine", lr_cycles=3).learning_rate)(jnp.arange(12)))
    np.testing.assert_allclose(rates[[0, 4, 8]], 1.0)
    np.testing.assert_allclose(rates[:4], rates[4:8], rtol=1e-6)
    np.testing.assert_allclose(rates[2], 0.1 + 0.9 * 0.5, rtol=1e-6)
    schedules = Schedules(12, k_start=20, k_anneal_steps=4)
    ks = [int(schedules.hparams({"k": jnp.int32(5)}, jnp.int32(step))["k"]) for step in (0, 1, 2, 3, 4, 9)]
    assert ks == [20, 16, 12, 9, 5, 5]  # round(20 − 15 t / 4), halves to even
