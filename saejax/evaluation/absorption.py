"""Feature absorption: a latent that should fire for a feature is silent, because a more particular one took its part.

For each problem of `probing`, the main latents are its chosen ones, as many as each raise the training F1 by more than `SPLIT`:
a feature may be split among several. Of the test tokens that have the value and that the dense probe calls so, one counts as
absorbed where no main latent fires, and the other latent that adds most to the projection on the probe points its way (cosine
at least `COSINE`) and alone makes up at least `SHARE` of the activation's projection on the probe. That is full absorption in
Chanin et al. 2024, "A is for Absorption", with SAEBench's thresholds (Karvonen et al. 2025). Here activations are taken from
running text and not from spelling prompts, and projected after their mean is subtracted, since the decoder's bias is no latent.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from saejax.evaluation import logistic
from saejax.evaluation.probing import Chosen, Problems, encoded
from saejax.sae.inference import InferenceSAE
from saejax.sae.scaling import normalize

SPLIT, COSINE, SHARE = 0.03, 0.025, 0.4


def n_main(train_f1_KxP: np.ndarray) -> np.ndarray:
    """int [P]: how many of the chosen latents are main ones: 1, and each next that raises F1 by more than `SPLIT`."""
    raises_KxP = np.diff(train_f1_KxP, axis=0) > SPLIT
    return 1 + np.cumprod(raises_KxP, axis=0).sum(0).astype(int)


def rates(
    sae: InferenceSAE,
    x_NxD: np.ndarray,
    y_NxE: np.ndarray,
    mean_E: np.ndarray,
    given: Problems,
    chosen: Chosen,
    probe: logistic.Probe,
) -> np.ndarray:
    """Share of absorbed tokens a problem, float64 [P]; NaN where the dense probe finds none of a problem's tokens.

    Args:
      sae: of raw activations.
      x_NxD: sampled rows that it reads.
      y_NxE: the same tokens' rows at the site that it writes; x itself for an autoencoder.
      mean_E: the mean of the latter.
      given: the problems.
      chosen: the member's latents.
      probe: the dense probe on y.
    """
    n_P = n_main(chosen.train_f1_KxP)
    is_main_PxK = np.arange(chosen.index_PxK.shape[1]) < n_P[:, None]
    silent_PxN = ~np.any((chosen.values_PxNxK > 0) & is_main_PxK[:, None, :], axis=2)
    found_PxN = given.target_PxN & ~given.train_N & (np.asarray(probe.scores(jnp.asarray(y_NxE))) > 0)
    direction_PxE = np.asarray(probe.w_PxK, np.float64)
    direction_PxE = direction_PxE / np.maximum(np.linalg.norm(direction_PxE, axis=1, keepdims=True), 1e-30)
    along_PxF = np.float32(direction_PxE @ np.asarray(sae.W_dec, np.float64).T)
    cosine_PxF = along_PxF / np.maximum(np.linalg.norm(np.asarray(sae.W_dec), axis=1), 1e-30)
    is_main_PxF = np.zeros(along_PxF.shape, bool)
    np.put_along_axis(is_main_PxF, chosen.index_PxK, is_main_PxK, axis=1)
    problem, row = np.nonzero(found_PxN & silent_PxN)
    projection = np.einsum("ne,ne->n", y_NxE[row] - mean_E, direction_PxE[problem])
    factor = _factor(sae, x_NxD[row])
    of_others_PxF = np.where(is_main_PxF, np.float32(0), along_PxF)
    absorbed = np.zeros(len(given.names))
    for start, f_BxF in encoded(sae, x_NxD[row]):
        here = slice(start, start + len(f_BxF))
        part_BxF = f_BxF * of_others_PxF[problem[here]]
        top_B = part_BxF.argmax(1)
        part_B = np.take_along_axis(part_BxF, top_B[:, None], 1)[:, 0] * factor[here]
        share_B = part_B / np.where(projection[here] > 0, projection[here], np.inf)
        np.add.at(absorbed, problem[here], (share_B >= SHARE) & (cosine_PxF[problem[here], top_B] >= COSINE))
    n_found_P = found_PxN.sum(1)
    return np.where(n_found_P > 0, absorbed / np.maximum(n_found_P, 1), np.nan)


def _factor(sae: InferenceSAE, x_NxD: np.ndarray) -> np.ndarray:
    """What a row's latents are multiplied by in the activation's units: 1, but for row-dependent scalings."""
    _, undoing = normalize(jnp.asarray(x_NxD), sae.normalize_activations)
    return np.ones(len(x_NxD)) if undoing is None else np.asarray(undoing[1])[:, 0]
