"""The Pareto frontier of a sweep, and which member to take."""

from __future__ import annotations

from collections.abc import Mapping

RECOVERED = 0.95
DEAD = 0.10

Members = Mapping[str, Mapping[str, float]]


def frontier(members: Members, metric: str, *, higher_is_better: bool) -> list[str]:
    """The members that no other beats in both sparsity (lower `l0`) and `metric`, by rising `l0`.

    Args:
      members: {name: {metric: number}}.
      metric: the other axis.
      higher_is_better: of `metric`.
    """
    sign = 1.0 if higher_is_better else -1.0
    best, kept = float("-inf"), []
    for name in sorted(members, key=lambda name: (members[name]["l0"], -sign * members[name][metric])):
        if sign * members[name][metric] > best:
            best = sign * members[name][metric]
            kept.append(name)
    return kept


def recommend(members: Members) -> tuple[str, str]:
    """One member, and the reason in a sentence.

    The sparsest on the frontier of cross-entropy recovered that recovers at least 95% with at most 10% of its latents dead;
    where there is none, the one that recovers most.
    """
    on_frontier = frontier(members, "ce_recovered", higher_is_better=True)
    good = [n for n in on_frontier if members[n]["ce_recovered"] >= RECOVERED and members[n]["dead_fraction"] <= DEAD]
    name = good[0] if good else max(on_frontier, key=lambda n: members[n]["ce_recovered"])
    m = members[name]
    numbers = f"L0 {m['l0']:.1f}, {m['ce_recovered']:.1%} of cross-entropy recovered, {m['dead_fraction']:.1%} of latents dead"
    if good:
        return (
            name,
            f"the sparsest on the frontier that recovers at least {RECOVERED:.0%} with at most {DEAD:.0%} dead ({numbers})",
        )
    return name, f"none recovers {RECOVERED:.0%} with at most {DEAD:.0%} of latents dead; this one recovers most ({numbers})"
