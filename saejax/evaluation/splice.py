"""The autoencoder put back into GPT-2: what its reconstruction costs the language model.

At every position that the autoencoder is for, the site's activation is replaced by its reconstruction; the others keep theirs,
in the zero ablation as well. Cross-entropy is the mean over all predicted tokens, KL(clean ‖ spliced) over all positions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.evaluation import metrics
from saejax.evaluation.metrics import Sums
from saejax.lm import gpt2
from saejax.sae.inference import InferenceSAE


class LanguageModel(NamedTuple):
    """A GPT-2 to splice into: parameters, sizes, and the dtype of its activations."""

    params: gpt2.Params
    config: gpt2.GPT2Config
    dtype: Any


@functools.partial(jax.jit, static_argnames=("config", "dtype", "sites"))
def _clean(params, tokens_BxL, *, config, dtype, sites):
    """The undisturbed model: (log-probabilities float32 [B, L, V], {site: activation}, sum of losses)."""
    logits_BxLxV, captured = gpt2.run(params, tokens_BxL, config=config, capture=sites, dtype=dtype)
    return jax.nn.log_softmax(logits_BxLxV), captured, gpt2.next_token_losses(logits_BxLxV, tokens_BxL).sum()


@functools.partial(jax.jit, static_argnames=("config", "dtype", "site"))
def _replaced(params, tokens_BxL, x, clean_BxLxV, *, config, dtype, site):
    """Sums of losses and of KL with the site's activation replaced by `x`; layers before a residual site are not run."""
    logits_BxLxV, _ = gpt2.run(params, tokens_BxL, config=config, edits={site: x}, dtype=dtype)
    logprobs_BxLxV = jax.nn.log_softmax(logits_BxLxV)
    kl = jnp.sum(jnp.exp(clean_BxLxV) * (clean_BxLxV - logprobs_BxLxV))
    return gpt2.next_token_losses(logits_BxLxV, tokens_BxL).sum(), kl


@jax.jit
def _reconstruct(sae: InferenceSAE, x, keep_BxL, origin_D) -> tuple[Sums, jax.Array]:
    """(sums over the kept rows, the activation with those rows replaced by their reconstructions)."""
    rows_NxD = x.reshape(keep_BxL.size, -1).astype(jnp.float32)
    sums, x_hat_NxD = metrics.reconstruction_sums(sae, rows_NxD, keep_BxL.ravel(), origin_D)
    spliced_NxD = jnp.where(keep_BxL.reshape(-1, 1), x_hat_NxD, rows_NxD)
    return sums, spliced_NxD.reshape(x.shape).astype(x.dtype)


def evaluate(
    model: LanguageModel,
    saes: Mapping[str, tuple[str, InferenceSAE]],
    tokens_NxL: np.ndarray,
    keep_NxL: np.ndarray,
    *,
    batch_windows: int,
) -> Iterator[tuple[int, dict[str, Sums]]]:
    """Runs all autoencoders over held-out windows.

    Args:
      model: the GPT-2.
      saes: {member: (hook_name, autoencoder of raw activations)}.
      tokens_NxL: integer windows.
      keep_NxL: bool, the positions that the autoencoders are for.
      batch_windows: windows in a forward pass.

    Yields:
      For each batch (tokens, {name: sums}): a member's name, a hook's name for its zero ablation, or "clean".
    """
    sites = tuple(sorted({hook for hook, _ in saes.values()}))
    origins: dict[str, jax.Array] = {}  # the first batch's mean row, about which variances are summed
    run = {"config": model.config, "dtype": model.dtype}
    for start in range(0, len(tokens_NxL), batch_windows):
        tokens_BxL = jnp.asarray(tokens_NxL[start : start + batch_windows])
        keep_BxL = jnp.asarray(keep_NxL[start : start + batch_windows])
        n_losses, n_positions = tokens_BxL.shape[0] * (tokens_BxL.shape[1] - 1), tokens_BxL.size
        counts = {"n_losses": n_losses, "n_positions": n_positions}
        clean_BxLxV, captured, clean_loss = _clean(model.params, tokens_BxL, sites=sites, **run)
        for site in sites:
            origins.setdefault(site, captured[site].reshape(n_positions, -1).astype(jnp.float32).mean(0))
        batch: dict[str, Sums] = {"clean": {"loss": clean_loss, **counts}}
        for site in sites:
            x = captured[site]
            kept = keep_BxL.reshape(keep_BxL.shape + (1,) * (x.ndim - 2))
            loss, kl = _replaced(model.params, tokens_BxL, jnp.where(kept, 0.0, x), clean_BxLxV, site=site, **run)
            batch[site] = {"loss": loss, "kl": kl, **counts}
        for name, (site, sae) in saes.items():
            sums, spliced = _reconstruct(sae, captured[site], keep_BxL, origins[site])
            loss, kl = _replaced(model.params, tokens_BxL, spliced, clean_BxLxV, site=site, **run)
            batch[name] = {**sums, "loss": loss, "kl": kl, **counts}
        yield n_positions, jax.device_get(batch)


def summarise(totals: Mapping[str, Mapping[str, np.ndarray]], saes: Mapping[str, tuple[str, InferenceSAE]]) -> dict:
    """{"clean": …, "members": {member: {metric: number}}} from the totals over all batches.

    `ce_recovered` = (ce_zero_ablation − ce_sae) / (ce_zero_ablation − ce_clean): 1 where nothing is lost, 0 where the
    reconstruction is worth no more than zeros.
    """
    ce = {name: float(sums["loss"] / sums["n_losses"]) for name, sums in totals.items()}
    kl = {name: float(sums["kl"] / sums["n_positions"]) for name, sums in totals.items() if "kl" in sums}
    members = {}
    for name, (site, _) in saes.items():
        members[name] = {
            **metrics.reconstruction_metrics(totals[name]),
            "ce_clean": ce["clean"],
            "ce_sae": ce[name],
            "ce_zero_ablation": ce[site],
            "ce_recovered": (ce[site] - ce[name]) / (ce[site] - ce["clean"]),
            "kl_sae": kl[name],
        }
    sites = sorted({site for site, _ in saes.values()})
    clean = {"ce": ce["clean"], **{f"ce_zero_ablation/{site}": ce[site] for site in sites}}
    return {"clean": {**clean, **{f"kl_zero_ablation/{site}": kl[site] for site in sites}}, "members": members}
