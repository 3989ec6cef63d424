"""dictionary_learning's format: `ae.pt`, a state dict, and `config.json`, whose `trainer.dict_class` names its class.

`ae.pt` is only ever read as tensors: a file that would run code when unpickled is refused. BatchTopK and Matryoshka
autoencoders are read as the package applies them, with their threshold. Source: dictionary-learning 0.1, `dictionary.py`,
`trainers/{top_k,batch_top_k,matryoshka_batch_top_k}.py`, `utils.load_dictionary`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from saejax import files
from saejax.errors import InputError
from saejax.interop import tensors
from saejax.interop.dictionary_table import CLASSES, SAVED_AS, Class
from saejax.interop.directory import replaced_whole
from saejax.interop.folding import with_input_bias
from saejax.interop.sites import Origin, site_or_none
from saejax.sae.inference import InferenceSAE

CONFIG, WEIGHTS = "config.json", "ae.pt"
_METADATA = "saejax"  # the key of config.json under which `save` keeps its metadata


def save(
    directory: str | os.PathLike, sae: InferenceSAE, *, metadata: Mapping[str, Any], density_F: np.ndarray | None = None
) -> None:
    """Writes a relu, gated, jumprelu or topk autoencoder; the directory appears whole.

    Whether b_dec is subtracted from the input is fixed by the package's class, and folded into the biases. The package
    scales the decoder of an `AutoEncoder` to unit norm, and its latents with it, when it loads one.

    Args:
      directory: replaced if it is there.
      sae: any autoencoder of those activations.
      metadata: kept in config.json; `model_name` and `hook_name` also under the package's own keys.
      density_F: not kept; the format has no place for it.

    Raises:
      InputError: an autoencoder that the format cannot hold, weights that are not finite, or no torch.
    """
    torch = _torch()
    directory = Path(directory)
    D, F = sae.W_enc.shape
    for obstacle, is_there in {
        f"activation {sae.activation}": sae.activation not in SAVED_AS,
        f"normalize_activations {sae.normalize_activations}": sae.normalize_activations != "none",
        "a transcoder": sae.W_skip is not None or sae.W_dec.shape[1] != D or bool(metadata.get("hook_name_out")),
    }.items():
        if is_there:
            raise InputError(
                f"{directory}: {obstacle} cannot be held by dictionary_learning's format, only autoencoders of "
                f"{', '.join(SAVED_AS)}; save it in the format saelens"
            )
    name = SAVED_AS[sae.activation]
    row = CLASSES[name]
    sae = with_input_bias(sae, row.subtracts_b_dec)
    arrays = {}
    for key, field in row.tensors.items():
        array = np.asarray(getattr(sae, field))
        array = array.T if key.endswith(".weight") else array
        arrays[key] = torch.tensor(tensors.as_float32(directory, key, array))
    trainer = {
        "dict_class": name,
        "activation_dim": D,
        "dict_size": F,
        "lm_name": metadata.get("model_name"),
        "submodule_name": metadata.get("hook_name"),
        _METADATA: dict(metadata),
    }
    if "k" in row.buffers:
        trainer["k"] = int(sae.k)
        arrays |= {"k": torch.tensor(int(sae.k), dtype=torch.int), "threshold": torch.tensor(-1.0)}
    with replaced_whole(directory) as partial:
        files.write_json(partial / CONFIG, {"trainer": trainer, "buffer": {"ctx_len": metadata.get("context_size")}})
        torch.save(arrays, partial / WEIGHTS)


def load(directory: str | os.PathLike) -> InferenceSAE:
    """Reads an autoencoder of any class in `CLASSES`; its latents are those that the package's object gives.

    Raises:
      InputError: a file that is absent or broken, or that would run code; another class; missing, extra or misshapen tensors;
        no torch.
    """
    path, weights = Path(directory) / CONFIG, Path(directory) / WEIGHTS
    trainer = _trainer(path)
    row = CLASSES[tensors.choice(path, trainer, "dict_class", CLASSES)]
    state = _read(weights)
    buffers = {name: state.pop(name) for name in row.buffers if name in state}
    missing = [name for name in row.buffers if name not in buffers]
    if missing or row.encoder not in state or state[row.encoder].ndim != 2:
        raise InputError(f"{weights}: tensors missing or misshapen: {', '.join(missing) or row.encoder}; save it again")
    shape = state[row.encoder].shape
    sizes = dict(zip(row.shape(row.encoder), shape))
    found = {name: tensors.Found(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in state.items()}
    tensors.check(weights, found, {name: tensors.shape_of(row.shape(name), sizes) for name in row.tensors})
    fields = {}
    for name, field in row.tensors.items():
        array = tensors.as_float32(weights, name, state[name].float().numpy())
        fields[field] = jnp.asarray(array.T if name.endswith(".weight") else array)
    fields |= _from_buffers(weights, trainer, row, buffers, sizes["F"])
    sae = InferenceSAE(**fields, activation=row.activation, apply_b_dec_to_input=row.subtracts_b_dec)
    norms_F = np.linalg.norm(np.asarray(sae.W_dec), axis=1)
    close = np.allclose(norms_F, 1.0, rtol=1e-5, atol=1e-8)  # torch.allclose's defaults
    return sae.with_unit_decoder() if row.unit_decoder == "always" or row.unit_decoder == "unless close" and not close else sae


def origin(directory: str | os.PathLike) -> Origin:
    """The trainer's settings, and where `save` put them or the module's name is one, the site's name."""
    trainer = _trainer(Path(directory) / CONFIG)
    kept = trainer.pop(_METADATA, None)
    metadata = {**trainer, **(kept if isinstance(kept, dict) else {})}
    hook_name = site_or_none(metadata.get("hook_name")) or site_or_none(metadata.get("submodule_name"))
    return Origin(hook_name, None, metadata)


def _trainer(path: Path) -> dict[str, Any]:
    trainer = tensors.read_config(path).get("trainer")
    if not isinstance(trainer, dict):
        raise InputError(f"{path}: trainer is {trainer!r}; it must be an object with dict_class: restore the file")
    return dict(trainer)


def _read(path: Path) -> dict[str, Any]:
    """The tensors of a state dict, on the CPU, without running anything."""
    torch = _torch()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors, or is broken; a file's code is never run: save the state_dict() alone, on the "
            "machine it comes from"
        ) from error
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a broken file, all meaning the same
        raise InputError(f"{path}: cannot be read ({tensors.one_line(error)}); copy it there, or save it again") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and torch.is_tensor(t) for k, t in state.items()):
        raise InputError(f"{path}: is not a state dict; save the autoencoder's state_dict() alone")
    return {name: tensor.detach() for name, tensor in state.items()}


def _from_buffers(path: Path, trainer: Mapping[str, Any], row: Class, buffers: Mapping[str, Any], F: int) -> dict[str, Any]:
    """k of a topk autoencoder, or the one threshold of a batch_topk one for each latent; both checked."""
    if not buffers:
        return {}
    k, threshold = (buffers[name] for name in ("k", "threshold"))
    if k.ndim or k.is_floating_point() or not 1 <= int(k) <= F:
        raise InputError(f"{path}: k is {str(k.tolist())[:80]}; it must be a whole number from 1 to {F}: save it again")
    if trainer.get("k", int(k)) != int(k):
        raise InputError(f"{path}: k is {int(k)}, but {trainer['k']!r} in {CONFIG}; correct the one that is wrong")
    if threshold.ndim or not np.isfinite(float(threshold)):
        raise InputError(f"{path}: threshold is {str(threshold.tolist())[:80]}; it must be one finite number: save it again")
    if "group_sizes" in buffers and int(buffers["group_sizes"].sum()) != F:
        raise InputError(f"{path}: group_sizes sum to {int(buffers['group_sizes'].sum())}, not {F}; save it again")
    if row.activation == "topk":
        return {"k": jnp.int32(int(k))}
    return {"threshold": jnp.full(F, float(threshold), jnp.float32)}


def _torch() -> Any:
    """torch, which only this format needs."""
    try:
        import torch
    except ImportError as error:
        raise InputError("dictionary_learning's ae.pt needs torch, which is not installed; pip install '.[torch]'") from error
    return torch
