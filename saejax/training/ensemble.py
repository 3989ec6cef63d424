"""A group of members as one compiled ensemble: `vmap` over hyper-parameters, `scan` over steps, state donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.base import HParams, SparseAutoencoder
from saejax.sae.registry import ARCHITECTURES
from saejax.training import step as step_lib
from saejax.training.grid import Group
from saejax.training.step import MEMBER_AXIS, StepOptions, TrainState


class Ensemble(NamedTuple):
    """A group, ready to train.

    Attributes:
      group: its members, in the order of the leading axis M.
      sae: the autoencoder, as pure functions.
      hparams: float32 [M] (int32 for k), by name.
      init: (b_dec_D) -> TrainState with a leading axis M.
      steps: (state, x_SxBxD, scale) -> (state, metrics [S, M] by name): S updates of all members on the same rows,
        multiplied by `scale`. The state is donated.
    """

    group: Group
    sae: SparseAutoencoder
    hparams: HParams
    init: Callable[[jax.Array], TrainState]
    steps: Callable[[TrainState, jax.Array, jax.Array], tuple[TrainState, dict[str, jax.Array]]]


def ensemble(group: Group, options: StepOptions) -> Ensemble:
    """Makes the ensemble of a group.

    Args:
      group: architecture, sizes and members.
      options: of the step.
    """
    sae = ARCHITECTURES[group.architecture].make(group.d_in, group.d_sae, **group.options)
    hparams = {
        name: jnp.asarray([m.hparams[name] for m in group.members], jnp.int32 if name == "k" else jnp.float32)
        for name in group.members[0].hparams
    }
    update = jax.vmap(step_lib.train_step(sae, options), in_axes=(0, 0, None), axis_name=MEMBER_AXIS)

    def init(b_dec_D: jax.Array) -> TrainState:
        keys = jnp.stack([jax.random.key(m.seed) for m in group.members])
        return jax.vmap(lambda key: step_lib.init(sae, options, key, b_dec_D, group.d_sae))(keys)

    def steps(state: TrainState, hparams: HParams, x_SxBxD: jax.Array, scale: jax.Array):
        def one(state: TrainState, x_BxD: jax.Array):
            return update(state, hparams, x_BxD.astype(jnp.float32) * scale)

        return jax.lax.scan(one, state, x_SxBxD)

    compiled = jax.jit(steps, donate_argnums=0)
    return Ensemble(group, sae, hparams, jax.jit(init), lambda state, x, scale: compiled(state, hparams, x, scale))


def member(tree, i: int):
    """Member i of a tree with a leading axis M."""
    return jax.tree.map(lambda a: a[i], tree)
