"""The columns of the feature records, and the same as types.

Pearson correlations are over rows; densities, precisions and recalls are shares from 0 to 1; losses are in nats. Lists that are
pairs (tokens and their logits, latents and their cosines) are in order of strength, the strongest first.
"""

from __future__ import annotations

import types
import typing
from typing import Any, NamedTuple

import pyarrow as pa

Ints, Floats, MaybeFloats = list[int], list[float], list[float | None]


class Meta(NamedTuple):
    """What was looked at.

    Attributes:
      member: its name, as in saes/.
      architecture: σ of the exported form, a name in `sae.inference.ACTIVATIONS`.
      reads, writes: sites.
      d_sae: F.
      model: {"name", "n_layer", "d_model", "n_inner", "vocab_size"}.
      dataset, context_size, dtype, seed: as the flags said.
      end_of_text: the token that stands before each document.
      n_tokens, n_rows, n_documents: tokens of held-out text; positions among them that the autoencoder is for; documents.
      n_correlation_rows: rows, spread evenly, that latents were correlated on; `n_neuron_rows`: and with neurons.
      n_intervals: Q, even parts of the range of activations.
      strengths: of steering, in multiples of a latent's largest activation.
      n_alive, n_labelled: latents that fire; those among them with a label.
      n_ablated: examples with ablation effects; `n_steered`: latents with continuations.
      logits: "direct", or why there are none: the site does not write to the residual stream.
      map: "umap" or "pca".
      n_clusters: of decoder directions.
      evaluation: this member's metrics in evaluation.json (l0, fvu, ce_recovered, …), {} where that was not run.
      seconds: {part of the work: seconds}; peak_memory_bytes: of the process, while it worked on this member.
      version: saejax's.
    """

    member: str
    architecture: str
    reads: str
    writes: str
    d_sae: int
    model: dict[str, Any]
    dataset: str
    context_size: int
    dtype: str
    seed: int
    end_of_text: int
    n_tokens: int
    n_rows: int
    n_documents: int
    n_correlation_rows: int
    n_neuron_rows: int
    n_intervals: int
    strengths: Floats
    n_alive: int
    n_labelled: int
    n_ablated: int
    n_steered: int
    logits: str
    map: str
    n_clusters: int
    evaluation: dict[str, float]
    seconds: dict[str, float]
    peak_memory_bytes: int
    version: str


class Latent(NamedTuple):
    """One latent: a row of latents.parquet.

    Attributes:
      latent: its number.
      density: n_active over the rows; n_active: rows on which it is above 0.
      max_activation, mean_activation: over the active rows; 0 where there is none.
      quantiles: Q + 1 edges of even parts of the range, from max_activation down to 0; interval q of the examples is from
        quantiles[q] (not included) to quantiles[q − 1].
      interval_shares: Q shares of the active rows, of interval 1 first.
      histogram_edges, histogram_counts: of the active values, even bins from 0 to max_activation.
      logit_edges, logit_counts: histogram over the vocabulary of what a latent of 1 adds to the logits directly: the decoder's
        row, centred, times the final layer norm's gain, times the unembedding (the stream's own norm is left out).
      boosted_tokens, boosted_logits, suppressed_tokens, suppressed_logits: the most of that, and the least.
      decoder_norm, encoder_norm, encoder_decoder_cosine, bias: of the weights; the cosine is None where widths differ.
      similar_latents, similar_cosines: by decoder directions.
      correlated_latents, correlated_latent_r: Pearson, the largest.
      correlated_neurons, correlated_neuron_r: of the MLP's hidden layer in the block of the site that is read.
      aligned_neurons, aligned_neuron_cosines: largest by size, with sign: decoder direction against the neuron's output
        weights, in the block of the site that is written; against the basis at the MLP's hidden layer itself.
      label: an automatic one ("fires on `dtype`"), "" where the statistics say nothing; label_kind: which rule.
      label_precision: share of the rule's rows on which it fires; label_recall: share of its activation on the rule's rows.
      x, y: on the map of decoder directions. cluster: of them, 0 the largest.
    """

    latent: int
    density: float
    n_active: int
    max_activation: float
    mean_activation: float
    quantiles: Floats
    interval_shares: Floats
    histogram_edges: Floats
    histogram_counts: Ints
    logit_edges: Floats
    logit_counts: Ints
    boosted_tokens: Ints
    boosted_logits: Floats
    suppressed_tokens: Ints
    suppressed_logits: Floats
    decoder_norm: float
    encoder_norm: float
    encoder_decoder_cosine: float | None
    bias: float
    similar_latents: Ints
    similar_cosines: Floats
    correlated_latents: Ints
    correlated_latent_r: Floats
    correlated_neurons: Ints
    correlated_neuron_r: Floats
    aligned_neurons: Ints
    aligned_neuron_cosines: Floats
    label: str
    label_kind: str
    label_precision: float
    label_recall: float
    x: float
    y: float
    cluster: int


class Example(NamedTuple):
    """A stretch of text on which a latent fires: a row of examples.parquet.

    Attributes:
      latent: its number.
      interval: 0 for the top examples, q = 1 … Q for a sample of those whose peak lies in part q of the range, 1 the strongest.
      rank: from 0; in the top examples by activation.
      document: among the held-out ones; source: its name. position: of the peak, in tokens in the document.
      address: of the peak, in the stream of held-out tokens.
      tokens, activations: the stretch, within the peak's document and window; peak: its index in them.
      loss_change: of each token, its loss where the latent's part, f W_dec[latent], is taken out of the written site at every
        position of the window, less its loss undisturbed; None at a window's first token; [] where not measured.
      fallen_tokens, fallen_changes, risen_tokens, risen_changes: how probabilities of the token after the peak change by that.
    """

    latent: int
    interval: int
    rank: int
    document: int
    source: str
    position: int
    address: int
    tokens: Ints
    activations: Floats
    peak: int
    loss_change: MaybeFloats
    fallen_tokens: Ints
    fallen_changes: Floats
    risen_tokens: Ints
    risen_changes: Floats


class Steered(NamedTuple):
    """A continuation sampled with a latent turned up: a row of steering.parquet.

    Attributes:
      latent: its number.
      strength: s; s max_activation W_dec[latent] is added to the written site at every position. 0: undisturbed.
      prompt, tokens: what is continued, `<|endoftext|>` before it.
      continuation: sampled tokens.
    """

    latent: int
    strength: float
    prompt: str
    tokens: Ints
    continuation: Ints


_WIDE = {"n_active", "address", "document"}  # counts and places in long texts
_TYPES = {str: pa.string(), int: pa.int32(), float: pa.float32(), float | None: pa.float32()}


def _schema(kind: type) -> pa.Schema:
    def arrow(name: str, hint: Any) -> pa.DataType:
        if isinstance(hint, types.GenericAlias):
            item = typing.get_args(hint)[0]
            return pa.list_(pa.int64() if name.endswith("_counts") else _TYPES[item])
        if name in _WIDE:
            return pa.int64()
        return pa.float64() if name == "density" else _TYPES[hint]

    return pa.schema([(name, arrow(name, hint)) for name, hint in typing.get_type_hints(kind).items()])


LATENTS, EXAMPLES, STEERING = _schema(Latent), _schema(Example), _schema(Steered)
