"""A group of members as one compiled ensemble: members by `vmap` (or `lax.map`), steps by `scan`, state donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.base import HParams, Params, SparseAutoencoder
from saejax.sae.platform import platform
from saejax.sae.registry import ARCHITECTURES
from saejax.sae.scaling import normalize
from saejax.training import step as step_lib
from saejax.training.grid import Group
from saejax.training.resample import resample as resample_one
from saejax.training.step import StepOptions, TrainState

Metrics = dict[str, jax.Array]


class Inputs(NamedTuple):
    """Rows for some steps, as they are stored, with the factors on them.

    Attributes:
      x_SxBxD: what is read, any float dtype.
      y_SxBxE: what is to be predicted; None for x itself.
      x_scale, y_scale: float32 scalars.
    """

    x_SxBxD: jax.Array
    y_SxBxE: jax.Array | None
    x_scale: jax.Array
    y_scale: jax.Array


class Ensemble(NamedTuple):
    """A group, ready to train.

    Attributes:
      group: its members, in the order of the leading axis M.
      sae: the autoencoder, as pure functions.
      hparams: float32 [M] (int32 for k), by name.
      init: (b_dec_E) -> TrainState with a leading axis M.
      steps: (state, inputs) -> (state, metrics [S, M] by name): S updates of all members on the same rows. The state is
        donated.
      resample: (state, inputs, window_steps) -> (state, resampled latents [M]): dead latents made anew. The state is donated.
      compile: (state, inputs) -> the program of `steps` for arguments of such shapes, which `steps` finds ready from then on.
    """

    group: Group
    sae: SparseAutoencoder
    hparams: HParams
    init: Callable[[jax.Array], TrainState]
    steps: Callable[[TrainState, Inputs], tuple[TrainState, Metrics]]
    resample: Callable[[TrainState, Inputs, int], tuple[TrainState, jax.Array]]
    compile: Callable[[TrainState, Inputs], jax.stages.Compiled]


def ensemble(
    group: Group,
    options: StepOptions,
    *,
    normalize_rows: str = "none",
    params: Params | None = None,
    wrap: Callable[[SparseAutoencoder, Any], SparseAutoencoder] = lambda sae, constants: sae,
    prepare: Callable[[jax.Array, Any], tuple[jax.Array, Any]] | None = None,
    constants: Any = None,
) -> Ensemble:
    """Makes the ensemble of a group.

    Args:
      group: architecture, frame and members.
      options: of the step.
      normalize_rows: a row-dependent scaling of the input: a name in `scaling.PER_ROW`, or any other for none.
      params: where training starts, with a leading axis M; None for the architecture's own start.
      wrap: (the architecture's autoencoder, constants) → the one that is trained, with another loss.
      prepare: (one step's stored input, constants) → (x_BxD, target), in place of scaled rows.
      constants: arrays that these two need, such as a language model's parameters: an argument of the compiled steps, not a
        copy inside them.
    """
    sae = make(group)
    hparams = {
        name: jnp.asarray([m.hparams[name] for m in group.members], jnp.int32 if name == "k" else jnp.float32)
        for name in group.members[0].hparams
    }
    seeds = [m.seed for m in group.members]

    def keys() -> jax.Array:
        return jnp.stack([jax.random.key(seed) for seed in seeds])

    def scaled(rows: jax.Array, scale: jax.Array) -> jax.Array:
        return normalize(rows.astype(jnp.float32) * scale, normalize_rows)[0]

    def init(b_dec_E: jax.Array) -> TrainState:
        begun = jax.vmap(lambda key: sae.init(key, b_dec_E))(keys()) if params is None else params
        return jax.vmap(lambda params: step_lib.start(sae, options, params, group.frame.d_sae))(begun)

    def steps(state: TrainState, hparams: HParams, inputs: Inputs, constants: Any) -> tuple[TrainState, Metrics]:
        update = _of_members(wrap(sae, constants), options, len(group.members))

        def one(state: TrainState, rows: tuple[jax.Array, jax.Array | None]):
            if prepare is not None:
                return update(state, hparams, *prepare(rows[0], constants))
            x_BxD = scaled(rows[0], inputs.x_scale)
            return update(state, hparams, x_BxD, x_BxD if rows[1] is None else scaled(rows[1], inputs.y_scale))

        return jax.lax.scan(one, state, (inputs.x_SxBxD, inputs.y_SxBxE))

    def resample(state: TrainState, hparams: HParams, inputs: Inputs, window_steps: int) -> tuple[TrainState, jax.Array]:
        x_SxBxD = scaled(inputs.x_SxBxD, inputs.x_scale)
        y_SxBxE = x_SxBxD if inputs.y_SxBxE is None else scaled(inputs.y_SxBxE, inputs.y_scale)

        def one(state: TrainState, hparams: HParams, key: jax.Array):
            key = jax.random.fold_in(jax.random.fold_in(key, 1), state.step)
            return resample_one(sae, state, hparams, x_SxBxD, y_SxBxE, key, window_steps)

        return jax.vmap(one)(state, hparams, keys())

    compiled = jax.jit(steps, donate_argnums=0)
    resampling = jax.jit(resample, donate_argnums=0, static_argnums=3)
    return Ensemble(
        group,
        sae,
        hparams,
        jax.jit(init),
        lambda state, inputs: compiled(state, hparams, inputs, constants),
        lambda state, inputs, window_steps: resampling(state, hparams, inputs, window_steps),
        lambda state, inputs: compiled.lower(state, hparams, inputs, constants).compile(),
    )


def _of_members(sae: SparseAutoencoder, options: StepOptions, n_members: int) -> Callable:
    """`train_step` over a leading axis M of state and hyper-parameters: all at once, or one after the other.

    A member by itself has no such axis while it is updated: XLA makes some arrays twice, with the axis and without.
    """
    alone = step_lib.train_step(sae, options)
    together = jax.vmap(step_lib.train_step(sae, options, "member"), in_axes=(0, 0, None, None), axis_name="member")

    def update(state: TrainState, hparams: HParams, x_BxD: jax.Array, target: Any) -> tuple[TrainState, Metrics]:
        if n_members == 1:
            return jax.tree.map(lambda a: a[None], alone(*member((state, hparams), 0), x_BxD, target))
        if platform().one_by_one(options.microbatch_size or x_BxD.shape[0], x_BxD.shape[-1]):
            return jax.lax.map(lambda of_member: alone(*of_member, x_BxD, target), (state, hparams))
        return together(state, hparams, x_BxD, target)

    return update


def make(group: Group) -> SparseAutoencoder:
    """The autoencoder of a group."""
    return ARCHITECTURES[group.architecture].make(group.frame, **group.options)


def member(tree, i: int):
    """Member i of a tree with a leading axis M."""
    return jax.tree.map(lambda a: a[i], tree)
