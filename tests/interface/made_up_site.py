"""A site of made-up records: three members, of which one has features."""

from __future__ import annotations

from pathlib import Path

import synthetic

from saejax.interface import site

MEMBER = "topk-k8-d256-lr1e-3-seed0"
ABOUT = {"model": "tiny", "dataset": "pydocs", "hook_names": ["blocks.2.hook_resid_post"]}


def metrics(l0: float, recovered: float) -> dict[str, float]:
    return {"l0": l0, "fvu": 1.1 - recovered, "ce_recovered": recovered, "dead_fraction": 0.01, "kl_sae": 0.2}


EVALUATION = {
    "members": {MEMBER: metrics(8, 0.91), "topk-k16-d256-lr1e-3-seed0": metrics(16, 0.95), "relu-l1_1": metrics(60, 0.96)},
    "intervals": {MEMBER: {"l0": [7.9, 8.1], "ce_recovered": [0.9, 0.92]}},
    "recommended": {"blocks.2.hook_resid_post": {"member": "topk-k16-d256-lr1e-3-seed0", "reason": "the sparsest"}},
    "frontier": {"blocks.2.hook_resid_post": [MEMBER, "topk-k16-d256-lr1e-3-seed0", "relu-l1_1"]},
}


def build(folder: Path, n_latents: int, **options) -> Path:
    records = synthetic.write(folder / "features" / MEMBER, n_latents, **options)
    members = [site.Member(name, name.split("-")[0], name.split("-")[1], None) for name in EVALUATION["members"]]
    members[0] = members[0]._replace(records=records)
    site.build(folder / "interface", members, EVALUATION, ABOUT)
    return folder / "interface"


def member(site, query: str = "") -> str:
    return f"{site.as_uri()}/member.html#{MEMBER}{query}"


def latent(site, i: int) -> str:
    return f"{site.as_uri()}/latent.html#{MEMBER}/{i}"
