"""`--push_to_hub=<owner/name>`: what a run has trained and measured → a repository of the Hugging Face Hub, with a model
card."""

from __future__ import annotations

import os

from saejax import console, files
from saejax.config import Config
from saejax.errors import InputError
from saejax.interop import card, hub
from saejax.workdir import Workdir


def check(config: Config, workdir: Workdir, tasks: list[str]) -> None:
    """Raises InputError where uploading cannot work, before anything is trained for it."""
    if not config.push_to_hub:
        return
    hub.check_repo(config.push_to_hub)
    if not os.environ.get(hub.TOKEN):
        raise InputError(f"--push_to_hub={config.push_to_hub}: {hub.TOKEN} is not set; put a token that may write there in it")
    if "evaluate" not in tasks and not (workdir.path / "evaluation.json").exists():
        raise InputError(f"--push_to_hub={config.push_to_hub}: no evaluation.json for the model card; add evaluate to --tasks")


def push(config: Config, workdir: Workdir) -> None:
    """Uploads `saes/` with a card made from `evaluation.json`."""
    evaluation = files.read_json(workdir.path / "evaluation.json")
    text = card.model_card(evaluation, repo=config.push_to_hub, base_model=config.model, datasets=[config.dataset])
    console.log(f"push_to_hub: {hub.push(config.push_to_hub, workdir.path / 'saes', text)}")
