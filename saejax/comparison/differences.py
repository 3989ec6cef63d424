"""How far two trainings of the same autoencoders are apart: losses, latents, parameters.

Adam divides a gradient by its own size: where it is as small as its rounding, the update may be anything up to the learning
rate. So single parameters, and latents after training, may be apart by that while the norms of the differences are tiny.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_TINY = 1e-30


def apart(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """{`absolute`: max |a − b|, `relative`: that over max |a|, `norm`: ‖a − b‖ over ‖a‖}."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    absolute, norm = float(np.abs(ours - theirs).max(initial=0.0)), float(np.linalg.norm(ours - theirs))
    return {
        "absolute": absolute,
        "relative": absolute / max(float(np.abs(ours).max(initial=0.0)), _TINY),
        "norm": norm / max(float(np.linalg.norm(ours)), _TINY),
    }


def of_training(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], members: list[str]) -> dict[str, Any]:
    """{member: differences} of two outcomes.

    An outcome holds `losses_SxM`, `latents_before`, `latents_after` [M, B, F] and `params/<name>` [M, …]. Latents that are
    chosen may be chosen differently where two are nearly equal: `selections` is the share of active latents, in either, that
    the other has not.
    """
    found = {}
    for m, member in enumerate(members):
        params = {name: apart(ours[name][m], theirs[name][m]) for name in ours if name.startswith("params/")}
        found[member] = {
            "loss": apart(ours["losses_SxM"][:, m], theirs["losses_SxM"][:, m]),
            "first_loss": apart(ours["losses_SxM"][:1, m], theirs["losses_SxM"][:1, m]),
            "params": {name.removeprefix("params/"): value for name, value in params.items()},
        }
        for when in ("before", "after"):
            a, b = ours[f"latents_{when}"][m], theirs[f"latents_{when}"][m]
            either = (a != 0) | (b != 0)
            found[member][f"latents_{when}"] = {
                **apart(a, b),
                "selections": float(((a != 0) != (b != 0)).sum() / max(int(either.sum()), 1)),
            }
    return found


def of_losses(ours_SxM: np.ndarray, theirs_SxM: np.ndarray) -> dict[str, dict[str, float]]:
    """Of the first step's losses, and of all steps'."""
    return {"first_loss": apart(ours_SxM[:1], theirs_SxM[:1]), "loss": apart(ours_SxM, theirs_SxM)}


def largest(per_member: Mapping[str, Any]) -> dict[str, float]:
    """The largest of all members, one number each: relative differences, and the share of selections."""
    members = per_member.values()
    return {
        "loss": max(m["loss"]["relative"] for m in members),
        "latents_before": max(m["latents_before"]["relative"] for m in members),
        "latents_after": max(m["latents_after"]["relative"] for m in members),
        "selections": max(max(m[f"latents_{when}"]["selections"] for when in ("before", "after")) for m in members),
        "params": max(p["relative"] for m in members for p in m["params"].values()),
        "latents_after_norm": max(m["latents_after"]["norm"] for m in members),
        "params_norm": max(p["norm"] for m in members for p in m["params"].values()),
    }
