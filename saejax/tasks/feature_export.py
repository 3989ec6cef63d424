"""`--neuronpedia`: feature records → `neuronpedia/<model>/<source>/`, what Neuronpedia's bulk import takes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from saejax import files
from saejax.config import Config
from saejax.features import records
from saejax.features.records import Vocabulary
from saejax.features.schemas import Example, Meta
from saejax.features.schemas import Latent as Row
from saejax.interop import neuronpedia
from saejax.interop.neuronpedia import Activation, Feature, Latent, Model, Release, Source, SourceSet
from saejax.workdir import Workdir

CREATOR = "saejax"


def write(config: Config, workdir: Workdir, names: list[str]) -> None:
    """Writes every member that is not there yet."""
    for name in names:
        target = directory(workdir, name)
        if target.exists():
            continue
        own = workdir.path / "features" / name
        meta = records.read_meta(own)
        source = _source(meta)
        neuronpedia.write(
            target,
            release=Release(name="saejax", description="Sparse autoencoders trained with saejax", creatorName=CREATOR),
            model=Model(
                id=source.modelId,
                layers=meta.model["n_layer"],
                neuronsPerLayer=meta.model["n_inner"],
                owner=CREATOR,
                displayName=meta.model["name"],
                displayNameShort=meta.model["name"],
                dimension=meta.model["d_model"],
            ),
            source_set=SourceSet(
                modelId=source.modelId,
                name=source.setName,
                description=f"{meta.architecture}, {meta.d_sae:,} latents: {meta.reads} → {meta.writes}",
                creatorName=CREATOR,
                releaseName="saejax",
            ),
            source=source,
            latents=_latents(own, meta, source),
        )


def missing(config: Config, workdir: Workdir, names: list[str]) -> list[str]:
    """The folders that are not there."""
    return files.absent(directory(workdir, name) for name in names)


def directory(workdir: Workdir, name: str) -> Path:
    """Where a member's export lies."""
    source = _source(records.read_meta(workdir.path / "features" / name))
    return workdir.path / "neuronpedia" / source.modelId / source.id


def _source(meta: Meta) -> Source:
    set_name = _identifier(meta.member)
    model = _identifier(Path(meta.model["name"]).name)
    parts = meta.writes.split(".")
    layer = int(parts[1]) if parts[0] == "blocks" else (0 if parts[0].startswith("hook") else meta.model["n_layer"] - 1)
    return Source(
        id=neuronpedia.source_id(layer, set_name),
        modelId=model,
        setName=set_name,
        dataset=meta.dataset,
        num_prompts=meta.n_tokens // meta.context_size,
        num_tokens_in_prompt=meta.context_size,
        notes=f"saejax {meta.version}",
    )


def _identifier(text: str) -> str:
    """What can stand in an id and in a path there: small letters, digits, dots, dashes and underlines."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower())


def _latents(own: Path, meta: Meta, source: Source) -> Iterator[Latent]:
    vocabulary = records.read_vocabulary(own)
    of_latent = records.by_latent(records.read_examples(own))
    latent, examples = next(of_latent, (None, []))
    for row in records.read_latents(own):
        shown = examples if row.latent == latent else []
        if row.latent == latent:
            latent, examples = next(of_latent, (None, []))
        said = (
            neuronpedia.explanation(source, row.latent, row.label, typeName=f"saejax_{row.label_kind}") if row.label else None
        )
        yield Latent(
            _feature(row, meta, source, vocabulary),
            tuple(_activation(row, example, source, vocabulary) for example in shown),
            (said,) if said else (),
        )


def _feature(row: Row, meta: Meta, source: Source, vocabulary: Vocabulary) -> Feature:
    def texts(tokens: list[int]) -> tuple[str, ...]:
        return tuple(vocabulary.text[token] for token in tokens)

    def middles(edges: list[float]) -> tuple[float, ...]:
        return tuple((low + high) / 2 for low, high in itertools.pairwise(edges))

    return Feature(
        modelId=source.modelId,
        layer=source.id,
        index=str(row.latent),
        maxActApprox=row.max_activation,
        hookName=meta.writes,
        topkCosSimIndices=tuple(row.similar_latents),
        topkCosSimValues=tuple(row.similar_cosines),
        neuron_alignment_indices=tuple(row.aligned_neurons),
        neuron_alignment_values=tuple(row.aligned_neuron_cosines),
        correlated_neurons_indices=tuple(row.correlated_neurons),
        correlated_neurons_pearson=tuple(row.correlated_neuron_r),
        correlated_features_indices=tuple(row.correlated_latents),
        correlated_features_pearson=tuple(row.correlated_latent_r),
        neg_str=texts(row.suppressed_tokens),
        neg_values=tuple(row.suppressed_logits),
        pos_str=texts(row.boosted_tokens),
        pos_values=tuple(row.boosted_logits),
        frac_nonzero=row.density,
        freq_hist_data_bar_heights=tuple(map(float, row.histogram_counts)),
        freq_hist_data_bar_values=middles(row.histogram_edges),
        logits_hist_data_bar_heights=tuple(map(float, row.logit_counts)),
        logits_hist_data_bar_values=middles(row.logit_edges),
        sourceSetName=source.setName,
    )


def _activation(row: Row, example: Example, source: Source, vocabulary: Vocabulary) -> Activation:
    part = {}
    if example.interval:
        low, high = row.quantiles[example.interval], row.quantiles[example.interval - 1]
        part = {"binMin": low, "binMax": high, "binContains": row.interval_shares[example.interval - 1]}
    return neuronpedia.activation(
        source,
        row.latent,
        [vocabulary.text[token] for token in example.tokens],
        example.activations,
        dataSource=example.source,
        dataIndex=str(example.document),
        qualifyingTokenIndex=example.peak,
        lossValues=tuple(0.0 if change is None else change for change in example.loss_change),
        **part,
    )
