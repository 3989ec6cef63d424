"""The Hugging Face Hub: a directory from it, and directories to it.

The token is only ever taken from the environment and handed to the client. No text of the client's errors is repeated where a
token is in play, since a proxy or a server may put the request's headers into it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from saejax.errors import InputError

FILES = (
    "cfg.json",
    "config.json",
    "sae_weights.safetensors",
    "sparsity.safetensors",
    "activation_scaler.json",
    "sae.safetensors",
    "ae.pt",
)
TOKEN = "HF_TOKEN"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_ID = re.compile(rf"({_NAME}/{_NAME})(?::(.+))?")
_FORM = "a directory, or owner/name or owner/name:subfolder of the Hugging Face Hub"
_MOST_NAMED = 10


def fetch(where: str | os.PathLike) -> Path:
    """The directory of one autoencoder: `where` itself if it is there, or a Hub folder's copy in the local cache.

    Args:
      where: a directory, or "owner/name" or "owner/name:subfolder". Only the files in `FILES` are fetched.

    Raises:
      InputError: neither a directory nor an id; a repository or folder that is not there, closed or out of reach.
    """
    if os.path.exists(where):
        return Path(where)
    where = " ".join(str(where).split())  # for errors of one line
    repo, subfolder = _split(where)
    from huggingface_hub import HfApi, snapshot_download

    prefix = f"{subfolder}/" if subfolder else ""
    root = Path(_ask(where, lambda: snapshot_download(repo, allow_patterns=[prefix + name for name in FILES])))
    directory = root / subfolder
    if any((directory / name).exists() for name in FILES):
        return directory
    names = _ask(where, lambda: HfApi().list_repo_files(repo))
    folders = sorted({str(PurePosixPath(n).parent) for n in names if PurePosixPath(n).name in FILES} - {"."})
    if not folders:
        raise InputError(f"{where}: no autoencoder there (none of {', '.join(FILES)}); give another repository")
    some = ", ".join(f"{repo}:{folder}" for folder in folders[:_MOST_NAMED])
    rest = f" and {len(folders) - _MOST_NAMED} more" if len(folders) > _MOST_NAMED else ""
    raise InputError(f"{where}: no autoencoder in that folder; choose one of {some}{rest}")


def push(repo: str, directory: str | os.PathLike, card_text: str, *, api: Any = None) -> str:
    """Uploads the autoencoders in and under a directory, with a model card, as one commit; the repository is made if needed.

    Args:
      repo: "owner/name".
      directory: one autoencoder's, or one that holds several; of its files those named in `FILES` go, and evaluation.json.
      card_text: README.md.
      api: a `huggingface_hub.HfApi`, or what stands in for one.

    Returns:
      The repository's address.

    Raises:
      InputError: a wrong id, no token in the environment, nothing to upload, or what the Hub answered.
    """
    check_repo(repo)
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise InputError(f"{TOKEN}: not set; put a Hugging Face token that may write to {repo} into the environment")
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; give the one of the autoencoders")
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file() and _goes(path.relative_to(directory))]
    if not any(path.name in FILES for path in paths):
        raise InputError(f"{directory}: nothing to upload; it must hold autoencoders, whose files are {', '.join(FILES)}")
    from huggingface_hub import CommitOperationAdd, HfApi

    api = api or HfApi(token=token)
    contents = {path.relative_to(directory).as_posix(): str(path) for path in paths} | {"README.md": card_text.encode()}
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in contents.items()]

    def upload() -> None:
        api.create_repo(repo_id=repo, repo_type="model", exist_ok=True, token=token)
        api.create_commit(
            repo_id=repo, repo_type="model", operations=operations, commit_message="Autoencoders from saejax", token=token
        )

    _ask(repo, upload)
    return f"https://huggingface.co/{repo}"


def check_repo(repo: str) -> None:
    """Raises InputError for what is not "owner/name"."""
    if not _is_id(repo):
        raise InputError(f"{repo!r}: not a repository; it must be owner/name, of letters, digits, '-', '_' and '.'")


def _split(where: str) -> tuple[str, str]:
    """(repository, subfolder or "") of an id."""
    match = _ID.fullmatch(where)
    if not match or not _is_id(match[1]):
        raise InputError(f"{where}: no such directory, and not an id; give {_FORM}")
    subfolder = (match[2] or "").strip("/")
    if ".." in subfolder.split("/") or any(c in subfolder for c in "*?[]\\"):
        raise InputError(f"{where}: {subfolder!r} is not a folder of a repository; give {_FORM}")
    return match[1], subfolder


def _is_id(repo: str) -> bool:
    """The client's `validate_repo_id`, and an owner."""
    match = _ID.fullmatch(repo)
    whole = bool(match) and match[1] == repo and len(repo) <= 96
    return whole and "--" not in repo and ".." not in repo and not repo.endswith(".git")


def _goes(path: Path) -> bool:
    """Whether a file belongs to an autoencoder; what is hidden or half-written does not."""
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.name in (*FILES, "evaluation.json")


def _ask(where: Any, question: Any) -> Any:
    """The answer to a call of the client's; InputError, without the client's text, where there is none."""
    try:
        return question()
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - the client raises its own, its HTTP library's and the system's errors
        reason = _reason(error)
    # Raised here, not in the handler, so that the client's error is not this one's context.
    raise InputError(f"{where}: {reason}")


def _reason(error: Exception) -> str:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return f"gated; accept its terms at huggingface.co with your account, and put its token into {TOKEN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository, or a private one; check the name, or put a token that may see it into {TOKEN}"
    if isinstance(error, errors.HFValidationError):
        return f"not an id; give {_FORM}"
    if status in (401, 403):
        return f"the Hub refuses (status {status}); put a token that may do this into {TOKEN}"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled | ConnectionError | TimeoutError):
        return "the Hub cannot be reached, and there is no copy in the local cache; check the network, or give a directory"
    said = f"status {status}" if status else type(error).__name__
    return f"the Hub did not answer as it should ({said}); try again later, or give a directory"
