"""The tasks, a file each: wiring only. With `launch.py` and `config.py`, the only rooms that know `Config`."""

from __future__ import annotations

import importlib

from saejax import compilation, console, files
from saejax import config as config_lib
from saejax import flags as flags_lib
from saejax.config import Config
from saejax.errors import InputError
from saejax.tasks import check, publish
from saejax.workdir import Workdir


def run(config: Config) -> None:
    """Checks everything that can be checked before any work, then does the tasks that are not complete.

    Raises:
      InputError: flags, files or a work directory that cannot be used.
    """
    order = [task for task in config_lib.TASKS if task in config.tasks]
    workdir = Workdir(config.workdir, resume=config.resume)
    for task in config_lib.TASKS[: config_lib.TASKS.index(order[-1]) + 1]:
        if task in order or task not in ("pretrain", "compare") or (task == "pretrain" and config.model == "lm"):
            workdir.check(task, config_lib.settings_of(config, task))
    _use_cache(config)
    check.all_flags(config, workdir, order)
    if config.plan:
        from saejax.tasks import plan  # which needs the libraries of every task

        plan.run(config, workdir, order)
        return
    if made := [task for task in order if task != "serve"]:
        _make(config, workdir, made)
    if "serve" in order:
        from saejax.tasks import serve

        serve.run(config, workdir)


def _make(config: Config, workdir: Workdir, order: list[str]) -> None:
    """Does the tasks that are not complete, with the work directory to itself."""
    with workdir.locked():
        files.write_text(workdir.path / "flags.txt", flags_lib.to_flagfile(config))
        for task in order:
            module = importlib.import_module(f"saejax.tasks.{task}")
            if workdir.is_complete(task):
                missing = module.missing(config, workdir)
                if not missing:
                    console.log(f"{task}: complete in {workdir.path}")
                    continue
                console.log(f"{task}: was complete, but {missing[0]} is missing; doing it again")
            with workdir.doing(task, config_lib.settings_of(config, task)) as facts:
                facts.update(module.do(config, workdir))
        if config.push_to_hub:
            publish.push(config, workdir)


def _use_cache(config: Config) -> None:
    """Compiles with the cache; a folder that nobody asked for by name, as in a home that is read-only, is done without."""
    try:
        compilation.use_cache(config.compilation_cache)
    except InputError as error:
        if config.compilation_cache != Config.compilation_cache:
            raise
        console.log(str(error))
        compilation.use_cache("")
