"""Counts of floating-point operations: the multiplications and additions of matrix products, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Parts of a block's pass, in the order in which they are made, and the sites that stand after each.
_PARTS = (
    ("start", ("hook_resid_pre", "ln1.hook_normalized")),
    ("qkv", ("attn.hook_q", "attn.hook_k", "attn.hook_v")),
    ("scores", ("attn.hook_pattern",)),
    ("values", ("attn.hook_z",)),
    ("projection", ("hook_attn_out", "hook_resid_mid", "ln2.hook_normalized")),
    ("mlp_in", ("mlp.hook_pre", "mlp.hook_post")),
    ("mlp_out", ("hook_mlp_out", "hook_resid_post")),
)


def training_step(n_members: int, n_rows: int, d_in: int, d_sae: int, architecture: str, options: Mapping[str, Any]) -> int:
    """Operations of one update of all members, counted as if everything were dense.

    A product of [B, D] and [D, F] is 2 B D F. There are five: encoder, decoder, and the gradients of W_dec, f and W_enc. Gated
    autoencoders decode twice, so 2 more (3 in SAELens's form, whose second decoder is not held constant); Multi-TopK 3 more.
    Optimizer, biases, activations and selections are not counted, nor AuxK, which most steps do not need.

    Args:
      n_members: M.
      n_rows: B.
      d_in: D.
      d_sae: F.
      architecture, options: by saejax's names.
    """
    products = 5
    if architecture == "gated":
        products += 3 if options["gated_form"] == "saelens" else 2
    if options.get("multi_topk"):
        products += 3
    return products * 2 * n_members * n_rows * d_in * d_sae


def extraction(n_windows: int, length: int, n_embd: int, n_inner: int, sites: Sequence[str]) -> int:
    """Operations of a GPT-2's pass up to the deepest site; attention is counted as dense, though it is causal.

    For each token of a whole block: 2 · (4 D² + 2 D I) in the linear maps, 2 · 2 · L · D in scores and values.

    Args:
      n_windows: of a batch.
      length: L.
      n_embd: D.
      n_inner: I.
      sites: hook names in blocks.
    """
    D, L = n_embd, length
    costs = {
        "start": 0,
        "qkv": 2 * 3 * D * D,
        "scores": 2 * L * D,
        "values": 2 * L * D,
        "projection": 2 * D * D,
        "mlp_in": 2 * D * n_inner,
        "mlp_out": 2 * D * n_inner,
    }
    return n_windows * L * max(_up_to(site, costs) for site in sites)


def _up_to(site: str, costs: Mapping[str, int]) -> int:
    _, layer, name = site.split(".", 2)
    parts = [part for part, _ in _PARTS]
    last = next(i for i, (_, names) in enumerate(_PARTS) if name in names)
    return int(layer) * sum(costs.values()) + sum(costs[part] for part in parts[: last + 1])
