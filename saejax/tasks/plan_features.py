"""`--plan` of `features`: one batch of text through the pass, and some latents' records of it, twice.

An autoencoder that is not trained yet is not sparse, and its records would take many times as long: `ACTIVE` latents of a row
are kept.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from saejax.config import Config
from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features import member
from saejax.features.activity import ActivityWriter
from saejax.features.attributes import attributes
from saejax.features.collect import collect
from saejax.features.described import Source
from saejax.features.member import About, Settings
from saejax.features.rules import Rules
from saejax.features.schemas import Meta
from saejax.features.text import Text
from saejax.features.vocabulary import vocabulary
from saejax.lm.weights import END_OF_TEXT
from saejax.planning import counts, measure
from saejax.planning.forecast import Forecast
from saejax.sae.inference import InferenceSAE
from saejax.tasks import features
from saejax.tasks.plan_extract import Extract, blocks
from saejax.tasks.plan_train import Train

LATENTS, AFFECTED = 256, 8  # of the measured member, and of them with ablations and steering
ACTIVE = 32
_BY_LATENT = {"W_enc": 1, "b_enc": 0, "W_dec": 0}


class _Measured(NamedTuple):
    """Seconds of one batch of the pass, and of the rest by part: with `AFFECTED` latents' effects, and with none."""

    a_batch: float
    with_effects: dict[str, float]
    without: dict[str, float]
    bytes_a_latent: float


def forecast_of(config: Config, e: Extract, t: Train, folder: Path) -> Forecast:
    """What `features` takes, of all the members that it is asked for.

    Parts grow with text (pass, correlations), latents, or passes of the model (ablations, steering). Recommended members are
    taken to be one a site.
    """
    n_members = t.n_members * (2 if "finetune" in config.tasks else 1) + len(config.sae)
    if features.RECOMMENDED in config.feature_members:
        n_members = len(config.hook_name)
    elif config.feature_members:
        n_members = len(config.feature_members)
    one = t.ensembles[0]
    sparse = t.exported[0].replace(activation="topk", k=jnp.int32(ACTIVE), r_mag=None, b_mag=None, threshold=None)
    spliced = Spliced(one.group.sites.hook_name, one.group.sites.written, sparse)
    d_sae = len(spliced.sae.W_dec)
    batch_windows = max(1, min(config.eval_batch_size // config.context_size, len(e.text.windows.tokens_NxL)))
    done = measure.once(lambda: _measure(config, e, spliced, batch_windows, folder))
    found: _Measured = done.result
    n_batches = config.feature_tokens / (batch_windows * config.context_size)
    latents = d_sae / min(d_sae, LATENTS)
    affected = min(d_sae, config.feature_affected) / min(d_sae, AFFECTED)
    grows = {"correlations": latents * n_batches, "weights": latents, "latents": latents * math.sqrt(n_batches)}
    seconds = {"pass": n_batches * found.a_batch}
    seconds |= {part: found.without[part] * factor for part, factor in grows.items()}
    seconds["examples"] = found.without["examples"] * latents
    for part in ("examples", "steering"):
        more = max(0.0, found.with_effects[part] - found.without[part])
        seconds[part] = seconds.get(part, 0.0) + affected * more
    seconds = {part: n_members * value for part, value in seconds.items()}
    seconds["text"] = e.text.seconds(0, config.feature_tokens, config.held_out_fraction)
    to_site = counts.lm_operations(e.lm, config.context_size, blocks=blocks(tuple(e.widths), e.lm))
    encode = counts.sae_forward_operations(1, spliced.sae.W_enc.shape[0], 0, d_sae)
    operations = n_members * config.feature_tokens * (to_site + encode)
    return Forecast("features", seconds, round(n_members * d_sae * found.bytes_a_latent), done.peak_bytes, operations)


def _measure(config: Config, e: Extract, spliced: Spliced, batch_windows: int, folder: Path) -> _Measured:
    windows = e.text.windows
    tokens_NxL = np.asarray(windows.tokens_NxL[:batch_windows])
    keep_N = e.keep_NxL[:batch_windows].reshape(-1)
    text = Text(dataclasses.replace(windows, tokens_NxL=tokens_NxL), keep_N, e.tokenizer.token_to_id(END_OF_TEXT))
    model = LanguageModel(e.params, e.lm, jnp.dtype(config.dtype))
    shown = vocabulary(e.tokenizer, e.lm.vocab_size)
    source = Source(model, text, shown, Rules(attributes(text, shown, {})))

    def one_pass(name: str) -> float:
        writer = ActivityWriter(folder / name, len(spliced.sae.W_dec))
        return measure.once(lambda: (collect(model, spliced, text, writer, batch_windows=batch_windows), None)[1]).seconds

    def records_of(name: str, n_affected: int) -> Meta:
        settings: Settings = features.settings_of(config, e.tokenizer)._replace(n_affected=n_affected)
        few = spliced._replace(sae=_first_latents(spliced.sae, LATENTS))
        return member.write(folder / name, About("plan", {}, config.dataset, {}), source, few, settings)

    one_pass("first pass")
    a_batch = one_pass("pass")
    records_of("first records", AFFECTED)
    metas = [records_of(f"records {n}", n) for n in (AFFECTED, 0)]
    n_bytes = sum(path.stat().st_size for path in (folder / f"records {AFFECTED}").iterdir())
    return _Measured(a_batch, metas[0].seconds, metas[1].seconds, n_bytes / metas[0].d_sae)


def _first_latents(sae: InferenceSAE, n: int) -> InferenceSAE:
    """The autoencoder with no more than n of its latents."""
    parts = {name: (getattr(sae, name), axis) for name, axis in _BY_LATENT.items()}
    return sae.replace(**{name: jnp.take(a, jnp.arange(min(n, a.shape[axis])), axis=axis) for name, (a, axis) in parts.items()})
