"""`--plan` of `evaluate`: one batch of text through the spliced model, probes of one member, one plot."""

from __future__ import annotations

import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from saejax.config import Config
from saejax.evaluation import intervals, plots, probing, splice
from saejax.evaluation.splice import Spliced
from saejax.lm import labels
from saejax.planning import counts, evaluating, measure
from saejax.planning.forecast import Forecast
from saejax.tasks import evaluate, members
from saejax.tasks.plan_extract import Extract, blocks
from saejax.tasks.plan_train import Train

BATCH_SECONDS, PROBE_SECONDS = 4.0, 4.0
PLOT_BYTES, REPORT_BYTES = 2**19, 2**12  # of all plots, and of a member's metrics in evaluation.json


def forecast_of(config: Config, e: Extract, t: Train, folder: Path) -> Forecast:
    """What `evaluate` takes."""
    trained = {one.group.name: _spliced(one, sae) for one, sae in zip(t.ensembles, t.exported)}
    given = members.given(config, e.lm)
    n_members = t.n_members * (2 if "finetune" in config.tasks else 1) + len(given)
    wanted = max(1, config.eval_batch_size // config.context_size)
    windows = min(wanted, e.text.windows.tokens_NxL.shape[0], max(1, _affordable_windows(config, e, len(trained) + len(given))))
    scale, n_batches = wanted / windows, e.n_held_out / config.context_size / wanted
    rest = 1 if n_batches % 1 else 0  # the last, smaller batch is a program of its own
    done = measure.once(lambda: _batches(config, e, {**trained, **given}, windows))
    found: evaluating.Batches = done.result
    probed = _probes(config, e, next(iter(trained.values())), found.mean)
    describing, comparing = evaluating.dictionary_seconds(t.exported[0])
    compared = min(t.n_members, evaluate.MOST_COMPARED)
    n_documents = max(intervals.FEWEST_DOCUMENTS, round(e.n_held_out / e.text.document_tokens))
    n_rows = min(config.probe_tokens, round(e.n_held_out * e.keep_NxL.mean()))
    seconds = {
        "model and compilation": e.load_seconds + (1 + rest) * found.first_seconds,
        "batches": n_batches * scale * (found.fixed_seconds + n_members * found.member_seconds),
        "probes": 0.0 if probed is None else probed.first_seconds + probed.once_seconds + n_members * probed.member_seconds,
        "dictionaries": n_members * describing + len(config.hook_name) * compared * (compared - 1) / 2 * comparing,
        "intervals": n_members
        * evaluating.bootstrap_seconds(
            found.sums, {**trained, **given}, n_documents=n_documents, n_samples=config.bootstrap_samples
        ),
        "plots": _plot_seconds(folder, t, n_members),
    }
    exported = max(counts.tree_bytes(sae) for sae in t.exported)
    peak = round(done.held_bytes + scale * done.rise_bytes) + n_members * exported + 4 * n_rows * sum(e.widths.values())
    return Forecast("evaluate", seconds, PLOT_BYTES + n_members * REPORT_BYTES, peak, _operations(config, e, t))


def _spliced(one, sae) -> Spliced:
    return Spliced(one.group.sites.hook_name, one.group.sites.written, sae)


def _batches(config: Config, e: Extract, given: dict[str, Spliced], windows: int) -> evaluating.Batches:
    tokens_BxL = e.text.windows.tokens_NxL[:windows]
    return evaluating.batches(
        splice.LanguageModel(e.params, e.lm, jnp.dtype(config.dtype)),
        given,
        np.asarray(tokens_BxL),
        e.keep_NxL[:windows],
        intervals.document_of_positions(e.text.windows.starts, tokens_BxL.shape),
        n_sample=config.probe_tokens,
    )


def _affordable_windows(config: Config, e: Extract, n_members: int) -> int:
    """Windows of a batch that the counts say is evaluated three times within the budget."""
    runs = 3 * (4 + n_members)
    a_window = config.context_size * counts.lm_operations(e.lm, config.context_size, logits=True)
    return int(BATCH_SECONDS * e.operations_per_second / (a_window * runs))


def _probes(config: Config, e: Extract, member: Spliced, mean) -> evaluating.Probes | None:
    """Probes with the labels that the text has, on as many rows as are soon probed; None where there is no label."""
    if not config.probe_tokens:
        return None
    start = time.monotonic()
    of_windows = labels.of_windows(e.text.windows, e.tokenizer)
    labelling = (time.monotonic() - start) * e.n_held_out / e.text.windows.tokens_NxL.size
    kept = np.flatnonzero(e.keep_NxL)
    rng = np.random.default_rng(0)
    n_rows = min(config.probe_tokens, round(e.n_held_out * e.keep_NxL.mean()))
    chosen = np.sort(rng.choice(kept, size=n_rows))
    document_NxL = intervals.document_of_positions(e.text.windows.starts, e.keep_NxL.shape)
    of_rows = {kind: (names, value_NxL.ravel()[chosen]) for kind, (names, value_NxL) in of_windows.items()}
    given = probing.problems(of_rows, document_NxL.ravel()[chosen])
    if not given.names:
        return None
    encoding = 4 * 2 * member.sae.W_enc.size  # the rows are encoded twice in each of two trials
    few = rng.permutation(n_rows)[: max(1, int(PROBE_SECONDS * e.operations_per_second / encoding))]
    given = given._replace(
        target_PxN=given.target_PxN[:, few], counted_PxN=given.counted_PxN[:, few], train_N=given.train_N[few]
    )
    sites = (member.reads, member.writes)
    rows = {site: mean[site] + rng.standard_normal((len(few), len(mean[site])), np.float32) for site in sites}
    found = evaluating.probes(member, rows, given, mean)
    more = n_rows / len(few)
    return evaluating.Probes(found.first_seconds, labelling + more * found.once_seconds, more * found.member_seconds)


def _plot_seconds(folder: Path, t: Train, n_members: int) -> float:
    """Of all plots: one drawn twice, first with what drawing loads, and then as each of the other three."""
    density = {f"member {i}": np.full(t.exported[0].W_dec.shape[0], 0.01) for i in range(n_members)}
    families = dict.fromkeys(density, "family")

    def draw() -> None:
        plots.densities(folder / "densities.png", density, 1000, families, dict.fromkeys(density, "label"))

    first, again = measure.once(draw).seconds, measure.once(draw).seconds
    return first + 3 * again


def _operations(config: Config, e: Extract, t: Train) -> int:
    """Counted: two passes over the undisturbed model, one that goes on from the site for each member and check."""
    L = config.context_size
    whole = counts.lm_operations(e.lm, L, logits=True)
    to_site = counts.lm_operations(e.lm, L, blocks=blocks(tuple(e.widths), e.lm))
    written = {one.group.sites.written for one in t.ensembles}
    runs = t.n_members + 3 * len(written)
    frames = [(one.group.frame, len(one.group.members)) for one in t.ensembles]
    saes = sum(n * counts.sae_forward_operations(1, f.d_in, f.width_out, f.d_sae) for f, n in frames)
    return e.n_held_out * (whole + to_site + runs * (whole - to_site) + saes)
