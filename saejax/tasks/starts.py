"""Training that starts from `--sae`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from saejax.config import Config
from saejax.errors import InputError
from saejax.interop import load
from saejax.interop.adopt import adopt
from saejax.sae.base import Params
from saejax.sae.scaling import PER_ROW
from saejax.training.ensemble import make
from saejax.training.grid import Group


def check(config: Config, groups: Sequence[Group]) -> None:
    """Raises InputError for a start that some group of the sweep cannot have."""
    if len(config.sae) > 1:
        raise InputError(f"--sae={','.join(config.sae)}: training starts from one; give one, or leave train out of --tasks")
    for group in groups:
        ones = {group.sites.hook_name: 1.0, group.sites.written: 1.0}
        adopted(config, group._replace(members=group.members[:1]), np.zeros(group.frame.width_out), ones)


def adopted(config: Config, group: Group, b_dec_E: np.ndarray, scales: Mapping[str, float]) -> Params | None:
    """Where `--sae` says that a group starts, with a leading axis M; None without it.

    Args:
      config: the flags.
      group: of the sweep.
      b_dec_E: where the architecture's own decoder bias would start, in scaled units.
      scales: {hook_name: factor on the rows}.

    Raises:
      InputError: an autoencoder that the group cannot start from.
    """
    if not config.sae:
        return None
    where, start = config.sae[0], load.load(config.sae[0]).sae
    scaling = config.normalize_activations if config.normalize_activations in PER_ROW else "none"
    if start.normalize_activations != scaling:
        raise InputError(
            f"--sae={where}: its rows are scaled by {start.normalize_activations}, the sweep's by {scaling}; "
            f"change --normalize_activations"
        )
    start = start.for_raw_input(1 / scales[group.sites.hook_name], 1 / scales[group.sites.written])
    sae, members = make(group), []
    for m in group.members:
        params = sae.init(jax.random.key(m.seed), jnp.asarray(b_dec_E, jnp.float32))
        hparams = {name: jnp.asarray(value) for name, value in m.hparams.items()}
        members.append(adopt(sae, params, hparams, start, where))
    return jax.tree.map(lambda *a: jnp.stack(a), *members)
