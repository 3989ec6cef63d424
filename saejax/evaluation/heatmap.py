"""The heat map of MMCS between the dictionaries of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from saejax.evaluation.plots import STYLE, plt


def mmcs(path: Path, about: Mapping[str, list], names: Mapping[str, str]) -> None:
    """How much of each column's dictionary each row's holds: the mean over the column's atoms of the best cosine.

    Args:
      path: of the PNG.
      about: as `dictionaries.mmcs_matrix` gives it.
      names: {member: a short text for the axes}.
    """
    matrix = np.array(about["matrix"], float)
    n = len(matrix)
    ticks = [names[member] for member in about["members"]]
    apart = matrix[~np.eye(n, dtype=bool)]
    with plt.rc_context(STYLE | {"axes.grid": False}):
        longest = max(len(text) for text in ticks)
        size = (1.6 + 0.5 * n + 0.06 * longest, 1.2 + 0.45 * n + 0.05 * longest)
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        shown = np.ma.masked_array(matrix, np.eye(n, dtype=bool))  # the diagonal is 1 by definition, and would set the scale
        colors = plt.get_cmap("viridis").with_extremes(bad="0.93")
        low, high = float(apart.min()), float(apart.max())
        image = axis.imshow(shown, cmap=colors, vmin=low, vmax=max(high, low + 1e-6), aspect="auto")
        for i, j in np.ndindex(n, n):
            if i != j:
                dark = matrix[i, j] < low + 0.6 * (high - low)
                axis.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
        axis.set_xticks(range(n), ticks, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(n), ticks)
        axis.set_xticks(np.arange(n - 1) + 0.5, minor=True)
        axis.set_yticks(np.arange(n - 1) + 0.5, minor=True)
        axis.grid(which="minor", color="white", lw=1.5, alpha=1)
        axis.tick_params(which="both", length=0)
        axis.spines[:].set_visible(False)
        axis.set(xlabel="atoms of", ylabel="looked for in")
        bar = figure.colorbar(image, ax=axis, shrink=0.9, pad=0.02)
        bar.outline.set_visible(False)
        axis.set_title("MMCS: mean over atoms of the best cosine", loc="left")
        figure.savefig(path)
        plt.close(figure)
