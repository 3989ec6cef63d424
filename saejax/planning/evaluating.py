"""How fast members are evaluated: text through the spliced model, probes and dictionaries, with the run's own programs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from saejax.evaluation import absorption, calibration, dictionaries, intervals, metrics, probing, splice
from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.evaluation.survey import survey
from saejax.planning import measure


class Batches(NamedTuple):
    """Attributes:
    first_seconds: of the first batch of all, with compilation, beyond what a later one takes.
    fixed_seconds: of a batch without members: both passes over the undisturbed model, ablation, self-test.
    member_seconds: what each member given adds to a batch.
    sums: of the documents of the measured batch.
    mean: {site: its mean row}.
    """

    first_seconds: float
    fixed_seconds: float
    member_seconds: float
    sums: metrics.DocumentSums
    mean: Mapping[str, np.ndarray]


class Probes(NamedTuple):
    """Attributes:
    first_seconds: of compilation.
    once_seconds: of the dense probes and the best dimension.
    member_seconds: of each member.
    """

    first_seconds: float
    once_seconds: float
    member_seconds: float


def batches(
    model: LanguageModel,
    members: Mapping[str, Spliced],
    tokens_BxL: np.ndarray,
    keep_BxL: np.ndarray,
    document_BxL: np.ndarray,
    *,
    n_sample: int,
) -> Batches:
    """Runs both passes of the evaluation over one batch, first to compile, then with members and without.

    Args:
      model: the GPT-2.
      members: one for each program that is to be compiled.
      tokens_BxL, keep_BxL, document_BxL: one batch, its positions that count and their documents.
      n_sample: rows that the first pass keeps.
    """
    sites = sorted({site for member in members.values() for site in (member.reads, member.writes)})
    writes = sorted({member.writes for member in members.values()})
    text, n = (tokens_BxL, keep_BxL), len(tokens_BxL)

    def run(some: Mapping[str, Spliced]) -> tuple[float, Any, Any]:
        start = time.monotonic()
        found = survey(model, sites, *text, batch_windows=n, n_sample=n_sample)
        everything = {**some, **calibration.members(writes, found.mean)}
        (batch,) = splice.evaluate(model, everything, *text, document_BxL, found.mean, batch_windows=n)
        return time.monotonic() - start, found, batch

    first, found, _ = run(members)
    full, _, batch = run(members)
    fixed, _, _ = run({})
    sums = metrics.DocumentSums(int(document_BxL[-1, -1]) + 1)
    sums.add(batch.first_document, batch.sums)
    return Batches(first - full, fixed, max(0.0, full - fixed) / len(members), sums, found.mean)


def probes(member: Spliced, rows: Mapping[str, np.ndarray], given: probing.Problems, mean: Mapping[str, np.ndarray]) -> Probes:
    """Probes one member, twice.

    Args:
      member: of the sweep.
      rows: {site: sampled rows}.
      given: problems on them.
      mean: {site: its mean row}.
    """
    x_NxD, y_NxE = rows[member.reads], rows[member.writes]

    def run() -> tuple[float, float]:
        start = time.monotonic()
        probe, _ = probing.dense(y_NxE, given)
        probing.best_dimension(x_NxD, given)
        middle = time.monotonic()
        chosen = probing.choose(member.sae, x_NxD, given)
        absorption.rates(member.sae, x_NxD, y_NxE, mean[member.writes], given, chosen, probe)
        return middle - start, time.monotonic() - middle

    first, again = sum(run()), run()
    return Probes(max(0.0, first - sum(again)), *again)


def dictionary_seconds(sae: Any) -> tuple[float, float]:
    """Seconds of describing a dictionary, and of comparing two."""
    describing = measure.repeated(lambda: np.asarray(dictionaries.describe(sae.W_dec)["latents"]), budget_seconds=0.2)
    comparing = measure.repeated(lambda: dictionaries.max_cosines(sae.W_dec, sae.W_dec)[1], budget_seconds=0.2)
    return describing, comparing


def bootstrap_seconds(sums: metrics.DocumentSums, members: Mapping[str, Spliced], *, n_documents: int, n_samples: int) -> float:
    """Seconds of a member's intervals: those of a few members' documents, as often as there will be."""
    by_name = {
        name: {
            key: value if key in metrics.NOT_PER_DOCUMENT else np.resize(value, (n_documents, *value.shape[1:]))
            for key, value in own.items()
        }
        for name, own in sums.by_name.items()
    }
    start = time.monotonic()
    intervals.bootstrap(by_name, members, n_samples=n_samples)
    return (time.monotonic() - start) / len(members)
