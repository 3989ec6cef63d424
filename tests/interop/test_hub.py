"""The Hub, by a stand-in of its client: what is asked of it, and what is said when it fails."""

from __future__ import annotations

import inspect
import types

import huggingface_hub
import pytest
from huggingface_hub import errors

from saejax.errors import InputError
from saejax.interop import hub, saelens
from saejax.interop.load import load

SECRET = "hf_verysecret"


@pytest.fixture
def stand_in(monkeypatch, tmp_path, make):
    """A Hub with one repository of two autoencoders; `calls` is what was asked of it."""
    calls = []
    for folder in ("one", "deep/two"):
        saelens.save(tmp_path / "repo" / folder, make("topk"), metadata={"hook_name": "blocks.0.hook_resid_pre"})

    def snapshot_download(repo, *, allow_patterns):
        calls.append((repo, allow_patterns))
        return str(tmp_path / "repo")

    class Api:
        def list_repo_files(self, repo):
            return [p.relative_to(tmp_path / "repo").as_posix() for p in (tmp_path / "repo").rglob("*") if p.is_file()]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return calls


def fails_with(monkeypatch, error):
    def snapshot_download(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


def answer(status):
    return types.SimpleNamespace(status_code=status, headers={}, request=None, url=SECRET)


def test_a_directory_is_itself(tmp_path, stand_in):
    assert hub.fetch(tmp_path) == tmp_path and not stand_in


def test_only_a_folder_s_own_files_are_fetched(tmp_path, stand_in):
    assert hub.fetch("someone/gpt2-saes:deep/two") == tmp_path / "repo" / "deep" / "two"
    ((repo, patterns),) = stand_in
    assert repo == "someone/gpt2-saes" and set(patterns) == {f"deep/two/{name}" for name in hub.FILES}
    assert load("someone/gpt2-saes:deep/two").hook_name == "blocks.0.hook_resid_pre"


@pytest.mark.parametrize("where", ["someone/gpt2-saes", "someone/gpt2-saes:three"])
def test_a_repository_of_several_names_its_folders(where, stand_in):
    with pytest.raises(InputError, match="someone/gpt2-saes:deep/two, someone/gpt2-saes:one"):
        hub.fetch(where)


@pytest.mark.parametrize(
    "where",
    [
        "nowhere",
        "/no/such",
        "./no/such",
        "a/b/c",
        "a--b/c",
        "a/b:../../etc",
        "a/b:*",
        "a b/c\nd",
        "-a/b",
        "a/b.git",
        "",
        "a" * 5000,
        "a/\0b",
    ],
)
def test_what_is_neither_directory_nor_id(where, stand_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="owner/name") as error:
        hub.fetch(where)
    assert not stand_in and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (errors.LocalEntryNotFoundError(f"Got: ConnectError {SECRET}"), "cannot be reached"),
        (errors.OfflineModeIsEnabled(SECRET), "cannot be reached"),
        (errors.RepositoryNotFoundError(SECRET, response=answer(404)), "no such repository"),
        (errors.GatedRepoError(SECRET, response=answer(403)), "gated"),
        (errors.HfHubHTTPError(SECRET, response=answer(503)), "status 503"),
        (errors.HFValidationError(SECRET), "not an id"),
        (OSError(SECRET), "OSError"),
        (RuntimeError(SECRET), "RuntimeError"),
    ],
)
def test_what_the_hub_s_failures_say(error, word, stand_in, monkeypatch):
    fails_with(monkeypatch, error)
    with pytest.raises(InputError) as raised:
        load("someone/gpt2-saes")
    assert word in str(raised.value) and "someone/gpt2-saes" in str(raised.value) and "\n" not in str(raised.value)
    assert SECRET not in str(raised.value) and raised.value.__cause__ is None and raised.value.__context__ is None


class Api:
    """Records what is asked of it."""

    def __init__(self, error=None):
        self.calls, self.error = [], error

    def create_repo(self, **kwargs):
        self.calls.append(("create_repo", kwargs))

    def create_commit(self, **kwargs):
        self.calls.append(("create_commit", kwargs))
        if self.error:
            raise self.error


@pytest.fixture
def saes(tmp_path, make):
    for name in ("a", "b"):
        saelens.save(tmp_path / "saes" / name, make("topk"), metadata={})
    (tmp_path / "saes" / ".a.partial").mkdir()
    (tmp_path / "saes" / ".a.partial" / "cfg.json").write_text("{}")
    (tmp_path / "saes" / ".env").write_text("PASSWORD=1")
    (tmp_path / "saes" / "notes.txt").write_text("private")
    return tmp_path / "saes"


def test_push_makes_one_commit_of_the_autoencoders_and_the_card(saes, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    api = Api()
    assert hub.push("someone/gpt2-saes", saes, "# Card", api=api) == "https://huggingface.co/someone/gpt2-saes"
    (first, made), (second, commit) = api.calls
    assert (first, second) == ("create_repo", "create_commit") and made["exist_ok"] and made["token"] == SECRET
    names = {operation.path_in_repo: operation.path_or_fileobj for operation in commit["operations"]}
    weights = {f"{name}/{file}" for name in "ab" for file in ("cfg.json", "sae_weights.safetensors")}
    assert set(names) == weights | {"README.md"} and names["README.md"] == b"# Card"


def test_the_token_is_never_shown(saes, monkeypatch, capsys, caplog):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    api = Api(RuntimeError(f"401 for authorization: Bearer {SECRET}"))
    with pytest.raises(InputError) as raised:
        hub.push("someone/gpt2-saes", saes, "", api=api)
    shown = str(raised.value) + repr(raised.value) + "".join(capsys.readouterr()) + caplog.text
    assert SECRET not in shown and raised.value.__context__ is None
    denied = RuntimeError(SECRET)
    denied.response = types.SimpleNamespace(status_code=403)
    with pytest.raises(InputError, match="status 403"):
        hub.push("someone/gpt2-saes", saes, "", api=Api(denied))


def test_what_push_needs(saes, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    api = Api()
    with pytest.raises(InputError, match="HF_TOKEN"):
        hub.push("someone/gpt2-saes", saes, "", api=api)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for repo in ("gpt2-saes", "a/b/c", "a/b:c", "a /b", ""):
        with pytest.raises(InputError, match="owner/name"):
            hub.push(repo, saes, "", api=api)
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "absent"):
        with pytest.raises(InputError, match=folder):
            hub.push("someone/gpt2-saes", tmp_path / folder, "", api=api)
    assert not api.calls


def test_the_real_client_takes_these_calls(saes, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    api = Api()
    hub.push("someone/gpt2-saes", saes, "", api=api)
    for name, arguments in api.calls:
        inspect.signature(getattr(huggingface_hub.HfApi, name)).bind(None, **arguments)


def test_the_real_client_out_of_reach(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="someone/gpt2-saes:one: the Hub cannot be reached"):
        hub.fetch("someone/gpt2-saes:one")
