"""`--tasks=serve`: the pages of `interface/` and the live page, until it is interrupted. Never complete, and locks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from saejax import console
from saejax.config import Config
from saejax.errors import InputError
from saejax.evaluation.splice import LanguageModel
from saejax.features import records
from saejax.interface import serve
from saejax.interface.questions import Live
from saejax.live import known
from saejax.live.edits import KINDS, N_EDITS, Edit
from saejax.live.session import Session
from saejax.lm import tokenizer, weights
from saejax.tasks import inputs, members
from saejax.workdir import Workdir


def check(config: Config, workdir: Workdir, tasks: Sequence[str]) -> None:
    """Raises InputError where there are no pages, and none will be made, or where the port is taken."""
    if "interface" not in tasks and not (workdir.path / "interface" / "index.html").is_file():
        raise InputError(f"--tasks=serve: {workdir.path} has no interface/; run --tasks=features,interface first")
    serve.bind(config.host, config.port).close()


def run(config: Config, workdir: Workdir) -> None:
    """Loads and compiles everything, prints the address, and serves."""
    with serve.bind(config.host, config.port) as listening:
        try:
            session = _session(config, workdir)
            with console.progress("serve", session.n_programs, "compiled programs") as advance:
                session.warm_up(advance)
            app = serve.application(workdir.path / "interface", _live(session), listening.getsockname()[1])
            print(f"serve: {serve.address(listening)} shows {workdir.path}; Ctrl-C stops it", flush=True)
            serve.run(app, listening)
        except KeyboardInterrupt:
            pass  # which is how it is meant to end
        console.log("serve: stopped")


def _session(config: Config, workdir: Workdir) -> Session:
    directory = inputs.model_directory(config, workdir)
    lm, params = weights.load(directory)
    found = {name: spliced for name, (_, spliced) in members.read(config, workdir, lm).items()}
    folder = workdir.path / "features"
    return Session(
        LanguageModel(params, lm, jnp.dtype(config.dtype)),
        tokenizer.load(directory),
        found,
        {name: known.read(folder / name) for name in records.members(folder) if name in found},
        context_size=config.context_size,
        prepend_bos=config.prepend_bos,
        exclude_special=config.exclude_special,
    )


def _live(session: Session) -> Live:
    def edited(answer, *, edits: list[dict[str, Any]], **more) -> dict[str, Any]:
        return answer(edits=[Edit(**edit) for edit in edits], **more)

    return Live(
        session.members(),
        tuple(KINDS),
        N_EDITS,
        look=session.look,
        change=lambda **question: edited(session.change, **question),
        sample=lambda **question: edited(session.sample, **question),
    )
