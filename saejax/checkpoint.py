"""Orbax checkpoints of a pytree, whole or absent whenever the process is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from saejax.errors import InputError


class Checkpoints:
    """The checkpoints of one run, by step; the newest `keep` are kept.

    Writing is asynchronous. Orbax writes to a temporary name and renames, so a killed run leaves no half checkpoint.
    """

    def __init__(self, directory: Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=True)
        self._directory = Path(directory)
        self._manager = ocp.CheckpointManager(Path(directory).resolve(), options=options)

    @property
    def latest_step(self) -> int | None:
        """The newest whole checkpoint's step, or None."""
        return self._manager.latest_step()

    @property
    def kept(self) -> str:
        """What a message says of the newest checkpoint."""
        return (
            "no checkpoint was made yet" if self.latest_step is None else f"the checkpoint of step {self.latest_step} is kept"
        )

    def save(self, step: int, tree: Any) -> None:
        """Starts writing `tree`. It is copied first: the caller may donate its buffers at once."""
        if step != self.latest_step:
            host_tree = jax.tree.map(lambda a: np.array(a, copy=True), tree)
            self._manager.save(step, args=ocp.args.StandardSave(host_tree))

    def restore(self, step: int, template: Any) -> Any:
        """The tree saved at `step`, with the shapes and dtypes of `template`."""
        abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), template)
        try:
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except Exception as error:  # orbax raises many kinds, and all mean: it is broken
            raise InputError(
                f"{self._directory / str(step)}: the checkpoint cannot be read ({str(error).splitlines()[0][:100]}); "
                "remove that folder to go on from the one before it"
            ) from error
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
