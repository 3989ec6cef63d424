"""The sweep's plots: Pareto frontiers, loss curves, histograms of latent densities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from saejax.evaluation.pareto import Members, frontier

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend is chosen first)
from matplotlib import ticker  # noqa: E402

STYLE = {
    "figure.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
    "savefig.bbox": "tight",
}
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito 2008
_LEGEND_COLUMNS = 6
_LABELLED = 10  # with more members than this, only those on the frontier have their label
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def pareto(
    path: Path,
    members: Members,
    families: Mapping[str, str],
    labels: Mapping[str, str],
    recommended: str,
    intervals: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> None:
    """FVU and cross-entropy recovered against L0, the frontiers marked.

    Args:
      path: of the PNG.
      members: {name: metrics}.
      families: {name: what its colour stands for, such as the architecture}.
      labels: {name: a short text beside its point}.
      recommended: the member with a ring.
      intervals: {name: {metric: (low, high)}}, drawn as thin bars.
    """
    looks = _looks(families)
    panels = (("fvu", "Fraction of variance unexplained", False), ("ce_recovered", "Cross-entropy recovered", True))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.3), layout="constrained")
        for axis, (metric, title, higher_is_better) in zip(axes, panels):
            on_frontier = frontier(members, metric, higher_is_better=higher_is_better)
            axis.plot(
                [members[n]["l0"] for n in on_frontier],
                [members[n][metric] for n in on_frontier],
                color="0.65",
                lw=4,
                alpha=0.5,
                solid_capstyle="round",
                zorder=1,
                label="Pareto frontier",
            )
            for family, (color, marker) in looks.items():
                names = [n for n in members if families[n] == family]
                x, y = ([members[n][key] for n in names] for key in ("l0", metric))
                axis.scatter(x, y, color=color, marker=marker, s=30, zorder=3, label=family)
            for name in members if intervals else ():
                x, y = (intervals[name].get(key, [members[name][key]] * 2) for key in ("l0", metric))
                bars = {"color": "0.25", "lw": 0.8, "alpha": 0.7, "zorder": 2.5, "solid_capstyle": "butt"}
                axis.plot(x, [members[name][metric]] * 2, **bars)
                axis.plot([members[name]["l0"]] * 2, y, **bars)
            best = members[recommended]
            axis.scatter(
                best["l0"], best[metric], s=160, facecolor="none", edgecolor="black", lw=1.3, zorder=4, label="recommended"
            )
            offset = (5, -9) if higher_is_better else (5, 4)
            for name in members if len(members) <= _LABELLED else on_frontier:
                point = (members[name]["l0"], members[name][metric])
                axis.annotate(labels[name], point, textcoords="offset points", xytext=offset, fontsize=7, color="0.3")
            axis.set(xlabel="L0 (active latents a token)", ylabel=title)
            axis.set_xscale("log")
            _plain_log_ticks(axis, [m["l0"] for m in members.values()])
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), _LEGEND_COLUMNS))
        bars = "; bars: 95% intervals over documents" if intervals else ""
        figure.suptitle(f"Held-out reconstruction against sparsity{bars}", fontsize=11)
        figure.savefig(path)
        plt.close(figure)


def loss_curves(path: Path, lines: Sequence[Mapping], families: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """Training loss, FVU and L0 against rows seen; a row of panels a family, since their losses have other units.

    Args:
      path: of the PNG.
      lines: the train task's lines of `metrics.jsonl`.
      families, labels: as for `pareto`.
    """
    names = sorted(set(families.values()), key=list(families.values()).index)
    columns = (
        ("loss", "Loss (log)"),
        ("fvu", "FVU of the batch (log)"),
        ("l0", "L0"),
        ("dead_fraction", "Share of dead latents"),
    )
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(names), len(columns), figsize=(3.1 * len(columns), 2.5 * len(names)), layout="constrained", squeeze=False
        )
        for row, family in zip(axes, names):
            members = [n for n in families if families[n] == family]
            shades = plt.get_cmap("viridis")(np.linspace(0.05, 0.85, len(members)))
            for axis, (metric, title) in zip(row, columns):
                for name, color in zip(members, shades):
                    own = [line for line in lines if line["member"] == name]
                    axis.plot(
                        [line["tokens"] for line in own],
                        [line[metric] for line in own],
                        color=color,
                        lw=1.2,
                        label=labels[name],
                    )
                axis.set(title=f"{family}: {title}", xlabel="rows")
                axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}M")
                if metric in ("loss", "fvu"):
                    axis.set_yscale("log")
                    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
                    axis.yaxis.set_major_formatter("{x:g}")
                    axis.yaxis.set_minor_formatter(ticker.NullFormatter())
                if metric == "dead_fraction":
                    axis.set_ylim(-0.02, max(0.1, axis.get_ylim()[1]))
            row[-1].legend(fontsize=7, loc="upper left", title=family, title_fontsize=7)
        figure.savefig(path)
        plt.close(figure)


def densities(
    path: Path, density: Mapping[str, np.ndarray], n_rows: int, families: Mapping[str, str], labels: Mapping[str, str]
) -> None:
    """Histograms of log10 of the share of rows on which each latent fires; latents that never fire stand apart, at the left.

    Args:
      path: of the PNG.
      density: {name: share of rows, [F]}.
      n_rows: rows counted, which bounds the smallest share that can be seen.
      families, labels: as for `pareto`.
    """
    looks = _looks(families)
    lowest = math.floor(-math.log10(n_rows))
    edges = np.linspace(lowest, 0, 8 * -lowest + 1)
    n_columns = min(4, len(density))
    n_rows_of_panels = -(-len(density) // n_columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            n_rows_of_panels,
            n_columns,
            figsize=(2.6 * n_columns, 2.1 * n_rows_of_panels),
            layout="constrained",
            squeeze=False,
            sharex=True,
        )
        for i, axis in enumerate(axes.flat):
            axis.set_axis_on() if i < len(density) else axis.set_axis_off()
            axis.tick_params(labelbottom=i + n_columns >= len(density))
        for axis, (name, share_F) in zip(axes.flat, density.items()):
            alive = share_F[share_F > 0]
            axis.hist(np.log10(alive), bins=edges, color=looks[families[name]][0])
            n_dead = len(share_F) - len(alive)
            axis.bar(lowest - 0.5, n_dead, width=0.4, color="0.6")
            axis.text(lowest - 0.5, n_dead, f"{n_dead}", ha="center", va="bottom", fontsize=7, color="0.4")
            axis.set_title(f"{families[name]} {labels[name]}")
        ticks = [*range(lowest + 1, 1)]
        axes.flat[0].set_xticks([lowest - 0.5, *ticks], ["0", *(f"$10^{{{t}}}$" for t in ticks)])
        figure.supxlabel(f"share of {n_rows:,} held-out rows on which a latent fires", fontsize=9)
        figure.supylabel("latents", fontsize=9)
        figure.savefig(path)
        plt.close(figure)


def _looks(families: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """{family: (colour, marker)}, in the order of first appearance."""
    names = list(dict.fromkeys(families.values()))
    n = len(COLORS)  # a second family of one colour has another marker
    return {name: (COLORS[i % n], MARKERS[(i + i // n) % n]) for i, name in enumerate(names)}


def _plain_log_ticks(axis, values: Sequence[float]) -> None:
    """Powers of two as plain numbers: L0 is read, not its exponent."""
    low, high = math.floor(math.log2(max(min(values), 0.25))), math.ceil(math.log2(max(max(values), 0.5)))
    stride = max(1, (high - low) // 7)
    ticks = [2.0**e for e in range(low, high + 1, stride)]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_xticks([], minor=True)
