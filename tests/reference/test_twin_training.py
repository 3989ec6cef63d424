"""The twin's training against saejax's, step by step, alone and stacked."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from saejax.errors import InputError
from saejax.reference import registry
from saejax.reference.options import Options
from saejax.reference.train import Training
from saejax.sae.frame import Frame
from saejax.sae.registry import ARCHITECTURES
from saejax.training.ensemble import Inputs, ensemble
from saejax.training.grid import Group, Member, Sites
from saejax.training.optimizers import Optimizer
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions

D, F, B, S = 16, 48, 32, 12
SCHEDULES = {"n_steps": 12, "lr_warm_up_steps": 3, "lr_decay_steps": 4, "sparsity_warm_up_steps": 5}
CASES = {
    "relu": ({"relu_form": "bricken2023"}, {"l1_coefficient": (0.1, 0.3)}),
    "relu sparse_coding": ({"relu_form": "sparse_coding"}, {"l1_coefficient": (1e-3, 1e-2), "bias_decay": (0.1, 0.0)}),
    "tied": ({}, {"l1_coefficient": (1e-3, 1e-2)}),
    "tied plain": ({"tied_normalise": False, "tied_decoder_bias": True}, {"l1_coefficient": (1e-3, 1e-2)}),
    "gated": ({}, {"l1_coefficient": (0.1, 0.3)}),
    "jumprelu": ({}, {"l0_coefficient": (0.01, 0.1), "bandwidth": (0.3, 0.5)}),
    "topk": ({}, {"k": (3, 5)}),
    "topk saelens": ({"topk_form": "saelens"}, {"k": (3, 5)}),
    "batch_topk": ({}, {"k": (3, 5)}),
}


def group_of(name: str, members: int) -> Group:
    architecture = name.split()[0]
    row, (options, varied) = ARCHITECTURES[architecture], CASES[name]
    made = tuple(
        Member(f"m{m}", "", {**row.hparams, **{n: v[m] for n, v in varied.items()}, "learning_rate": (3e-3, 1e-2)[m]}, m)
        for m in range(members)
    )
    return Group(name, Sites("site", D), architecture, Frame(D, F), {**row.options, **options}, made)


def both(name: str, members: int, clip: float = 0.0):
    """(losses, final parameters) of saejax and of the twin, and the twin's training."""
    group = group_of(name, members)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(S, B, D)).astype(np.float32) + 0.5
    options = StepOptions(Schedules(**SCHEDULES), Optimizer(gradient_clip=clip), dead_window_steps=2)
    e = ensemble(group, options)
    state = e.init(jnp.asarray(x[0].mean(0)))
    begun = jax.device_get(state.params)
    state, metrics = e.steps(state, Inputs(jnp.asarray(x), None, jnp.float32(1), jnp.float32(1)))
    saes = [
        registry.make(group.architecture, group.options, {n: a[m] for n, a in begun.items()}, k_max=5) for m in range(members)
    ]
    hparams = {n: torch.tensor([float(m.hparams[n]) for m in group.members]) for n in group.members[0].hparams}
    training = Training(saes, hparams, Options(**SCHEDULES, gradient_clip=clip, dead_window_steps=2))
    losses = torch.stack([training.step(torch.from_numpy(rows)) for rows in x]).numpy()
    final = {n: a.detach().numpy() for n, a in {**training.params, **training.buffers}.items()}
    final = final if members > 1 else {n: a[None] for n, a in final.items()}
    latents = jax.vmap(e.sae.encode, (0, 0, None))(state.params, e.hparams, x[0])
    return (metrics["loss"], state.params, latents), (losses, final, training.encode(torch.from_numpy(x[0])))


ALONE = ("relu", "batch_topk")


@pytest.mark.parametrize("name, members", [*((name, 2) for name in CASES), *((name, 1) for name in ALONE)])
def test_training_is_saejax(name, members, close):
    (loss, params, latents), (torch_loss, torch_params, torch_latents) = both(name, members)
    close(torch_loss, loss, 1e-5, "losses")
    assert params.keys() == torch_params.keys()
    for what in params:
        close(torch_params[what], params[what], 3e-4 if what == "b_gate" else 5e-5, what)
    close(torch_latents, latents, 1e-4, "latents")


def test_clipping_is_saejax(close):
    (loss, params, _), (torch_loss, torch_params, _) = both("relu", 2, clip=0.01)
    close(torch_loss, loss, 1e-5, "losses")
    close(torch_params["W_enc"], params["W_enc"], 5e-5, "W_enc")


@pytest.mark.parametrize("schedule", [{"lr_schedule": "cosine", "lr_cycles": 2}, {"k_start": 9, "k_anneal_steps": 4}])
def test_schedules_are_saejax(schedule, close):
    ours, theirs = Schedules(**SCHEDULES, **schedule), Options(**SCHEDULES, **schedule)
    close([theirs.rate(t) for t in range(12)], [ours.learning_rate(t) for t in range(12)], 1e-6, "rates")
    hparams = {"k": 3, "l1_coefficient": 0.3}
    for t in range(12):
        now = theirs.in_force({name: torch.tensor(float(value)) for name, value in hparams.items()}, t)
        expected = ours.hparams({name: jnp.asarray(value) for name, value in hparams.items()}, t)
        close([float(now[n]) for n in hparams], [float(expected[n]) for n in hparams], 1e-6, "hyper-parameters")


def test_what_has_no_twin_is_refused():
    for architecture, options, word in (
        ("matryoshka", {}, "--architecture=matryoshka"),
        ("jumprelu", {"jumprelu_form": "quadratic"}, "--jumprelu_form=quadratic"),
        ("relu", {"relu_form": "bricken2023", "ghost_gradients": True}, "--ghost_gradients"),
    ):
        with pytest.raises(InputError, match=word):
            registry.check(architecture, options)
