"""Continuations of a prompt with a latent turned up: s · (its largest activation) · W_dec[latent] is added to the written site.

It is added at every position that the autoencoder is for (not at the window's first), of the prompt and of what is sampled;
where rows are scaled one by one, in the row's own units. Tokens are sampled at temperature 1 with keys folded from (seed,
latent, bits of the strength, position), so that a continuation does not depend on which others are asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features.ablation import contribution, logits
from saejax.lm import gpt2

_FINAL = "ln_final.hook_normalized"


class Strength(NamedTuple):
    """One continuation: a latent, the strength in multiples of its largest activation, and that."""

    latent: int
    strength: float
    max_activation: float


def continuations(
    model: LanguageModel,
    member: Spliced,
    wanted: Sequence[Strength],
    prompt: Sequence[int],
    *,
    n_tokens: int,
    seed: int,
    batch_tokens: int,
    exclude_first: bool = True,
) -> Iterator[list[int]]:
    """The sampled tokens of each, in order.

    Args:
      model: the GPT-2.
      member: the autoencoder at its sites.
      wanted: latents and strengths.
      prompt: tokens, `<|endoftext|>` first; with what is sampled no longer than the model's context.
      n_tokens: to sample.
      seed: of the samples.
      batch_tokens: of a forward pass.
      exclude_first: whether the autoencoder is not for a window's first position.
    """
    length = len(prompt) + n_tokens
    size = max(1, min(batch_tokens // length, len(wanted)))
    tokens_ExL = np.zeros((size, length), np.int32)
    tokens_ExL[:, : len(prompt)] = prompt
    for start in range(0, len(wanted), size):
        some = list(wanted[start : start + size])
        padded = some + some[-1:] * (size - len(some))
        latents_E = np.array([one.latent for one in padded])
        strength_E = np.array([one.strength for one in padded], np.float32)
        added_E = strength_E * np.array([one.max_activation for one in padded], np.float32)
        sampled_ExL = _sample(
            *(model.params, member.sae, tokens_ExL, latents_E, strength_E.view(np.uint32), added_E, seed),
            **{"config": model.config, "dtype": model.dtype, "reads": member.reads, "writes": member.writes},
            **{"n_prompt": len(prompt), "exclude_first": exclude_first},
        )
        yield from np.asarray(sampled_ExL)[: len(some), len(prompt) :].tolist()


@functools.partial(jax.jit, static_argnames=("config", "dtype", "reads", "writes", "n_prompt", "exclude_first"))
def _sample(
    params,
    sae,
    tokens_ExL,
    latents_E,
    bits_E,
    added_E,
    seed,
    *,
    config,
    dtype,
    reads,
    writes,
    n_prompt: int,
    exclude_first: bool,
) -> jax.Array:
    """Fills tokens from `n_prompt` on, int32 [E, L]."""

    def key(latent, bits):
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), latent), bits)

    keys_E = jax.vmap(key)(latents_E, bits_E)
    f_ExL = jnp.broadcast_to(added_E[:, None], tokens_ExL.shape)
    if exclude_first:
        f_ExL = f_ExL.at[:, 0].set(0.0)

    def step(tokens_ExL: jax.Array, position: jax.Array):
        logits_ExV = steered_logits(params, sae, tokens_ExL, latents_E, f_ExL, position, config, dtype, reads, writes)
        chosen_E = jax.vmap(lambda key, row: jax.random.categorical(jax.random.fold_in(key, position), row))(keys_E, logits_ExV)
        return tokens_ExL.at[:, position + 1].set(chosen_E.astype(tokens_ExL.dtype)), None

    return jax.lax.scan(step, tokens_ExL, jnp.arange(n_prompt - 1, tokens_ExL.shape[1] - 1))[0]


def steered_logits(
    params, sae, tokens_ExL, latents_E, f_ExL, position, config, dtype: Any, reads: str, writes: str
) -> jax.Array:
    """Logits after one position with f W_dec[latent] added at the written site, float32 [E, V]."""
    _, clean = gpt2.run(params, tokens_ExL, config=config, capture=(reads,), logits=False, dtype=dtype)
    part = contribution(sae, clean[reads], latents_E, f_ExL)
    edits = {writes: lambda x: x + part.reshape(x.shape)}
    _, found = gpt2.run(params, tokens_ExL, config=config, capture=(_FINAL,), edits=edits, logits=False, dtype=dtype)
    at_position = jax.lax.dynamic_index_in_dim(found[_FINAL], position, axis=1)
    return logits(params, at_position, dtype)[:, 0]
