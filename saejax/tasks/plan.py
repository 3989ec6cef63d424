"""`--plan`: what the tasks will take on this machine, before any of them runs.

The run's own programs are timed for a moment each, in a folder beside the work directory that is removed again; what they take
is multiplied by how often the run will call them. Nothing is written to the work directory. Assumed: the text is long enough
(only the size of a local .txt or .jsonl file bounds it beforehand), no latent dies, and the machine stays as busy as it is.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from saejax import console, machine
from saejax.config import Config
from saejax.errors import InputError
from saejax.planning import forecast
from saejax.planning.forecast import Forecast
from saejax.tasks import plan_evaluate, plan_extract, plan_features, plan_finetune, plan_pretrain, plan_train
from saejax.workdir import Workdir


def run(config: Config, workdir: Workdir, order: Sequence[str]) -> None:
    """Measures, and prints a table of the tasks, the memory of each ensemble's step, and what to do with activations.

    Raises:
      InputError: no folder to measure in, or text too short for a window.
    """
    left = [task for task in order if not workdir.is_complete(task)]
    beside = next(folder for folder in workdir.path.absolute().parents if folder.is_dir())
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".saejax-plan-", dir=beside)
    except OSError as error:
        raise InputError(f"--workdir={workdir.path}: {beside} cannot be written ({error.strerror}); name another") from error
    with temporary, _quiet():
        forecasts, notes = _measured(config, workdir, left, Path(temporary.name))
    forecasts += [Forecast(task, {}, 0, 0, 0) for task in order if task not in left]
    free_disk, memory = shutil.disk_usage(beside).free, machine.memory_bytes()
    console.table(f"Plan of {', '.join(order)}", forecast.HEADER, forecast.rows(forecasts))
    if left != list(order):
        notes.append(f"complete in {workdir.path}, and not to be done again: {', '.join(t for t in order if t not in left)}")
    notes.append(
        f"this machine: {machine.n_cores()} cores, {', '.join(machine.devices())}; {forecast.size(memory)} of memory and "
        f"{forecast.size(free_disk)} of disk can be had"
    )
    short = forecast.shortages(forecasts, free_disk_bytes=free_disk, memory_bytes=memory)
    for line in (*notes, *(f"does not fit: {line}" for line in short)):
        print(line)


def _measured(config: Config, workdir: Workdir, left: Sequence[str], folder: Path) -> tuple[list[Forecast], list[str]]:
    """(forecasts, notes) of the tasks that are left."""
    forecasts, notes = [], []
    if "pretrain" in left:
        forecasts.append(plan_pretrain.forecast_of(config))
    if set(left) <= {"pretrain"}:
        return forecasts, notes
    extract = plan_extract.rehearse(config, workdir, folder)
    if "extract" in left:
        forecasts.append(plan_extract.forecast_of(config, extract))
        notes.append(plan_extract.verdict(config, extract))
    if set(left) <= {"pretrain", "extract"}:
        return forecasts, notes
    train = plan_train.rehearse(config, extract, folder)
    if "train" in left:
        forecasts.append(plan_train.forecast_of(config, extract, train))
        notes = [*plan_train.memory_lines(train), *notes]
    if "finetune" in left:
        forecasts.append(plan_finetune.forecast_of(config, extract, train))
    if "evaluate" in left:
        forecasts.append(plan_evaluate.forecast_of(config, extract, train, folder))
    if "features" in left:
        forecasts.append(plan_features.forecast_of(config, extract, train, folder))
    return forecasts, notes


@contextlib.contextmanager
def _quiet():
    """Keeps the progress lines of what is timed off the screen."""
    console.log("plan: timing the run's own programs")
    with contextlib.redirect_stderr(io.StringIO()):
        yield
