"""What is said of each latent: the rows of latents.parquet, from weights, activity and labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.evaluation import dictionaries
from saejax.evaluation.dictionaries import Nearest
from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features import layout
from saejax.features import weights as weights_lib
from saejax.features.activity import Activity
from saejax.features.collect import block_of
from saejax.features.correlation import Related
from saejax.features.records import Vocabulary
from saejax.features.rules import Rules
from saejax.features.schemas import Latent
from saejax.features.statistics import statistics
from saejax.features.text import Text
from saejax.features.weights import Logits

N_TOKENS = 10  # boosted, and suppressed


class Source(NamedTuple):
    """What all members of a run share.

    Attributes:
      model: the GPT-2.
      text: held-out windows; vocabulary: how its tokens are shown; rules: that labels are made of.
    """

    model: LanguageModel
    text: Text
    vocabulary: Vocabulary
    rules: Rules


class Weights(NamedTuple):
    """What follows from the weights; arrays over latents.

    Attributes:
      logits: for `direct_logits`, the decoder at the unembedding [F, D] and the embedding [V, D]; None where there is no way.
      decoder_norm_F, encoder_norm_F, bias_F: float32; cosine_F: of encoder and decoder, None where widths differ.
      similar: by decoder directions. aligned: neurons (int64 [F, n], cosine [F, n]).
      map_kind, map_Fx2, cluster_F: as `layout` makes them.
    """

    logits: tuple[jax.Array, jax.Array] | None
    decoder_norm_F: np.ndarray
    encoder_norm_F: np.ndarray
    bias_F: np.ndarray
    cosine_F: np.ndarray | None
    similar: Nearest
    aligned: tuple[np.ndarray, np.ndarray]
    map_kind: str
    map_Fx2: np.ndarray
    cluster_F: np.ndarray


def weights(member: Spliced, model: LanguageModel, seed: int, n_related: int) -> Weights:
    """Everything that needs no text."""
    sae, params, site = member.sae, model.params, member.writes
    W_enc_FxD, W_dec_FxE = np.asarray(sae.W_enc).T, np.asarray(sae.W_dec)
    atoms_FxE = np.asarray(dictionaries.unit(W_dec_FxE))
    at_unembedding = weights_lib.at_unembedding(sae.W_dec, site, params)
    stream = weights_lib.in_stream(sae.W_dec, site, params)
    block = block_of(site, model.config.n_layer)
    kind, map_Fx2 = layout.two_dimensions(atoms_FxE, seed)
    same_width = W_enc_FxD.shape == W_dec_FxE.shape
    return Weights(
        logits=None if at_unembedding is None else (at_unembedding, params["wte"]["embedding"]),
        decoder_norm_F=np.linalg.norm(W_dec_FxE, axis=1),
        encoder_norm_F=np.linalg.norm(W_enc_FxD, axis=1),
        bias_F=np.asarray(sae.b_enc),
        cosine_F=np.sum(np.asarray(dictionaries.unit(W_enc_FxD)) * atoms_FxE, axis=1) if same_width else None,
        similar=dictionaries.nearest(sae.W_dec, n_related),
        aligned=weights_lib.aligned_neurons(sae.W_dec, stream, site, block, params, n_related),
        map_kind=kind,
        map_Fx2=map_Fx2,
        cluster_F=layout.clusters(atoms_FxE, seed),
    )


def latents(
    activity: Activity, source: Source, n_intervals: int, about: Weights, related: Related, neurons: Related
) -> Iterator[Latent]:
    """Every latent, in order; logits are made a block of latents at a time.

    Args:
      activity: of all latents.
      source: text and rules.
      n_intervals: Q.
      about: of the weights.
      related, neurons: correlated latents, and neurons.
    """
    n_rows = source.text.n_rows
    for latent, logits in enumerate(_logits(about, activity.d_sae)):
        rows, values = activity.of_latent(latent)
        rule = source.rules.best(rows, values)
        alive = len(rows) > 0
        yield Latent(
            latent=latent,
            **statistics(values, n_rows, n_intervals)._asdict(),
            **logits,
            decoder_norm=float(about.decoder_norm_F[latent]),
            encoder_norm=float(about.encoder_norm_F[latent]),
            encoder_decoder_cosine=None if about.cosine_F is None else float(about.cosine_F[latent]),
            bias=float(about.bias_F[latent]),
            similar_latents=about.similar.index[latent].tolist(),
            similar_cosines=about.similar.cosine[latent].tolist(),
            correlated_latents=related.index[latent].tolist() if alive else [],
            correlated_latent_r=related.r[latent].tolist() if alive else [],
            correlated_neurons=neurons.index[latent].tolist() if alive else [],
            correlated_neuron_r=neurons.r[latent].tolist() if alive else [],
            aligned_neurons=about.aligned[0][latent].tolist(),
            aligned_neuron_cosines=about.aligned[1][latent].tolist(),
            label=rule.label,
            label_kind=rule.kind,
            label_precision=rule.precision,
            label_recall=rule.recall,
            x=float(about.map_Fx2[latent, 0]),
            y=float(about.map_Fx2[latent, 1]),
            cluster=int(about.cluster_F[latent]),
        )


def _logits(about: Weights, d_sae: int) -> Iterator[dict[str, list]]:
    """The fields of each latent that are about logits."""
    names = ("logit_edges", "logit_counts", "boosted_tokens", "boosted_logits", "suppressed_tokens", "suppressed_logits")
    if about.logits is None:
        yield from ({name: [] for name in names} for _ in range(d_sae))
        return
    W_FxD, embedding_VxD = about.logits
    block = weights_lib.latents_at_once(len(embedding_VxD))
    for first in range(0, d_sae, block):
        found: Logits = weights_lib.direct_logits(jnp.asarray(W_FxD[first : first + block]), embedding_VxD, N_TOKENS)
        columns = (found.edges, found.counts, *found.boosted, *found.suppressed)
        yield from (dict(zip(names, (column.tolist() for column in row))) for row in zip(*columns))
