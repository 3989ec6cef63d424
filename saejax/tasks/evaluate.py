"""`--tasks=evaluate`: exported autoencoders and held-out text → `evaluation.json`, `plots/*.png`, a table."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from saejax import console, files, metrics_log
from saejax.activations.store import StoredActivations
from saejax.config import Config
from saejax.errors import InputError
from saejax.evaluation import metrics, pareto, plots, splice
from saejax.interop import saelens
from saejax.lm import tokenizer, weights
from saejax.tasks import inputs, train
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
    groups = train.grid(config, lm)
    saes, families, labels = {}, {}, {}
    for group in groups:
        for member in group.members:
            path = workdir.path / "saes" / member.name
            if not path.is_dir():
                raise InputError(f"{path}: no such autoencoder; run --tasks=train first")
            saes[member.name] = (group.hook_name, saelens.load(path))
            families[member.name] = group.name
            labels[member.name] = member.label
    origins = {
        hook: StoredActivations(inputs.activations_directory(workdir, hook), batch_size=1, seed=0).statistics.mean_D
        for hook in config.hook_name
    }
    held_out = inputs.windows(config, workdir)["held_out"]
    keep_NxL = inputs.kept_positions(config, held_out, tokenizer.load(directory).token_to_id(weights.END_OF_TEXT))
    batches = splice.evaluate(
        splice.LanguageModel(params, lm, jnp.dtype(config.dtype)),
        saes,
        held_out.tokens_NxL,
        keep_NxL,
        origins,
        batch_windows=max(1, config.eval_batch_size // config.context_size),
    )
    collected: dict[str, list] = {}
    with console.progress("evaluate", held_out.tokens_NxL.size, "tokens") as advance:
        for n_tokens, batch in batches:
            for name, sums in batch.items():
                collected.setdefault(name, []).append(sums)
            advance(n_tokens)
    totals = {name: metrics.add(sums) for name, sums in collected.items()}
    results = splice.summarise(totals, saes)
    recommended, reason = pareto.recommend(results["members"])
    density = {name: totals[name]["fired_F"] / totals[name]["n"] for name in saes}
    results |= {
        "recommended": {"member": recommended, "reason": reason},
        "frontier": pareto.frontier(results["members"], "ce_recovered", higher_is_better=True),
        "density_histograms": {name: _histogram(share_F) for name, share_F in density.items()},
        "held_out_tokens": int(held_out.tokens_NxL.size),
        "held_out_rows": int(keep_NxL.sum()),
    }
    _plot(workdir, results["members"], families, labels, recommended, density, int(keep_NxL.sum()))
    files.write_json(workdir.path / "evaluation.json", results)
    _print_table(results)
    return {"recommended": recommended}


def _plot(workdir: Workdir, members, families, labels, recommended, density, n_rows) -> None:
    folder = workdir.path / "plots"
    folder.mkdir(exist_ok=True)
    plots.pareto(folder / "pareto.png", members, families, labels, recommended)
    lines = [line for line in metrics_log.read(workdir.path / "metrics.jsonl") if line["task"] == "train"]
    if lines:
        plots.loss_curves(folder / "loss_curves.png", lines, families, labels)
    plots.densities(folder / "densities.png", density, n_rows, families, labels)


def _print_table(results: dict) -> None:
    members = results["members"]
    rows = []
    for name in members:
        marks = ("*" if name in results["frontier"] else "") + (
            " ← recommended" if name == results["recommended"]["member"] else ""
        )
        rows.append([f"{name} {marks}".rstrip(), *(form.format(members[name][key]) for _, key, form in TABLE)])
    title = f"Held-out results ({results['held_out_tokens']:,} tokens; clean cross-entropy {results['clean']['ce']:.4f})"
    console.table(title, ["autoencoder", *(title for title, _, _ in TABLE)], rows)
    console.log("* on the Pareto frontier of cross-entropy recovered against L0")
    console.log(f"recommended: {results['recommended']['member']}: {results['recommended']['reason']}")


def _histogram(share_F: np.ndarray) -> dict[str, list]:
    """Counts of latents by log10 of their density, in quarter decades; those that never fire apart."""
    edges = np.linspace(-6, 0, 25)
    counts, _ = np.histogram(np.log10(share_F[share_F > 0]), bins=edges)
    return {"log10_edges": edges.tolist(), "counts": counts.tolist(), "never": int(np.sum(share_F == 0))}
