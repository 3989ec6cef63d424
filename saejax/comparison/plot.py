"""`plots/comparison.png`: what a step or pass takes in every contender, over what saejax takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saejax.comparison.contenders import SAEJAX
from saejax.evaluation.plots import COLORS, STYLE, plt

_OURS, _TWIN, _PEER = COLORS[0], COLORS[1], "0.6"
_BAR_INCHES, _PANEL_INCHES = 0.3, 0.75


def draw(path: Path, found: Mapping[str, Any]) -> None:
    """Draws a panel a comparison; the dashed line is that of the dense matrix products alone, at the machine's measured rate.

    Args:
      path: of the PNG.
      found: what `comparison.json` holds.
    """
    panels = _panels(found)
    heights = [_PANEL_INCHES + _BAR_INCHES * len(bars) for _, bars, _ in panels]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(panels),
            1,
            figsize=(6.8, sum(heights)),
            layout="constrained",
            squeeze=False,
            gridspec_kw={"height_ratios": heights},
        )
        for axis, (title, bars, floor) in zip(axes[:, 0], panels):
            for i, (name, (median, low, high), text) in enumerate(bars):
                color = _OURS if name == SAEJAX else _TWIN if i == 1 else _PEER
                axis.barh(i, median, height=0.66, color=color, zorder=2)
                axis.plot([low, high], [i, i], color="black", lw=1, zorder=3)
                behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
                axis.annotate(
                    text,
                    (max(median, high), i),
                    (5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                    bbox=behind,
                    zorder=5,
                )
            if floor is not None:
                axis.axvline(floor, color="black", ls="--", lw=1, zorder=4)
                axis.text(floor, -0.45, "dense matrix products alone ", ha="right", va="bottom", fontsize=7, color="0.3")
            axis.set_yticks(range(len(bars)), [name for name, _, _ in bars])
            axis.set(title=title, xlim=(0, 1.32 * max(high for _, (_, _, high), _ in bars)))
            axis.set_ylim(len(bars) - 0.5, -0.5 if floor is None else -0.8)
            axis.grid(axis="y", visible=False)
            axis.tick_params(axis="y", length=0)
            axis.title.set_ha("left")
            axis.title.set_x(0.0)
        axes[-1, 0].set_xlabel("time, as a multiple of saejax's (black: range over rounds)")
        figure.savefig(path)
        plt.close(figure)


def _panels(found: Mapping[str, Any]) -> list[tuple[str, list, float | None]]:
    """(title, [(contender, (median, low, high), text)], floor) of each comparison."""
    panels = []
    for name, record in found.get("train", {}).items():
        shape = record["shape"]
        sizes = f"{shape['batch_size']:,} rows, {shape['d_in']:,} → {shape['d_sae']:,}"
        many = f"{shape['members']} × " if shape["members"] > 1 else ""
        panels.append(_of_speeds(f"Training, {many}{name.split('-')[0]}: {sizes}", record))
    if "extract" in found:
        shape = found["extract"]["shape"]
        title = f"Extraction, {shape['windows']} × {shape['length']} tokens to {found['extract']['sites'][-1]}"
        panels.append(_of_speeds(title, found["extract"]))
    if "sweep" in found:
        sweep = found["sweep"]
        ratio, n = 1 / sweep["ratio"], len(sweep["alone_seconds"])
        bars = [(SAEJAX, (1, 1, 1), f"{sweep['together_seconds']:.0f} s: {n} members at once")]
        bars += [("one by one", (ratio, ratio, ratio), f"{sweep['alone_total_seconds']:.0f} s")]
        panels.append(("Whole runs, start-up to evaluation", bars, None))
    for mode in ("cold", "cached"):
        if mode in found.get("store", {}):
            own = found["store"][mode]
            share, rate = own["share_of_sequential"], own["sequential_bytes_per_second"]["median"]
            ours = own["shuffled_bytes_per_second"]["median"]
            bars = [(SAEJAX, (1, 1, 1), f"{ours / 1e6:,.0f} MB/s, shuffled")]
            values = (share["median"], share["min"], share["max"])
            panels.append((f"Rows from files, {mode}", [*bars, ("sequential", values, f"{rate / 1e6:,.0f} MB/s")], None))
    return panels


def _of_speeds(title: str, record: Mapping[str, Any]) -> tuple[str, list, float]:
    bars = []
    for name, own in record["contenders"].items():
        over, milliseconds = own["time_over_saejax"], 1e3 * own["seconds"]["median"]
        digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
        text = f"{milliseconds:,.{digits}f} ms" + ("" if name == SAEJAX else f", {over['median']:.2f}×")
        bars.append((name, (over["median"], over["min"], over["max"]), text))
    seconds = record["dense_equivalent_operations"] / record["matrix_products"]["operations_per_second"]
    return title, bars, seconds / record["contenders"][SAEJAX]["seconds"]["median"]
