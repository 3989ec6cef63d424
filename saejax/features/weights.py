"""What a latent's weights say without any text: its direct effect on the logits, the neurons and latents that it is like.

A decoder row is first carried to the residual stream: as it is where the site adds to the stream, through W_out from the MLP's
hidden layer, through W_O from the heads' output. Other sites (queries, keys, normalised rows, …) act through non-linear layers
only, and have no direct effect. On its way out a direction passes the final layer norm, which takes away its mean and
multiplies by the gain; the division by the stream's norm, which is another at every position, is left out.

Source: SAEDashboard's `pos_str` and `neg_str`; Elhage et al. 2021's direct path.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.evaluation.dictionaries import unit
from saejax.lm import gpt2

N_BINS = 40
_BLOCK_FLOATS = 2**24
_ADD_TO_STREAM = (
    *("hook_embed", "hook_pos_embed", "hook_resid_pre", "hook_attn_out"),
    *("hook_resid_mid", "hook_mlp_out", "hook_resid_post"),
)


class Logits(NamedTuple):
    """A block of latents' direct effects.

    Attributes:
      edges [K, N_BINS + 1], counts int64 [K, N_BINS]: histograms over the vocabulary.
      boosted, suppressed: (tokens int32 [K, n], logits float32 [K, n]), the most and the least.
    """

    edges: np.ndarray
    counts: np.ndarray
    boosted: tuple[np.ndarray, np.ndarray]
    suppressed: tuple[np.ndarray, np.ndarray]


def in_stream(W_dec_FxE: jax.Array, site: str, params: gpt2.Params) -> jax.Array | None:
    """Decoder rows as directions of the residual stream [F, D]; None where the site has no linear way there."""
    layer, name = (site.split(".", 2)[1:]) if site.startswith("blocks.") else ("", site)
    if name in _ADD_TO_STREAM:
        return W_dec_FxE
    if name in ("mlp.hook_post", "attn.hook_z"):
        part = "mlp" if name.startswith("mlp") else "attn"
        return jnp.matmul(W_dec_FxE, params[f"h_{layer}"][part]["c_proj"]["kernel"], precision="highest")
    return None


def at_unembedding(W_dec_FxE: jax.Array, site: str, params: gpt2.Params) -> jax.Array | None:
    """Decoder rows as the final layer norm gives them to the unembedding [F, D]; None where they do not get there directly."""
    if site == "ln_final.hook_normalized":
        return W_dec_FxE * params["ln_f"]["scale"]
    W_FxD = in_stream(W_dec_FxE, site, params)
    return None if W_FxD is None else (W_FxD - W_FxD.mean(-1, keepdims=True)) * params["ln_f"]["scale"]


def direct_logits(W_KxD: jax.Array, embedding_VxD: jax.Array, n: int) -> Logits:
    """Each row's product with every token's embedding."""
    highest, lowest, logits_KxV = _extremes(W_KxD, embedding_VxD, min(n, len(embedding_VxD)))
    edges, counts = histograms(np.asarray(logits_KxV), N_BINS)
    (high, high_ids), (low, low_ids) = (tuple(map(np.asarray, pair)) for pair in (highest, lowest))
    return Logits(edges, counts, (high_ids, high), (low_ids, -low))


@functools.partial(jax.jit, static_argnames="n")
def _extremes(W_KxD, embedding_VxD, n: int):
    logits_KxV = jnp.matmul(W_KxD, embedding_VxD.T, precision="highest")
    return jax.lax.top_k(logits_KxV, n), jax.lax.top_k(-logits_KxV, n), logits_KxV


def latents_at_once(n_others: int) -> int:
    """Latents of a block whose products with so many tokens or neurons fit in its memory, 64 MiB."""
    return max(1, _BLOCK_FLOATS // n_others)


def histograms(x_KxV: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each row, even bins from its least to its largest value: edges float64 [K, n + 1], counts int64 [K, n]."""
    low, high = x_KxV.min(1).astype(np.float64), x_KxV.max(1).astype(np.float64)
    width = np.where(high > low, high - low, 1.0)
    bins = np.minimum(((x_KxV - low[:, None]) / width[:, None] * n_bins).astype(np.int64), n_bins - 1)
    flat = bins + n_bins * np.arange(len(x_KxV))[:, None]
    counts = np.bincount(flat.ravel(), minlength=n_bins * len(x_KxV)).reshape(-1, n_bins)
    return low[:, None] + width[:, None] * np.linspace(0, 1, n_bins + 1), counts


def aligned_neurons(W_FxE: jax.Array, stream_FxD: jax.Array | None, site: str, block: int, params: gpt2.Params, n: int):
    """The n neurons that each latent's direction is most alike, by size: (int64 [F, n], cosine [F, n]), the largest first.

    Neurons are those of `block`'s MLP: their output weights for directions in the stream, the basis where the site is the
    hidden layer itself. Where neither is, there is none: [F, 0].
    """
    kernel_IxD = params[f"h_{block}"]["mlp"]["c_proj"]["kernel"]
    if site.endswith(("mlp.hook_post", "mlp.hook_pre")):
        own_FxE, neurons_IxE = unit(W_FxE), jnp.eye(len(kernel_IxD))
    elif stream_FxD is None:
        return np.zeros((len(W_FxE), 0), np.int64), np.zeros((len(W_FxE), 0), np.float32)
    else:
        own_FxE, neurons_IxE = unit(stream_FxD), unit(kernel_IxD)
    at_once = latents_at_once(len(neurons_IxE))
    found = [_most_alike(own_FxE[i : i + at_once], neurons_IxE, n) for i in range(0, len(own_FxE), at_once)]
    index, cosine = (np.concatenate([np.asarray(part) for part in column]) for column in zip(*found))
    return index, cosine


@functools.partial(jax.jit, static_argnames="n")
def _most_alike(W_KxE, neurons_IxE, n: int):
    cosine_KxI = jnp.matmul(W_KxE, neurons_IxE.T, precision="highest")
    _, index = jax.lax.top_k(jnp.abs(cosine_KxI), min(n, len(neurons_IxE)))
    return index, jnp.take_along_axis(cosine_KxI, index, axis=1)
