"""Made-up feature records of any number of latents, with text that looks like text, or that is hostile."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from saejax.features import records
from saejax.features.schemas import EXAMPLES, LATENTS
from saejax.lm import tokenizer, weights

N_TOP, N_QUANTILES, N_LISTED, N_ROWS = 8, 4, 10, 990_000
HOSTILE = (
    '</script><img src=x onerror="window.hurt=1">',
    "<svg/onload=window.hurt=1>",
    "<!--<script>window.hurt=1//",
    "{{constructor.constructor('window.hurt=1')()}}",
    "\u202egnirts desrever",
    "\u2067עברית\u2069",
    "\u05e9\u05dc\u05d5\u05dd",
    "👩‍🚀🏳️‍🌈",
    "a\x00b\x07c\x1b[31m",
    "line\u2028paragraph\u2029",
    "half\ud83d",
    "&lt;b&gt;&amp;",
    "\n\n\t",
    "   ",
    "",
    "__proto__",
    "%00../../etc",
    "zero\u200bwidth\ufeff",
)


def vocabulary() -> tuple[list[str], list[bool]]:
    """The tiny model's tokens as text, and which are escapes of bytes that are not whole characters."""
    own = tokenizer.load(weights.find("tiny")).get_vocab()
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    byte_of = {chr(byte): byte for byte in visible} | {chr(256 + i): byte for i, byte in enumerate(hidden)}
    texts, escaped = [], []
    for token in sorted(own, key=own.get):
        data = bytes(byte_of[c] for c in token) if token != weights.END_OF_TEXT else token.encode()
        try:
            texts.append(data.decode())
            escaped.append(False)
        except UnicodeDecodeError:
            texts.append("".join(f"\\x{byte:02x}" for byte in data))
            escaped.append(True)
    return texts, escaped


def text_tokens() -> np.ndarray:
    """int32 [N]: documentation strings of a few modules."""
    documents = []
    for module in (argparse, inspect, json, np, np.linalg, np.random):
        objects = [module, *(getattr(module, name, None) for name in dir(module))]
        documents += [inspect.getdoc(thing) or "" for thing in objects if callable(thing) or thing is module]
    encode = tokenizer.load(weights.find("tiny")).encode
    return np.concatenate([np.asarray(encode(text).ids, np.int32) for text in documents if text])


def lists(values: np.ndarray) -> pa.ListArray:
    """[N, C] → a column of N lists."""
    n, length = values.shape
    return pa.ListArray.from_arrays(np.arange(0, n * length + 1, length, dtype=np.int32), np.ascontiguousarray(values).ravel())


def write(directory: Path, n_latents: int, *, hostile: bool = False, n_each: int = 4, context: int = 32, seed: int = 0) -> Path:
    """Writes `features/<member>/` as saejax.features does; the last latent never fires.

    Args:
      directory: the folder.
      n_latents: how many.
      hostile: text of tokens that attack the page that shows them.
      n_each: examples of a quantile interval.
      context: tokens of an example.
      seed: of everything.
    """
    random = np.random.default_rng(seed)
    texts, escaped = (list(HOSTILE), [False] * len(HOSTILE)) if hostile else vocabulary()
    stream = random.integers(0, len(texts), 4000).astype(np.int32) if hostile else text_tokens()
    directory.mkdir(parents=True, exist_ok=True)
    records.write_vocabulary(directory, records.Vocabulary(texts, escaped))
    peaks_FxE, strength_F = _peaks(random, stream, n_latents, N_TOP + N_QUANTILES * n_each, context)
    _write_latents(directory, random, stream, peaks_FxE, strength_F, texts, escaped)
    _write_examples(directory, random, stream, peaks_FxE[:-1], strength_F, n_each, context, hostile)
    _write_steering(directory, random, stream, strength_F)
    records.write_meta(directory, _meta(directory.name, n_latents, len(texts), "<b>hostile</b>" if hostile else "pydocs"))
    return directory


def _meta(name: str, n_latents: int, n_vocabulary: int, dataset: str) -> records.Meta:
    site = "blocks.2.hook_resid_post"
    model = {"name": "tiny", "n_layer": 4, "d_model": 128, "vocab_size": n_vocabulary}
    return records.Meta(
        **{"member": name, "architecture": "topk", "reads": site, "writes": site, "d_sae": n_latents, "model": model},
        **{"dataset": dataset, "context_size": 128, "dtype": "float32", "seed": 0, "end_of_text": 0, "n_tokens": 1_000_000},
        **{"n_rows": N_ROWS, "n_documents": 12_345, "n_correlation_rows": 65_536, "n_neuron_rows": 65_536},
        **{"n_intervals": N_QUANTILES, "strengths": [-4.0, 0.0, 4.0, 8.0], "n_alive": n_latents - 1},
        **{"n_labelled": n_latents // 2, "n_ablated": 100, "n_steered": 64, "logits": "direct", "map": "pca", "n_clusters": 9},
        **{"evaluation": {}, "seconds": {"stream": 1.0}, "peak_memory_bytes": 1, "version": "0"},
    )


def _table(columns: dict, schema: pa.Schema) -> pa.Table:
    return pa.table(columns).select(schema.names).cast(schema)


def _peaks(random, stream, n_latents, n_examples, context):
    """Each latent is given a token, the frequent ones first; its examples are places where that token is."""
    order = np.argsort(stream, kind="stable")
    values, first, n = np.unique(stream[order], return_index=True, return_counts=True)
    ranked = np.argsort(-n, kind="stable")[np.arange(n_latents) % len(values)]
    pick_FxE = first[ranked, None] + (random.random((n_latents, n_examples)) * n[ranked, None]).astype(int)
    return np.clip(order[pick_FxE], context, len(stream) - context - 1), random.gamma(4, 2, n_latents) + 0.5


def _write_latents(directory, random, stream, peaks_FxE, strength_F, texts, escaped):
    n = len(peaks_FxE)
    density_F = 10 ** random.normal(-2.7, 0.7, n).clip(-5.5, -0.3)
    density_F[-1] = 0
    alive_F = density_F > 0
    cluster_F = random.integers(0, 9, n).astype(np.int32)
    centre = random.normal(0, 2.2, (9, 2))
    place_Fx2 = centre[cluster_F] + random.normal(0, 0.55, (n, 2))
    edges_FxH = strength_F[:, None] * np.linspace(0, 1, 31)
    shape_H = np.exp(-np.linspace(0, 4, 30))
    counts_FxH = random.poisson(shape_H * (density_F * 9e4)[:, None])
    logits = np.linspace(-3, 3, 41)
    token_F = stream[peaks_FxE[:, 0]]
    words = [texts[t].encode("utf-8", "replace").decode() if not escaped[t] else "" for t in token_F]  # as Parquet needs
    kinds = random.choice(["token", "after", ""], n, p=[0.5, 0.25, 0.25])
    label = [{"token": f"fires on `{w.strip()}`", "after": f"after `{w.strip()}`"}.get(k, "") for k, w in zip(kinds, words)]
    label[-1] = ""

    def tokens(count=N_LISTED):
        return lists(random.integers(0, len(texts), (n, count), dtype=np.int32))

    def falling(low, high, count):
        return lists(-np.sort(-random.uniform(low, high, (n, count)), axis=1).astype(np.float32))

    def others(width=5):
        return lists(random.integers(0, max(n - 1, 1), (n, width), dtype=np.int32))

    columns = {
        "latent": np.arange(n, dtype=np.int32),
        "density": density_F,
        "n_active": (density_F * N_ROWS).astype(np.int64),
        "max_activation": (strength_F * alive_F).astype(np.float32),
        "mean_activation": (strength_F * alive_F / 3).astype(np.float32),
        "interval_shares": lists(np.tile(np.float32([0.05, 0.15, 0.3, 0.5]), (n, 1))),
        "quantiles": lists((strength_F[:, None] * np.linspace(1, 0, N_QUANTILES + 1)).astype(np.float32)),
        "histogram_edges": lists(edges_FxH.astype(np.float32)),
        "histogram_counts": lists(counts_FxH.astype(np.int64)),
        "logit_edges": lists(np.tile(logits.astype(np.float32), (n, 1))),
        "logit_counts": lists(random.poisson(400 * np.exp(-(logits[:-1] ** 2)), (n, 40)).astype(np.int64)),
        **{"boosted_tokens": tokens(), "boosted_logits": falling(1.0, 3.0, N_LISTED)},
        **{"suppressed_tokens": tokens(), "suppressed_logits": falling(-3.0, -1.0, N_LISTED)},
        "decoder_norm": np.ones(n, np.float32),
        "encoder_norm": random.uniform(0.5, 2, n).astype(np.float32),
        "encoder_decoder_cosine": random.uniform(0.3, 0.9, n).astype(np.float32),
        "bias": random.normal(0, 0.1, n).astype(np.float32),
        **{"similar_latents": others(), "similar_cosines": falling(0.2, 0.9, 5)},
        **{"correlated_latents": others(), "correlated_latent_r": falling(0.1, 0.8, 5)},
        **{"correlated_neurons": others(), "correlated_neuron_r": falling(0.1, 0.8, 5)},
        **{"aligned_neurons": others(), "aligned_neuron_cosines": falling(0.1, 0.6, 5)},
        "label": [text if kind else "" for text, kind in zip(label, kinds)],
        "label_kind": kinds.tolist(),
        "label_precision": random.uniform(0.4, 1, n).astype(np.float32),
        "label_recall": random.uniform(0.2, 1, n).astype(np.float32),
        **{"x": place_Fx2[:, 0].astype(np.float32), "y": place_Fx2[:, 1].astype(np.float32), "cluster": cluster_F},
    }
    pq.write_table(_table(columns, LATENTS), directory / records.LATENTS_FILE)


def _write_examples(directory, random, stream, peaks_FxE, strength_F, n_each, context, hostile):
    n_latents, n_examples = peaks_FxE.shape
    interval_E = np.repeat(np.arange(N_QUANTILES + 1), [N_TOP] + [n_each] * N_QUANTILES).astype(np.int32)
    rank_E = np.concatenate([np.arange(N_TOP), *[np.arange(n_each)] * N_QUANTILES]).astype(np.int32)
    level_E = np.where(interval_E == 0, 1 - 0.02 * rank_E, 1.05 - interval_E / (N_QUANTILES + 0.5))
    n, peak = n_latents * n_examples, context * 2 // 3
    tokens_NxC = stream[peaks_FxE.reshape(-1, 1) + np.arange(context) - peak]
    activations_NxC = np.where(random.random((n, context)) < 0.06, random.random((n, context)) * 0.6, 0).astype(np.float32)
    activations_NxC *= (strength_F[:n_latents, None] * level_E).reshape(-1, 1)
    activations_NxC[:, peak] = (strength_F[:n_latents, None] * level_E).ravel()
    change_NxC = (random.normal(0, 0.02, (n, context)) + (random.random((n, context)) < 0.05) * 0.6).astype(np.float32)
    change_NxC[:, 0] = np.nan
    source = '<a href="javascript:hurt()">x</a>' if hostile else "pydocs"
    token_Nx5 = stream[random.integers(0, len(stream), (n, 5))]
    columns = {
        "latent": np.repeat(np.arange(n_latents, dtype=np.int32), n_examples),
        "interval": np.tile(interval_E, n_latents),
        "rank": np.tile(rank_E, n_latents),
        "document": random.integers(0, 12_345, n),
        "source": pa.array([source] * n),
        "position": random.integers(40, 900, n).astype(np.int32),
        "address": peaks_FxE.ravel().astype(np.int64),
        **{"tokens": lists(tokens_NxC), "activations": lists(activations_NxC), "peak": np.full(n, peak, np.int32)},
        "loss_change": lists(change_NxC),
        **{"fallen_tokens": lists(token_Nx5), "fallen_changes": lists(-np.sort(random.random((n, 5)).astype(np.float32) / 3))},
        **{"risen_tokens": lists(token_Nx5[:, ::-1]), "risen_changes": lists(np.sort(random.random((n, 5)) / 4)[:, ::-1])},
    }
    pq.write_table(_table(columns, EXAMPLES), directory / records.EXAMPLES_FILE, row_group_size=50_000)


def _write_steering(directory, random, stream, strength_F, length: int = 16):
    rows = []
    for latent in range(min(len(strength_F) - 1, 64)):
        start = int(random.integers(0, len(stream) - 200))
        for strength in (-4.0, 0.0, 4.0, 8.0):
            after = start + 5 + int(random.integers(0, 100))
            continuation = stream[after : after + length].tolist()
            rows.append(records.Steered(latent, strength, "Returns the", stream[start : start + 5].tolist(), continuation))
    records.write_steering(directory, rows)
