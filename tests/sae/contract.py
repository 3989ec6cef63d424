"""What the contract tests are run over: every row of the registry, and where it can be one, its transcoder with a skip path."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.base import LossContext, SparseAutoencoder, unit_rows
from saejax.sae.frame import Frame
from saejax.sae.registry import ARCHITECTURES
from saejax.training.ensemble import Inputs, ensemble
from saejax.training.grid import Group, Member, Sites
from saejax.training.step import StepOptions

D, F, E, B = 12, 40, 9, 96

# For each architecture, the hyper-parameters and options under which a planted dictionary is learnt, at its loss's scale.
SPARSE = {
    "relu": {"l1_coefficient": 0.3},
    "tied": {"l1_coefficient": 0.02},
    "tied_topk": {"k": 3},
    "thresholding": {"l1_coefficient": 0.02},
    "gated": {"l1_coefficient": 0.6},
    "jumprelu": {"l0_coefficient": 0.1, "bandwidth": 0.1},
    "topk": {"k": 3},
    "batch_topk": {"k": 3},
    "matryoshka": {"k": 3},
    "p_anneal": {"l1_coefficient": 0.3},
    "group_max": {"k": 3},
    "matching_pursuit": {"k": 3},
}
# Values of the first hyper-parameter that give three different losses.
VALUES = {"group_max": [4, 8, 10]}


class Subject(NamedTuple):
    """An architecture, as an autoencoder or as a transcoder."""

    architecture: str
    transcoder: bool

    @property
    def row(self):
        return ARCHITECTURES[self.architecture]

    def frame(self, d_in=D, d_sae=F, d_out=E) -> Frame:
        return Frame(d_in, d_sae, d_out, skip=True) if self.transcoder else Frame(d_in, d_sae)

    def options(self, k_max=32) -> dict:
        options = dict(self.row.options) | ({"k_max": k_max} if self.row.bounds_k else {})
        if "matryoshka_prefixes" in options:
            options["matryoshka_prefixes"] = (0.5, 1.0)
        return options

    def make(self, **frame) -> SparseAutoencoder:
        return self.row.make(self.frame()._replace(**frame), **self.options())

    def hparams(self, **changed) -> dict:
        # group_max's k must divide F
        return {**self.row.hparams, **({"k": 8} if self.row.divides_k else {}), **changed}

    def traced(self, **changed) -> dict:
        return {name: jnp.asarray(value) for name, value in self.hparams(**changed).items()}

    def varied(self) -> list[dict]:
        """Three members that differ in the first hyper-parameter, the learning rate and the seed."""
        first, default = next(iter(self.hparams().items()))
        values = VALUES.get(self.architecture, [3, 7, 11] if first == "k" else [0.0, default, 2 * default])
        return [self.hparams(**{first: v}, learning_rate=rate) for v, rate in zip(values, (1e-3, 3e-3, 0.0))]

    def group(self, members: list[dict], seeds=(0, 1, 2), frame: Frame | None = None, k_max=32) -> Group:
        made = tuple(Member(f"m{seed}", f"m{seed}", {"learning_rate": 1e-3, **h}, seed) for h, seed in zip(members, seeds))
        sites = Sites("read", D, "written", E) if self.transcoder else Sites("read", D)
        return Group("group", sites, self.architecture, frame or self.frame(), self.options(k_max), made)

    def ensemble(self, members: list[dict], options: StepOptions, seeds=(0, 1, 2)):
        return ensemble(self.group(members, seeds), options)

    def inputs(self, x_SxBxD, scale=1.0) -> Inputs:
        """Rows to read, and for a transcoder a fixed map of them to predict."""
        return Inputs(x_SxBxD, self.target(x_SxBxD) if self.transcoder else None, jnp.float32(scale), jnp.float32(scale))

    def target(self, x):
        """y of x: for a transcoder a fixed, not linear map."""
        if not self.transcoder:
            return x
        mix = jax.random.normal(jax.random.key(9), (x.shape[-1], E), jnp.float32) / x.shape[-1] ** 0.5
        return jnp.tanh(x.astype(jnp.float32) @ mix).astype(x.dtype)

    @property
    def width_out(self) -> int:
        return E if self.transcoder else D


SUBJECTS = [
    Subject(name, transcoder)
    for name, row in ARCHITECTURES.items()
    for transcoder in ([False, True] if row.transcodes else [False])
]


def name_of(subject: Subject) -> str:
    return subject.architecture + "-transcoder" * subject.transcoder


def rows(n_steps=1, seed=0):
    return jax.random.normal(jax.random.key(seed), (n_steps, B, D))


def context(dead_F=None, step=0, n_steps=100) -> LossContext:
    dead_F = jnp.zeros(F, bool) if dead_F is None else dead_F
    return LossContext(dead_F, dead_F.any(), jnp.int32(step), n_steps)


def planted(key, n, *dictionaries_FxD, active=3):
    """Rows that are sums of a few of the true features, with positive weights; the same weights for each dictionary."""
    choose, weigh = jax.random.split(key)
    scores = jax.random.uniform(choose, (n, len(dictionaries_FxD[0])))
    chosen = scores >= jnp.sort(scores, axis=-1)[:, -active, None]
    weights = jnp.where(chosen, jax.random.uniform(weigh, scores.shape, minval=0.5, maxval=1.5), 0.0)
    return tuple(weights @ dictionary for dictionary in dictionaries_FxD)


def truth(n=24, width=16, seed=5):
    """True features: unit rows."""
    return unit_rows(jax.random.normal(jax.random.key(seed), (n, width)))
