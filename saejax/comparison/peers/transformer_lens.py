"""TransformerLens: `HookedTransformer.run_with_cache`, which stops at a layer and keeps the sites that are wanted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import GPT2LMHeadModel

from saejax.comparison import torch_rows


class Extraction:
    """Activations of a plan's sites; see `comparison.extraction` for the plan."""

    def __init__(self, plan: dict[str, Any]):
        self._plan, self._folder = plan, Path(plan["folder"])
        self.device, self.device_peak_bytes = torch_rows.device_name, torch_rows.device_peak_bytes

    def prepare(self) -> float:
        """Loads the model and runs it once; seconds of both."""
        start = time.perf_counter()
        original = GPT2LMHeadModel.from_pretrained(self._plan["model"])
        sizes, dtype = original.config, getattr(torch, self._plan["dtype"])
        config = HookedTransformerConfig(
            n_layers=sizes.n_layer,
            d_model=sizes.n_embd,
            n_ctx=sizes.n_positions,
            n_heads=sizes.n_head,
            d_head=sizes.n_embd // sizes.n_head,
            d_mlp=sizes.n_inner or 4 * sizes.n_embd,
            d_vocab=sizes.vocab_size,
            act_fn="gelu_new",
            eps=sizes.layer_norm_epsilon,
            normalization_type="LN",
            device=torch_rows.DEVICE,
            dtype=dtype,
        )
        self._model = HookedTransformer(config)
        with torch.no_grad():
            self._model.load_state_dict(convert_gpt2_weights(original, config), strict=False)
        del original
        self._model.eval().to(torch_rows.DEVICE)
        layers = [int(site.split(".")[1]) + (not site.endswith("hook_resid_pre")) for site in self._plan["sites"]]
        self._stop = max(*layers, 1)
        self._tokens = torch.from_numpy(np.load(self._folder / "tokens.npy")).long().to(torch_rows.DEVICE)
        self.unit()
        return time.perf_counter() - start

    def unit(self) -> float:
        """Seconds of one pass, rows in bfloat16 as they are stored."""
        return torch_rows.timed(lambda: {site: x.to(torch.bfloat16) for site, x in self._run().items()})

    def outcome(self) -> None:
        """Writes the activations, float32."""
        found = {site: x.float().cpu().numpy() for site, x in self._run().items()}
        np.savez(self._folder / "transformer_lens.npz", **found)

    @torch.inference_mode()
    def _run(self) -> dict[str, torch.Tensor]:
        sites = {site: self._same(site) for site in self._plan["sites"]}
        wanted = set(sites.values())
        _, cache = self._model.run_with_cache(
            self._tokens, stop_at_layer=self._stop, names_filter=lambda name: name in wanted, return_type=None
        )
        return {site: cache[name].flatten(2) for site, name in sites.items()}

    def _same(self, site: str) -> str:
        """What the stream is before a block is what it is after the block below, where the pass has already stopped."""
        _, layer, name = site.split(".", 2)
        if name == "hook_resid_pre" and int(layer) == self._stop and self._stop:
            return f"blocks.{int(layer) - 1}.hook_resid_post"
        return site
