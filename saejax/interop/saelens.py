"""SAELens's format: `cfg.json`, `sae_weights.safetensors`, `sparsity.safetensors` in one directory.

SAELens builds its object from `cfg.json` and loads the tensors strictly: an extra or missing one is refused, `dtype` is
mandatory and `metadata.sae_lens_version` must be there. Source: sae-lens 6, `saes/sae.py`, `loading/pretrained_sae_loaders.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from saejax import __version__, files
from saejax.errors import InputError
from saejax.sae.inference import InferenceSAE

FORMAT_VERSION = "6.54.12"  # of sae-lens, whose format this is
_ARCHITECTURE_OF = {"relu": "standard", "topk": "topk"}
_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")
_EMPTY_LOG10 = -10.0  # SAELens's log10 of (density + 1e-10)


def save(directory: str | os.PathLike, sae: InferenceSAE, *, metadata: Mapping[str, Any], density_F: np.ndarray) -> None:
    """Writes an autoencoder of raw activations; the directory appears whole.

    Args:
      directory: replaced if it is there.
      sae: as `InferenceSAE.for_raw_input` gives it.
      metadata: where it comes from, by SAELens's names: `model_name`, `hook_name`, `context_size`, `prepend_bos`, …
      density_F: share of rows on which each latent fires, float [F].
    """
    directory = Path(directory)
    d_in, d_sae = sae.W_enc.shape
    cfg = {
        "architecture": _ARCHITECTURE_OF[sae.activation],
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.apply_b_dec_to_input,
        "normalize_activations": "none",
        "reshape_activations": "hook_z" if str(metadata["hook_name"]).endswith("hook_z") else "none",
        "metadata": {"sae_lens_version": FORMAT_VERSION, "sae_lens_training_version": f"saejax {__version__}", **metadata},
    }
    if sae.activation == "topk":
        cfg |= {"k": int(sae.k), "rescale_acts_by_decoder_norm": False}
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    files.write_json(partial / "cfg.json", cfg)
    tensors = {name: np.ascontiguousarray(getattr(sae, name), np.float32) for name in _TENSORS}
    save_file(tensors, partial / "sae_weights.safetensors")
    with np.errstate(divide="ignore"):
        log10_F = np.maximum(np.log10(density_F), _EMPTY_LOG10).astype(np.float32)
    save_file({"sparsity": log10_F}, partial / "sparsity.safetensors")
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


def load(directory: str | os.PathLike) -> InferenceSAE:
    """Reads a `standard` or `topk` autoencoder of SAELens.

    Raises:
      InputError: a file that is absent or broken, another architecture, missing, extra or misshapen tensors.
    """
    directory = Path(directory)
    try:
        cfg = files.read_json(directory / "cfg.json")
        tensors = load_file(directory / "sae_weights.safetensors")
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename or directory}: no such file; a SAELens directory has cfg.json and sae_weights.safetensors"
        ) from error
    except (ValueError, SafetensorError) as error:
        raise InputError(f"{directory}: cannot be read ({error}); copy or export it again") from error
    missing = [name for name in ("architecture", "d_in", "d_sae") if name not in cfg]
    if missing:
        raise InputError(f"{directory / 'cfg.json'}: {', '.join(missing)} missing; export it again")
    activation = {v: k for k, v in _ARCHITECTURE_OF.items()}.get(cfg.get("architecture"))
    if activation is None:
        raise InputError(
            f"{directory}: architecture {cfg.get('architecture')!r}; only {', '.join(_ARCHITECTURE_OF.values())} can be read"
        )
    if cfg.get("normalize_activations", "none") != "none":
        raise InputError(
            f"{directory}: normalize_activations is {cfg['normalize_activations']!r}; fold it into the weights first"
        )
    D, F = cfg["d_in"], cfg["d_sae"]
    shapes = {"W_enc": (D, F), "b_enc": (F,), "W_dec": (F, D), "b_dec": (D,)}
    if {name: a.shape for name, a in tensors.items()} != shapes:
        found = {name: a.shape for name, a in tensors.items()}
        raise InputError(f"{directory}: tensors {found}; cfg.json says {shapes}; export it again")
    arrays = {name: jnp.asarray(a, jnp.float32) for name, a in tensors.items()}
    sae = InferenceSAE(
        **arrays,
        k=jnp.int32(cfg.get("k", 0)),
        activation=activation,
        apply_b_dec_to_input=bool(cfg.get("apply_b_dec_to_input", True)),
    )
    if activation == "topk" and cfg.get("rescale_acts_by_decoder_norm", True):
        return sae.with_unit_decoder()
    return sae
