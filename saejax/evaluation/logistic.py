"""Logistic regression, many problems at once: classes weigh the same, columns are standardised, and a ridge bounds the weights.

Minimises, for each problem, ½ mean over positives of softplus(−s) + ½ mean over negatives of softplus(s) + ½ ridge ‖w‖², with
s = w·z + b and z the standardised columns; b is not shrunk. The Hessian never exceeds ¼ Zᵀ A Z + ridge (Böhning 1992,
"Multinomial logistic regression algorithm"), so that steps with its inverse need no step size; Nesterov's momentum, begun anew
where the gradient turns against it (O'Donoghue & Candès 2015), makes a fixed number of them enough.

Letters of shapes: P problems, N rows, K columns.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

RIDGE = 1e-2
STEPS = 80
_UNSHRUNK = 1e-6  # in place of the ridge on b: keeps the matrix invertible where no row counts


class Probe(NamedTuple):
    """Linear scores of raw columns: s = x · w_PxK + b_P; a row is called positive where s > 0."""

    w_PxK: jax.Array
    b_P: jax.Array

    def scores(self, x: jax.Array) -> jax.Array:
        """float32 [P, N] of columns [N, K] that all problems share, or [P, N, K] of their own."""
        return _times(x, self.w_PxK) + self.b_P[:, None]


def balanced_weights(target_PxN: np.ndarray, counted_PxN: np.ndarray) -> np.ndarray:
    """float32 [P, N]: ½ / number of its class for each counted row, 0 for others."""
    weights_PxN = np.zeros(target_PxN.shape, np.float32)
    for of_class_PxN in (target_PxN & counted_PxN, ~target_PxN & counted_PxN):
        weights_PxN += of_class_PxN * (0.5 / np.maximum(of_class_PxN.sum(1, keepdims=True), 1)).astype(np.float32)
    return weights_PxN


@functools.partial(jax.jit, static_argnames=("steps",))
def fit(x: jax.Array, target_PxN: jax.Array, weight_PxN: jax.Array, *, ridge: float = RIDGE, steps: int = STEPS) -> Probe:
    """Fits all problems.

    Args:
      x: float32 columns, [N, K] that all problems share, or [P, N, K] of their own.
      target_PxN: bool.
      weight_PxN: of each row, 0 for rows that do not count; they sum to 1 a problem (`balanced_weights`).
      ridge: in units of standardised columns.
      steps: updates.

    Returns:
      Probes of the raw columns.
    """
    mean = x.mean(-2, keepdims=True)
    variance = jnp.square(x - mean).mean(-2, keepdims=True)
    std = jnp.sqrt(jnp.where(variance > 1e-12, variance, 1.0))  # a column that never varies stays 0
    z = (x - mean) / std
    z = jnp.concatenate([z, jnp.ones((*z.shape[:-1], 1))], axis=-1)
    K = z.shape[-1]
    shrink_K = jnp.full(K, ridge).at[-1].set(_UNSHRUNK)
    sign_PxN = jnp.where(target_PxN, 1.0, -1.0)

    def bound_inverse(p: jax.Array) -> jax.Array:
        z_NxK = z if z.ndim == 2 else z[p]
        curvature_KxK = 0.25 * jnp.matmul((z_NxK * weight_PxN[p][:, None]).T, z_NxK, precision="highest")
        return jnp.linalg.inv(curvature_KxK + jnp.diag(shrink_K))

    inverse_PxKxK = jax.lax.map(bound_inverse, jnp.arange(target_PxN.shape[0]))

    def update(state, _):
        w_PxK, ahead_PxK, t_P = state
        slope_PxN = -weight_PxN * sign_PxN * jax.nn.sigmoid(-sign_PxN * _times(z, ahead_PxK))
        gradient_PxK = _transposed_times(z, slope_PxN) + shrink_K * ahead_PxK
        new_PxK = ahead_PxK - jnp.einsum("pkl,pl->pk", inverse_PxKxK, gradient_PxK, precision="highest")
        t_P = jnp.where(jnp.sum(gradient_PxK * (new_PxK - w_PxK), axis=1) > 0, 1.0, t_P)
        next_P = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * t_P**2))
        momentum_Px1 = ((t_P - 1.0) / next_P)[:, None]
        return (new_PxK, new_PxK + momentum_Px1 * (new_PxK - w_PxK), next_P), None

    start = jnp.zeros((target_PxN.shape[0], K))
    (w_PxK, _, _), _ = jax.lax.scan(update, (start, start, jnp.ones(len(start))), length=steps)
    raw_PxK = w_PxK[:, :-1] / std[..., 0, :]
    return Probe(raw_PxK, w_PxK[:, -1] - jnp.sum(raw_PxK * mean[..., 0, :], axis=-1))


def _times(x: jax.Array, w_PxK: jax.Array) -> jax.Array:
    return jnp.einsum("nk,pk->pn" if x.ndim == 2 else "pnk,pk->pn", x, w_PxK, precision="highest")


def _transposed_times(x: jax.Array, v_PxN: jax.Array) -> jax.Array:
    return jnp.einsum("nk,pn->pk" if x.ndim == 2 else "pnk,pn->pk", x, v_PxN, precision="highest")


def accuracies(score_PxN: np.ndarray, target_PxN: np.ndarray, counted_PxN: np.ndarray) -> dict[str, np.ndarray]:
    """{"auc", "balanced_accuracy", "f1"}, float64 [P], over the counted rows; both classes weigh the same in each.

    `f1` is therefore that of a balanced set: recall r and precision r / (r + false positive rate). Ties count half in `auc`.
    """
    positive_PxN, negative_PxN = target_PxN & counted_PxN, ~target_PxN & counted_PxN
    called_PxN = score_PxN > 0
    recall_P = (called_PxN & positive_PxN).sum(1) / np.maximum(positive_PxN.sum(1), 1)
    false_P = (called_PxN & negative_PxN).sum(1) / np.maximum(negative_PxN.sum(1), 1)
    return {
        "auc": np.array([_auc(s, p, c) for s, p, c in zip(score_PxN, positive_PxN, counted_PxN)]),
        "balanced_accuracy": (recall_P + 1.0 - false_P) / 2,
        "f1": 2 * recall_P / np.maximum(recall_P + false_P + 1.0, 1e-12),
    }


def _auc(score_N: np.ndarray, positive_N: np.ndarray, counted_N: np.ndarray) -> float:
    """The chance that a positive's score is above a negative's (Mann & Whitney 1947), from mean ranks."""
    score_N, positive_N = score_N[counted_N], positive_N[counted_N]
    _, level_N, n_level = np.unique(score_N, return_inverse=True, return_counts=True)
    rank_N = (np.cumsum(n_level) - (n_level - 1) / 2)[level_N]
    n_positive = positive_N.sum()
    n_negative = len(positive_N) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    return float((rank_N[positive_N].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
