"""Geometry of dictionaries: which atoms (decoder rows) repeat each other, within one dictionary and between two.

Atoms are divided by their norms first, so that all numbers are cosines: of what a dictionary says, not of how loudly.
sparse_coding's metrics of the same names do not normalise (their SAE classes do); on unit atoms the numbers agree. Products are
taken in blocks of atoms, so that memory stays bounded for tens of thousands of latents.

Letters of shapes: F, G latents, D width, K a block of latents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

THRESHOLD = 0.9
_PRODUCTS_AT_ONCE = 2**23


class Nearest(NamedTuple):
    """The n nearest other atoms of each atom: int32 index [F, n] and float32 cosine [F, n], falling."""

    index: np.ndarray
    cosine: np.ndarray


def unit(W_FxD: jax.Array) -> jax.Array:
    """Rows of norm 1, float32; a row of zeros stays."""
    W_FxD = jnp.asarray(W_FxD, jnp.float32)
    norm_Fx1 = jnp.linalg.norm(W_FxD, axis=-1, keepdims=True)
    return W_FxD / jnp.where(norm_Fx1 > 0, norm_Fx1, 1.0)


def nearest(W_FxD: jax.Array, n: int = 5) -> Nearest:
    """The n atoms with the highest cosine to each atom, itself left out; n is lowered to F − 1."""
    atoms = unit(W_FxD)
    n = min(n, len(atoms) - 1)
    found = [_top(cosine_KxF, start, n) for start, cosine_KxF in _cosines(atoms, atoms)]
    return Nearest(*(np.concatenate(part) for part in zip(*found)))


def max_cosines(P_FxD: jax.Array, Q_GxD: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """For each atom of P the highest cosine with any of Q [F], and for each of Q the highest with any of P [G]."""
    of_p, of_q = [], np.full(len(Q_GxD), -np.inf, np.float32)
    for _, cosine_KxG in _cosines(unit(P_FxD), unit(Q_GxD)):
        of_p.append(np.asarray(cosine_KxG.max(1)))
        of_q = np.maximum(of_q, np.asarray(cosine_KxG.max(0)))
    return np.concatenate(of_p), of_q


def mmcs(P_FxD: jax.Array, Q_GxD: jax.Array) -> float:
    """Mean over the atoms of Q of the highest cosine with any atom of P; not symmetric.

    Source: sparse_coding `standard_metrics.mmcs` (Sharkey et al. 2022, "Taking features out of superposition").
    """
    return float(max_cosines(P_FxD, Q_GxD)[1].mean())


def n_matched(P_FxD: jax.Array, Q_GxD: jax.Array, threshold: float = THRESHOLD) -> int:
    """How many atoms of Q have one in P at a cosine above `threshold`."""
    return int(np.sum(max_cosines(P_FxD, Q_GxD)[1] > threshold))


def mmcs_matrix(dictionaries: Mapping[str, jax.Array]) -> dict[str, list]:
    """{"members": names, "matrix": [[mmcs(row, column)]], "matched": the share of the column's atoms that the row has}."""
    names = list(dictionaries)
    matrix, matched = np.eye(len(names)), np.eye(len(names))
    for i, p in enumerate(names):
        for j in range(i + 1, len(names)):
            of_p, of_q = max_cosines(dictionaries[p], dictionaries[names[j]])
            matrix[i, j], matrix[j, i] = of_q.mean(), of_p.mean()
            matched[i, j], matched[j, i] = np.mean(of_q > THRESHOLD), np.mean(of_p > THRESHOLD)
    return {"members": names, "matrix": matrix.tolist(), "matched": matched.tolist()}


def capacity(W_FxD: jax.Array) -> np.ndarray:
    """How much of a dimension each atom has for itself, float32 [F]: (dᵢ·dᵢ)² / Σⱼ (dᵢ·dⱼ)².

    1 for an atom orthogonal to all others, 1/n for n copies; an atom of zeros has none. Source: Scherlis et al. 2022,
    "Polysemanticity and Capacity in Neural Networks"; sparse_coding `capacity_per_feature`.
    """
    atoms = unit(W_FxD)
    return _share_of_self(atoms, np.concatenate([_squares(cosine_KxF) for _, cosine_KxF in _cosines(atoms, atoms)]))


def n_unique(W_FxD: jax.Array, threshold: float = THRESHOLD) -> int:
    """Distinct features: clusters of atoms, where two atoms with a cosine above `threshold` are in one cluster."""
    atoms = unit(W_FxD)
    root_F = np.arange(len(atoms))
    for start, cosine_KxF in _cosines(atoms, atoms):
        root_F = _joined(root_F, start, cosine_KxF, threshold)
    return len(np.unique(root_F))


def describe(W_FxD: jax.Array) -> dict[str, float | int]:
    """One dictionary's numbers, from one pass over its products.

    Returns:
      `max_cosine_median` and `max_cosine_mean`, of the cosine to each atom's nearest other; `near_duplicates`, atoms whose
      nearest is above `THRESHOLD`; `unique_features`, as `n_unique`; `latents`; `capacity_mean`.
    """
    atoms = unit(W_FxD)
    closest, squares, root_F = [], [], np.arange(len(atoms))
    for start, cosine_KxF in _cosines(atoms, atoms):
        closest.append(np.asarray(_without_self(cosine_KxF, start).max(1)))
        squares.append(_squares(cosine_KxF))
        root_F = _joined(root_F, start, cosine_KxF, THRESHOLD)
    closest_F = np.maximum(np.concatenate(closest), -1.0)  # a dictionary of one atom has no nearest
    return {
        "max_cosine_median": float(np.median(closest_F)),
        "max_cosine_mean": float(closest_F.mean()),
        "near_duplicates": int(np.sum(closest_F > THRESHOLD)),
        "unique_features": len(np.unique(root_F)),
        "latents": len(closest_F),
        "capacity_mean": float(_share_of_self(atoms, np.concatenate(squares)).mean()),
    }


def _cosines(P_FxD: jax.Array, Q_GxD: jax.Array) -> Iterator[tuple[int, jax.Array]]:
    """(first atom, cosines [K, G]) of each block of K atoms of P; both are of unit norm."""
    block = max(1, _PRODUCTS_AT_ONCE // len(Q_GxD))
    for start in range(0, len(P_FxD), block):
        yield start, _product(P_FxD[start : start + block], Q_GxD)


@jax.jit
def _product(P_KxD: jax.Array, Q_GxD: jax.Array) -> jax.Array:
    return jnp.matmul(P_KxD, Q_GxD.T, precision="highest")


def _without_self(cosine_KxF: jax.Array, start: int) -> jax.Array:
    K = len(cosine_KxF)
    return cosine_KxF.at[jnp.arange(K), start + jnp.arange(K)].set(-jnp.inf)


def _top(cosine_KxF: jax.Array, start: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    cosine, index = jax.lax.top_k(_without_self(cosine_KxF, start), n)
    return np.asarray(index), np.asarray(cosine)


def _squares(cosine_KxF: jax.Array) -> np.ndarray:
    return np.asarray(jnp.sum(jnp.square(cosine_KxF), axis=1))


def _share_of_self(atoms: jax.Array, squares_F: np.ndarray) -> np.ndarray:
    return np.asarray(jnp.sum(atoms * atoms, axis=-1)) ** 2 / np.maximum(squares_F, 1e-12)


def _joined(root_F: np.ndarray, start: int, cosine_KxF: jax.Array, threshold: float) -> np.ndarray:
    """Each atom's root, the lowest atom of its cluster, after the pairs of one block have been joined."""
    i, j = np.nonzero(np.asarray(cosine_KxF > threshold))
    while True:
        a, b = root_F[i + start], root_F[j]
        differ = a != b
        if not differ.any():
            return root_F
        i, j = i[differ], j[differ]
        np.minimum.at(root_F, np.maximum(a, b)[differ], np.minimum(a, b)[differ])
        while not np.array_equal(root_F[root_F], root_F):  # every atom straight under its root
            root_F = root_F[root_F]
