"""Activations by `transformers`' GPT-2 and forward hooks, the pass ended after the last site that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from saejax.errors import InputError

# A site of a block → (the module whose hook sees it, "in" or "out" of that module).
PLACES = {
    "hook_resid_pre": ("ln_1", "in"),
    "attn.hook_z": ("attn.c_proj", "in"),
    "hook_attn_out": ("attn", "out"),
    "hook_resid_mid": ("ln_2", "in"),
    "mlp.hook_pre": ("mlp.c_fc", "out"),
    "mlp.hook_post": ("mlp.c_proj", "in"),
    "hook_mlp_out": ("mlp", "out"),
    "hook_resid_post": ("", "out"),
}


class _Done(Exception):  # noqa: N818  (it ends a pass, it is no error)
    """All that was wanted has been seen."""


class Extraction:
    """A GPT-2 that gives its activations at some sites; heads are joined, as the rows that saejax stores."""

    def __init__(self, directory: Path, sites: Sequence[str], *, device: str = "cpu", dtype: torch.dtype = torch.float32):
        """Loads the model and hooks it.

        Args:
          directory: a HuggingFace GPT-2.
          sites: TransformerLens's names.
          device, dtype: of the model.

        Raises:
          InputError: a site that no hook is written for.
        """
        from transformers import GPT2Model

        check(sites)
        self._model = GPT2Model.from_pretrained(directory, dtype=dtype).to(device).eval()
        self._sites, self._seen = tuple(sites), {}
        for site in sites:
            _, layer, name = site.split(".", 2)
            module, side = PLACES[name]
            module = self._model.h[int(layer)].get_submodule(module) if module else self._model.h[int(layer)]
            if side == "in":
                module.register_forward_pre_hook(self._before(site))
            else:
                module.register_forward_hook(self._after(site))

    @torch.inference_mode()
    def __call__(self, tokens_BxL: Tensor) -> dict[str, Tensor]:
        """{site: activations [B, L, D]}."""
        self._seen = {}
        try:
            self._model(tokens_BxL, use_cache=False)
        except _Done:
            pass
        return {site: self._seen[site] for site in self._sites}

    def _take(self, site: str, x: Tensor) -> None:
        self._seen[site] = x
        if len(self._seen) == len(self._sites):
            raise _Done

    def _before(self, site: str) -> Callable:
        def hook(module: nn.Module, args: tuple) -> None:
            self._take(site, args[0])

        return hook

    def _after(self, site: str) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Tensor | tuple) -> None:
            self._take(site, output[0] if isinstance(output, tuple) else output)

        return hook


def check(sites: Sequence[str]) -> None:
    """Raises InputError for a site that no hook is written for."""
    for site in sites:
        if not site.startswith("blocks.") or site.split(".", 2)[2] not in PLACES:
            raise InputError(
                f"--hook_name={site}: has no PyTorch twin to compare with; choose, in any block, among {', '.join(PLACES)}"
            )
