"""SAELens's format: `cfg.json`, `sae_weights.safetensors`, `sparsity.safetensors` in one directory.

SAELens builds its object from `cfg.json` and loads the tensors strictly: an extra or missing one is refused, `dtype` is
mandatory and `metadata.sae_lens_version` must be there. What it has no class for is written in the same layout under
architecture names that begin with `saejax_` (`saelens_table`), which it refuses as unknown. Source: sae-lens 6, `saes/*.py`,
`loading/pretrained_sae_loaders.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from saejax import __version__, files
from saejax.errors import InputError
from saejax.interop import tensors
from saejax.interop.directory import replaced_whole
from saejax.interop.folding import with_input_bias
from saejax.interop.saelens_old import modern
from saejax.interop.saelens_table import ROWS, SAELENS, Row, kind_of, row_for
from saejax.interop.sites import Origin, site_or_none
from saejax.sae.inference import InferenceSAE
from saejax.sae.scaling import PER_ROW

FORMAT_VERSION = "6.54.12"  # of sae-lens, whose format this is
CONFIG, WEIGHTS, SPARSITY = "cfg.json", "sae_weights.safetensors", "sparsity.safetensors"
SCALER = "activation_scaler.json"  # beside a checkpoint of SAELens whose rows were scaled while training
_EMPTY_LOG10 = -10.0  # SAELens's log10 of (density + 1e-10)
_EXPECTED_AVERAGE = "expected_average_only_in"


def save(
    directory: str | os.PathLike,
    sae: InferenceSAE,
    *,
    metadata: Mapping[str, Any],
    density_F: np.ndarray | None = None,
) -> None:
    """Writes an autoencoder or transcoder of raw activations; the directory appears whole.

    Args:
      directory: replaced if it is there.
      sae: as `InferenceSAE.for_raw_input` gives it.
      metadata: where it comes from, by SAELens's names: `model_name`, `hook_name`, `hook_name_out` (a transcoder's target),
        `context_size`, `prepend_bos`, …
      density_F: share of rows on which each latent fires, float [F]; without it there is no sparsity.safetensors.

    Raises:
      InputError: weights that are not finite.
    """
    directory = Path(directory)
    row = row_for(sae, kind_of(sae, has_target=bool(metadata.get("hook_name_out"))))
    if row.kind != "autoencoder" and not row.is_own:
        sae = with_input_bias(sae, False)
    arrays = {name: tensors.as_float32(directory, name, getattr(sae, field)) for name, (field, _) in row.tensors.items()}
    cfg = _cfg(sae, row, metadata)
    with replaced_whole(directory) as partial:
        files.write_json(partial / CONFIG, cfg)
        save_file(arrays, partial / WEIGHTS)
        if density_F is not None:
            with np.errstate(divide="ignore"):
                log10_F = np.maximum(np.log10(density_F), _EMPTY_LOG10).astype(np.float32)
            save_file({"sparsity": log10_F}, partial / SPARSITY)


def load(directory: str | os.PathLike) -> InferenceSAE:
    """Reads any autoencoder or transcoder of SAELens's inference classes, or of saejax's own names.

    Raises:
      InputError: a file that is absent or broken, another architecture, missing, extra or misshapen tensors, a setting that
        has no counterpart here.
    """
    directory = Path(directory)
    path = directory / CONFIG
    cfg = modern(path, tensors.read_config(path))
    row = _row(path, cfg)
    sizes = {"D": tensors.size(path, cfg, "d_in"), "F": tensors.size(path, cfg, "d_sae")}
    sizes["E"] = sizes["D"] if row.kind == "autoencoder" else tensors.size(path, cfg, "d_out")
    settings = _scalars(path, cfg, row, sizes) | {"normalize_activations": _normalization(directory, cfg, row)}
    expected = {name: tensors.shape_of(letters, sizes) for name, (_, letters) in row.tensors.items()}
    arrays = tensors.read_safetensors(directory / WEIGHTS, expected, ignored=_is_unused_scaling)
    fields = {field: jnp.asarray(arrays[name]) for name, (field, _) in row.tensors.items()}
    fields.setdefault("W_enc", fields["W_dec"].T)
    fields.setdefault("b_enc", jnp.zeros(sizes["F"], jnp.float32))
    applied = tensors.flag(path, cfg, "apply_b_dec_to_input", row.kind == "autoencoder")
    if applied and row.kind != "autoencoder" and sizes["D"] != sizes["E"]:
        raise InputError(f"{path}: apply_b_dec_to_input is true, but d_out is not d_in; set it to false")
    if row.name == "matching_pursuit" and not applied:  # SAELens then does not add b_dec in the decoder either
        fields["b_dec"] = jnp.zeros_like(fields["b_dec"])
    sae = InferenceSAE(**fields, **settings, activation=row.activation, apply_b_dec_to_input=applied)
    sae = _with_scale_folded(directory, cfg, sae, row)
    if row.name == "topk" and tensors.flag(path, cfg, "rescale_acts_by_decoder_norm", False):
        return sae.with_unit_decoder()
    return sae


def density(directory: str | os.PathLike) -> np.ndarray | None:
    """The share of rows on which each latent fires, float32 [F], or None where the directory does not say."""
    path = Path(directory) / SPARSITY
    if not path.exists():
        return None
    d_sae = tensors.size(path.with_name(CONFIG), tensors.read_config(path.with_name(CONFIG)), "d_sae")
    return 10.0 ** tensors.read_safetensors(path, {"sparsity": (d_sae,)})["sparsity"]


def origin(directory: str | os.PathLike) -> Origin:
    """Where it was trained; a transcoder's target is `metadata.hook_name_out`, as SAELens has it."""
    path = Path(directory) / CONFIG
    metadata = modern(path, tensors.read_config(path)).get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return Origin(site_or_none(metadata.get("hook_name")), site_or_none(metadata.get("hook_name_out")), metadata)


def _cfg(sae: InferenceSAE, row: Row, metadata: Mapping[str, Any]) -> dict[str, Any]:
    D, F = sae.W_enc.shape
    heads = row.kind == "autoencoder" and str(metadata.get("hook_name")).endswith("hook_z")
    cfg = {
        "architecture": row.name,
        "d_in": D,
        "d_sae": F,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.apply_b_dec_to_input,
        "normalize_activations": sae.normalize_activations,
        "reshape_activations": "hook_z" if heads else "none",
        "metadata": {"sae_lens_version": FORMAT_VERSION, "sae_lens_training_version": f"saejax {__version__}", **metadata},
    }
    if row.kind != "autoencoder":
        cfg["d_out"] = sae.W_dec.shape[1]
    for key, field in row.settings.items():
        value = getattr(sae, field)
        cfg[key] = int(value) if field == "k" else float(value)
    if row.name == "topk":
        cfg["rescale_acts_by_decoder_norm"] = False
    if row.activation == "matching_pursuit":
        cfg["stop_on_duplicate_support"] = True
    return cfg


def _row(path: Path, cfg: Mapping[str, Any]) -> Row:
    architecture = cfg.get("architecture")
    if not isinstance(architecture, str) or architecture not in ROWS:
        names = ", ".join(row.name for row in SAELENS)
        raise InputError(f"{path}: architecture is {architecture!r}; only {names} and saejax's own can be read")
    return ROWS[architecture]


def _scalars(path: Path, cfg: Mapping[str, Any], row: Row, sizes: Mapping[str, int]) -> dict[str, Any]:
    """k (checked against the latents), k_max and residual_threshold, where the activation has them."""
    scalars: dict[str, Any] = {}
    if row.activation == "matching_pursuit":
        if not tensors.flag(path, cfg, "stop_on_duplicate_support", True):
            raise InputError(f"{path}: stop_on_duplicate_support is false; only true can be read")
        if cfg.get("max_iterations") is None:  # SAELens's default
            cfg = {**cfg, "max_iterations": sizes["D"]}
    for key, field in row.settings.items():
        if field == "k":
            k = tensors.size(path, cfg, key)
            if row.activation != "matching_pursuit" and k > sizes["F"]:
                raise InputError(f"{path}: {key} is {k}, more than the {sizes['F']} latents of d_sae; correct it")
            if row.activation == "group_max" and sizes["F"] % k:
                raise InputError(f"{path}: {key} is {k}, which does not divide the {sizes['F']} latents of d_sae; correct it")
            scalars |= {"k": jnp.int32(k), "k_max": k if row.activation == "matching_pursuit" else 0}
        else:
            scalars[field] = jnp.float32(tensors.number(path, cfg, key, 1e-2))
    return scalars


def _normalization(directory: Path, cfg: Mapping[str, Any], row: Row) -> str:
    """The scaling that `InferenceSAE` does itself; InputError for one that it does not."""
    how = cfg.get("normalize_activations", "none")
    if how in PER_ROW and row.kind != "autoencoder" and not row.is_own:
        raise InputError(
            f"{directory / CONFIG}: normalize_activations is {how!r} in a {row.name}, whose output SAELens leaves scaled; "
            "only none can be read there"
        )
    if how in ("none", *PER_ROW):
        return how
    if how == _EXPECTED_AVERAGE and (directory / SCALER).exists():
        return "none"  # folded into the weights
    remedy = f"put the factor into {SCALER}, or fold it" if how == _EXPECTED_AVERAGE else "fold it"
    raise InputError(
        f"{directory / CONFIG}: normalize_activations is {how!r}; only none, {', '.join(PER_ROW)} can be read: {remedy} into "
        "the weights first"
    )


def _with_scale_folded(directory: Path, cfg: Mapping[str, Any], sae: InferenceSAE, row: Row) -> InferenceSAE:
    """SAELens's `fold_activation_norm_scaling_factor`, which keeps latents as they are; the factor is its trainer's file."""
    if cfg.get("normalize_activations") != _EXPECTED_AVERAGE:
        return sae
    path = directory / SCALER
    scale = tensors.number(path, tensors.read_config(path), "scaling_factor", 0.0)
    if scale <= 0:
        raise InputError(f"{path}: scaling_factor is {scale}; it must be above 0: correct it")
    if row.kind != "autoencoder" or row.activation == "matching_pursuit":
        raise InputError(f"{directory}: {_EXPECTED_AVERAGE} can be folded into untied autoencoders only; fold it before saving")
    return sae.replace(W_enc=sae.W_enc * scale, W_dec=sae.W_dec / scale, b_dec=sae.b_dec / scale)


def _is_unused_scaling(name: str, array: np.ndarray) -> bool:
    """Earlier versions of SAELens kept `scaling_factor`, all ones where no fine-tuning had been done; it drops that too."""
    return name == "scaling_factor" and bool(np.all(np.asarray(array, np.float32) == 1.0))
