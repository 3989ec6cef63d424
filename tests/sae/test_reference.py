"""Outputs, losses and gradients of each architecture against the peers' own numbers (tests/testdata).

`python -m tests.sae.test_reference` prints the largest deviation from each file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import LossContext
from saejax.sae.batch_topk import batch_topk
from saejax.sae.chosen import FORMS
from saejax.sae.frame import Frame
from saejax.sae.gated import gated
from saejax.sae.group_max import group_max
from saejax.sae.jumprelu import FORMS as JUMPRELU
from saejax.sae.jumprelu import jumprelu
from saejax.sae.matryoshka import matryoshka
from saejax.sae.p_anneal import p_anneal
from saejax.sae.relu import FORMS as RELU
from saejax.sae.relu import relu
from saejax.sae.scaling import normalize, undo
from saejax.sae.tied import Centring, tied
from saejax.sae.tied_topk import tied_topk
from saejax.sae.topk import topk

TESTDATA = Path(__file__).parent.parent / "testdata"
FRAME = Frame(24, 80)
N_STEPS = 100  # of the training that p_anneal supposes

SAME = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "b_gate", "r_mag", "b_mag")
# The peers' parameter names → ours, and whether the peer's array is our transpose.
NAMES = {name: (name, False) for name in SAME} | {
    "encoder.weight": ("W_enc", True),
    "encoder.bias": ("b_enc", False),
    "decoder.weight": ("W_dec", True),
    "bias": ("b_dec", False),
    "decoder.bias": ("b_dec", False),
    "latent_bias": ("b_enc", False),
    "pre_bias": ("b_dec", False),
    "decoder_bias": ("b_dec", False),
    "gate_bias": ("b_gate", False),
    "mag_bias": ("b_mag", False),
    "encoder_bias": ("b_enc", False),
    "dict": ("W_dec", False),
}
TIED = {"encoder": ("W_dec", False), "encoder_bias": ("b_enc", False)}
UNTIED = {"encoder": ("W_enc", True), "encoder_bias": ("b_enc", False), "decoder": ("W_dec", False)}


class Case(NamedTuple):
    """One comparison.

    Attributes:
      make: the file's hyper-parameters → (our autoencoder, our hyper-parameters).
      alt: the file's changed setting, or "".
      names: the peer's parameter names → ours.
      grads: where the peer's gradients stand; "" where there are none.
      latents: whether the peer's latents are in our units.
    """

    make: Any
    alt: str = ""
    names: dict = NAMES
    grads: str = "grad"
    latents: bool = True


def relu_with(form, coefficient, **frame):
    return lambda h: (
        relu(FRAME._replace(**frame), relu_form=form),
        {"l1_coefficient": h[coefficient] * h.get("sparsity_scale", 1.0), "bias_decay": h.get("bias_decay", 0.0)},
    )


def chosen_with(make, option, form, coefficient, k_aux, **options):
    def made(h):
        sae = make(FRAME, **{option: form}, k_aux=int(h[k_aux]), **options)
        return sae, {"k": h["k"], "auxk_coefficient": h[coefficient]}

    return made


def saelens_topk(make, option="topk_form", form=FORMS["saelens"], **options):
    return chosen_with(make, option, form, "aux_loss_coefficient", "k_aux_heuristic", **options)


def sparsify(make, option="topk_form", **options):
    return chosen_with(make, option, "sparsify", "auxk_alpha", "k_aux_heuristic", **options)


def dictionary_learning(make, option, **options):
    return chosen_with(make, option, "dictionary_learning", "auxk_alpha", "top_k_aux", **options)


def tied_with(**options):
    return lambda h: (tied(FRAME, **options), {"l1_coefficient": h["l1_alpha"], "bias_decay": h["bias_decay"]})


def jumprelu_with(form, bandwidth="jumprelu_bandwidth", coefficient="l0_coefficient"):
    def made(h):
        hparams = {
            "l0_coefficient": h[coefficient],
            "bandwidth": h[bandwidth],
            "target_l0": h.get("target_l0", 1.0),
            "tanh_scale": h.get("jumprelu_tanh_scale", 1.0),
            "pre_act_coefficient": h.get("pre_act_loss_coefficient", 0.0),
        }
        return jumprelu(FRAME, jumprelu_form=form), hparams

    return made


def p_anneal_with(h):
    sae = p_anneal(FRAME, lp_function=str(h["sparsity_function"]))
    return sae, {"l1_coefficient": h["sparsity_coeff"], "p_start": h["p"], "p_end": h["p"], "anneal_start": 0.25}


def gated_with(form, coefficient):
    return lambda h: (gated(FRAME, gated_form=form), {"l1_coefficient": h[coefficient]})


def matryoshka_dl(h):
    make = dictionary_learning(
        matryoshka,
        "matryoshka_form",
        matryoshka_prefixes=(np.cumsum(h["group_sizes"]) / 80).tolist(),
        weights=[float(w) for w in h["group_weights"]],
    )
    return make(h)


def matryoshka_saelens(auxk):
    prefixes = (0.2, 0.5, 1.0)
    return saelens_topk(matryoshka, "matryoshka_form", "saelens", matryoshka_prefixes=prefixes, matryoshka_auxk=auxk)


TANH, STEP = JUMPRELU["saelens_tanh"], JUMPRELU["saelens"]
APRIL_NEW = RELU["april2024"]._replace(l1_norm_power=2)  # AutoEncoderNew's latents have the norm in them already
L1 = "l1_coefficient"
CASES = {
    "sae_saelens_standard": [
        Case(relu_with("april2024", L1)),
        Case(relu_with("april2024", L1, apply_b_dec_to_input=False), "apply_b_dec_to_input_false"),
    ],
    "sae_saelens_topk": [
        Case(saelens_topk(topk)),
        Case(saelens_topk(topk, form=FORMS["saelens"]._replace(norm_in_latents=False)), "no_rescale"),
        *(Case(saelens_topk(topk), alt) for alt in ("all_dead_mask", "aux_coef", "no_dead")),
    ],
    "sae_saelens_batchtopk": [Case(saelens_topk(batch_topk, "batch_topk_form"))],
    "sae_saelens_matryoshka_batchtopk": [
        Case(matryoshka_saelens(False)),
        Case(matryoshka_saelens(True), "matryoshka_aux"),
    ],
    "sae_saelens_gated": [Case(gated_with("saelens", L1))],
    "sae_saelens_jumprelu_step": [
        Case(jumprelu_with("saelens")),
        Case(jumprelu_with(STEP._replace(to_input=True)), "ste_to_input"),
        Case(jumprelu_with("quadratic"), "quadratic"),
    ],
    "sae_saelens_jumprelu_tanh": [
        Case(jumprelu_with("saelens_tanh")),
        Case(jumprelu_with(TANH._replace(to_input=True)), "ste_to_input"),
        Case(jumprelu_with("saelens_tanh"), "pre_act_loss"),
    ],
    "sae_dictionary_learning_standard": [
        Case(relu_with("bricken2023", "l1_penalty")),
        Case(relu_with("bricken2023", "l1_penalty"), "half_sparsity_warmup", grads=""),
    ],
    "sae_dictionary_learning_standard_april": [
        Case(relu_with("april2024", "l1_penalty")),
        Case(relu_with("april2024", "l1_penalty"), "half_sparsity_warmup", grads=""),
        Case(relu_with(APRIL_NEW, "l1_penalty", apply_b_dec_to_input=False), "autoencoder_new", latents=False),
    ],
    "sae_dictionary_learning_top_k": [Case(dictionary_learning(topk, "topk_form"))],
    "sae_dictionary_learning_batch_top_k": [Case(dictionary_learning(batch_topk, "batch_topk_form"))],
    "sae_dictionary_learning_matryoshka": [Case(matryoshka_dl), Case(matryoshka_dl, "weights_532")],
    "sae_dictionary_learning_gated": [Case(gated_with("rajamanoharan2024", "l1_penalty"))],
    "sae_dictionary_learning_p_anneal": [Case(p_anneal_with), Case(p_anneal_with, "Lp"), Case(p_anneal_with, "p1")],
    "sae_dictionary_learning_jumprelu": [Case(jumprelu_with("dictionary_learning", "bandwidth", "sparsity_penalty"))],
    "sae_sparsify_topk": [Case(sparsify(topk))],
    "sae_sparsify_topk_auxk": [Case(sparsify(topk), grads="grad_plain_autodiff")],
    "sae_sparsify_multi_topk": [Case(sparsify(topk, multi_topk=True), grads="grad_plain_autodiff")],
    "sae_sparsify_groupmax": [Case(sparsify(group_max, "group_max_form"))],
    "sae_openai_topk": [Case(chosen_with(topk, "topk_form", "gao2024", "auxk_coef", "auxk"))],
    "sae_openai_relu": [Case(relu_with("openai", "l1_weight"))],
    "sae_sparse_coding_functional_sae": [Case(relu_with("sparse_coding", "l1_alpha"), names=UNTIED)],
    "sae_sparse_coding_functional_tied_sae": [
        Case(tied_with(), names=TIED),
        Case(
            lambda h: tied_with(centring=Centring(*(h[f"center_{n}"] for n in ("trans", "rot", "scale"))))(h), "centered", TIED
        ),
    ],
    "sae_sparse_coding_topk_encoder": [Case(lambda h: (tied_topk(FRAME), {"k": h["k"]}))],
}


def load(file):
    return dict(np.load(TESTDATA / f"{file}.npz", allow_pickle=False))


def ours(data, names, prefix):
    """The arrays under `prefix`, by our names and layouts."""
    found = {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}
    return {names[n][0]: jnp.asarray(a.T if names[n][1] else a) for n, a in found.items()}


def settings(data, alt):
    """The file's hyper-parameters, with what the case changes, and its buffers."""
    prefixes = ["hparams/", "buffers/"]
    prefixes += [f"alt/{alt}/{prefix}" for prefix in prefixes] if alt else []
    return {key.removeprefix(p): value for p in prefixes for key, value in data.items() if key.startswith(p)}


def context_of(mask) -> LossContext:
    dead_F = jnp.asarray(mask, bool)
    return LossContext(dead_F, dead_F.any(), jnp.int32(0), N_STEPS)


def deviation(actual, expected) -> float:
    """max |a − b| / max |b|."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-30))


def deviations(file: str, case: Case) -> dict[str, float]:
    """{what: largest deviation, as a share of the largest value}."""
    data = load(file)
    at = f"alt/{case.alt}/" if case.alt else ""
    hparams_of_file = settings(data, case.alt)
    sae, hparams = case.make(hparams_of_file)
    rate = hparams_of_file.get("topk_threshold_lr", 1 - hparams_of_file.get("threshold_beta", 0))
    hparams = {name: jnp.asarray(value) for name, value in {"threshold_rate": rate, **hparams}.items()}
    params = {**sae.init(jax.random.key(0), jnp.zeros(24)), **ours(data, case.names, "params/")}
    mask = (
        np.zeros(80) if case.alt == "no_dead" else data.get(f"{at}dead_neuron_mask", data.get("dead_neuron_mask", np.zeros(80)))
    )
    context, x = context_of(mask), jnp.asarray(data["x"])

    @jax.jit
    def compute(params):
        (total, aux), gradients = jax.value_and_grad(sae.loss, has_aux=True)(params, hparams, x, x, context)
        f_BxF = sae.encode(params, hparams, x)
        return total, gradients, f_BxF, sae.decode(params, f_BxF, x), aux

    total, gradients, f_BxF, x_hat_BxD, aux = compute(params)
    found = {"total loss": deviation(total, data[f"{at}loss/total"])}
    if not case.alt or f"{at}out/feature_acts" in data:
        if case.latents:
            found["latents"] = deviation(f_BxF, data[f"{at}out/feature_acts"])
        found["reconstruction"] = deviation(x_hat_BxD, data.get(f"{at}out/recon", x_hat_BxD))
    if case.grads:
        expected = ours(data, case.names, f"{at}{case.grads}/")
        assert expected
        found |= {f"gradient of {name}": deviation(gradients[name], value) for name, value in expected.items()}
    for name in ("topk_threshold", "threshold"):  # what batch-topk learns for inference
        if not case.alt and f"state/{name}_after" in data and "threshold" in sae.remembered:
            before = hparams_of_file.get("topk_threshold_before", data.get("state/threshold_before"))
            learnt = {**params, "threshold": jnp.float32(before)}
            after = sae.after_update(learnt, learnt, aux.observed, context)["threshold"]
            found["threshold"] = deviation(after, data[f"state/{name}_after"])
    return found


ALL = [
    pytest.param(file, case, id=f"{file}{'-' * bool(case.alt)}{case.alt}") for file, cases in CASES.items() for case in cases
]


@pytest.mark.parametrize("file, case", ALL)
def test_agrees_with_the_peer(file, case):
    for what, error in deviations(file, case).items():
        allowed = 2e-5 if what.startswith("gradient") else 1e-5
        assert error <= allowed, f"{what}: off by {error:.2e} of the largest value, allowed {allowed:.0e}"


def test_every_file_and_every_case_in_it_is_compared():
    files = {path.stem for path in TESTDATA.glob("sae_*.npz")}
    assert files == CASES.keys()
    for file in files:
        alternatives = {key.split("/")[1] for key in load(file) if key.startswith("alt/")} - {"model_py_normalize"}
        assert alternatives == {case.alt for case in CASES[file]} - {""}, file


def test_layer_norm_is_openais(close):
    data = load("sae_openai_topk")
    sae, hparams = CASES["sae_openai_topk"][0].make(settings(data, ""))
    params, at = ours(data, NAMES, "params/"), "alt/model_py_normalize/out"
    x, undoing = normalize(jnp.asarray(data["x"]), "layer_norm")
    f = sae.encode(params, hparams, x)
    close(f, data[f"{at}/feature_acts"], 1e-5, "latents")
    close(undo(sae.decode(params, f, x), undoing), data[f"{at}/recon"], 1e-5, "reconstruction")
    exported = sae.export(params, hparams).replace(normalize_activations="layer_norm")
    close(exported.reconstruct(data["x"])[1], data[f"{at}/recon"], 1e-5, "exported reconstruction")


def test_tied_with_centring_is_exported(close):
    data = load("sae_sparse_coding_functional_tied_sae")
    case = CASES["sae_sparse_coding_functional_tied_sae"][1]
    sae, hparams = case.make(settings(data, "centered"))
    exported = sae.export(ours(data, TIED, "params/"), hparams)
    close(exported.encode(data["x"]), data["alt/centered/out/feature_acts"], 1e-5, "latents")
    close(exported.decode(exported.encode(data["x"])), data["alt/centered/out/recon"], 1e-5, "reconstruction")


if __name__ == "__main__":
    for file, cases in CASES.items():
        worst = max((error, what) for case in cases for what, error in deviations(file, case).items())
        sys.stdout.write(f"{file:<45} {len(cases)} cases  {worst[0]:.1e}  {worst[1]}\n")
