"""The optimizers by name, each optax's own, with a learning rate of 1: members' rates multiply what they return."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from saejax.sae.base import Params

DECAYING = ("adamw", "muon")
NAMES = ("adam", "adamw", "signum", "muon", "adafactor")


class Optimizer(NamedTuple):
    """Static settings.

    Attributes:
      name: one of `NAMES`: adam (Kingma & Ba 2015), adamw (Loshchilov & Hutter 2019), signum (Bernstein et al. 2018), muon
        (Jordan et al. 2024, for the matrices; adam for vectors), adafactor (Shazeer & Stern 2018, without parameter scaling).
      b1, b2, eps: Adam's; b1 is signum's momentum too.
      weight_decay: of adamw and muon, decoupled: a step subtracts learning rate × weight_decay × parameter.
      gradient_clip: largest global norm of a member's gradient; 0 for no clipping.
    """

    name: str = "adam"
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    gradient_clip: float = 0.0

    def transformation(self) -> optax.GradientTransformation:
        """Gradients → updates at learning rate 1, to be added to the parameters."""
        make = {
            "adam": lambda: optax.adam(1.0, b1=self.b1, b2=self.b2, eps=self.eps),
            "adamw": lambda: optax.adamw(1.0, b1=self.b1, b2=self.b2, eps=self.eps, weight_decay=self.weight_decay),
            "signum": lambda: optax.signum(1.0, beta=self.b1),
            "muon": lambda: contrib.muon(1.0, adam_b1=self.b1, adam_b2=self.b2, eps=self.eps, weight_decay=self.weight_decay),
            "adafactor": lambda: optax.adafactor(None, multiply_by_parameter_scale=False),
        }[self.name]()
        return optax.chain(optax.clip_by_global_norm(self.gradient_clip), make) if self.gradient_clip else make


def reset(opt_state: optax.OptState, marks: Params) -> optax.OptState:
    """The state with the moments of some entries set to 0; step counts and all other moments stay.

    Moments are found by their parameters' names, under which every optax state holds them.

    Args:
      opt_state: the state.
      marks: for each parameter, bool of its shape: the entries whose moments are forgotten.
    """

    def forget(path: tuple, moment: jax.Array) -> jax.Array:
        names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey) and key.key in marks]
        if not names:
            return moment
        mark = marks[names[-1]]
        if moment.shape == mark.shape:
            return jnp.where(mark, 0.0, moment)
        # Adafactor's factored moments are means over an axis: those that run over latents are forgotten too.
        kept = [axis for axis in range(mark.ndim) if moment.shape == (mark.shape[axis],)]
        if len(kept) != 1:
            return moment
        return jnp.where(mark.all(axis=1 - kept[0]), 0.0, moment)

    return jax.tree_util.tree_map_with_path(forget, opt_state)
