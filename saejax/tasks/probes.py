"""The probes of `--tasks=evaluate`: labels of sampled rows → sparse probing and feature absorption of every member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from saejax import console
from saejax.config import Config
from saejax.evaluation import absorption, probing
from saejax.evaluation.splice import Spliced
from saejax.evaluation.survey import Survey
from saejax.lm import labels
from saejax.lm.tokens import TokenWindows

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def run(
    config: Config,
    members: Mapping[str, Spliced],
    found: Survey,
    windows: TokenWindows,
    tokenizer: Tokenizer,
    document_NxL: np.ndarray,
) -> dict:
    """{"probing": …, "absorption": …}, or {} where they are turned off or the text has too few rows of any label.

    `probing` holds the number of positive rows of each label, each member's accuracies with 1 and 5 latents, by kind of label
    and their mean, and those of the dense probe and of the best dimension at each site that is read.
    """
    if not config.probe_tokens:
        return {}
    of_windows = labels.of_windows(windows, tokenizer)
    if "package" not in of_windows:
        console.log(f"evaluate: --dataset={config.dataset} names no packages and sections: probes are of first letters only")
    of_rows = {kind: (names, value_NxL.ravel()[found.addresses_N]) for kind, (names, value_NxL) in of_windows.items()}
    given = probing.problems(of_rows, document_NxL.ravel()[found.addresses_N])
    if not given.names:
        console.log(f"evaluate: no probes: no label has {probing.FEWEST} rows in both halves of the held-out documents")
        return {}
    dense = {site: probing.dense(rows, given) for site, rows in found.rows.items()}
    baselines = {
        site: {
            "dense": _means(dense[site][1], given),
            "best_dimension": _means(probing.best_dimension(found.rows[site], given), given),
        }
        for site in sorted({member.reads for member in members.values()})
    }
    accuracies, absorbed = {}, {}
    for name, member in members.items():
        x_NxD, y_NxE = found.rows[member.reads], found.rows[member.writes]
        chosen = probing.choose(member.sae, x_NxD, given)
        accuracies[name] = _of_member(chosen, given)
        probe = dense[member.writes][0]
        rates_P = absorption.rates(member.sae, x_NxD, y_NxE, found.mean[member.writes], given, chosen, probe)
        absorbed[name] = given.by_kind(rates_P)
    n_positive: dict[str, dict[str, int]] = {}
    for (kind, value), target_N in zip(given.names, given.target_PxN):
        n_positive.setdefault(kind, {})[value] = int(target_N.sum())
    about = {"rows": len(found.addresses_N), "labels": n_positive, "baselines": baselines, "members": accuracies}
    return {"probing": about, "absorption": absorbed}


def _means(accuracies: Mapping[str, np.ndarray], given: probing.Problems) -> dict[str, dict[str, float]]:
    return {name: given.by_kind(values_P) for name, values_P in accuracies.items()}


def _of_member(chosen: probing.Chosen, given: probing.Problems) -> dict[str, dict[str, float]]:
    """{metric_k1, metric_k5: means by kind}; an autoencoder of fewer latents gives what it has as k5."""
    ends = {"k1": chosen.test[0], f"k{probing.MOST_LATENTS}": chosen.test[-1]}
    return {f"{name}_{k}": means for k, test in ends.items() for name, means in _means(test, given).items()}
