"""EleutherAI sparsify's format: `cfg.json`, `sae.safetensors` in one directory, named by the hookpoint.

A SparseCoder computes top_k(ReLU((x − [not transcode] b_dec) Eᵀ + c)) W_dec + b_dec [+ x W_skipᵀ], its output as wide as its
input. Unknown keys of cfg.json are dropped by sparsify, so that where it belongs can be kept there. Source: eai-sparsify 1.3,
`sparsify/sparse_coder.py`, `config.py`, `fused_encoder.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from saejax import files
from saejax.errors import InputError
from saejax.interop import tensors
from saejax.interop.directory import replaced_whole
from saejax.interop.sites import Origin, site_or_none
from saejax.sae.inference import InferenceSAE

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
_ACTIVATION_OF = {"topk": "topk", "groupmax": "group_max"}  # sparsify's name → saejax's
_EXPANSION_FACTOR, _K = 32, 32  # sparsify's defaults
_METADATA = "saejax"  # the key of cfg.json under which `save` keeps its metadata


def save(
    directory: str | os.PathLike, sae: InferenceSAE, *, metadata: Mapping[str, Any], density_F: np.ndarray | None = None
) -> None:
    """Writes a topk or group_max autoencoder or transcoder; the directory appears whole.

    Args:
      directory: replaced if it is there; sparsify names it by the module, such as `h.3.mlp`.
      sae: where b_dec is not subtracted from the input, it is written as a transcoder, which computes that.
      metadata: kept in cfg.json under "saejax", which sparsify passes over.
      density_F: not kept; the format has no place for it.

    Raises:
      InputError: an autoencoder that the format cannot hold, or weights that are not finite.
    """
    directory = Path(directory)
    D, F = sae.W_enc.shape
    name = {ours: theirs for theirs, ours in _ACTIVATION_OF.items()}.get(sae.activation)
    for obstacle, is_there in {
        f"activation {sae.activation}": name is None,
        f"normalize_activations {sae.normalize_activations}": sae.normalize_activations != "none",
        f"{D} inputs and {sae.W_dec.shape[1]} outputs": sae.W_dec.shape[1] != D,
    }.items():
        if is_there:
            raise InputError(
                f"{directory}: {obstacle} cannot be held by sparsify's format, only {' and '.join(_ACTIVATION_OF.values())} "
                "with as many outputs as inputs; save it in the format saelens"
            )
    norms_F = np.linalg.norm(np.asarray(sae.W_dec), axis=1)
    cfg = {
        "activation": name,
        "expansion_factor": max(1, F // D),
        "normalize_decoder": bool(np.allclose(norms_F, 1.0, atol=1e-4)),
        "num_latents": F,
        "k": int(sae.k),
        "multi_topk": False,
        "skip_connection": sae.W_skip is not None,
        "transcode": not sae.apply_b_dec_to_input,
        "d_in": D,
        _METADATA: dict(metadata),
    }
    arrays = {"encoder.weight": np.asarray(sae.W_enc).T, "encoder.bias": sae.b_enc, "W_dec": sae.W_dec, "b_dec": sae.b_dec}
    if sae.W_skip is not None:
        arrays["W_skip"] = sae.W_skip
    arrays = {key: tensors.as_float32(directory, key, np.asarray(a)) for key, a in arrays.items()}
    with replaced_whole(directory) as partial:
        files.write_json(partial / CONFIG, cfg)
        save_file(arrays, partial / WEIGHTS)


def load(directory: str | os.PathLike) -> InferenceSAE:
    """Reads a sparse coder or transcoder of sparsify.

    Raises:
      InputError: a file that is absent or broken; missing, extra or misshapen tensors; a k that the latents do not allow.
    """
    path = Path(directory) / CONFIG
    cfg = tensors.read_config(path)
    D, k = tensors.size(path, cfg, "d_in"), tensors.size(path, cfg, "k", _K)
    F = D * tensors.size(path, cfg, "expansion_factor", _EXPANSION_FACTOR)
    if cfg.get("num_latents", 0) != 0:
        F = tensors.size(path, cfg, "num_latents")
    activation = _ACTIVATION_OF[tensors.choice(path, cfg, "activation", _ACTIVATION_OF, "topk")]
    if k > F or activation == "group_max" and F % k:
        rule = "must not exceed them" if k > F else "must divide them"
        raise InputError(f"{path}: k is {k} with {F} latents; it {rule}: correct it")
    shapes = {"encoder.weight": (F, D), "encoder.bias": (F,), "W_dec": (F, D), "b_dec": (D,)}
    if tensors.flag(path, cfg, "skip_connection", False):
        shapes["W_skip"] = (D, D)
    arrays = {name: jnp.asarray(a) for name, a in tensors.read_safetensors(Path(directory) / WEIGHTS, shapes).items()}
    return InferenceSAE(
        W_enc=arrays["encoder.weight"].T,
        b_enc=arrays["encoder.bias"],
        W_dec=arrays["W_dec"],
        b_dec=arrays["b_dec"],
        W_skip=arrays.get("W_skip"),
        k=jnp.int32(k),
        activation=activation,
        apply_b_dec_to_input=not tensors.flag(path, cfg, "transcode", False),
    )


def origin(directory: str | os.PathLike) -> Origin:
    """What `save` kept; of sparsify's own directories only the folder's name, where that is a site's."""
    path = Path(directory) / CONFIG
    kept = tensors.read_config(path).get(_METADATA)
    metadata = dict(kept) if isinstance(kept, dict) else {}
    metadata.setdefault("hookpoint", path.absolute().parent.name)
    hook_name = site_or_none(metadata.get("hook_name")) or site_or_none(metadata["hookpoint"])
    return Origin(hook_name, site_or_none(metadata.get("hook_name_out")), metadata)
