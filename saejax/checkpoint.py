"""Orbax checkpoints of a pytree, whole or absent whenever the process is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


class Checkpoints:
    """The checkpoints of one run, by step; the newest `keep` are kept.

    Writing is asynchronous. Orbax writes to a temporary name and renames, so a killed run leaves no half checkpoint.
    """

    def __init__(self, directory: Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(Path(directory).resolve(), options=options)

    @property
    def latest_step(self) -> int | None:
        """The newest whole checkpoint's step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, tree: Any) -> None:
        """Starts writing `tree`. It is copied first: the caller may donate its buffers at once."""
        if step != self.latest_step:
            host_tree = jax.tree.map(lambda a: np.array(a, copy=True), tree)
            self._manager.save(step, args=ocp.args.StandardSave(host_tree))

    def restore(self, step: int, template: Any) -> Any:
        """The tree saved at `step`, with the shapes and dtypes of `template`."""
        abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), template)
        restored = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        for (path, a), want in zip(jax.tree_util.tree_leaves_with_path(restored), jax.tree.leaves(abstract)):
            if a.shape != want.shape:
                raise ValueError(f"checkpoint {step}: {jax.tree_util.keystr(path)} has shape {a.shape}; expected {want.shape}")
        return jax.tree.map(jax.numpy.asarray, restored)

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
