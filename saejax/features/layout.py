"""The map of decoder directions in two dimensions, and their clusters."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np

_FEWEST_FOR_UMAP = 32
_KMEANS_STEPS = 25


def two_dimensions(atoms_FxD: np.ndarray, seed: int) -> tuple[str, np.ndarray]:
    """(what made it, coordinates float32 [F, 2]): UMAP of cosines where `umap-learn` is installed, else the first two
    principal components.

    Args:
      atoms_FxD: decoder rows of norm 1.
      seed: of UMAP.
    """
    if len(atoms_FxD) >= _FEWEST_FOR_UMAP and importlib.util.find_spec("umap"):
        return "umap", _umap(atoms_FxD, seed)
    return "pca", principal_components(atoms_FxD)


def principal_components(atoms_FxD: np.ndarray) -> np.ndarray:
    """Coordinates along the two directions of most variance, float32 [F, 2]; signs are such that the largest is positive."""
    centred_FxD = (atoms_FxD - atoms_FxD.mean(0)).astype(np.float64)
    _, vectors = np.linalg.eigh(centred_FxD.T @ centred_FxD)
    found = centred_FxD @ vectors[:, ::-1][:, :2]
    found *= np.sign(found[np.abs(found).argmax(0), [0, 1]])
    return found.astype(np.float32)


def _umap(atoms_FxD: np.ndarray, seed: int) -> np.ndarray:
    """Source: McInnes et al. 2018; its defaults, but for the metric. One thread, so that a seed gives the same map again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread
        import umap

        return umap.UMAP(metric="cosine", random_state=seed, n_jobs=1).fit_transform(atoms_FxD).astype(np.float32)


def clusters(atoms_FxD: np.ndarray, seed: int) -> np.ndarray:
    """Spherical k-means of decoder rows of norm 1 (Dhillon & Modha 2001), int32 [F]; cluster 0 is the largest.

    √F / 2 clusters, begun as k-means++ does.
    """
    n = max(1, round(len(atoms_FxD) ** 0.5 / 2))
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(len(atoms_FxD)))]
    distance_F = np.full(len(atoms_FxD), np.inf)
    for _ in range(n - 1):
        distance_F = np.minimum(distance_F, np.maximum(0.0, 1.0 - atoms_FxD @ atoms_FxD[chosen[-1]]))
        total = distance_F.sum()
        chosen.append(int(rng.choice(len(atoms_FxD), p=distance_F / total if total > 0 else None)))
    centres_CxD = atoms_FxD[chosen]
    for _ in range(_KMEANS_STEPS):
        of_F = (atoms_FxD @ centres_CxD.T).argmax(1)
        sums_CxD = np.zeros_like(centres_CxD)
        np.add.at(sums_CxD, of_F, atoms_FxD)
        norm_Cx1 = np.linalg.norm(sums_CxD, axis=1, keepdims=True)
        moved_CxD = np.where(norm_Cx1 > 0, sums_CxD / np.maximum(norm_Cx1, 1e-12), centres_CxD)
        if np.array_equal(moved_CxD, centres_CxD):
            break
        centres_CxD = moved_CxD
    by_size = np.argsort(-np.bincount(of_F, minlength=n), kind="stable")
    return np.argsort(by_size).astype(np.int32)[of_F]
