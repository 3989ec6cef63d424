"""The twin's extraction against gpt2_sites.npz, which transformers and TransformerLens made."""

from __future__ import annotations

import pytest
import torch

from saejax.errors import InputError
from saejax.reference.gpt2 import PLACES, Extraction


def test_every_place_agrees_with_the_file(testdata, reference, close):
    data = reference("gpt2_sites")
    sites = [f"blocks.{layer}.{place}" for layer in range(3) for place in PLACES]
    captured = Extraction(testdata / "tiny_gpt2", sites)(torch.from_numpy(data["tokens"]).long())
    for site in sites:
        close(captured[site], data[f"sites/{site}"].reshape(captured[site].shape), 1e-5, site)


def test_the_pass_ends_after_the_last_site(testdata):
    extraction = Extraction(testdata / "tiny_gpt2", ["blocks.1.hook_resid_mid"])
    reached = []
    extraction._model.h[1].mlp.register_forward_hook(lambda *_: reached.append("mlp"))
    extraction._model.h[2].register_forward_hook(lambda *_: reached.append("block"))
    extraction(torch.zeros(1, 4, dtype=torch.long))
    assert not reached


def test_a_site_without_a_hook_is_refused():
    with pytest.raises(InputError, match="--hook_name=blocks.0.ln1.hook_normalized"):
        Extraction("nowhere", ["blocks.0.ln1.hook_normalized"])
