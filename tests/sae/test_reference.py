"""Outputs, losses and gradients of each architecture against the peers' own numbers (tests/testdata)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import LossContext
from saejax.sae.relu import relu
from saejax.sae.tied import Centring, tied
from saejax.sae.topk import FORMS, topk

# The peers' parameter names → ours, and whether the peer's array is our transpose.
NAMES = {
    "saelens": {n: (n, False) for n in ("W_enc", "b_enc", "W_dec", "b_dec")},
    "dictionary_learning_standard": {
        "encoder.weight": ("W_enc", True),
        "encoder.bias": ("b_enc", False),
        "decoder.weight": ("W_dec", True),
        "bias": ("b_dec", False),
    },
    "dictionary_learning_top_k": {
        "encoder.weight": ("W_enc", True),
        "encoder.bias": ("b_enc", False),
        "decoder.weight": ("W_dec", True),
        "b_dec": ("b_dec", False),
    },
    "sparsify": {
        "encoder.weight": ("W_enc", True),
        "encoder.bias": ("b_enc", False),
        "W_dec": ("W_dec", False),
        "b_dec": ("b_dec", False),
    },
    "openai": {
        "encoder.weight": ("W_enc", True),
        "latent_bias": ("b_enc", False),
        "decoder.weight": ("W_dec", True),
        "pre_bias": ("b_dec", False),
    },
    "sparse_coding": {"encoder": ("W_dec", False), "encoder_bias": ("b_enc", False)},
}


def relu_case(form, coefficient="l1_coefficient", **options):
    return lambda h: (
        relu(24, 80, relu_form=form, **options),
        {"l1_coefficient": h[coefficient] * h.get("sparsity_scale", 1.0)},
    )


def topk_case(form, coefficient, k_aux):
    def make(h):
        aux = jnp.float32(h[coefficient]) if coefficient else jnp.float32(0)
        return topk(24, 80, topk_form=form, k_aux=int(h[k_aux])), {"k": h["k"], "auxk_coefficient": aux}

    return make


def tied_case(h):
    return tied(24, 80), {"l1_coefficient": h["l1_alpha"], "bias_decay": h["bias_decay"]}


# file → (peer's names, how to make ours from the file's hparams, where the peer's gradients stand)
CASES = {
    "sae_saelens_standard": ("saelens", relu_case("april2024"), "grad"),
    "sae_dictionary_learning_standard": ("dictionary_learning_standard", relu_case("bricken2023", "l1_penalty"), "grad"),
    "sae_dictionary_learning_standard_april": ("dictionary_learning_standard", relu_case("april2024", "l1_penalty"), "grad"),
    "sae_sparse_coding_functional_tied_sae": ("sparse_coding", tied_case, "grad"),
    "sae_saelens_topk": ("saelens", topk_case("saelens", "aux_loss_coefficient", "k_aux_heuristic"), "grad"),
    "sae_dictionary_learning_top_k": (
        "dictionary_learning_top_k",
        topk_case("dictionary_learning", "auxk_alpha", "top_k_aux"),
        "grad",
    ),
    "sae_openai_topk": ("openai", topk_case("gao2024", "auxk_coef", "auxk"), "grad"),
    "sae_sparsify_topk": ("sparsify", topk_case("sparsify", "auxk_alpha", "k_aux_heuristic"), "grad"),
    "sae_sparsify_topk_auxk": ("sparsify", topk_case("sparsify", "auxk_alpha", "k_aux_heuristic"), "grad_plain_autodiff"),
}


def ours(reference, names, prefix):
    """The arrays under `prefix`, by our names and layouts."""
    return {
        name: jnp.asarray(reference[f"{prefix}/{peer}"].T if transposed else reference[f"{prefix}/{peer}"])
        for peer, (name, transposed) in NAMES[names].items()
    }


def context_of(mask) -> LossContext:
    dead_F = jnp.asarray(mask, bool)
    return LossContext(dead_F, dead_F.any(), jnp.float32(1.0))


def hparams_of(reference, case=""):
    shared = {key.split("/")[1]: value for key, value in reference.items() if key.startswith("hparams/")}
    changed = {key.split("/")[-1]: value for key, value in reference.items() if case and key.startswith(f"{case}/hparams/")}
    return {**shared, **changed}


def assert_agrees(close, sae, hparams, params, reference, names, *, case="", grads="grad", context):
    prefix = f"{case}/" if case else ""
    hparams = {name: jnp.asarray(value) for name, value in hparams.items()}

    @jax.jit
    def compute(params, x):
        (total, aux), gradients = jax.value_and_grad(sae.loss, has_aux=True)(params, hparams, x, context)
        f = sae.encode(params, hparams, x)
        return total, aux, gradients, f, sae.decode(params, f)

    total, aux, gradients, f, x_hat = compute(params, reference["x"])
    close(total, reference[f"{prefix}loss/total"], 1e-5, "total loss")
    if f"{prefix}out/feature_acts" in reference:
        close(f, reference[f"{prefix}out/feature_acts"], 1e-5, "latents")
        close(x_hat, reference[f"{prefix}out/recon"], 1e-5, "reconstruction")
    for name, expected in ours(reference, names, f"{prefix}{grads}").items():
        close(gradients[name], expected, 2e-5, f"gradient of {name}")


@pytest.mark.parametrize("file", CASES)
def test_agrees_with_the_peer(file, reference, close):
    names, make, grads = CASES[file]
    data = reference(file)
    sae, hparams = make(hparams_of(data))
    context = context_of(data.get("dead_neuron_mask", np.zeros(80)))
    assert_agrees(close, sae, hparams, ours(data, names, "params"), data, names, grads=grads, context=context)


def test_relu_without_centring_the_input(reference, close):
    data = reference("sae_saelens_standard")
    case = "alt/apply_b_dec_to_input_false"
    sae = relu(24, 80, relu_form="april2024", apply_b_dec_to_input=False)
    params = ours(data, "saelens", "params")
    hparams = {"l1_coefficient": data["hparams/l1_coefficient"]}
    assert_agrees(close, sae, hparams, params, data, "saelens", case=case, context=context_of(np.zeros(80)))


def test_sparsity_warm_up_scales_the_l1_loss(reference, close):
    data = reference("sae_dictionary_learning_standard")
    sae, hparams = relu_case("bricken2023", "l1_penalty")({"l1_penalty": data["hparams/l1_penalty"]})
    context = context_of(np.zeros(80))._replace(sparsity_scale=jnp.float32(0.5))
    total, _ = sae.loss(ours(data, "dictionary_learning_standard", "params"), hparams, data["x"], context)
    close(total, data["alt/half_sparsity_warmup/loss/total"], 1e-5, "total loss")


def test_tied_with_centring(reference, close):
    data = reference("sae_sparse_coding_functional_tied_sae")
    case = "alt/centered"
    centring = Centring(*(jnp.asarray(data[f"{case}/buffers/center_{n}"]) for n in ("trans", "rot", "scale")))
    sae = tied(24, 80, centring=centring)
    _, hparams = tied_case(hparams_of(data))
    params = ours(data, "sparse_coding", "params")
    assert_agrees(close, sae, hparams, params, data, "sparse_coding", case=case, context=context_of(np.zeros(80)))
    exported = sae.export(params, hparams)
    close(exported.encode(data["x"]), data[f"{case}/out/feature_acts"], 1e-5, "exported latents")
    close(exported.decode(exported.encode(data["x"])), data[f"{case}/out/recon"], 1e-5, "exported reconstruction")


@pytest.mark.parametrize("case", ["no_rescale", "all_dead_mask", "aux_coef", "no_dead"])
def test_saelens_topk_in_other_settings(case, reference, close):
    data = reference("sae_saelens_topk")
    case = f"alt/{case}"
    hparams = hparams_of(data, case)
    form = FORMS["saelens"]._replace(decoder_norm_in_latents=bool(hparams["rescale_acts_by_decoder_norm"]))
    sae, hparams = topk_case(form, "aux_loss_coefficient", "k_aux_heuristic")(hparams)
    context = context_of(data.get(f"{case}/dead_neuron_mask", np.zeros(80)))
    params = ours(data, "saelens", "params")
    assert_agrees(close, sae, hparams, params, data, "saelens", case=case, context=context)
