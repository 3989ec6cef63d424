"""`--tasks=evaluate`: exported autoencoders and held-out text → `evaluation.json`, `plots/*.png`, a table."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from saejax import console, files, metrics_log
from saejax.config import Config
from saejax.errors import InputError
from saejax.evaluation import metrics, pareto, plots, splice
from saejax.interop import saelens
from saejax.lm import tokenizer, weights
from saejax.tasks import inputs, sweep
from saejax.workdir import Workdir

TABLE = (
    ("L0", "l0", "{:.1f}"),
    ("FVU", "fvu", "{:.4f}"),
    ("CE recovered", "ce_recovered", "{:.4f}"),
    ("CE", "ce_sae", "{:.4f}"),
    ("KL", "kl_sae", "{:.4f}"),
    ("cosine", "cosine_similarity", "{:.4f}"),
    ("dead", "dead_fraction", "{:.1%}"),
)


def do(config: Config, workdir: Workdir) -> dict:
    """Evaluates what `train` exported, as any user of the files would load it; returns the recommendation."""
    directory = inputs.model_directory(config, workdir)
    lm, params = weights.load(directory)
    groups = sweep.grid(config, lm)
    saes, families, labels = {}, {}, {}
    for group in groups:
        for member in group.members:
            path = workdir.path / "saes" / member.name
            if not path.is_dir():
                raise InputError(f"{path}: no such autoencoder; run --tasks=train first")
            saes[member.name] = (group.sites.hook_name, saelens.load(path))
            families[member.name] = group.name
            labels[member.name] = member.label
    held_out = inputs.windows(config, workdir)["held_out"]
    keep_NxL = inputs.kept_positions(config, held_out, tokenizer.load(directory).token_to_id(weights.END_OF_TEXT))
    batches = splice.evaluate(
        splice.LanguageModel(params, lm, jnp.dtype(config.dtype)),
        saes,
        held_out.tokens_NxL,
        keep_NxL,
        batch_windows=max(1, config.eval_batch_size // config.context_size),
    )
    totals: dict[str, dict] = {}
    with console.progress("evaluate", held_out.tokens_NxL.size, "tokens") as advance:
        for n_tokens, batch in batches:
            totals = {name: metrics.add([totals.get(name, {}), sums]) for name, sums in batch.items()}
            advance(n_tokens)
    results = splice.summarise(totals, saes)
    density = {name: totals[name]["fired_F"] / totals[name]["n"] for name in saes}
    sites = {hook: {n: m for n, m in results["members"].items() if saes[n][0] == hook} for hook in config.hook_name}
    recommended = {hook: dict(zip(("member", "reason"), pareto.recommend(members))) for hook, members in sites.items()}
    frontiers = {hook: pareto.frontier(members, "ce_recovered", higher_is_better=True) for hook, members in sites.items()}
    results |= {
        "recommended": recommended,
        "frontier": frontiers,
        "density_histograms": {name: _histogram(share_F) for name, share_F in density.items()},
        "held_out_tokens": int(held_out.tokens_NxL.size),
        "held_out_rows": int(keep_NxL.sum()),
    }
    _plot(workdir, sites, recommended, density, int(keep_NxL.sum()), families, labels)
    files.write_json(workdir.path / "evaluation.json", results)
    _print_table(results)
    return {"recommended": {hook: about["member"] for hook, about in recommended.items()}}


def outputs(config: Config, workdir: Workdir) -> list[Path]:
    """What a complete task has left."""
    return [workdir.path / "evaluation.json", workdir.path / "plots" / "densities.png"]


def _plot(workdir: Workdir, sites, recommended, density, n_rows: int, families, labels) -> None:
    folder = workdir.path / "plots"
    folder.mkdir(exist_ok=True)
    for hook, members in sites.items():
        path = folder / ("pareto.png" if len(sites) == 1 else f"pareto-{hook}.png")
        plots.pareto(path, members, {n: families[n] for n in members}, labels, recommended[hook]["member"])
    plots.densities(folder / "densities.png", density, n_rows, families, labels)
    lines = [line for line in metrics_log.read(workdir.path / "metrics.jsonl") if line["task"] == "train"]
    plots.loss_curves(folder / "loss_curves.png", lines, families, labels)


def _print_table(results: dict) -> None:
    best = {about["member"] for about in results["recommended"].values()}
    on_frontier = {name for names in results["frontier"].values() for name in names}
    rows = []
    for name, values in results["members"].items():
        marks = ("*" if name in on_frontier else "") + (" ← recommended" if name in best else "")
        rows.append([f"{name} {marks}".rstrip(), *(form.format(values[key]) for _, key, form in TABLE)])
    title = f"Held-out results ({results['held_out_tokens']:,} tokens; clean cross-entropy {results['clean']['ce']:.4f})"
    console.table(title, ["autoencoder", *(title for title, _, _ in TABLE)], rows)
    console.log("* on the Pareto frontier of cross-entropy recovered against L0")
    for about in results["recommended"].values():
        console.log(f"recommended: {about['member']}: {about['reason']}")


def _histogram(share_F: np.ndarray) -> dict[str, list]:
    """Counts of latents by log10 of their density, in quarter decades; those that never fire apart."""
    edges = np.linspace(-6, 0, 25)
    counts, _ = np.histogram(np.log10(share_F[share_F > 0]), bins=edges)
    return {"log10_edges": edges.tolist(), "counts": counts.tolist(), "never": int(np.sum(share_F == 0))}
