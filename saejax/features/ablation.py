"""What a latent does to the language model: forward passes without it, for the examples that are shown.

Of latent i, f_i W_dec[i] is subtracted from the written site at every position of the window, and the model runs on from there;
what the autoencoder does not explain stays as it is. Where rows are scaled one by one, the part is in the row's own units. The
undisturbed pass and the one without the latent are one program, so that blocks before the site are run once; logits are made at
the shown positions only, and what comes after the stretch is not run (attention is causal).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features.text import Text
from saejax.lm import gpt2
from saejax.sae.scaling import normalize

N_TOKENS = 5  # whose probability falls, and rises, most
_LENGTHS = 32  # windows are cut to a multiple of so many tokens
_LOGITS_AT_ONCE = 2**24
_FINAL = "ln_final.hook_normalized"


class Wanted(NamedTuple):
    """One pass.

    Attributes:
      latent: its number.
      first, end: addresses of the stretch that is shown, in one window; peak: the address of its peak.
      f_L: float32 [L], the latent's activation at every position of the window.
    """

    latent: int
    first: int
    end: int
    peak: int
    f_L: np.ndarray


class Effect(NamedTuple):
    """What came of it: the fields of `schemas.Example` of the same names."""

    loss_change: list[float | None]
    fallen_tokens: list[int]
    fallen_changes: list[float]
    risen_tokens: list[int]
    risen_changes: list[float]


def effects(
    model: LanguageModel, member: Spliced, text: Text, wanted: Sequence[Wanted], *, batch_tokens: int
) -> Iterator[tuple[int, Effect]]:
    """(place in `wanted`, effect) of each, in any order.

    Args:
      model: the GPT-2.
      member: the autoencoder at its sites.
      text: that the stretches are of.
      wanted: the passes.
      batch_tokens: of a forward pass.
    """
    if not wanted:
        return
    L = text.windows.context_size
    n_shown = max(one.end - one.first for one in wanted)
    by_length: dict[int, list[int]] = {}
    for i, one in enumerate(wanted):
        length = min(L, -(-((one.end - 1) % L + 1) // _LENGTHS) * _LENGTHS)
        by_length.setdefault(length, []).append(i)
    most = max(1, _LOGITS_AT_ONCE // (n_shown * model.config.vocab_size))
    for length, places in sorted(by_length.items()):
        size = min(max(1, batch_tokens // length), most, len(places))
        for start in range(0, len(places), size):
            some = places[start : start + size]
            batch = _batch([wanted[i] for i in some + some[-1:] * (size - len(some))], text, length, n_shown)
            places_of = {"reads": member.reads, "writes": member.writes}
            found = _run(model.params, member.sae, *batch, config=model.config, dtype=model.dtype, **places_of)
            yield from zip(some, _read([wanted[i] for i in some], jax.device_get(found), L))


def _batch(wanted: list[Wanted], text: Text, length: int, n_shown: int) -> tuple[np.ndarray, ...]:
    """(tokens [E, length], latents [E], activations [E, length], shown positions [E, S], the peak's among them [E])."""
    L = text.windows.context_size
    windows = np.array([one.first // L for one in wanted])
    first = np.array([one.first % L for one in wanted])
    # A token's loss is from the logits before it; those after the stretch are made to have one shape, and not read.
    shown_ExS = np.clip(first[:, None] - 1 + np.arange(n_shown + 1), 0, length - 1)
    peak_E = np.array([one.peak - one.first + 1 for one in wanted])
    f_ExL = np.stack([one.f_L[:length] for one in wanted])
    latents = np.array([one.latent for one in wanted])
    return np.asarray(text.windows.tokens_NxL[windows, :length]), latents, f_ExL, shown_ExS, peak_E


@functools.partial(jax.jit, static_argnames=("config", "dtype", "reads", "writes"))
def _run(params, sae, tokens_ExL, latents_E, f_ExL, shown_ExS, peak_E, *, config, dtype, reads, writes):
    """(change of the loss of the token after each shown position [E, S], (changes, tokens) that rise most, and fall [E, n])."""
    sites = tuple(dict.fromkeys((reads, writes, *_stream_before(writes), _FINAL)))
    options = {"config": config, "dtype": dtype, "logits": False}
    _, clean = gpt2.run(params, tokens_ExL, capture=sites, **options)
    edits = {site: clean[site] for site in _stream_before(writes)}
    edits[writes] = clean[writes] - contribution(sae, clean[reads], latents_E, f_ExL).reshape(clean[writes].shape)
    _, without = gpt2.run(params, tokens_ExL, capture=(_FINAL,), edits=edits, **options)
    logprobs, changed = (_logprobs(params, found[_FINAL], shown_ExS, dtype) for found in (clean, without))
    following_ExS = jnp.take_along_axis(tokens_ExL, jnp.minimum(shown_ExS + 1, tokens_ExL.shape[1] - 1), axis=1)
    loss_change_ExS = -jnp.take_along_axis(changed - logprobs, following_ExS[..., None], axis=2)[..., 0]
    at_peak = (jnp.take_along_axis(a, peak_E[:, None, None], axis=1)[:, 0] for a in (changed, logprobs))
    change_ExV = jnp.subtract(*(jnp.exp(a) for a in at_peak))
    risen, fallen = (jax.lax.top_k(a, min(N_TOKENS, config.vocab_size)) for a in (change_ExV, -change_ExV))
    return loss_change_ExS, risen, fallen


def contribution(sae, x_ExLxD: jax.Array, latents_E: jax.Array, f_ExL: jax.Array) -> jax.Array:
    """f W_dec[latent] in raw units, float32 [E, L, width].

    Args:
      sae: an `InferenceSAE`.
      x_ExLxD: the read site's activations, whose scale is the row's where rows are scaled one by one; heads may be apart.
      latents_E, f_ExL: which latent, and how active at each position.
    """
    part = f_ExL[..., None] * sae.W_dec[latents_E][:, None]
    _, undoing = normalize(x_ExLxD.reshape(f_ExL.size, -1).astype(jnp.float32), sae.normalize_activations)
    return part if undoing is None else part * undoing[1].reshape(*f_ExL.shape, 1)


def _stream_before(site: str) -> tuple[str, ...]:
    """The stream at the beginning of the site's block, given which nothing before is run again."""
    parts = site.split(".")
    return (f"blocks.{parts[1]}.hook_resid_pre",) if parts[0] == "blocks" and parts[2] != "hook_resid_pre" else ()


def _logprobs(params, normalized_ExLxD: jax.Array, shown_ExS: jax.Array, dtype) -> jax.Array:
    """float32 [E, S, V] at the shown positions."""
    return jax.nn.log_softmax(logits(params, jnp.take_along_axis(normalized_ExLxD, shown_ExS[..., None], axis=1), dtype))


def logits(params, normalized_ExSxD: jax.Array, dtype) -> jax.Array:
    """`ln_final.hook_normalized` at some positions → their logits, as `lm.gpt2` makes them, float32 [E, S, V]."""
    x_ExSxD = (normalized_ExSxD * params["ln_f"]["scale"] + params["ln_f"]["bias"]).astype(dtype)
    embedding_VxD = params["wte"]["embedding"].astype(dtype)
    precision = "highest" if dtype == jnp.float32 else "default"
    return jnp.einsum("esd,vd->esv", x_ExSxD, embedding_VxD, precision=precision, preferred_element_type=jnp.float32)


def _read(wanted: list[Wanted], found, L: int) -> Iterator[Effect]:
    loss_change_ExS, (risen_ExN, risen_ids_ExN), (fallen_ExN, fallen_ids_ExN) = found
    for e, one in enumerate(wanted):
        changes: list[float | None] = loss_change_ExS[e, : one.end - one.first].tolist()
        if one.first % L == 0:
            changes[0] = None
        fallen = (fallen_ids_ExN[e].tolist(), (-fallen_ExN[e]).tolist())
        yield Effect(changes, *fallen, risen_ids_ExN[e].tolist(), risen_ExN[e].tolist())
