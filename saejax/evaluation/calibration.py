"""Predictors whose results are known, run like any member: an evaluation that gets them wrong is not to be believed.

  the mean of the very rows   explained variance 0
  the identity                explained variance 1, cross-entropy recovered 1, KL 0
  zeros                       cross-entropy recovered 0: the splice agrees with the ablation, which takes another path

A broken capture, mask, splice or denominator shows in one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from saejax.errors import InputError
from saejax.evaluation.splice import Spliced

MEAN, IDENTITY, ZERO = "self_test:mean", "self_test:identity", "self_test:zero"


@struct.dataclass
class Constant:
    """Predicts the same row [E] whatever it reads; it has one latent, which never fires."""

    row_E: jax.Array

    def reconstruct(self, x_NxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Rows [N, D] → (zeros [N, 1], the row N times)."""
        return jnp.zeros((len(x_NxD), 1)), jnp.broadcast_to(self.row_E, (len(x_NxD), len(self.row_E)))


@struct.dataclass
class Identity:
    """Predicts what it reads, to the last bit; it has one latent, which never fires."""

    def reconstruct(self, x_NxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Rows [N, D] → (zeros [N, 1], the rows)."""
        return jnp.zeros((len(x_NxD), 1)), x_NxD


class Tolerance(NamedTuple):
    """How far a check may be off: `variance` in explained variance, `nats` in cross-entropy and KL."""

    variance: float
    nats: float


def tolerance(dtype: Any) -> Tolerance:
    """What rounding in a language model of this dtype can explain.

    In bfloat16 two compiled programs of the same model round at different places, whatever is spliced in.
    """
    return Tolerance(1e-4, 2e-4 if jnp.dtype(dtype) == jnp.float32 else 5e-3)


def name(check: str, site: str) -> str:
    """The name under which a site's calibration member is measured."""
    return f"{check}@{site}"


def members(sites: Sequence[str], mean: Mapping[str, np.ndarray]) -> dict[str, Spliced]:
    """The three calibration members of each site that is written; the mean predictor needs no run of the language model.

    Args:
      sites: hook names.
      mean: {site: the mean row [E] over the very rows}.
    """
    made = {}
    for site in sites:
        row_E = jnp.asarray(mean[site], jnp.float32)
        made[name(MEAN, site)] = Spliced(site, site, Constant(row_E), in_model=False)
        made[name(IDENTITY, site)] = Spliced(site, site, Identity())
        made[name(ZERO, site)] = Spliced(site, site, Constant(jnp.zeros_like(row_E)))
    return made


def checks(results: Mapping[str, Mapping[str, float]], site: str, allowed: Tolerance) -> dict[str, dict[str, float]]:
    """{check: {"value", "expected", "tolerance"}} of one site.

    Args:
      results: {name: metrics} of the three calibration members, as `splice.summarise` gives those of members.
      site: the site that is written.
      allowed: what rounding explains. Where ablating the site hardly matters, the same nats are a larger share of it.
    """
    mean, identity, zero = (results[name(check, site)] for check in (MEAN, IDENTITY, ZERO))
    share = allowed.nats / max(abs(identity["ce_zero_ablation"] - identity["ce_clean"]), 1e-12)
    rows = (
        ("mean/explained_variance", mean["explained_variance"], 0.0, allowed.variance),
        ("identity/explained_variance", identity["explained_variance"], 1.0, allowed.variance),
        ("identity/ce_recovered", identity["ce_recovered"], 1.0, share),
        ("identity/kl", identity["kl_sae"], 0.0, allowed.nats),
        ("zero/ce_recovered", zero["ce_recovered"], 0.0, share),
    )
    return {check: {"value": value, "expected": expected, "tolerance": limit} for check, value, expected, limit in rows}


def verify(site: str, found: Mapping[str, Mapping[str, float]]) -> None:
    """Raises InputError for the first of a site's checks that is off by more than its tolerance."""
    for check, about in found.items():
        if not abs(about["value"] - about["expected"]) <= about["tolerance"]:
            raise InputError(
                f"self-test {check} at {site}: {about['value']:.6g}, where {about['expected']:g} ± {about['tolerance']:.2g} is "
                "the only right answer; the evaluation is not to be believed: try --dtype=float32, or another --eval_batch_size"
            )
