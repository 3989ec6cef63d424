"""Sparse probing: how well one latent, or five, tell what a token is, beside a dense probe and the best single neuron.

For each value of a label (package, section, first letter) a logistic regression decides "this value, or another of its kind".
Its columns are the latents that fire more on the value than on the others, by difference of mean activations on the training
half; documents, not tokens, are split. Sources: Gurnee et al. 2023, "Finding Neurons in a Haystack"; Karvonen et al. 2025,
"SAEBench: A Comprehensive Benchmark for Sparse Autoencoders in Language Model Interpretability".
Unlike there, the difference is not taken absolute: a latent that is silent on a value is no detector of it.

Letters of shapes: P problems, N sampled rows, D width, F latents, K chosen latents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.evaluation import logistic
from saejax.sae.inference import InferenceSAE

FEWEST = 100  # rows of each class that a problem has in both halves
MOST_LATENTS = 5
_ROWS_AT_ONCE, _LATENTS_AT_ONCE = 4096, 2**23


class Problems(NamedTuple):
    """Binary problems on the sampled rows.

    Attributes:
      names: (kind, value) of each.
      target_PxN: bool, the rows that have the value.
      counted_PxN: bool, the rows that have a value of the kind.
      train_N: bool, rows of the training half; the others test.
    """

    names: list[tuple[str, str]]
    target_PxN: np.ndarray
    counted_PxN: np.ndarray
    train_N: np.ndarray

    def by_kind(self, values_P: Sequence[float]) -> dict[str, float]:
        """{kind: mean over its problems; "mean": mean over kinds}, of finite values; {} for none."""
        kinds: dict[str, list[float]] = {}
        for (kind, _), value in zip(self.names, values_P):
            if np.isfinite(value):
                kinds.setdefault(kind, []).append(float(value))
        means = {kind: float(np.mean(values)) for kind, values in kinds.items()}
        return means | {"mean": float(np.mean(list(means.values())))} if means else {}


class Chosen(NamedTuple):
    """A member's latents for each problem.

    Attributes:
      index_PxK: int, best first.
      values_PxNxK: float32, their activations on all sampled rows.
      train_f1_KxP, test: F1 on the training half, and accuracies on the test half, of the probe on the first 1 … K of them.
    """

    index_PxK: np.ndarray
    values_PxNxK: np.ndarray
    train_f1_KxP: np.ndarray
    test: list[dict[str, np.ndarray]]


def problems(labels: Mapping[str, tuple[Sequence[str], np.ndarray]], document_N: np.ndarray, *, seed: int = 0) -> Problems:
    """The problems that have at least `FEWEST` rows of either class in both halves.

    Args:
      labels: {kind: (values' names, int [N], each row's value, negative for none)}.
      document_N: int, each row's document; a half of the documents train.
      seed: of the halves.
    """
    documents, place_N = np.unique(document_N, return_inverse=True)
    train_N = (np.random.default_rng(seed).permutation(len(documents)) % 2 == 0)[place_N]
    names, targets, counted = [], [], []
    for kind, (values, value_N) in labels.items():
        counted_N = value_N >= 0
        for value, name in enumerate(values):
            target_N = value_N == value
            classes = (target_N, counted_N & ~target_N)
            if min((c & half).sum() for c in classes for half in (train_N, ~train_N)) >= FEWEST:
                names.append((kind, name))
                targets.append(target_N)
                counted.append(counted_N)
    empty = np.zeros((0, len(document_N)), bool)
    return Problems(names, np.array(targets, bool) if names else empty, np.array(counted, bool) if names else empty, train_N)


def dense(x_NxD: np.ndarray, given: Problems) -> tuple[logistic.Probe, dict[str, np.ndarray]]:
    """The probe on whole rows, and its accuracies on the test half."""
    probe = _fit(x_NxD[given.train_N], given)
    return probe, _tested(probe, x_NxD[~given.train_N], given)


def best_dimension(x_NxD: np.ndarray, given: Problems) -> dict[str, np.ndarray]:
    """Accuracies of the one dimension of x whose means differ most, in standard deviations, either way."""
    train_NxD = x_NxD[given.train_N]
    z_NxD = (train_NxD - train_NxD.mean(0)) / np.maximum(train_NxD.std(0), 1e-12)
    best_P = np.abs(_difference(*_class_sums([z_NxD], given), given)).argmax(1)
    own_PxNx1 = x_NxD.T[best_P][:, :, None]
    return _tested(_fit(own_PxNx1[:, given.train_N], given), own_PxNx1[:, ~given.train_N], given)


def choose(sae: InferenceSAE, x_NxD: np.ndarray, given: Problems, n_latents: int = MOST_LATENTS) -> Chosen:
    """The latents whose means differ most on the training half, and probes on the first 1 … `n_latents` of them.

    The rows are encoded twice, in blocks: once for means, once for the chosen latents' values.
    """
    sums = _class_sums((f for _, f in encoded(sae, x_NxD[given.train_N])), given)
    index_PxK = np.argsort(-_difference(*sums, given), axis=1, kind="stable")[:, :n_latents]
    columns, place = np.unique(index_PxK, return_inverse=True)
    values_NxU = np.concatenate([f_BxF[:, columns] for _, f_BxF in encoded(sae, x_NxD)])
    values_PxNxK = values_NxU.T[place.reshape(index_PxK.shape)].transpose(0, 2, 1)
    train, test = jnp.asarray(values_PxNxK[:, given.train_N]), jnp.asarray(values_PxNxK[:, ~given.train_N])
    found, train_f1 = [], []
    for k in range(1, index_PxK.shape[1] + 1):
        used_K = jnp.arange(index_PxK.shape[1]) < k
        probe = _fit(train * used_K, given)
        train_f1.append(_called_f1(probe.scores(train), given))
        found.append(_tested(probe, test, given))
    return Chosen(index_PxK, values_PxNxK, np.array(train_f1), found)


def encoded(sae: InferenceSAE, x_NxD: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, latents [B, F]) of each block of rows. Blocks are padded for the device, so that one program serves all."""
    block = min(_ROWS_AT_ONCE, max(1, _LATENTS_AT_ONCE // sae.W_dec.shape[0]))
    for start in range(0, len(x_NxD), block):
        x_BxD = x_NxD[start : start + block]
        n = len(x_BxD)
        yield start, np.asarray(_encode(sae, np.pad(x_BxD, ((0, block - n), (0, 0)))))[:n]


@jax.jit
def _encode(sae: InferenceSAE, x_BxD: jax.Array) -> jax.Array:
    return sae.encode(x_BxD)


def _fit(x, given: Problems) -> logistic.Probe:
    target, counted = given.target_PxN[:, given.train_N], given.counted_PxN[:, given.train_N]
    return logistic.fit(jnp.asarray(x), jnp.asarray(target), jnp.asarray(logistic.balanced_weights(target, counted)))


def _tested(probe: logistic.Probe, x_test, given: Problems) -> dict[str, np.ndarray]:
    test_N = ~given.train_N
    scores = np.asarray(probe.scores(jnp.asarray(x_test)))
    return logistic.accuracies(scores, given.target_PxN[:, test_N], given.counted_PxN[:, test_N])


def _called_f1(score_PxN: jax.Array, given: Problems) -> np.ndarray:
    train_N = given.train_N
    target, counted = given.target_PxN[:, train_N], given.counted_PxN[:, train_N]
    called = np.asarray(score_PxN) > 0
    recall = (called & target).sum(1) / target.sum(1)
    false = (called & counted & ~target).sum(1) / (counted & ~target).sum(1)
    return 2 * recall / (recall + false + 1)


def _class_sums(blocks, given: Problems) -> tuple[np.ndarray, np.ndarray]:
    """(sums over positives, sums over negatives), float64 [P, F], of the training rows, which come in blocks [B, F]."""
    target = given.target_PxN[:, given.train_N]
    negative = given.counted_PxN[:, given.train_N] & ~target
    marks_QxN = np.concatenate([target, negative]).astype(np.float32)
    total, start = 0.0, 0
    for f_BxF in blocks:
        total = total + np.float64(marks_QxN[:, start : start + len(f_BxF)] @ f_BxF)
        start += len(f_BxF)
    return total[: len(target)], total[len(target) :]


def _difference(positive_PxF: np.ndarray, negative_PxF: np.ndarray, given: Problems) -> np.ndarray:
    """Differences of class means, float64 [P, F]."""
    target = given.target_PxN[:, given.train_N]
    negative = given.counted_PxN[:, given.train_N] & ~target
    return positive_PxF / target.sum(1, keepdims=True) - negative_PxF / negative.sum(1, keepdims=True)
