"""The PyTorch twin against the peers' own numbers (tests/testdata), module by module."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from saejax.reference import registry
from tests.sae.test_reference import NAMES, TIED, UNTIED, deviation, load, ours, settings


def relu(form, coefficient, names=NAMES):
    return (
        "relu",
        {"relu_form": form},
        lambda h: {"l1_coefficient": h[coefficient], "bias_decay": h.get("bias_decay", 0.0)},
        names,
    )


def chosen(name, form, coefficient, k_aux, **more):
    options = {f"{name}_form": form, "k_aux": k_aux, "multi_topk": False, **more}
    return name, options, lambda h: {"k": h["k"], "auxk_coefficient": h[coefficient]}, NAMES


def gated(form, coefficient):
    return "gated", {"gated_form": form}, lambda h: {"l1_coefficient": h[coefficient]}, NAMES


TIED_SAE = (
    "tied",
    {"tied_normalise": True},
    lambda h: {"l1_coefficient": h["l1_alpha"], "bias_decay": h["bias_decay"]},
    TIED,
)
JUMPRELU = (
    "jumprelu",
    {"jumprelu_form": "saelens"},
    lambda h: {"l0_coefficient": h["l0_coefficient"], "bandwidth": h["jumprelu_bandwidth"]},
    NAMES,
)
# file → (architecture, options, the file's hyper-parameters → ours, names), and where its gradients stand.
CASES = {
    "sae_saelens_standard": (relu("april2024", "l1_coefficient"), "grad"),
    "sae_dictionary_learning_standard": (relu("bricken2023", "l1_penalty"), "grad"),
    "sae_openai_relu": (relu("openai", "l1_weight"), "grad"),
    "sae_sparse_coding_functional_sae": (relu("sparse_coding", "l1_alpha", UNTIED), "grad"),
    "sae_sparse_coding_functional_tied_sae": (TIED_SAE, "grad"),
    "sae_saelens_topk": (chosen("topk", "saelens", "aux_loss_coefficient", "k_aux_heuristic"), "grad"),
    "sae_saelens_batchtopk": (chosen("batch_topk", "saelens", "aux_loss_coefficient", "k_aux_heuristic"), "grad"),
    "sae_dictionary_learning_top_k": (chosen("topk", "dictionary_learning", "auxk_alpha", "top_k_aux"), "grad"),
    "sae_dictionary_learning_batch_top_k": (chosen("batch_topk", "dictionary_learning", "auxk_alpha", "top_k_aux"), "grad"),
    "sae_openai_topk": (chosen("topk", "gao2024", "auxk_coef", "auxk"), "grad"),
    "sae_sparsify_topk_auxk": (chosen("topk", "sparsify", "auxk_alpha", "k_aux_heuristic"), "grad_plain_autodiff"),
    "sae_sparsify_multi_topk": (
        chosen("topk", "sparsify", "auxk_alpha", "k_aux_heuristic", multi_topk=True),
        "grad_plain_autodiff",
    ),
    "sae_saelens_jumprelu_step": (JUMPRELU, "grad"),
    "sae_saelens_gated": (gated("saelens", "l1_coefficient"), "grad"),
    "sae_dictionary_learning_gated": (gated("rajamanoharan2024", "l1_penalty"), "grad"),
}


@pytest.mark.parametrize("file", CASES)
def test_losses_latents_and_gradients_are_the_peers(file):
    (architecture, options, hparams_of, names), where = CASES[file]
    data = load(file)
    of_file = settings(data, "")
    options = {name: int(of_file[v]) if name == "k_aux" else v for name, v in options.items()}
    hparams = {name: torch.tensor(float(value)) for name, value in hparams_of(of_file).items()}
    params = {name: np.asarray(value) for name, value in ours(data, names, "params/").items()}
    if architecture == "relu" and "b_dec" not in params:
        params["b_dec"] = np.zeros(24)
    if architecture == "batch_topk":
        params["threshold"] = of_file.get("topk_threshold_before", data.get("state/threshold_before"))
    sae = registry.make(architecture, options, params, k_max=math.ceil(hparams.get("k", 0)))
    dead = torch.from_numpy(data.get("dead_neuron_mask", np.zeros(80)).astype(bool))
    x = torch.from_numpy(data["x"])
    loss, seen = sae(x, hparams, dead, bool(dead.any()))
    found = {"total loss": deviation(loss.detach(), data["loss/total"])}
    found["latents"] = deviation(sae.encode(x, hparams).detach(), data["out/feature_acts"])
    found["reconstruction"] = deviation(sae.decode(sae.encode(x, hparams)).detach(), data["out/recon"])
    trained = dict(sae.named_parameters())
    grads = dict(zip(trained, torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)))
    expected = ours(data, names, f"{where}/")
    assert expected
    found |= {f"gradient of {name}": deviation(grads[name], value) for name, value in expected.items()}
    if architecture == "batch_topk":
        hparams["threshold_rate"] = torch.tensor(float(of_file.get("topk_threshold_lr", 1 - of_file.get("threshold_beta", 0))))
        with torch.no_grad():
            sae.constrain({**trained, **dict(sae.named_buffers())}, seen, hparams)
        after = data.get("state/topk_threshold_after", data.get("state/threshold_after"))
        found["threshold"] = deviation(sae.threshold, after)
    worst = max(found, key=found.get)
    assert found[worst] < 2e-5, f"{worst}: off by {found[worst]:.2e} of the largest value"
