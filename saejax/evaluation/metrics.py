"""Reconstruction and sparsity metrics: sums per batch on the device, ratios once, of the totals, on the host.

Averages of per-batch ratios depend on how the data is cut; these do not. Definitions agree with SAELens's where it has them
(tests/testdata/README.md): `mse` is summed over dimensions, `explained_variance` is 1 − `fvu`, and
`relative_reconstruction_bias` is E‖x̂‖² / E[x · x̂] (Rajamanoharan et al. 2024, "Improving Dictionary Learning with Gated
Sparse Autoencoders", section 5.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from saejax.sae.inference import InferenceSAE

Sums = dict[str, jax.Array]


def reconstruction_sums(sae: InferenceSAE, x_NxD: jax.Array, keep_N: jax.Array, origin_D: jax.Array) -> tuple[Sums, jax.Array]:
    """What `reconstruction_metrics` needs of one batch; pure.

    Args:
      sae: for raw activations.
      x_NxD: rows, float32.
      keep_N: bool, the rows that count.
      origin_D: any point near the rows' mean; it keeps the variance's sums small, and does not change the result.

    Returns:
      (sums by name, float32; the reconstruction [N, D]).
    """
    f_NxF = sae.encode(x_NxD)
    x_hat_NxD = sae.decode(f_NxF)
    weight_N = keep_N.astype(jnp.float32)
    active_NxF = (f_NxF > 0) & keep_N[:, None]
    centred_NxD = (x_NxD - origin_D) * weight_N[:, None]
    norm_N, norm_hat_N = jnp.linalg.norm(x_NxD, axis=-1), jnp.linalg.norm(x_hat_NxD, axis=-1)
    dot_N = jnp.sum(x_NxD * x_hat_NxD, axis=-1)

    def total(values_N: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(keep_N, values_N, 0.0))

    sums = {
        "n": weight_N.sum(),
        "fired_F": active_NxF.sum(0),
        "l1": total(f_NxF.sum(-1)),
        "squared_error": total(jnp.sum(jnp.square(x_NxD - x_hat_NxD), axis=-1)),
        "centred_D": centred_NxD.sum(0),
        "centred_squares": jnp.sum(jnp.square(centred_NxD)),
        "cosine": total(dot_N / jnp.maximum(norm_N * norm_hat_N, 1e-12)),
        "dot": total(dot_N),
        "squares_hat": total(jnp.square(norm_hat_N)),
        "norm_ratio": total(norm_hat_N / jnp.maximum(norm_N, 1e-12)),
    }
    return sums, x_hat_NxD


def add(batches: Iterable[Mapping[str, jax.Array]]) -> dict[str, np.ndarray]:
    """The totals of several batches' sums, float64 on the host."""
    totals: dict[str, np.ndarray] = {}
    for batch in batches:
        for name, value in batch.items():
            totals[name] = totals.get(name, 0.0) + np.asarray(value, np.float64)
    return totals


def reconstruction_metrics(totals: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Metrics by name, from totals over all rows; None where a reconstruction that is always 0 has no bias to speak of."""
    n, squared_error = totals["n"], totals["squared_error"]
    variance = totals["centred_squares"] - np.sum(np.square(totals["centred_D"])) / n
    fvu = squared_error / variance
    return {
        "l0": float(totals["fired_F"].sum() / n),
        "l1": float(totals["l1"] / n),
        "mse": float(squared_error / n),
        "fvu": float(fvu),
        "explained_variance": float(1.0 - fvu),
        "cosine_similarity": float(totals["cosine"] / n),
        "relative_reconstruction_bias": float(totals["squares_hat"] / totals["dot"]) if totals["dot"] else None,
        "l2_ratio": float(totals["norm_ratio"] / n),
        "dead_fraction": float(np.mean(totals["fired_F"] == 0)),
    }
