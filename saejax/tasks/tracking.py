"""`--wandb_project`: metrics shown in Weights & Biases as well, whose own environment variables give account and mode."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from saejax import config as config_lib
from saejax import files
from saejax.config import Config
from saejax.errors import InputError
from saejax.metrics_log import Mirror
from saejax.workdir import Workdir


def check(config: Config) -> None:
    """Raises InputError where the package is asked for and absent."""
    if config.wandb_project and importlib.util.find_spec("wandb") is None:
        raise InputError(
            f"--wandb_project={config.wandb_project}: the package wandb is not installed; pip install 'saejax[wandb]', "
            "or leave the flag out"
        )


def mirror(config: Config, workdir: Workdir) -> Mirror | None:
    """A function that logs a line of metrics to the run of this work directory; None where no project is named."""
    if not config.wandb_project:
        return None
    import wandb

    name = str(workdir.path.absolute())
    run = wandb.init(
        project=config.wandb_project,
        id=files.fingerprint(name),
        name=workdir.path.name,
        resume="allow",
        dir=name,
        config=config_lib.settings_of(config, "evaluate"),
    )

    for task in ("pretrain", "train"):
        run.define_metric(f"{task}/*", step_metric=f"{task}/step")

    def log(line: Mapping[str, Any]) -> None:
        prefix = "/".join(filter(None, (line["task"], line.get("member"))))
        values = {f"{prefix}/{key}": value for key, value in line.items() if isinstance(value, float)}
        run.log({**values, f"{line['task']}/step": line["step"]})

    return log
