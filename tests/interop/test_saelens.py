"""SAELens's format, with the real package: the same latents and reconstructions on raw activations."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from saejax.errors import InputError
from saejax.interop import saelens
from saejax.sae.registry import ARCHITECTURES

D, F = 16, 64
METADATA = {"model_name": "gpt2", "hook_name": "blocks.1.hook_resid_post", "context_size": 128, "prepend_bos": True}


def trained(name, scale=0.3, key=0):
    """An autoencoder with nothing at its initial value, trained on rows multiplied by `scale`."""
    row = ARCHITECTURES[name]
    sae = row.make(D, F)
    params = sae.init(jax.random.key(key), jax.random.normal(jax.random.key(1), (D,)))
    noise = jax.tree.map(lambda a: 0.3 * jax.random.normal(jax.random.key(2), a.shape), params)
    params = sae.after_update(jax.tree.map(jnp.add, params, noise))
    hparams = {n: jnp.asarray(5 if n == "k" else v) for n, v in row.hparams.items()}
    return sae, params, hparams, scale


def exported(name, folder):
    sae, params, hparams, scale = trained(name)
    raw = sae.export(params, hparams)
    raw = (raw.with_unit_decoder() if raw.activation == "relu" else raw).for_raw_input(scale)
    saelens.save(folder, raw, metadata=METADATA, density_F=np.linspace(0, 1, F))
    return raw


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_real_package_computes_the_same(name, tmp_path, close):
    torch = pytest.importorskip("torch", reason="the real sae-lens needs torch, of the 'test' extra")
    sae_lens = pytest.importorskip("sae_lens", reason="sae-lens is in the 'test' extra")
    sae, params, hparams, scale = trained(name)
    exported(name, tmp_path / "sae")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    x = 4.0 * jax.random.normal(jax.random.key(9), (200, D))
    f = sae.encode(params, hparams, scale * x)
    assert 0 < (f > 0).mean() < 1
    with torch.no_grad():
        their_f = theirs.encode(torch.tensor(np.array(x)))
        their_x_hat = theirs.decode(their_f)
    norms = np.linalg.norm(sae.export(params, hparams).W_dec, axis=1) if name == "relu" else 1.0
    close(their_f, f * norms / scale, 1e-5, "latents")
    close(their_x_hat, sae.decode(params, f) / scale, 1e-5, "reconstruction")
    assert theirs.cfg.metadata.hook_name == METADATA["hook_name"]
    np.testing.assert_allclose(theirs.W_dec.detach().norm(dim=-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_saved_is_read_back_exactly(name, tmp_path):
    raw = exported(name, tmp_path / "sae")
    back = saelens.load(tmp_path / "sae")
    assert (back.activation, back.apply_b_dec_to_input) == (raw.activation, raw.apply_b_dec_to_input)
    for ours, theirs in zip(jax.tree.leaves(raw), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_reads_what_the_real_package_saves(tmp_path, close):
    torch = pytest.importorskip("torch", reason="the real sae-lens needs torch, of the 'test' extra")
    pytest.importorskip("sae_lens", reason="sae-lens is in the 'test' extra")
    from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

    torch.manual_seed(0)
    theirs = TopKSAE(TopKSAEConfig(d_in=D, d_sae=F, k=4, rescale_acts_by_decoder_norm=True))
    for parameter in theirs.parameters():
        parameter.data = torch.randn_like(parameter)
    theirs.save_model(tmp_path)
    x = np.random.default_rng(0).normal(size=(50, D)).astype(np.float32)
    ours = saelens.load(tmp_path)
    with torch.no_grad():
        close(ours.encode(x), theirs.encode(torch.tensor(x)), 1e-5, "latents")
        close(ours.decode(ours.encode(x)), theirs(torch.tensor(x)), 1e-5, "reconstruction")


def test_sparsity_is_log10_of_density(tmp_path):
    exported("topk", tmp_path / "sae")
    log10 = load_file(tmp_path / "sae" / "sparsity.safetensors")["sparsity"]
    np.testing.assert_allclose(log10[1:], np.log10(np.linspace(0, 1, F)[1:]), rtol=1e-5, atol=1e-6)
    assert log10[0] == -10


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
        (lambda folder: (folder / "cfg.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "sae_weights.safetensors").write_bytes(b"no"), "cannot be read"),
        (lambda folder: edit_cfg(folder, architecture="gated"), "'gated'"),
        (lambda folder: edit_cfg(folder, normalize_activations="layer_norm"), "layer_norm"),
        (lambda folder: edit_tensors(folder, lambda t: {n: a for n, a in t.items() if n != "b_dec"}), "b_dec"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "threshold": t["b_enc"]}), "threshold"),
        (lambda folder: edit_tensors(folder, lambda t: {**t, "b_enc": t["b_dec"]}), "(16,)"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_in_one_line(spoil, word, tmp_path):
    exported("topk", tmp_path / "sae")
    spoil(tmp_path / "sae")
    with pytest.raises(InputError) as error:
        saelens.load(tmp_path / "sae")
    assert word in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)
