"""`cfg.json` of SAELens before version 6, in which most published GPT-2 autoencoders are, put into version 6's terms.

Source: sae-lens 6, `handle_pre_6_0_config` in `loading/pretrained_sae_loaders.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saejax.errors import InputError

_RENAMED = {"hook_point": "hook_name", "hook_point_head_index": "hook_head_index", "activation_fn_str": "activation_fn"}
_METADATA = (
    "model_name",
    "hook_name",
    "hook_name_out",
    "hook_head_index",
    "model_from_pretrained_kwargs",
    "prepend_bos",
    "context_size",
    "dataset_path",
    "neuronpedia_id",
    "sae_lens_training_version",
)


def modern(path: Path, cfg: dict[str, Any]) -> dict[str, Any]:
    """The configuration as version 6 would write it; one that already is, unchanged.

    Args:
      path: of the file, for errors.
      cfg: its contents.

    Raises:
      InputError: an activation function that version 6 cannot express.
    """
    if "metadata" in cfg:
        return cfg
    cfg = {_RENAMED.get(key, key): value for key, value in cfg.items()}
    cfg.setdefault("architecture", "standard")
    activation = cfg.get("activation_fn", "relu")
    if activation == "topk" and cfg["architecture"] in ("standard", "topk"):
        arguments = cfg.get("activation_fn_kwargs")
        cfg |= {"architecture": "topk", "k": arguments.get("k") if isinstance(arguments, dict) else cfg.get("k")}
    elif activation != "relu":
        raise InputError(f"{path}: activation_fn is {activation!r} in {cfg['architecture']!r}; only relu and topk can be read")
    if cfg.get("finetuning_scaling_factor"):
        raise InputError(f"{path}: finetuning_scaling_factor is set; fold it into the decoder with SAELens first")
    how = cfg.get("normalize_activations")
    if how is None or isinstance(how, bool):
        cfg["normalize_activations"] = "expected_average_only_in" if how else "none"
    return cfg | {"metadata": {key: cfg[key] for key in _METADATA if key in cfg}}
