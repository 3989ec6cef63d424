"""The compiled programs: activations along a text, what edits change, and continuations with and without them.

A text is padded to one of a few lengths, so that nothing is compiled while somebody waits: attention is causal and latents are
of their own row, so that what stands after the text changes nothing before it. Letters: L positions, F latents, E edits, V
vocabulary, N what is listed; rows 0 and 1 of a batch are without and with the edits.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from saejax.features.ablation import logits
from saejax.live.edits import Edits, part, units
from saejax.lm import gpt2

_FINAL = "ln_final.hook_normalized"


class Setting(NamedTuple):
    """What a program is compiled for.

    Attributes:
      config, dtype: of the GPT-2.
      reads, writes: the autoencoder's sites.
      end_of_text: the token before each document.
      exclude_special: whether the autoencoder is neither for that token nor for a window's first position.
    """

    config: gpt2.GPT2Config
    dtype: Any
    reads: str
    writes: str
    end_of_text: int
    exclude_special: bool


class Activations(NamedTuple):
    """Of one autoencoder along a text.

    Attributes:
      values_LxN, latents_LxN: the strongest latents of each position, the strongest first.
      chosen_LxK: activations of the latents asked for.
      l0: mean number of active latents over the text's positions that the autoencoder is for.
      error, variance: summed squares of y − ŷ and of y about its mean, over those positions.
    """

    values_LxN: jax.Array
    latents_LxN: jax.Array
    chosen_LxK: jax.Array
    l0: jax.Array
    error: jax.Array
    variance: jax.Array


class Changes(NamedTuple):
    """What edits change.

    Attributes:
      tokens_N: those with the largest probability of being next, without the edits or with them.
      before_N, after_N: their probabilities.
      kl: Σ p (log p − log p'), p being without and p' with the edits, nats.
      loss_change_L: of the token at each position, its loss with the edits less that without; 0 at the first.
      unit_E: what strengths were multiples of.
    """

    tokens_N: jax.Array
    before_N: jax.Array
    after_N: jax.Array
    kl: jax.Array
    loss_change_L: jax.Array
    unit_E: jax.Array


@functools.partial(jax.jit, static_argnames=("setting", "n"))
def activations(params, sae, tokens_L, n_text, latents_K, *, setting: Setting, n: int) -> Activations:
    """Latents along a text, the `n` strongest of each position.

    Args:
      params: the GPT-2's.
      sae: an `InferenceSAE`.
      tokens_L: int32, the text's and padding.
      n_text: how many are the text's.
      latents_K: int32, of which all activations are wanted.
      setting, n: static.
    """
    sites = tuple(dict.fromkeys((setting.reads, setting.writes)))
    _, found = _run(params, tokens_L[None], setting, capture=sites, logits=False)
    y_LxE = found[setting.writes].reshape(len(tokens_L), -1).astype(jnp.float32)
    f_LxF, y_hat_LxE = sae.reconstruct(found[setting.reads].reshape(len(tokens_L), -1).astype(jnp.float32))
    mask_L = _mask(tokens_L[None], setting)[0] & (jnp.arange(len(tokens_L)) < n_text)
    f_LxF = jnp.where(mask_L[:, None], f_LxF, 0.0)
    values_LxN, latents_LxN = jax.lax.top_k(f_LxF, n)
    n_rows = jnp.maximum(mask_L.sum(), 1)
    rows_Lx1 = mask_L[:, None].astype(jnp.float32)
    mean_E = (y_LxE * rows_Lx1).sum(axis=0) / n_rows
    error, variance = (jnp.sum(jnp.square(a) * rows_Lx1) for a in (y_LxE - y_hat_LxE, y_LxE - mean_E))
    return Activations(values_LxN, latents_LxN, f_LxF[:, latents_K], (f_LxF > 0).sum() / n_rows, error, variance)


@functools.partial(jax.jit, static_argnames=("setting", "n"))
def changes(params, sae, tokens_L, n_text, position, edits: Edits, *, setting: Setting, n: int) -> Changes:
    """What edits change in the losses along a text, and in what comes after one position.

    Args:
      params, sae, tokens_L, n_text: as in `activations`.
      position: after which the next token is looked at.
      edits: packed.
      setting, n: static; `n` tokens are listed.
    """
    tokens_2xL = jnp.broadcast_to(tokens_L, (2, len(tokens_L)))
    edit, unit_E = _edit(params, sae, tokens_2xL, n_text, edits, setting)
    logits_2xLxV, _ = _run(params, tokens_2xL, setting, edits=edit)
    before_L, after_L = gpt2.next_token_losses(logits_2xLxV, tokens_2xL)
    logprobs_2xV = jax.nn.log_softmax(jax.lax.dynamic_index_in_dim(logits_2xLxV, position, axis=1, keepdims=False))
    before_V, after_V = jnp.exp(logprobs_2xV)
    _, tokens_N = jax.lax.top_k(jnp.maximum(before_V, after_V), n)
    kl = jnp.sum(before_V * (logprobs_2xV[0] - logprobs_2xV[1]))
    return Changes(tokens_N, before_V[tokens_N], after_V[tokens_N], kl, jnp.pad(after_L - before_L, (1, 0)), unit_E)


@functools.partial(jax.jit, static_argnames=("setting",))
def continued(params, sae, tokens_2xL, n_text, i, edits: Edits, seed, temperature, *, setting: Setting) -> jax.Array:
    """One more token after the text and its i sampled ones, without and with the edits: the tokens with it, int32 [2, L].

    Both rows use the same random numbers, folded from (seed, i): they differ by the edits alone. The loop over i is the
    caller's, since what XLA puts into a loop on a CPU runs on one core.

    Args:
      params, sae, n_text, edits: as in `changes`.
      tokens_2xL: int32, the text's, those sampled so far, and padding; n_text + i < L.
      seed: of the samples.
      temperature: 0 takes the most probable token each time.
      setting: static.
    """
    edit, _ = _edit(params, sae, tokens_2xL, n_text, edits, setting)
    _, found = _run(params, tokens_2xL, setting, capture=(_FINAL,), edits=edit, logits=False)
    last_2x1xD = jax.lax.dynamic_slice_in_dim(found[_FINAL], n_text + i - 1, 1, axis=1)
    logits_2xV = logits(params, last_2x1xD, setting.dtype)[:, 0]
    noise_V = jax.random.gumbel(jax.random.fold_in(jax.random.key(seed), i), logits_2xV.shape[1:])
    chosen_2 = jnp.argmax(logits_2xV + temperature * noise_V, axis=-1)
    return tokens_2xL.at[:, n_text + i].set(chosen_2.astype(tokens_2xL.dtype))


def _run(params, tokens_BxL, setting: Setting, **more):
    return gpt2.run(params, tokens_BxL, config=setting.config, dtype=setting.dtype, **more)


def _mask(tokens_BxL: jax.Array, setting: Setting) -> jax.Array:
    """bool [B, L]: the positions that the autoencoder is for."""
    if not setting.exclude_special:
        return jnp.ones(tokens_BxL.shape, bool)
    return (jnp.arange(tokens_BxL.shape[1]) > 0) & (tokens_BxL != setting.end_of_text)


def _edit(params, sae, tokens_2xL: jax.Array, n_text, edits: Edits, setting: Setting) -> tuple[dict[str, Any], jax.Array]:
    """(the edits as the GPT-2 takes them, of the second row only; what their strengths are multiples of [E])."""
    _, found = _run(params, tokens_2xL, setting, capture=(setting.reads,), logits=False)
    x = found[setting.reads]
    f_2xLxF = sae.encode(x.reshape(tokens_2xL.size, -1).astype(jnp.float32)).reshape(*tokens_2xL.shape, -1)
    mask_2xL = _mask(tokens_2xL, setting)
    of_text_L = mask_2xL[0] & (jnp.arange(tokens_2xL.shape[1]) < n_text)
    unit_E = units(edits, jnp.where(of_text_L[:, None], f_2xLxF[0], 0.0))
    added = part(sae, x, f_2xLxF, mask_2xL & jnp.array([[False], [True]]), edits, unit_E)
    return {setting.writes: lambda y: y + added.reshape(y.shape).astype(y.dtype)}, unit_E
