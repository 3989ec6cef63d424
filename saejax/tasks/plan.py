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
from saejax.planning import forecast
from saejax.planning.forecast import Forecast
from saejax.tasks import plan_evaluate, plan_extract, plan_finetune, plan_pretrain, plan_train
from saejax.workdir import Workdir


def run(config: Config, workdir: Workdir, order: Sequence[str]) -> None:
    """Measures, and prints a table of the tasks, the memory of each ensemble's step, and what to do with activations."""
    beside = next(folder for folder in (workdir.path.absolute().parent, *workdir.path.absolute().parents) if folder.is_dir())
    forecasts, notes = [], []
    with tempfile.TemporaryDirectory(prefix=".saejax-plan-", dir=beside) as temporary, _quiet():
        folder = Path(temporary)
        if "pretrain" in order:
            forecasts.append(plan_pretrain.forecast_of(config))
        if set(order) > {"pretrain"} or "pretrain" not in order:
            extract = plan_extract.rehearse(config, workdir, folder)
            notes = [plan_extract.verdict(config, extract)]
            if "extract" in order:
                forecasts.append(plan_extract.forecast_of(config, extract))
            if set(order) & {"train", "finetune", "evaluate"}:
                train = plan_train.rehearse(config, extract, folder)
                notes = [*plan_train.memory_lines(train), *notes]
            if "train" in order:
                forecasts.append(plan_train.forecast_of(config, extract, train))
            if "finetune" in order:
                forecasts.append(plan_finetune.forecast_of(config, extract, train))
            if "evaluate" in order:
                forecasts.append(plan_evaluate.forecast_of(config, extract, train, folder))
    forecasts = [_done(f) if workdir.is_complete(f.task) else f for f in forecasts]
    free_disk = shutil.disk_usage(beside).free
    memory = machine.memory_bytes()
    console.table(f"Plan of {', '.join(order)}", forecast.HEADER, forecast.rows(forecasts))
    for line in notes:
        print(line)
    print(
        f"this machine: {machine.n_cores()} cores, {', '.join(machine.devices())}; {forecast.size(memory)} of memory and "
        f"{forecast.size(free_disk)} of disk can be had"
    )
    for line in forecast.shortages(forecasts, free_disk_bytes=free_disk, memory_bytes=memory):
        print(f"does not fit: {line}")


@contextlib.contextmanager
def _quiet():
    """Keeps the progress lines of what is timed off the screen."""
    console.log("plan: timing the run's own programs")
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def _done(f: Forecast) -> Forecast:
    return f._replace(seconds={"complete": 0.0}, disk_bytes=0, peak_memory_bytes=0, operations=0)
