"""The autoencoder put back into GPT-2: what its reconstruction costs the language model.

A member reads one site and writes one: the same for an autoencoder, the input and output of a layer for a transcoder. Both
activations come from the undisturbed run. At every position that the member is for, the activation at the written site is
replaced by the prediction; the others keep theirs, in the zero ablation as well. Cross-entropy is the mean over all predicted
tokens, KL(clean ‖ spliced) over all positions; both count for the document of the position that predicts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.evaluation import metrics
from saejax.evaluation.metrics import Reconstructor, Sums, per_document
from saejax.lm import gpt2


class LanguageModel(NamedTuple):
    """A GPT-2 to splice into: parameters, sizes, and the dtype of its activations."""

    params: gpt2.Params
    config: gpt2.GPT2Config
    dtype: Any


class Spliced(NamedTuple):
    """A member and its place.

    Attributes:
      reads: the site of the rows that it takes.
      writes: the site of the rows that it predicts, `reads` itself for an autoencoder.
      sae: of raw activations.
      in_model: False leaves out the run of the language model: no cross-entropy, no KL.
    """

    reads: str
    writes: str
    sae: Reconstructor
    in_model: bool = True


class Batch(NamedTuple):
    """One batch's results.

    Attributes:
      n_tokens: positions in it.
      first_document: the document that the sums' first row is of.
      sums: {name: sums}: a member's name, a written site's name for its targets and zero ablation, or "clean".
    """

    n_tokens: int
    first_document: int
    sums: dict[str, Sums]


@functools.partial(jax.jit, static_argnames=("config", "dtype", "sites", "n_documents"))
def _clean(params, tokens_BxL, document_BxL, *, config, dtype, sites, n_documents):
    """The undisturbed model: (log-probabilities float32 [B, L, V], {site: activation}, sums)."""
    logits_BxLxV, captured = gpt2.run(params, tokens_BxL, config=config, capture=sites, dtype=dtype)
    losses_BxL = gpt2.next_token_losses(logits_BxLxV, tokens_BxL)
    sums = {
        "loss": per_document(losses_BxL.ravel(), document_BxL[:, :-1].ravel(), n_documents),
        "n_losses": per_document(jnp.ones(losses_BxL.size), document_BxL[:, :-1].ravel(), n_documents),
        "n_positions": per_document(jnp.ones(tokens_BxL.size), document_BxL.ravel(), n_documents),
    }
    return jax.nn.log_softmax(logits_BxLxV), captured, sums


@functools.partial(jax.jit, static_argnames=("config", "dtype", "site", "n_documents"))
def _replaced(params, tokens_BxL, document_BxL, x, clean_BxLxV, *, config, dtype, site, n_documents):
    """Sums of losses and of KL with the site's activation replaced by `x`; layers before a residual site are not run."""
    logits_BxLxV, _ = gpt2.run(params, tokens_BxL, config=config, edits={site: x}, dtype=dtype)
    logprobs_BxLxV = jax.nn.log_softmax(logits_BxLxV)
    kl_BxL = jnp.sum(jnp.exp(clean_BxLxV) * (clean_BxLxV - logprobs_BxLxV), axis=-1)
    losses_BxL = gpt2.next_token_losses(logits_BxLxV, tokens_BxL)
    return {
        "loss": per_document(losses_BxL.ravel(), document_BxL[:, :-1].ravel(), n_documents),
        "kl": per_document(kl_BxL.ravel(), document_BxL.ravel(), n_documents),
    }


@functools.partial(jax.jit, static_argnames=("n_documents",))
def _predict(sae: Reconstructor, x, y, keep_BxL, document_BxL, *, n_documents) -> tuple[Sums, jax.Array]:
    """(sums over the kept rows, the activation y with those rows replaced by their predictions)."""
    x_NxD, y_NxE = _rows(x, keep_BxL), _rows(y, keep_BxL)
    where = {"keep_N": keep_BxL.ravel(), "document_N": document_BxL.ravel(), "n_documents": n_documents}
    sums, y_hat_NxE = metrics.reconstruction_sums(sae, x_NxD, y_NxE, **where)
    spliced_NxE = jnp.where(keep_BxL.reshape(-1, 1), y_hat_NxE, y_NxE)
    return sums, spliced_NxE.reshape(y.shape).astype(y.dtype)


@functools.partial(jax.jit, static_argnames=("n_documents",))
def _targets(y, keep_BxL, origin_E, document_BxL, *, n_documents) -> Sums:
    return metrics.target_sums(_rows(y, keep_BxL), keep_BxL.ravel(), origin_E, document_BxL.ravel(), n_documents=n_documents)


def _rows(x: jax.Array, keep_BxL: jax.Array) -> jax.Array:
    return x.reshape(keep_BxL.size, -1).astype(jnp.float32)


def evaluate(
    model: LanguageModel,
    members: Mapping[str, Spliced],
    tokens_NxL: np.ndarray,
    keep_NxL: np.ndarray,
    document_NxL: np.ndarray,
    origins: Mapping[str, np.ndarray],
    *,
    batch_windows: int,
) -> Iterator[Batch]:
    """Runs all members over held-out windows.

    Args:
      model: the GPT-2.
      members: by name.
      tokens_NxL: integer windows.
      keep_NxL: bool, the positions that the members are for.
      document_NxL: int, each position's document, not falling along the stream.
      origins: {written site: a point near its rows' mean [E]}, about which variances are summed.
      batch_windows: windows in a forward pass.

    Yields:
      The sums of each batch.
    """
    writes = tuple(sorted({member.writes for member in members.values()}))
    sites = tuple(sorted({*writes, *(member.reads for member in members.values())}))
    starts = range(0, len(tokens_NxL), batch_windows)
    spans = [document_NxL[start : start + batch_windows] for start in starts]
    # One static bound for all batches, so that nothing is compiled twice.
    n_documents = max(int(span[-1, -1] - span[0, 0]) + 1 for span in spans)
    run = {"config": model.config, "dtype": model.dtype, "n_documents": n_documents}
    for start, span in zip(starts, spans):
        tokens_BxL = jnp.asarray(tokens_NxL[start : start + batch_windows])
        keep_BxL = jnp.asarray(keep_NxL[start : start + batch_windows])
        document_BxL = jnp.asarray(span - span[0, 0], jnp.int32)
        where = {"document_BxL": document_BxL, "n_documents": n_documents}
        clean_BxLxV, captured, clean = _clean(model.params, tokens_BxL, document_BxL, sites=sites, **run)
        batch: dict[str, Sums] = {"clean": clean}
        for site in writes:
            y = captured[site]
            kept = keep_BxL.reshape(keep_BxL.shape + (1,) * (y.ndim - 2))
            ablated = _replaced(model.params, tokens_BxL, document_BxL, jnp.where(kept, 0.0, y), clean_BxLxV, site=site, **run)
            batch[site] = ablated | _targets(y, keep_BxL, jnp.asarray(origins[site]), **where)
        for name, member in members.items():
            sums, spliced = _predict(member.sae, captured[member.reads], captured[member.writes], keep_BxL, **where)
            if member.in_model:
                site = member.writes
                sums |= _replaced(model.params, tokens_BxL, document_BxL, spliced, clean_BxLxV, site=site, **run)
            batch[name] = sums
        yield Batch(tokens_BxL.size, int(span[0, 0]), jax.device_get(batch))


def ratios(totals: Mapping[str, Mapping[str, np.ndarray]], name: str, member: Spliced) -> dict[str, np.ndarray]:
    """A member's metrics from totals over documents, with any leading axes; see `summarise`."""
    found = metrics.ratios({**totals[member.writes], **totals[name]})
    if not member.in_model:
        return found
    clean = totals["clean"]
    ce_clean, ce_sae, ce_zero = (totals[n]["loss"] / clean["n_losses"] for n in ("clean", name, member.writes))
    with np.errstate(divide="ignore", invalid="ignore"):
        recovered = (ce_zero - ce_sae) / (ce_zero - ce_clean)
    return found | {
        "ce_clean": ce_clean,
        "ce_sae": ce_sae,
        "ce_zero_ablation": ce_zero,
        "ce_recovered": recovered,
        "kl_sae": totals[name]["kl"] / clean["n_positions"],
    }


def summarise(totals: Mapping[str, Mapping[str, np.ndarray]], members: Mapping[str, Spliced]) -> dict:
    """{"clean": …, "members": {member: {metric: number}}} from the totals over all documents.

    `ce_recovered` = (ce_zero_ablation − ce_sae) / (ce_zero_ablation − ce_clean): 1 where nothing is lost, 0 where the
    reconstruction is worth no more than zeros.
    """
    clean = totals["clean"]
    described = {"ce": float(clean["loss"] / clean["n_losses"])}
    for site in sorted({member.writes for member in members.values()}):
        described[f"ce_zero_ablation/{site}"] = float(totals[site]["loss"] / clean["n_losses"])
        described[f"kl_zero_ablation/{site}"] = float(totals[site]["kl"] / clean["n_positions"])
    found = {}
    for name, member in members.items():
        reconstruction = metrics.reconstruction_metrics({**totals[member.writes], **totals[name]})
        found[name] = {key: float(value) for key, value in ratios(totals, name, member).items()} | reconstruction
    return {"clean": described, "members": found}
