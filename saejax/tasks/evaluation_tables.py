"""What `--tasks=evaluate` prints."""

from __future__ import annotations

from collections.abc import Mapping

from saejax import console
from saejax.evaluation import intervals

HELD_OUT = (
    ("L0", "l0", "{:.1f}"),
    ("FVU", "fvu", "{:.4f}"),
    ("CE recovered", "ce_recovered", "{:.4f}"),
    ("CE", "ce_sae", "{:.4f}"),
    ("KL", "kl_sae", "{:.4f}"),
    ("cosine", "cosine_similarity", "{:.4f}"),
    ("dead", "dead_fraction", "{:.1%}"),
)
WITH_INTERVAL = ("fvu", "ce_recovered")


def held_out(results: Mapping) -> None:
    """Each member's metrics, half the 95% interval beside those that decide, and the recommendation."""
    best = {about["member"] for about in results["recommended"].values()}
    on_frontier = {name for names in results["frontier"].values() for name in names}
    rows = []
    for name, values in results["members"].items():
        marks = ("*" if name in on_frontier else "") + ("←" if name in best else "")
        own = results["intervals"].get(name, {})
        rows.append([f"{name} {marks}".rstrip(), *(_cell(values[key], form, own.get(key), key) for _, key, form in HELD_OUT)])
    title = f"Held-out results ({results['held_out_tokens']:,} tokens; clean cross-entropy {results['clean']['ce']:.4f})"
    console.table(title, ["autoencoder", *(title for title, _, _ in HELD_OUT)], rows)
    bars = f"; ±: 95% intervals over {results['held_out_documents']:,} documents" if results["intervals"] else ""
    console.log(f"* on the Pareto frontier of cross-entropy recovered against L0{bars}")
    for about in results["recommended"].values():
        console.log(f"← recommended: {about['member']}: {about['reason']}")


def latents(results: Mapping) -> None:
    """Each member's dictionary, and, where there are labels, how well single latents tell what a token is."""
    probing, absorption = results.get("probing"), results.get("absorption", {})
    header = ["autoencoder", "distinct", "nearest"]
    if probing:
        header += ["AUC, k = 1", "k = 5", "F1, k = 1", "k = 5", "absorbed"]
    rows = []
    for name, about in results["dictionaries"].items():
        row = [name, f"{about['unique_features']:,}", f"{about['max_cosine_median']:.3f}"]
        if probing:
            own = probing["members"][name]
            row += [f"{own[key]['mean']:.3f}" for key in ("auc_k1", "auc_k5", "f1_k1", "f1_k5")]
            row.append(_percent(absorption[name].get("mean")))
        rows.append(row)
    for site, baselines in (probing["baselines"] if probing else {}).items():
        for title, own in (("best dimension of x", baselines["best_dimension"]), ("dense probe on x", baselines["dense"])):
            at = f" at {site}" if len(probing["baselines"]) > 1 else ""
            rows.append([title + at, "", "", f"{own['auc']['mean']:.3f}", "", f"{own['f1']['mean']:.3f}", "", ""])
    title = "Latents"
    if probing:
        n_problems = sum(len(values) for values in probing["labels"].values())
        title += f" (probes of {n_problems} labels on {probing['rows']:,} rows: {', '.join(probing['labels'])})"
    console.table(title, header, rows)


def _cell(value: float, form: str, interval: list[float] | None, key: str) -> str:
    half = intervals.half_width(interval) if key in WITH_INTERVAL else None
    return form.format(value) + (f" ±{half:.4f}" if half is not None else "")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
