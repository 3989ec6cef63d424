"""The frontier and the recommendation, on sweeps small enough to see through."""

from __future__ import annotations

from saejax.evaluation.pareto import frontier, recommend

MEMBERS = {
    "a": {"l0": 8.0, "ce_recovered": 0.90, "fvu": 0.3, "dead_fraction": 0.0},
    "b": {"l0": 16.0, "ce_recovered": 0.96, "fvu": 0.2, "dead_fraction": 0.5},
    "c": {"l0": 20.0, "ce_recovered": 0.95, "fvu": 0.1, "dead_fraction": 0.0},
    "d": {"l0": 32.0, "ce_recovered": 0.97, "fvu": 0.15, "dead_fraction": 0.05},
    "e": {"l0": 32.0, "ce_recovered": 0.98, "fvu": 0.15, "dead_fraction": 0.02},
    "f": {"l0": 64.0, "ce_recovered": 0.98, "fvu": 0.09, "dead_fraction": 0.0},
}


def test_the_frontier_holds_who_is_beaten_by_no_sparser_member():
    assert frontier(MEMBERS, "ce_recovered", higher_is_better=True) == ["a", "b", "e"]
    assert frontier(MEMBERS, "fvu", higher_is_better=False) == ["a", "b", "c", "f"]


def test_the_sparsest_good_member_is_recommended_with_its_numbers():
    name, reason = recommend(MEMBERS)
    assert name == "e"
    assert "sparsest" in reason and "L0 32.0" in reason and "98.0%" in reason


def test_without_a_good_member_the_one_that_recovers_most():
    poor = {name: {**m, "ce_recovered": m["ce_recovered"] - 0.5} for name, m in MEMBERS.items()}
    name, reason = recommend(poor)
    assert name == "e" and "none recovers 95%" in reason
