"""The contender saejax: `training.ensemble`, as the train task uses it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from saejax.sae.frame import Frame
from saejax.training.ensemble import Ensemble, Inputs, ensemble
from saejax.training.grid import Group, Member, Sites
from saejax.training.optimizers import Optimizer
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions


def ensemble_of(plan: dict[str, Any]) -> Ensemble:
    """The ensemble that a plan says."""
    frame = Frame(**plan["frame"])
    members = tuple(Member(**member) for member in plan["members"])
    group = Group("rows", Sites("rows", frame.d_in), plan["architecture"], frame, plan["options"], members)
    options = StepOptions(Schedules(**plan["schedules"]), Optimizer(**plan["optimizer"]), plan["dead_window_steps"])
    return ensemble(group, options)


class Training:
    """Trains a plan's members; see `comparison.training` for the plan."""

    def __init__(self, plan: dict[str, Any]):
        if plan["frame"]["dtype"] == "float32":  # accelerators may multiply float32 in fewer bits; the twin does not
            jax.config.update("jax_default_matmul_precision", "highest")
        self._plan = plan
        self._folder = Path(plan["folder"])
        jax.devices()

    def device(self) -> str:
        """ "cpu", "gpu" or "tpu"."""
        return jax.default_backend()

    def device_peak_bytes(self) -> int | None:
        """The accelerator's peak, where it counts."""
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

    def prepare(self) -> float:
        """Builds the ensemble, writes its initial parameters for the others; seconds of building and of the first steps."""
        start = time.perf_counter()
        self._ensemble = ensemble_of(self._plan)
        with np.load(self._folder / "rows.npz", allow_pickle=False) as rows:
            self._held = rows["held_BxD"].view(ml_dtypes.bfloat16).astype(np.float32) * rows["scale"]
            scale, self._b_dec = jnp.float32(rows["scale"]), jnp.asarray(rows["b_dec_D"])
            self._inputs = Inputs(jnp.asarray(rows["x_SxBxD"].view(ml_dtypes.bfloat16)), None, scale, scale)
        self._state = self._ensemble.init(self._b_dec)
        np.savez(self._folder / "params.npz", **jax.device_get(self._state.params))
        self.unit()
        return time.perf_counter() - start

    def unit(self) -> float:
        """Seconds of one update on each batch."""
        start = time.perf_counter()
        self._state, metrics = self._ensemble.steps(self._state, self._inputs)
        jax.block_until_ready((self._state, metrics))
        return time.perf_counter() - start

    def product(self) -> float:
        """Seconds of one product of [B, D] and [D, F] for each member."""
        if not hasattr(self, "_product"):
            frame, dtype = self._plan["frame"], self._plan["frame"]["dtype"]
            M, B = len(self._plan["members"]), self._inputs.x_SxBxD.shape[1]
            keys = jax.random.split(jax.random.key(0), M + 1)
            a_BxD = jax.random.normal(keys[0], (B, frame["d_in"])).astype(dtype)
            Ws = [jax.random.normal(key, (frame["d_in"], frame["d_sae"])).astype(dtype) for key in keys[1:]]
            compiled = jax.jit(lambda a, Ws: [a @ W for W in Ws])
            self._product = lambda: compiled(a_BxD, Ws)
            jax.block_until_ready(self._product())
        start = time.perf_counter()
        jax.block_until_ready(self._product())
        return time.perf_counter() - start

    def outcome(self) -> None:
        """Trains anew from the start, a step on each batch, and writes losses, latents and parameters."""
        e, self._state = self._ensemble, None  # its memory goes to the state that follows
        encode = jax.jit(jax.vmap(e.sae.encode, (0, 0, None)))
        state = e.init(self._b_dec)
        found = {"latents_before": encode(state.params, e.hparams, self._held)}
        state, metrics = e.steps(state, self._inputs)
        found |= {"latents_after": encode(state.params, e.hparams, self._held), "losses_SxM": metrics["loss"]}
        found |= {f"params/{name}": value for name, value in state.params.items()}
        np.savez(self._folder / "saejax.npz", **jax.device_get(found))
