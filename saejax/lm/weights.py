"""HuggingFace GPT-2 directories ↔ Flax parameters: safetensors only, strict both ways.

A directory holds `config.json`, `model.safetensors` (or shards with an index) and the tokenizer's files.
`Conv1D` weights are stored [in, out], as Flax's kernels are, so loading is renames.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from saejax import files
from saejax.errors import InputError
from saejax.lm import gpt2

PREFIX = "transformer."
END_OF_TEXT = "<|endoftext|>"
_HUB_FILES = ["config.json", "*.safetensors", "model.safetensors.index.json", "tokenizer*.json", "vocab.json", "merges.txt"]
_REQUIRED_SETTINGS = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "tie_word_embeddings": True,
    "add_cross_attention": False,
}


def find(model: str, flag: str = "model") -> Path:
    """The directory of a model: `tiny` (shipped), a local directory, or a Hub id (its safetensors are downloaded)."""
    if model == "tiny":
        return Path(__file__).parent / "tiny"
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise InputError(f"--{flag}={model}: no such directory; give 'tiny', a HuggingFace directory or a Hub id such as gpt2")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=_HUB_FILES))
    except Exception as error:  # the client raises many kinds, and all mean: not to be had
        raise InputError(
            f"--{flag}={model}: not 'tiny', not a local directory, and not to be had from the Hub "
            f"({type(error).__name__}); check the name and the connection, or give a local HuggingFace directory"
        ) from error


def load_config(directory: Path) -> gpt2.GPT2Config:
    """Reads `config.json`, refusing what this GPT-2 does not compute."""
    path = Path(directory) / "config.json"
    try:
        settings = files.read_json(path)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such file; a HuggingFace GPT-2 directory has config.json and model.safetensors"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: not a model's settings ({error}); save the model again with save_pretrained") from error
    for name, required in _REQUIRED_SETTINGS.items():
        value = settings.get(name, required)
        if value != required:
            raise InputError(f"{path}: {name} is {value!r}; only {required!r} is supported: choose a GPT-2 model")
    fields = {f.name for f in dataclasses.fields(gpt2.GPT2Config)}
    try:
        config = gpt2.GPT2Config(**{name: settings[name] for name in fields if name in settings})
    except TypeError as error:
        raise InputError(f"{path}: a size is missing ({error}); save the model again with save_pretrained") from error
    for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"):
        value = getattr(config, name)
        if name == "n_inner" and value is None:
            continue
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{path}: {name} is {value!r}; it must be a positive whole number: choose a GPT-2 model")
    if config.n_embd % config.n_head:
        raise InputError(
            f"{path}: n_head is {config.n_head}, which does not divide n_embd {config.n_embd}; choose another model"
        )
    return config


def load(directory: str | os.PathLike) -> tuple[gpt2.GPT2Config, gpt2.Params]:
    """Loads a HuggingFace GPT-2 directory; every tensor is used once, names and shapes are checked.

    Args:
      directory: with `config.json` and safetensors files.

    Returns:
      (config, float32 parameters).

    Raises:
      InputError: a file that is absent or broken, a tensor that is missing, extra or misshapen.
    """
    directory = Path(directory)
    config = load_config(directory)
    tensors = _read_tensors(directory)
    _check_tensors(directory, config, {name: tensor.shape for name, tensor in tensors.items()})
    return config, _unflatten({name: jnp.asarray(a, jnp.float32) for name, a in tensors.items()})


def _check_tensors(directory: Path, config: gpt2.GPT2Config, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raises InputError unless the tensors are those of the config, each once and of its shape."""
    template = jax.eval_shape(lambda key: gpt2.init(config, key), jax.random.key(0))
    expected = _flatten(template)
    missing = sorted(expected.keys() - shapes.keys())
    extra = sorted(shapes.keys() - expected.keys())
    if missing or extra:
        raise InputError(
            f"{directory}: the weights are not those of its config.json; missing: {_some(missing)}; extra: {_some(extra)}"
        )
    for name, leaf in expected.items():
        if shapes[name] != leaf.shape:
            raise InputError(f"{directory}: {name} has shape {shapes[name]}; config.json says {leaf.shape}")


def save(directory: str | os.PathLike, config: gpt2.GPT2Config, params: gpt2.Params, *, end_of_text_token: int) -> None:
    """Writes `config.json` and `model.safetensors` that `transformers.GPT2LMHeadModel.from_pretrained` loads.

    Args:
      directory: made if absent. The tokenizer's files are not written here.
      config: the sizes.
      params: the parameters; saved as float32.
      end_of_text_token: the id of `<|endoftext|>`.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {PREFIX + name: np.asarray(a, np.float32) for name, a in _flatten(params).items()}
    partial = directory / ".model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    os.replace(partial, directory / "model.safetensors")
    settings = {
        "architectures": ["GPT2LMHeadModel"],
        **_REQUIRED_SETTINGS,
        **dataclasses.asdict(config),
        "bos_token_id": end_of_text_token,
        "eos_token_id": end_of_text_token,
        "dtype": "float32",
    }
    files.write_json(directory / "config.json", settings)


def _read_tensors(directory: Path) -> dict[str, np.ndarray]:
    """The tensors of a directory by their names without prefix; mask buffers and a tied head are checked, then left out."""
    index = directory / "model.safetensors.index.json"
    try:
        shards = sorted(set(files.read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: not an index of shards ({error!r}); save the model again with save_pretrained") from error
    tensors: dict[str, np.ndarray] = {}
    for shard in shards:
        path = directory / shard
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; only safetensors are read, never pickled weights: save the model with save_pretrained"
            )
        try:
            with safe_open(path, framework="flax") as file:
                for stored in file.keys():
                    name = stored.removeprefix(PREFIX)
                    if name in tensors:
                        raise InputError(f"{path}: {name} is there twice, with and without the prefix '{PREFIX}'")
                    tensors[name] = np.asarray(file.get_tensor(stored).astype(jnp.float32))
        except SafetensorError as error:
            raise InputError(f"{path}: not a readable safetensors file ({error}); copy or save it again") from error
    return {name: a for name, a in tensors.items() if not _is_redundant(name, a, tensors, directory)}


def _is_redundant(name: str, tensor: np.ndarray, tensors: dict[str, np.ndarray], directory: Path) -> bool:
    """Whether a tensor only repeats what the architecture fixes: a causal mask, its fill value, or the tied head."""
    if name.startswith("h.") and name.endswith(".attn.bias"):
        L = tensor.shape[-1] if tensor.ndim else 0
        if tensor.size != L * L or not np.array_equal(tensor.reshape(L, L), np.tril(np.ones((L, L)))):
            raise InputError(f"{directory}: {name} is not a causal mask, which is all that GPT-2 can have there")
        return True
    if name.startswith("h.") and name.endswith(".attn.masked_bias"):
        return True
    if name == "lm_head.weight":
        if "wte.weight" in tensors and not np.array_equal(tensor, tensors["wte.weight"]):
            raise InputError(f"{directory}: lm_head.weight is not the embedding; only tied GPT-2 models are supported")
        return True
    return False


def _flatten(params: Any) -> dict[str, Any]:
    """Flax's tree → HuggingFace's names: h_0/attn/c_attn/kernel → h.0.attn.c_attn.weight."""
    flat = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        parts = [part.key for part in path]
        parts[-1] = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"}[parts[-1]]
        flat[".".join(parts).replace("h_", "h.", 1) if parts[0].startswith("h_") else ".".join(parts)] = leaf
    return flat


def _unflatten(tensors: dict[str, jax.Array]) -> gpt2.Params:
    """HuggingFace's names → Flax's tree; the inverse of `_flatten`."""
    params: gpt2.Params = {}
    for name, tensor in tensors.items():
        *parents, module, kind = name.replace("h.", "h_", 1).split(".") if name.startswith("h.") else name.split(".")
        if kind == "weight":
            kind = "embedding" if module in ("wte", "wpe") else "scale" if module.startswith("ln_") else "kernel"
        node = params
        for part in (*parents, module):
            node = node.setdefault(part, {})
        node[kind] = tensor
    return params


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:4]) or "none"
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
