"""Tokens → rows: the GPT-2 up to the deepest site, a batch of windows at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saejax.lm import gpt2


@functools.partial(jax.jit, static_argnames=("config", "sites", "dtype"))
def capture(params: gpt2.Params, tokens_BxL: jax.Array, *, config: gpt2.GPT2Config, sites: tuple[str, ...], dtype: Any):
    """{site: rows bfloat16 [B, L, D]}; heads are joined."""
    _, captured = gpt2.run(params, tokens_BxL, config=config, capture=sites, logits=False, dtype=dtype)
    return {site: x.reshape(*tokens_BxL.shape, -1).astype(jnp.bfloat16) for site, x in captured.items()}


class TokenBatches:
    """Windows of tokens in a shuffled order, as an `ActivationSource` whose rows are made from them later.

    A pass takes the windows in an order drawn from (seed, pass), so any step's follow from (seed, step).
    """

    width = 2  # in units of bfloat16, of one int32 token

    def __init__(self, tokens_NxL: np.ndarray, *, batch_windows: int, seed: int):
        self._tokens_NxL, self._batch, self._seed = tokens_NxL, batch_windows, seed
        self.n_rows = tokens_NxL.size

    def batches(self, step: int, n_steps: int) -> np.ndarray:
        """The windows of steps `step` to `step + n_steps − 1`, int32 [n_steps, windows, L]."""
        n_windows = len(self._tokens_NxL)
        passes, places = np.divmod(np.arange(step * self._batch, (step + n_steps) * self._batch), n_windows)
        windows = np.empty_like(places)
        for one_pass in np.unique(passes):
            order = np.random.default_rng((self._seed, one_pass)).permutation(n_windows)
            windows[passes == one_pass] = order[places[passes == one_pass]]
        return self._tokens_NxL[windows].reshape(n_steps, self._batch, -1)


def harvest(
    params: gpt2.Params,
    tokens_NxL: np.ndarray,
    *,
    config: gpt2.GPT2Config,
    sites: Sequence[str],
    dtype: Any,
    batch_windows: int,
    first_batch: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields {site: rows bfloat16 [windows, L, D]} for each batch of windows, in order.

    Batches always begin at multiples of `batch_windows`, so an interrupted harvest that goes on gives the same bits. The
    next batch is dispatched before this one is read.

    Args:
      params, config: the GPT-2.
      tokens_NxL: integer windows.
      sites: hook names.
      dtype: of the GPT-2's activations.
      batch_windows: windows in a batch; the last batch is padded for the device, not in what is yielded.
      first_batch: the batch to begin with.
    """
    pending: tuple[int, dict[str, jax.Array]] | None = None
    for start in range(first_batch * batch_windows, len(tokens_NxL), batch_windows):
        tokens_BxL = np.asarray(tokens_NxL[start : start + batch_windows])
        n = len(tokens_BxL)
        padded_BxL = np.pad(tokens_BxL, ((0, batch_windows - n), (0, 0)))
        rows = capture(params, padded_BxL, config=config, sites=tuple(sites), dtype=dtype)
        if pending:
            yield _read(*pending)
        pending = (n, rows)
    if pending:
        yield _read(*pending)


def _read(n: int, rows: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    return {site: np.asarray(x_BxLxD)[:n] for site, x_BxLxD in rows.items()}
