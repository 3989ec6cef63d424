"""All records of one autoencoder: the pass over the text, what is said of each latent, examples, ablations, steering."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from saejax import __version__, console, machine
from saejax.evaluation.splice import Spliced
from saejax.features import ablation, correlation, described, examples, records, steering
from saejax.features.ablation import Effect, Wanted
from saejax.features.activity import Activity, ActivityWriter
from saejax.features.collect import collect
from saejax.features.described import Source
from saejax.features.examples import Choice, Chosen
from saejax.features.schemas import Example, Latent, Meta, Steered
from saejax.features.steering import Strength
from saejax.features.text import Text

N_RELATED = 5
_LATENTS_AT_ONCE = 256  # whose examples are in memory
_NOT_MEASURED = Effect([], [], [], [], [])


class Settings(NamedTuple):
    """How much is looked at.

    Attributes:
      choice: which examples.
      n_ablated: examples of a latent with ablation effects, the top ones first.
      n_affected: latents, at most, with ablation effects and steering; evenly spread over those that fire.
      prompt, prompt_tokens: what is continued; its tokens, `<|endoftext|>` first.
      strengths, n_continued: of steering; tokens sampled.
      exclude_first: whether autoencoders are not for a window's first position.
      seed: of samples, the map and clusters.
      batch_tokens: of a forward pass.
    """

    choice: Choice
    n_ablated: int
    n_affected: int
    prompt: str
    prompt_tokens: tuple[int, ...]
    strengths: tuple[float, ...]
    n_continued: int
    exclude_first: bool
    seed: int
    batch_tokens: int


class About(NamedTuple):
    """What is told in meta.json and not looked at here: fields of `schemas.Meta` of the same names."""

    member: str
    model: dict
    dataset: str
    evaluation: dict[str, float]


def write(directory: Path, about: About, source: Source, member: Spliced, settings: Settings) -> Meta:
    """Collects and writes one member's records; the folder appears whole."""
    seconds: dict[str, float] = {}
    last = time.monotonic()

    def done(part: str) -> None:
        nonlocal last
        seconds[part], last = round(time.monotonic() - last, 2), time.monotonic()

    machine.reset_peak_memory()
    text, L = source.text, source.text.windows.context_size
    with records.whole(directory) as partial:
        writer = ActivityWriter(partial / "activity", len(member.sae.W_dec))
        found = collect(source.model, member, text, writer, batch_windows=max(1, settings.batch_tokens // L))
        done("pass")
        related, n_correlated = correlation.latents(found.activity, text.keep_N, L, N_RELATED)
        done("correlations")
        weights = described.weights(member, source.model, settings.seed, N_RELATED)
        done("weights")
        neurons = found.neurons.strongest(N_RELATED)
        latents = list(described.latents(found.activity, source, settings.choice.n_intervals, weights, related, neurons))
        records.write_latents(partial, latents)
        done("latents")
        affected = affected_latents(latents, settings.n_affected)
        n_ablated = _write_examples(partial, source, member, found.activity, settings, affected)
        done("examples")
        records.write_steering(partial, _steered(source, member, latents, affected, settings))
        done("steering")
        records.write_vocabulary(partial, source.vocabulary)
        shutil.rmtree(partial / "activity")
        meta = Meta(
            **about._asdict(),
            architecture=member.sae.activation,
            reads=member.reads,
            writes=member.writes,
            d_sae=len(latents),
            context_size=L,
            dtype=np.dtype(source.model.dtype).name,
            seed=settings.seed,
            end_of_text=text.end_of_text,
            n_tokens=text.keep_N.size,
            n_rows=text.n_rows,
            n_documents=text.n_documents,
            n_correlation_rows=n_correlated,
            n_neuron_rows=found.neurons.n_rows,
            n_intervals=settings.choice.n_intervals,
            strengths=list(settings.strengths),
            n_alive=sum(latent.n_active > 0 for latent in latents),
            n_labelled=sum(latent.label != "" for latent in latents),
            n_ablated=n_ablated,
            n_steered=len(affected) if settings.strengths else 0,
            logits="direct" if weights.logits is not None else f"none: {member.writes} has no linear way to the logits",
            map=weights.map_kind,
            n_clusters=int(weights.cluster_F.max()) + 1,
            seconds=seconds,
            peak_memory_bytes=machine.peak_memory_bytes(),
            version=__version__,
        )
        records.write_meta(partial, meta)
    return meta


def affected_latents(latents: Sequence[Latent], most: int) -> list[int]:
    """Those of the latents that fire whose effects are measured, rising: all, or so many of them, evenly spread."""
    alive = [latent.latent for latent in latents if latent.n_active]
    if len(alive) <= most:
        return alive
    return [alive[i * len(alive) // most] for i in range(most)]


def _write_examples(
    directory: Path, source: Source, member: Spliced, activity: Activity, settings: Settings, affected: list[int]
) -> int:
    """Writes examples, a block of latents at a time; returns how many have ablation effects."""
    n_ablated, chosen_ones = 0, set(affected)

    def rows() -> Iterator[Example]:
        nonlocal n_ablated
        with console.progress("examples", activity.d_sae, "latents") as advance:
            for first in range(0, activity.d_sae, _LATENTS_AT_ONCE):
                block = range(first, min(first + _LATENTS_AT_ONCE, activity.d_sae))
                found = _examples(source, activity, block, settings.choice)
                ablated = [i for i, (e, _) in enumerate(found) if _is_ablated(e, settings.n_ablated, chosen_ones)]
                wanted = [found[i][1] for i in ablated]
                options = {"batch_tokens": settings.batch_tokens}
                for i, effect in ablation.effects(source.model, member, source.text, wanted, **options):
                    example, one = found[ablated[i]]
                    found[ablated[i]] = (example._replace(**effect._asdict()), one)
                n_ablated += len(wanted)
                advance(len(block))
                yield from (example for example, _ in found)

    records.write_examples(directory, rows())
    return n_ablated


def _is_ablated(example: Example, n_ablated: int, affected: set[int]) -> bool:
    return example.latent in affected and example.interval == 0 and example.rank < n_ablated


def _examples(source: Source, activity: Activity, block: range, choice: Choice) -> list[tuple[Example, Wanted]]:
    """(example without effects, the pass that would find them) of a block of latents."""
    found = []
    for latent in block:
        rows, values = activity.of_latent(latent)
        chosen = examples.choose(latent, rows, values, source.text, choice)
        found += [_example(latent, one, rows, values, source.text) for one in chosen]
    return found


def _example(latent: int, one: Chosen, rows: np.ndarray, values: np.ndarray, text: Text) -> tuple[Example, Wanted]:
    L = text.windows.context_size
    window = one.address // L * L
    f_L = examples.activations(one._replace(first=window, end=window + L), rows, values)
    document = int(text.document_of(one.address))
    example = Example(
        latent=latent,
        interval=one.interval,
        rank=one.rank,
        document=document,
        source=text.windows.sources[document],
        position=one.address - int(text.windows.starts[document]),
        address=one.address,
        tokens=text.tokens[one.first : one.end].tolist(),
        activations=f_L[one.first - window : one.end - window].tolist(),
        peak=one.address - one.first,
        **_NOT_MEASURED._asdict(),
    )
    return example, Wanted(latent, one.first, one.end, one.address, f_L)


def _steered(
    source: Source, member: Spliced, latents: Sequence[Latent], affected: list[int], settings: Settings
) -> Iterator[Steered]:
    """Every continuation, in order."""
    wanted = [
        Strength(latent, strength, latents[latent].max_activation)
        for latent, strength in itertools.product(affected, settings.strengths)
    ]
    if not wanted:
        return
    sampled = steering.continuations(
        source.model,
        member,
        wanted,
        settings.prompt_tokens,
        n_tokens=settings.n_continued,
        seed=settings.seed,
        batch_tokens=settings.batch_tokens,
        exclude_first=settings.exclude_first,
    )
    with console.progress("steering", len(wanted), "continuations") as advance:
        for one, continuation in zip(wanted, sampled):
            yield Steered(one.latent, one.strength, settings.prompt, list(settings.prompt_tokens), continuation)
            advance(1)
