"""SAELens's format, with the real package: the same latents and reconstructions on raw activations."""

from __future__ import annotations

import json

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from saejax.errors import InputError
from saejax.interop import saelens
from saejax.interop.saelens_table import KINDS, ROWS, SAELENS
from saejax.sae.inference import ACTIVATIONS

METADATA = {"model_name": "gpt2", "hook_name": "blocks.1.hook_resid_post", "context_size": 128, "prepend_bos": True}
F = 64


@pytest.fixture
def peer():
    """The real package, and torch."""
    import sae_lens
    import torch

    return sae_lens, torch


def theirs_of(peer, path, rows):
    """(latents, outputs) of the real package's object."""
    sae_lens, torch = peer
    sae = sae_lens.SAE.load_from_disk(path)
    with torch.no_grad():
        x = torch.tensor(rows)
        return sae, sae.encode(x), sae(x)


@pytest.mark.parametrize("row", SAELENS, ids=lambda row: row.name)
def test_the_real_package_computes_the_same(row, tmp_path, make, rows, same, exactly, peer):
    sae = make(row.activation, row.kind)
    saelens.save(tmp_path / "sae", sae, metadata=METADATA, density_F=np.linspace(0, 1, F))
    theirs, f, y = theirs_of(peer, tmp_path / "sae", rows)
    assert theirs.cfg.architecture() == row.name
    assert theirs.cfg.metadata.hook_name == METADATA["hook_name"]
    same(sae, rows, f, y)
    exactly(saelens.load(tmp_path / "sae"), sae)


@pytest.mark.parametrize("normalize", ["layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("activation", [row.activation for row in SAELENS if row.kind == "autoencoder"])
def test_scalings_of_each_row(normalize, activation, tmp_path, make, rows, same, exactly, peer):
    sae = make(activation, normalize=normalize)
    saelens.save(tmp_path / "sae", sae, metadata=METADATA)
    same(sae, rows, *theirs_of(peer, tmp_path / "sae", rows)[1:])
    exactly(saelens.load(tmp_path / "sae"), sae)


@pytest.mark.parametrize("activation", [row.activation for row in SAELENS if row.kind == "autoencoder"])
def test_a_bias_that_is_not_subtracted_from_the_input(activation, tmp_path, make, rows, same, exactly, peer):
    sae = make(activation, applied=False)
    if activation == "matching_pursuit":  # theirs does not add in the decoder what it has not subtracted
        sae = sae.replace(b_dec=jnp.zeros_like(sae.b_dec))
    saelens.save(tmp_path / "sae", sae, metadata=METADATA)
    same(sae, rows, *theirs_of(peer, tmp_path / "sae", rows)[1:])
    exactly(saelens.load(tmp_path / "sae"), sae)


@pytest.mark.parametrize("activation", ["relu", "jumprelu"])
def test_a_transcoder_with_its_output_bias_subtracted_is_folded(activation, tmp_path, make, rows, same, peer):
    sae = make(activation, "skip_transcoder", width_out=16, applied=True)
    saelens.save(tmp_path / "sae", sae, metadata=METADATA)
    same(sae, rows, *theirs_of(peer, tmp_path / "sae", rows)[1:])
    assert not saelens.load(tmp_path / "sae").apply_b_dec_to_input


def test_the_target_site_makes_a_transcoder(tmp_path, make, peer):
    target = "blocks.1.hook_mlp_out"
    saelens.save(tmp_path / "sae", make("relu", applied=False), metadata={**METADATA, "hook_name_out": target})
    theirs = peer[0].SAE.load_from_disk(tmp_path / "sae")
    assert theirs.cfg.architecture() == "transcoder" and theirs.cfg.metadata.hook_name_out == target
    assert saelens.origin(tmp_path / "sae")[:2] == (METADATA["hook_name"], target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalize", ["none", "layer_norm"])
def test_what_is_saved_is_read_back_exactly(activation, kind, normalize, tmp_path, make, exactly):
    width_out = 16 if activation == "matching_pursuit" or normalize != "none" else None
    applied = kind == "autoencoder" or activation == "matching_pursuit"
    sae = make(activation, kind, normalize=normalize, width_out=width_out, applied=applied)
    metadata = METADATA if kind == "autoencoder" else {**METADATA, "hook_name_out": "blocks.2.hook_mlp_out"}
    saelens.save(tmp_path / "sae", sae, metadata=metadata)
    exactly(saelens.load(tmp_path / "sae"), sae)


@pytest.mark.parametrize("name", ["saejax_group_max", "saejax_thresholding", "saejax_topk_transcoder"])
def test_the_real_package_refuses_what_it_has_no_class_for(name, tmp_path, make, peer):
    row = ROWS[name]
    saelens.save(tmp_path / "sae", make(row.activation, row.kind), metadata=METADATA)
    assert json.loads((tmp_path / "sae" / "cfg.json").read_text())["architecture"] == row.name
    with pytest.raises(Exception, match=row.name):
        peer[0].SAE.load_from_disk(tmp_path / "sae")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("StandardSAE", {"apply_b_dec_to_input": False}),
        ("GatedSAE", {}),
        ("TopKSAE", {"k": 4, "rescale_acts_by_decoder_norm": True}),
        ("TopKSAE", {"k": 4, "rescale_acts_by_decoder_norm": False}),
        ("JumpReLUSAE", {"normalize_activations": "layer_norm"}),
        ("MatchingPursuitSAE", {"residual_threshold": 0.1, "max_iterations": None}),
        ("MatchingPursuitSAE", {"residual_threshold": 0.0, "max_iterations": 3, "apply_b_dec_to_input": False}),
        ("Transcoder", {"d_out": 12, "apply_b_dec_to_input": False}),
        ("SkipTranscoder", {"d_out": 12, "apply_b_dec_to_input": False}),
        ("JumpReLUTranscoder", {"d_out": 12, "apply_b_dec_to_input": False}),
        ("JumpReLUSkipTranscoder", {"d_out": 12, "apply_b_dec_to_input": False}),
    ],
)
def test_reads_what_the_real_package_saves(name, settings, tmp_path, rows, same, peer):
    sae_lens, torch = peer
    torch.manual_seed(0)
    theirs = getattr(sae_lens, name)(getattr(sae_lens, f"{name}Config")(d_in=16, d_sae=F, **settings))
    for parameter in theirs.parameters():
        parameter.data = torch.randn_like(parameter)
    if name == "MatchingPursuitSAE":
        theirs.W_dec.data /= theirs.W_dec.data.norm(dim=-1, keepdim=True)
    theirs.save_model(tmp_path)
    with torch.no_grad():
        x = torch.tensor(rows)
        same(saelens.load(tmp_path), rows, theirs.encode(x), theirs(x), tolerance=2e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("JumpReLUSAE", {}), ("GatedSAE", {}), ("TopKSAE", {"k": 4, "rescale_acts_by_decoder_norm": True})],
)
def test_a_checkpoint_with_scaled_rows_is_folded_as_the_real_package_folds(name, settings, tmp_path, rows, same, peer):
    sae_lens, torch = peer
    torch.manual_seed(0)
    settings = {"d_in": 16, "d_sae": F, "normalize_activations": "expected_average_only_in", **settings}
    theirs = getattr(sae_lens, name)(getattr(sae_lens, f"{name}Config")(**settings))
    for parameter in theirs.parameters():
        parameter.data = torch.randn_like(parameter)
    theirs.save_model(tmp_path)
    with pytest.raises(InputError, match="activation_scaler.json"):
        saelens.load(tmp_path)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.4}))
    theirs.fold_activation_norm_scaling_factor(0.4)
    with torch.no_grad():
        same(saelens.load(tmp_path), rows, theirs.encode(torch.tensor(rows)), theirs(torch.tensor(rows)), tolerance=2e-5)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": None}))
    with pytest.raises(InputError, match="scaling_factor is None"):
        saelens.load(tmp_path)


@pytest.mark.parametrize("activation", ["relu", "topk"])
def test_reads_directories_from_before_version_6(activation, tmp_path, make, rows, same, exactly, peer):
    sae = make(activation)
    saelens.save(tmp_path / "sae", sae, metadata={})
    old = {
        "hook_point": "blocks.8.hook_resid_pre",
        "d_in": 16,
        "d_sae": F,
        "dtype": "torch.float32",
        "model_name": "gpt2-small",
    }
    if activation == "topk":
        old |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}
    (tmp_path / "sae" / "cfg.json").write_text(json.dumps(old))
    edit_tensors(tmp_path / "sae", lambda t: {**t, "scaling_factor": np.ones(F, np.float32)})
    exactly(saelens.load(tmp_path / "sae"), sae)
    same(sae, rows, *theirs_of(peer, tmp_path / "sae", rows)[1:])
    assert saelens.origin(tmp_path / "sae").hook_name == "blocks.8.hook_resid_pre"
    assert saelens.origin(tmp_path / "sae").metadata["model_name"] == "gpt2-small"


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_are_read_as_float32(dtype, tmp_path, make):
    sae = make("topk")
    saelens.save(tmp_path / "sae", sae, metadata=METADATA)
    edit_tensors(tmp_path / "sae", lambda t: {n: a.astype(dtype) for n, a in t.items()})
    back = saelens.load(tmp_path / "sae")
    assert back.W_enc.dtype == jnp.float32
    np.testing.assert_array_equal(back.W_enc, np.asarray(sae.W_enc).astype(dtype).astype(np.float32))


def test_sparsity_is_log10_of_density(tmp_path, make):
    share = np.linspace(0, 1, F)
    saelens.save(tmp_path / "sae", make("topk"), metadata=METADATA, density_F=share)
    log10 = load_file(tmp_path / "sae" / "sparsity.safetensors")["sparsity"]
    np.testing.assert_allclose(log10[1:], np.log10(share[1:]), rtol=1e-5, atol=1e-6)
    assert log10[0] == -10
    np.testing.assert_allclose(saelens.density(tmp_path / "sae"), share, atol=1e-6)
    saelens.save(tmp_path / "sae", make("topk"), metadata=METADATA)
    assert saelens.density(tmp_path / "sae") is None


def test_a_failed_save_leaves_the_old_directory(tmp_path, make, exactly, monkeypatch):
    sae = make("topk")
    saelens.save(tmp_path / "sae", sae, metadata=METADATA)
    with pytest.raises(InputError, match="W_dec holds 1 values"):
        saelens.save(tmp_path / "sae", make().replace(W_dec=sae.W_dec.at[0, 0].set(jnp.nan)), metadata=METADATA)

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr(saelens, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        saelens.save(tmp_path / "sae", make("relu"), metadata=METADATA)
    assert [p.name for p in tmp_path.iterdir()] == ["sae"]
    exactly(saelens.load(tmp_path / "sae"), sae)


def edit_cfg(folder, **changed):
    cfg = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**cfg, **changed}))


def edit_tensors(folder, change):
    tensors = load_file(folder / "sae_weights.safetensors")
    save_file(change(tensors), folder / "sae_weights.safetensors")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda folder: (folder / "cfg.json").unlink(), "cfg.json"),
        (lambda folder: (folder / "cfg.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "cfg.json").write_text("[]"), "not a JSON object"),
        (lambda folder: (folder / "sae_weights.safetensors").unlink(), "no such file"),
        (lambda folder: (folder / "sae_weights.safetensors").write_bytes(b"no"), "cannot be read"),
        (lambda folder: edit_cfg(folder, architecture="temporal"), "'temporal'"),
        (lambda folder: edit_cfg(folder, architecture=["topk"]), "['topk']"),
        (lambda folder: edit_cfg(folder, normalize_activations="covariance_whitening"), "covariance_whitening"),
        (lambda folder: edit_cfg(folder, normalize_activations="expected_average_only_in"), "fold it"),
        (lambda folder: edit_cfg(folder, k=65), "k is 65"),
        (lambda folder: edit_cfg(folder, k="many"), "'many'"),
        (lambda folder: edit_cfg(folder, d_in=-1), "d_in is -1"),
        (lambda folder: edit_cfg(folder, apply_b_dec_to_input="no"), "apply_b_dec_to_input"),
        (lambda folder: edit_cfg(folder, architecture="matching_pursuit", stop_on_duplicate_support=False), "stop_on_dup"),
        (
            lambda d: edit_cfg(d, architecture="transcoder", d_out=16, normalize_activations="layer_norm"),
            "layer_norm",
        ),
        (lambda folder: edit_cfg(folder, architecture="saejax_group_max", k=5), "does not divide"),
        (lambda folder: edit_tensors(folder, lambda t: {n: a for n, a in t.items() if n != "b_dec"}), "missing b_dec"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "threshold": t["b_enc"]}), "unknown threshold"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "scaling_factor": 2 * t["b_enc"]}), "unknown scaling_factor"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "b_enc": t["b_dec"]}), "b_enc has shape (16,), not (64,)"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "b_enc": t["b_enc"].astype(np.int32)}), "b_enc is int32"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "b_enc": t["b_enc"] * np.inf}), "NaN or infinite"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, **{f"x{i}": t["b_enc"] for i in range(99)}}), "and 95 more"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_in_one_line(spoil, word, tmp_path, make):
    saelens.save(tmp_path / "sae", make("topk"), metadata=METADATA)
    spoil(tmp_path / "sae")
    with pytest.raises(InputError) as error:
        saelens.load(tmp_path / "sae")
    message = str(error.value)
    assert word in message and str(tmp_path) in message and "\n" not in message and len(message) < 600
