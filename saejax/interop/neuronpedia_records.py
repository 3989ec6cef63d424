"""The lines of Neuronpedia's import files, as typed records with its own field names.

Columns that its database fills in itself (createdAt, umap_…) are left out. Its import takes a file's columns from the first
line, so every line of a kind has the same keys. Source: github.com/hijohnnylin/neuronpedia,
`utils/neuronpedia-utils/neuronpedia_utils/db_models/{feature,activation,explanation,model,source,source_set,source_release}.py`,
`utils/neuronpedia-utils/neuronpedia_utils/convert-saedashboard-to-neuronpedia-export.py`, `apps/webapp/prisma/schema.prisma`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import NamedTuple

CREATOR = "clkht01d40000jv08hvalcvly"  # the DEFAULT_CREATOR_ID of Neuronpedia's converters: the user its database is made with

Texts, Numbers, Whole = tuple[str, ...], tuple[float, ...], tuple[int, ...]


class Release(NamedTuple):
    """release.jsonl: what a set of sources was published as."""

    name: str
    description: str
    creatorName: str
    descriptionShort: str | None = None
    creatorNameShort: str | None = None
    creatorEmail: str | None = None
    creatorId: str = CREATOR
    urls: Texts = ()
    visibility: str = "PUBLIC"


class Model(NamedTuple):
    """model.jsonl: the language model."""

    id: str
    layers: int
    neuronsPerLayer: int
    owner: str
    displayName: str = ""
    displayNameShort: str = ""
    instruct: bool = False
    tlensId: str | None = None
    dimension: int | None = None
    website: str | None = None
    creatorId: str = CREATOR
    visibility: str = "PUBLIC"


class SourceSet(NamedTuple):
    """sourceset.jsonl: autoencoders of one kind, one at each layer."""

    modelId: str
    name: str
    description: str
    creatorName: str
    releaseName: str | None = None
    type: str = ""
    urls: Texts = ()
    hasDashboards: bool = True
    creatorId: str = CREATOR
    visibility: str = "PUBLIC"


class Source(NamedTuple):
    """source.jsonl: one autoencoder; its id is "<layer>-<set>", as `source_id` makes it."""

    id: str
    modelId: str
    setName: str
    dataset: str | None = None
    num_prompts: int | None = None
    num_tokens_in_prompt: int | None = None
    hfRepoId: str | None = None
    hfFolderId: str | None = None
    saelensRelease: str | None = None
    saelensSaeId: str | None = None
    notes: str | None = None
    hasDashboards: bool = True
    inferenceEnabled: bool = False
    creatorId: str = CREATOR
    visibility: str = "PUBLIC"


class Feature(NamedTuple):
    """features/batch-N.jsonl: one latent. `layer` is the source's id, `index` the latent's number."""

    modelId: str
    layer: str
    index: str
    creatorId: str = CREATOR
    maxActApprox: float | None = 0.0
    hasVector: bool = False
    vector: Numbers = ()
    vectorLabel: str | None = None
    vectorDefaultSteerStrength: float | None = 10.0
    hookName: str | None = None
    topkCosSimIndices: Whole = ()
    topkCosSimValues: Numbers = ()
    neuron_alignment_indices: Whole = ()
    neuron_alignment_values: Numbers = ()
    neuron_alignment_l1: Numbers = ()
    correlated_neurons_indices: Whole = ()
    correlated_neurons_pearson: Numbers = ()
    correlated_neurons_l1: Numbers = ()
    correlated_features_indices: Whole = ()
    correlated_features_pearson: Numbers = ()
    correlated_features_l1: Numbers = ()
    neg_str: Texts = ()
    neg_values: Numbers = ()
    pos_str: Texts = ()
    pos_values: Numbers = ()
    frac_nonzero: float = 0.0
    freq_hist_data_bar_heights: Numbers = ()
    freq_hist_data_bar_values: Numbers = ()
    logits_hist_data_bar_heights: Numbers = ()
    logits_hist_data_bar_values: Numbers = ()
    decoder_weights_dist: Numbers = ()
    sourceSetName: str | None = None


class Activation(NamedTuple):
    """activations/batch-N.jsonl: a latent's values on one stretch of text; best made by `activation`."""

    id: str
    tokens: Texts
    index: str
    layer: str
    modelId: str
    maxValue: float
    maxValueTokenIndex: int
    minValue: float
    values: Numbers
    creatorId: str = CREATOR
    dataSource: str | None = None
    dataIndex: str | None = None
    dfaValues: Numbers = ()
    dfaTargetIndex: int | None = None
    dfaMaxValue: float | None = None
    lossValues: Numbers = ()
    logitContributions: str | None = None
    binMin: float | None = None
    binMax: float | None = None
    binContains: float | None = None
    qualifyingTokenIndex: int | None = None


class Explanation(NamedTuple):
    """explanations/batch-N.jsonl: what a latent is said to stand for; best made by `explanation`."""

    id: str
    modelId: str
    layer: str
    index: str
    description: str
    authorId: str = CREATOR
    typeName: str | None = None
    explanationModelName: str | None = None
    notes: str | None = None


class Latent(NamedTuple):
    """All that is told of one latent."""

    feature: Feature
    activations: tuple[Activation, ...] = ()
    explanations: tuple[Explanation, ...] = ()


def source_id(layer: int, set_name: str) -> str:
    """A source's id, which is also the `layer` of its features and their activations."""
    return f"{layer}-{set_name}"


def activation(source: Source, index: int, tokens: Sequence[str], values: Sequence[float], **more) -> Activation:
    """A latent's values on a stretch of text, with its extremes and an id that the same text gets again.

    Args:
      source: where the latent is.
      index: its number.
      tokens: texts of at least one token.
      values: as many latents' values.
      more: other fields of `Activation`.
    """
    values = tuple(float(v) for v in values)
    largest = max(values)
    place = {"modelId": source.modelId, "layer": source.id, "index": str(index)}
    return Activation(
        id=_id("activation", *place.values(), list(tokens), values, more),
        tokens=tuple(tokens),
        **place,
        maxValue=largest,
        maxValueTokenIndex=values.index(largest),
        minValue=min(values),
        values=values,
        **more,
    )


def explanation(source: Source, index: int, description: str, **more) -> Explanation:
    """What a latent stands for, with an id that the same words get again; `more` are other fields of `Explanation`."""
    place = {"modelId": source.modelId, "layer": source.id, "index": str(index)}
    return Explanation(id=_id("explanation", *place.values(), description, more), **place, description=description, **more)


def problem_of(record: NamedTuple) -> str | None:
    """What in a record contradicts itself, or None."""
    pairs = (("pos_str", "pos_values"), ("neg_str", "neg_values"), ("tokens", "values"))
    for a, b in pairs:
        if hasattr(record, a) and len(getattr(record, a)) != len(getattr(record, b)):
            return f"{len(getattr(record, a))} {a} but {len(getattr(record, b))} {b}"
    if isinstance(record, Activation):
        if not 0 <= record.maxValueTokenIndex < len(record.values):
            return f"maxValueTokenIndex is {record.maxValueTokenIndex} with {len(record.values)} values"
        largest = (record.values[record.maxValueTokenIndex], max(record.values))
        if not all(math.isclose(v, record.maxValue, rel_tol=1e-2, abs_tol=1e-2) for v in largest):  # published ones are rounded
            return f"maxValue is {record.maxValue}, which is not the largest of values at maxValueTokenIndex"
    if isinstance(record, Feature) and not (record.index.isascii() and record.index.isdecimal()):
        return f"index is {record.index!r}, not a latent's number"
    return None


def _id(*parts) -> str:
    """25 characters that begin with c, as the database's own."""
    return "c" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
