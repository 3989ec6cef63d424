"""The one pass over the text: GPT-2 up to the site, the autoencoder, and what its latents did.

Batch by batch: active latents go to `Activity`; products with the MLP's neurons of the site's block are added up. The next
batch is dispatched before this one is read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from saejax import console
from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features.activity import Activity, ActivityWriter
from saejax.features.correlation import NeuronSums
from saejax.features.text import Text
from saejax.lm import gpt2

_LATENTS_AT_ONCE = 2**24  # floats of [rows, F], 64 MiB
_NEURON_PRODUCTS = 2e10  # multiply-adds, some ten seconds on two cores


class Collected(NamedTuple):
    """What the pass found.

    Attributes:
      activity: of all latents.
      neurons: sums of products with neurons, over `neurons.n_rows` of the rows.
    """

    activity: Activity
    neurons: NeuronSums


def block_of(site: str, n_layer: int) -> int:
    """The block that a site is in; for sites before the first and after the last block, that."""
    if site.startswith("blocks."):
        return int(site.split(".")[1])
    return n_layer - 1 if site.startswith("ln_final") else 0


def collect(model: LanguageModel, member: Spliced, text: Text, writer: ActivityWriter, *, batch_windows: int) -> Collected:
    """Runs text through the model and one autoencoder.

    Args:
      model: the GPT-2.
      member: the autoencoder at its site.
      text: windows.
      writer: of its activity; finished here.
      batch_windows: windows in a forward pass.
    """
    neurons = f"blocks.{block_of(member.reads, model.config.n_layer)}.mlp.hook_post"
    sums = NeuronSums.zeros(len(member.sae.W_dec), model.config.inner)
    every = 1
    with console.progress("features", text.keep_N.size, "tokens") as advance:
        for i, (keep_B, f_BxF, neurons_BxI) in enumerate(_batches(model, member, text, neurons, batch_windows)):
            if i == 0:  # how active latents are says how many rows neurons can be correlated on
                wanted = f_BxF.nnz * model.config.inner * text.keep_N.size / max(len(keep_B), 1)
                every = int(np.ceil(wanted / _NEURON_PRODUCTS)) or 1
            if i % every == 0:
                sums = sums.plus(f_BxF, np.asarray(neurons_BxI)[: len(keep_B)], keep_B)
            writer.add(f_BxF)
            advance(len(keep_B))
    return Collected(writer.finish(), sums)


def _batches(
    model: LanguageModel, member: Spliced, text: Text, neurons: str, batch_windows: int
) -> Iterator[tuple[np.ndarray, sparse.csr_array, jax.Array]]:
    """(which rows count, active latents of those rows [B, F], neurons [B, I]) of each batch."""
    tokens_NxL, L = text.windows.tokens_NxL, text.windows.context_size
    block = rows_at_once(batch_windows * L, len(member.sae.W_dec))
    pending = None
    for start in range(0, len(tokens_NxL), batch_windows):
        tokens_BxL = np.asarray(tokens_NxL[start : start + batch_windows])
        keep_B = text.keep_N[start * L : start * L + tokens_BxL.size]
        padded_BxL = np.pad(tokens_BxL, ((0, batch_windows - len(tokens_BxL)), (0, 0)))
        x_BxD, neurons_BxI = _rows(
            model.params, padded_BxL, config=model.config, dtype=model.dtype, site=member.reads, neurons=neurons
        )
        latents = [_encode(member.sae, x_BxD[i : i + block]) for i in range(0, len(x_BxD), block)]
        if pending:
            yield _read(*pending)
        pending = keep_B, latents, neurons_BxI
    if pending:
        yield _read(*pending)


def rows_at_once(n_rows: int, d_sae: int) -> int:
    """The largest divisor of `n_rows` whose latents fit in the memory of a block."""
    most = max(1, min(n_rows, _LATENTS_AT_ONCE // d_sae))
    return next(n for n in range(most, 0, -1) if n_rows % n == 0)


@functools.partial(jax.jit, static_argnames=("config", "dtype", "site", "neurons"))
def _rows(params, tokens_BxL, *, config, dtype, site, neurons):
    _, captured = gpt2.run(params, tokens_BxL, config=config, capture=(site, neurons), logits=False, dtype=dtype)
    return tuple(captured[name].reshape(tokens_BxL.size, -1).astype(jnp.float32) for name in (site, neurons))


@jax.jit
def _encode(sae, x_BxD: jax.Array) -> jax.Array:
    return sae.encode(x_BxD)


def _read(keep_B: np.ndarray, latents: list[jax.Array], neurons_BxI: jax.Array):
    f_BxF = sparse.vstack([_sparse(np.asarray(f_bxF)) for f_bxF in latents], format="csr")[: len(keep_B)]
    if not keep_B.all():
        f_BxF = sparse.csr_array(sparse.diags_array(keep_B.astype(np.float32), dtype=np.float32) @ f_BxF)
        f_BxF.eliminate_zeros()
    return keep_B, f_BxF, neurons_BxI


def _sparse(f_bxF: np.ndarray) -> sparse.csr_array:
    """The positive entries."""
    flat = np.flatnonzero(f_bxF.reshape(-1) > 0)
    rows, latents = np.divmod(flat, f_bxF.shape[1])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(f_bxF)))])
    return sparse.csr_array((f_bxF.reshape(-1)[flat], latents.astype(np.int32), indptr.astype(np.int32)), shape=f_bxF.shape)
