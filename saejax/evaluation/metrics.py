"""Reconstruction and sparsity metrics: sums per document on the device, ratios once, of the totals, on the host.

Averages of per-batch ratios depend on how the data is cut; these do not. Sums are kept apart by document, so that documents can
be resampled (`intervals`). Definitions agree with SAELens's where it has them (tests/testdata/README.md): `mse` is summed over
dimensions, `explained_variance` is 1 − `fvu`, and `relative_reconstruction_bias` is E‖ŷ‖² / E[y · ŷ] (Rajamanoharan et al.
2024, "Improving Dictionary Learning with Gated Sparse Autoencoders", section 5.1). For an autoencoder the target y is x.

Letters of shapes: N rows, D width of x, E width of y, F latents, M documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Sums = dict[str, jax.Array]
NOT_PER_DOCUMENT = ("fired_F",)


class Reconstructor(Protocol):
    """A pytree that predicts rows: an `InferenceSAE`, or one of `calibration`'s."""

    def reconstruct(self, x_ND: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Rows float32 [N, D] → (latents [N, F], predicted rows [N, E])."""
        ...


def per_document(values_N: jax.Array, document_N: jax.Array, n_documents: int) -> jax.Array:
    """Sums of values [N, ...] over the rows of each document [M, ...]; `document_N` holds indices below M that do not fall."""
    return jax.ops.segment_sum(values_N, document_N, num_segments=n_documents, indices_are_sorted=True)


def target_sums(y_NxE: jax.Array, keep_N: jax.Array, origin_E: jax.Array, document_N: jax.Array, *, n_documents: int) -> Sums:
    """What the variance needs of one batch's targets; pure. The same for all members that write one site.

    Args:
      y_NxE: rows to be predicted, float32.
      keep_N: bool, the rows that count.
      origin_E: any point near the rows' mean; it keeps the sums small, and does not change the result.
      document_N: int32, each row's document among the batch's, not falling.
      n_documents: M.

    Returns:
      {"n" [M], "centred" [M, E], "centred_squares" [M]}, float32.
    """
    centred_NxE = jnp.where(keep_N[:, None], y_NxE - origin_E, 0.0)
    values = {
        "n": keep_N.astype(jnp.float32),
        "centred": centred_NxE,
        "centred_squares": jnp.sum(jnp.square(centred_NxE), axis=-1),
    }
    return {name: per_document(v, document_N, n_documents) for name, v in values.items()}


def reconstruction_sums(
    sae: Reconstructor,
    x_NxD: jax.Array,
    y_NxE: jax.Array,
    keep_N: jax.Array,
    document_N: jax.Array,
    *,
    n_documents: int,
) -> tuple[Sums, jax.Array]:
    """What `reconstruction_metrics` needs of one batch beside `target_sums`; pure.

    Args:
      sae: of raw activations.
      x_NxD: rows that it reads, float32.
      y_NxE: rows that it is to predict, float32; x itself for an autoencoder.
      keep_N, document_N, n_documents: as for `target_sums`.

    Returns:
      ({"fired_F" [F], and each other sum [M]}, float32; the predictions [N, E]).
    """
    f_NxF, y_hat_NxE = sae.reconstruct(x_NxD)
    norm_N, norm_hat_N = jnp.linalg.norm(y_NxE, axis=-1), jnp.linalg.norm(y_hat_NxE, axis=-1)
    dot_N = jnp.sum(y_NxE * y_hat_NxE, axis=-1)
    values = {
        "l0": jnp.sum(f_NxF > 0, axis=-1),
        "l1": jnp.sum(f_NxF, axis=-1),
        "squared_error": jnp.sum(jnp.square(y_NxE - y_hat_NxE), axis=-1),
        "cosine": dot_N / jnp.maximum(norm_N * norm_hat_N, 1e-12),
        "dot": dot_N,
        "squares_hat": jnp.square(norm_hat_N),
        "norm_ratio": norm_hat_N / jnp.maximum(norm_N, 1e-12),
    }
    stacked_NxS = jnp.where(keep_N[:, None], jnp.stack([v.astype(jnp.float32) for v in values.values()], axis=-1), 0.0)
    stacked_MxS = per_document(stacked_NxS, document_N, n_documents)
    sums = {name: stacked_MxS[:, i] for i, name in enumerate(values)}
    return sums | {"fired_F": jnp.sum((f_NxF > 0) & keep_N[:, None], axis=0)}, y_hat_NxE


class DocumentSums:
    """Sums over all batches, float64 on the host, a row a document.

    Attributes:
      by_name: {what was measured: {sum: [M, ...], or [F] for those in NOT_PER_DOCUMENT}}.
    """

    def __init__(self, n_documents: int):
        self.n_documents = n_documents
        self.by_name: dict[str, dict[str, np.ndarray]] = {}

    def add(self, first_document: int, batch: Mapping[str, Mapping[str, Any]]) -> None:
        """Adds one batch's sums, whose documents are numbered from `first_document`; padding beyond the last is left out."""
        for name, sums in batch.items():
            mine = self.by_name.setdefault(name, {})
            for key, value in sums.items():
                value = np.asarray(value, np.float64)
                if key in NOT_PER_DOCUMENT:
                    mine[key] = mine.get(key, 0.0) + value
                    continue
                if key not in mine:
                    mine[key] = np.zeros((self.n_documents, *value.shape[1:]))
                room = self.n_documents - first_document
                mine[key][first_document : first_document + len(value)] += value[:room]

    def totals(self) -> dict[str, dict[str, np.ndarray]]:
        """The sums over all documents."""
        return {
            name: {key: value if key in NOT_PER_DOCUMENT else value.sum(0) for key, value in sums.items()}
            for name, sums in self.by_name.items()
        }


def ratios(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics that are ratios of totals.

    Args:
      totals: `target_sums` and `reconstruction_sums` of the same rows, summed over documents: "centred" [..., E], others [...].

    Returns:
      {metric: float64 [...]}; not finite where there is nothing to divide by.
    """
    n = totals["n"]
    variance = totals["centred_squares"] - np.sum(np.square(totals["centred"]), axis=-1) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        fvu = totals["squared_error"] / variance
        return {
            "l0": totals["l0"] / n,
            "l1": totals["l1"] / n,
            "mse": totals["squared_error"] / n,
            "fvu": fvu,
            "explained_variance": 1.0 - fvu,
            "cosine_similarity": totals["cosine"] / n,
            "relative_reconstruction_bias": totals["squares_hat"] / totals["dot"],
            "l2_ratio": totals["norm_ratio"] / n,
        }


def reconstruction_metrics(totals: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """`ratios` and the share of dead latents; None where a reconstruction that is always 0 has no bias to speak of."""
    found: dict[str, float | None] = {name: float(value) for name, value in ratios(totals).items()}
    if not totals["dot"]:
        found["relative_reconstruction_bias"] = None
    return found | {"dead_fraction": float(np.mean(totals["fired_F"] == 0))}
