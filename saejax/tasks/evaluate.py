"""`--tasks=evaluate`: exported autoencoders and held-out text → `evaluation.json`, `plots/*.png`, tables."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from saejax import console, files, metrics_log
from saejax.config import Config
from saejax.evaluation import calibration, dictionaries, heatmap, intervals, metrics, pareto, plots, splice
from saejax.evaluation.splice import Spliced
from saejax.evaluation.survey import survey
from saejax.lm import tokenizer, weights
from saejax.lm.gpt2 import GPT2Config
from saejax.tasks import evaluation_tables, inputs, members, probes
from saejax.workdir import Workdir

MOST_COMPARED = 12  # members a site whose dictionaries are compared with each other: pairs grow with the square


class Swept(NamedTuple):
    """What is evaluated: members by name; for plots, what a member's colour stands for and the text beside its point."""

    members: dict[str, Spliced]
    families: dict[str, str]
    labels: dict[str, str]


def do(config: Config, workdir: Workdir) -> dict:
    """Evaluates what `train` exported, as any user of the files would load it; returns the recommendation."""
    directory = inputs.model_directory(config, workdir)
    lm, params = weights.load(directory)
    model = splice.LanguageModel(params, lm, jnp.dtype(config.dtype))
    swept = _load(config, workdir, lm)
    held_out = inputs.windows(config, workdir)["held_out"]
    keep_NxL = inputs.kept_positions(config, held_out, tokenizer.load(directory).token_to_id(weights.END_OF_TEXT))
    document_NxL = intervals.document_of_positions(held_out.starts, held_out.tokens_NxL.shape)
    batch_windows = max(1, config.eval_batch_size // config.context_size)
    sites = sorted({site for member in swept.members.values() for site in (member.reads, member.writes)})
    text = (held_out.tokens_NxL, keep_NxL)
    found = survey(model, sites, *text, batch_windows=batch_windows, n_sample=config.probe_tokens)
    writes = sorted({member.writes for member in swept.members.values()})
    everything = {**swept.members, **calibration.members(writes, found.mean)}
    sums = metrics.DocumentSums(int(document_NxL[-1, -1]) + 1)
    with console.progress("evaluate", held_out.tokens_NxL.size, "tokens") as advance:
        for batch in splice.evaluate(model, everything, *text, document_NxL, found.mean, batch_windows=batch_windows):
            sums.add(batch.first_document, batch.sums)
            advance(batch.n_tokens)
    density = {name: sums.by_name[name]["fired_F"] / keep_NxL.sum() for name in swept.members}
    results = _results(config, sums, swept, everything)
    results |= {
        "density_histograms": {name: _histogram(share_F) for name, share_F in density.items()},
        "held_out_tokens": int(held_out.tokens_NxL.size),
        "held_out_rows": int(keep_NxL.sum()),
        "held_out_documents": sums.n_documents,
    }
    results |= probes.run(config, swept.members, found, held_out, tokenizer.load(directory), document_NxL)
    _plot(workdir, results, swept, density)
    files.write_json(workdir.path / "evaluation.json", results)
    evaluation_tables.held_out(results)
    evaluation_tables.latents(results)
    return {"recommended": {site: about["member"] for site, about in results["recommended"].items()}}


def missing(config: Config, workdir: Workdir) -> list[str]:
    """What a complete task has not left: its files, and in them the members that are there now."""
    path = workdir.path / "evaluation.json"
    if absent := files.absent([path, workdir.path / "plots" / "densities.png"]):
        return absent
    lm = weights.load_config(inputs.model_directory(config, workdir))
    measured = files.read_json(path).get("members", {})
    return [about.name for about in members.listed(config, workdir, lm) if about.name not in measured]


def _load(config: Config, workdir: Workdir, lm: GPT2Config) -> Swept:
    found = members.read(config, workdir, lm)
    return Swept(
        {name: spliced for name, (_, spliced) in found.items()},
        {name: about.family for name, (about, _) in found.items()},
        {name: about.label for name, (about, _) in found.items()},
    )


def _results(config: Config, sums: metrics.DocumentSums, swept: Swept, everything: dict[str, Spliced]) -> dict:
    """What follows from the sums alone, once the self-test has been passed."""
    summary = splice.summarise(sums.totals(), everything)
    allowed = calibration.tolerance(config.dtype)
    by_site: dict[str, list[str]] = {}
    for name, member in swept.members.items():
        by_site.setdefault(member.writes, []).append(name)
    self_test = {site: calibration.checks(summary["members"], site, allowed) for site in by_site}
    for site, checks in self_test.items():
        calibration.verify(site, checks)
    measured = {name: summary["members"][name] for name in swept.members}
    sites = {site: {name: measured[name] for name in names} for site, names in by_site.items()}
    frontier = {site: pareto.frontier(own, "ce_recovered", higher_is_better=True) for site, own in sites.items()}
    by_document = intervals.bootstrap(sums.by_name, swept.members, n_samples=config.bootstrap_samples)
    if not by_document and config.bootstrap_samples:
        console.log(f"evaluate: no intervals: fewer than {intervals.FEWEST_DOCUMENTS} held-out documents")
    return {
        "clean": summary["clean"],
        "members": measured,
        "intervals": by_document,
        "self_test": self_test,
        "recommended": {site: dict(zip(("member", "reason"), pareto.recommend(own))) for site, own in sites.items()},
        "frontier": frontier,
        **_dictionaries(swept, by_site, frontier),
    }


def _dictionaries(swept: Swept, by_site: dict[str, list[str]], frontier: dict[str, list[str]]) -> dict:
    atoms = {name: member.sae.W_dec for name, member in swept.members.items()}
    found = {"dictionaries": {name: dictionaries.describe(W_FxE) for name, W_FxE in atoms.items()}, "mmcs": {}}
    for site, names in by_site.items():
        if len(names) > MOST_COMPARED:
            names = sorted(names, key=lambda name: name not in frontier[site])[:MOST_COMPARED]
            console.log(f"evaluate: {site}: dictionaries compared of {MOST_COMPARED} members, the frontier's first")
        if len(names) > 1:
            found["mmcs"][site] = dictionaries.mmcs_matrix({name: atoms[name] for name in names})
    return found


def _plot(workdir: Workdir, results: dict, swept: Swept, density: dict[str, np.ndarray]) -> None:
    folder = workdir.path / "plots"
    folder.mkdir(exist_ok=True)
    one_site = len(results["recommended"]) == 1
    for site, about in results["recommended"].items():
        own = {name: m for name, m in results["members"].items() if swept.members[name].writes == site}
        path = folder / ("pareto.png" if one_site else f"pareto-{site}.png")
        plots.pareto(path, own, {n: swept.families[n] for n in own}, swept.labels, about["member"], results["intervals"])
        if site in results["mmcs"]:
            names = {name: f"{swept.families[name].removeprefix(f'{site}-')} {swept.labels[name]}" for name in own}
            heatmap.mmcs(folder / ("mmcs.png" if one_site else f"mmcs-{site}.png"), results["mmcs"][site], names)
    plots.densities(folder / "densities.png", density, results["held_out_rows"], swept.families, swept.labels)
    lines = [line for line in metrics_log.read(workdir.path / "metrics.jsonl") if line["task"] == "train"]
    plots.loss_curves(folder / "loss_curves.png", lines, swept.families, swept.labels)


def _histogram(share_F: np.ndarray) -> dict[str, list]:
    """Counts of latents by log10 of their density, in quarter decades; those that never fire apart."""
    edges = np.linspace(-6, 0, 25)
    counts, _ = np.histogram(np.log10(share_F[share_F > 0]), bins=edges)
    return {"log10_edges": edges.tolist(), "counts": counts.tolist(), "never": int(np.sum(share_F == 0))}
