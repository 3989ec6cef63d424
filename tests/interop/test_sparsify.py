"""EleutherAI sparsify's format, with the real package: the same latents and outputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from saejax.errors import InputError
from saejax.interop import sparsify

D, F, K = 16, 64, 4
METADATA = {"hook_name": "blocks.1.hook_resid_post"}


def theirs_of(coder, rows):
    """(latents [B, F], outputs [B, D]) of the real package's object."""
    import torch

    with torch.no_grad():
        x = torch.tensor(rows)
        values, indices, _ = coder.encode(x)
        return torch.zeros(len(rows), coder.num_latents).scatter_(1, indices, values), coder(x).sae_out


@pytest.mark.parametrize("kind", ["autoencoder", "transcoder", "skip_transcoder"])
@pytest.mark.parametrize("activation", ["topk", "group_max"])
def test_the_real_package_computes_the_same(activation, kind, tmp_path, make, rows, same, exactly, sparsify_package):
    sae = make(activation, kind, width_out=D)
    sparsify.save(tmp_path / "h.1", sae, metadata=METADATA)
    same(sae, rows, *theirs_of(sparsify_package.SparseCoder.load_from_disk(tmp_path / "h.1"), rows))
    exactly(sparsify.load(tmp_path / "h.1"), sae)
    assert sparsify.origin(tmp_path / "h.1").hook_name == METADATA["hook_name"]


@pytest.mark.parametrize(
    "settings",
    [
        {"expansion_factor": 4},
        {"num_latents": F, "activation": "groupmax"},
        {"num_latents": F, "transcode": True, "skip_connection": True},
        {"num_latents": F, "transcode": False, "skip_connection": True, "normalize_decoder": False},
    ],
)
def test_reads_what_the_real_package_saves(settings, tmp_path, rows, same, sparsify_package):
    import torch

    torch.manual_seed(0)
    coder = sparsify_package.SparseCoder(D, sparsify_package.SparseCoderConfig(k=K, **settings))
    for parameter in coder.parameters():
        parameter.data = torch.randn_like(parameter)
    coder.save_to_disk(tmp_path / "layers.3")
    same(sparsify.load(tmp_path / "layers.3"), rows, *theirs_of(coder, rows))
    origin = sparsify.origin(tmp_path / "layers.3")
    assert origin.hook_name is None and origin.metadata == {"hookpoint": "layers.3"}


def test_a_folder_named_by_a_site(tmp_path, make):
    folder = tmp_path / "blocks.3.hook_resid_post"
    sparsify.save(folder, make("topk"), metadata={})
    assert sparsify.origin(folder).hook_name == folder.name


@pytest.mark.parametrize(
    ("activation", "kind", "settings", "word"),
    [
        ("relu", "autoencoder", {}, "relu"),
        ("topk", "transcoder", {"width_out": 12}, "12 outputs"),
        ("topk", "autoencoder", {"normalize": "layer_norm"}, "layer_norm"),
    ],
)
def test_what_the_format_cannot_hold(activation, kind, settings, word, tmp_path, make):
    with pytest.raises(InputError, match=word) as error:
        sparsify.save(tmp_path / "sae", make(activation, kind, **settings), metadata={})
    assert "saelens" in str(error.value) and not any(tmp_path.iterdir())


def edit_cfg(folder, **changed):
    cfg = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**cfg, **changed}))


def edit_tensors(folder, change):
    save_file(change(load_file(folder / "sae.safetensors")), folder / "sae.safetensors")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda folder: (folder / "cfg.json").write_text("no"), "not JSON"),
        (lambda folder: edit_cfg(folder, k=65), "must not exceed"),
        (lambda folder: edit_cfg(folder, activation="groupmax", k=5), "must divide"),
        (lambda folder: edit_cfg(folder, activation="relu"), "'relu'"),
        (lambda folder: edit_cfg(folder, skip_connection=True), "missing W_skip"),
        (lambda folder: edit_cfg(folder, num_latents=0, expansion_factor=8), "not (128,)"),
        (lambda folder: edit_tensors(folder, lambda t: {n: a for n, a in t.items() if n != "W_dec"}), "missing W_dec"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "W_skip": t["W_dec"]}), "unknown W_skip"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "b_dec": t["b_dec"].astype(np.int64)}), "b_dec is int64"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_in_one_line(spoil, word, tmp_path, make):
    sparsify.save(tmp_path / "sae", make("topk"), metadata={})
    spoil(tmp_path / "sae")
    with pytest.raises(InputError) as error:
        sparsify.load(tmp_path / "sae")
    assert word in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)
