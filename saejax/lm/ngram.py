"""Unigram and bigram language models: the baselines that a trained GPT-2 must beat.

Both are measured as the GPT-2 is: mean nats a token over positions 2 to L of each held-out window.
"""

from __future__ import annotations

import numpy as np

DISCOUNT = 0.75


def held_out_losses(train_NxL: np.ndarray, held_out_NxL: np.ndarray, vocab_size: int) -> dict[str, float]:
    """Held-out cross-entropies of n-gram models counted on the training windows.

    The unigram is smoothed by adding one; the bigram by absolute discounting (Ney, Essen & Kneser 1994), backing off
    to it: P(w|v) = max(c(v,w) − d, 0) / c(v) + d·n(v) / c(v) · P(w), where n(v) counts the distinct successors of v.

    Args:
      train_NxL, held_out_NxL: integer windows.
      vocab_size: V.

    Returns:
      {"unigram": nats a token, "bigram": nats a token}.
    """
    unigram_V = np.bincount(np.ravel(train_NxL), minlength=vocab_size) + 1.0
    unigram_V /= unigram_V.sum()
    pairs, counts = np.unique(_pairs(train_NxL, vocab_size), return_counts=True)
    first = pairs // vocab_size
    total_V = np.bincount(first, weights=counts, minlength=vocab_size)
    distinct_V = np.bincount(first, minlength=vocab_size)

    wanted = _pairs(held_out_NxL, vocab_size)
    before, after = wanted // vocab_size, wanted % vocab_size
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    count = np.where(pairs[place] == wanted, counts[place], 0)
    seen = total_V[before] > 0
    total = np.where(seen, total_V[before], 1.0)
    backoff = np.where(seen, DISCOUNT * distinct_V[before] / total, 1.0)
    bigram = np.maximum(count - DISCOUNT, 0.0) / total + backoff * unigram_V[after]
    return {"unigram": float(-np.log(unigram_V[after]).mean()), "bigram": float(-np.log(bigram).mean())}


def _pairs(tokens_NxL: np.ndarray, vocab_size: int) -> np.ndarray:
    """Each token with the one before it, as one int64, within windows."""
    return (tokens_NxL[:, :-1].astype(np.int64) * vocab_size + tokens_NxL[:, 1:]).ravel()
