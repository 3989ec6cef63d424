"""Counts that need no measurement: operations, and bytes of files. Pure.

An operation is one multiplication or one addition of a matrix product; element-wise work is not counted, though on a CPU it
takes as long again, which is why seconds are measured and not computed from these.

Letters of shapes: B rows a step, D width read, E width predicted, F latents.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from saejax.lm.gpt2 import GPT2Config

BFLOAT16_BYTES, FLOAT32_BYTES, ADDRESS_BYTES, TOKEN_BYTES = 2, 4, 8, 4


def lm_parameters(lm: GPT2Config) -> int:
    """Parameters of a GPT-2, the embedding counted once since the unembedding is its transpose."""
    D = lm.n_embd
    attention, mlp, norms = 4 * D * D + 4 * D, 2 * D * lm.inner + lm.inner + D, 4 * D
    return (lm.vocab_size + lm.n_positions) * D + lm.n_layer * (attention + mlp + norms) + 2 * D


def lm_operations(lm: GPT2Config, context_size: int, *, blocks: int | None = None, logits: bool = False) -> int:
    """Operations of a forward pass, a token.

    Args:
      lm: the sizes.
      context_size: L, tokens in a window; scores are computed for all pairs, the masked ones included.
      blocks: how many are run; None for all.
      logits: whether the unembedding is run.
    """
    D = lm.n_embd
    block = 2 * (4 * D * D + 2 * D * lm.inner) + 4 * context_size * D
    return (lm.n_layer if blocks is None else blocks) * block + (2 * D * lm.vocab_size if logits else 0)


def blocks_run(site: str, n_layer: int) -> int:
    """Blocks of a forward pass that ends at a site: it ends before the block after it."""
    if site.startswith("blocks."):
        return int(site.split(".")[1]) + 1
    return 0 if site in ("hook_embed", "hook_pos_embed") else n_layer


def sae_step_operations(n_rows: int, d_in: int, d_out: int, d_sae: int) -> int:
    """Operations of one update of one member: 10 · B · D · F for an autoencoder.

    Encode 2BDF, decode 2BFE; backwards the gradients of W_dec (2BFE), of the latents (2BFE) and of W_enc (2BDF). The input's
    own gradient is not taken.
    """
    return 2 * n_rows * d_sae * (2 * d_in + 3 * d_out)


def sae_forward_operations(n_rows: int, d_in: int, d_out: int, d_sae: int) -> int:
    """Operations of one reconstruction."""
    return 2 * n_rows * d_sae * (d_in + d_out)


def tree_bytes(tree: Any) -> int:
    """Bytes of a tree of arrays, or of their shapes."""
    return sum(int(np.prod(a.shape)) * np.dtype(a.dtype).itemsize for a in jax.tree.leaves(tree))


def store_bytes(n_rows: int, widths: list[int]) -> int:
    """Bytes of stored activations: rows in bfloat16 and an address each, a site."""
    return sum(n_rows * (BFLOAT16_BYTES * width + ADDRESS_BYTES) for width in widths)


def tokens_bytes(n_tokens: int) -> int:
    """Bytes of packed windows; the documents' names come on top, and are few."""
    return TOKEN_BYTES * n_tokens


def kept_checkpoints(n_steps: int, every: int, keep: int = 2) -> int:
    """How many checkpoints are there at the end: one every so many steps and one at the end, the newest kept."""
    return min(keep, -(-n_steps // every))


def written_checkpoints(n_steps: int, every: int) -> int:
    """How many are written in all."""
    return -(-n_steps // every)


def export_bytes(d_in: int, d_out: int, d_sae: int) -> int:
    """Bytes of one exported member: both matrices, the encoder's and decoder's biases, each latent's density."""
    return FLOAT32_BYTES * (d_sae * (d_in + d_out) + d_out + 2 * d_sae)


def store_reads_bytes(n_rows_trained: int, n_rows: int, row_bytes: int) -> int:
    """Bytes that training reads from the store: whole passes, since rows are read in large groups."""
    passes = -(-n_rows_trained // max(n_rows, 1))
    return passes * n_rows * row_bytes
