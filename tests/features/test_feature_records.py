"""The records: what is written is read back, by saejax and by pandas, and a kill leaves nothing half-made."""

from __future__ import annotations

import json

import pandas
import pytest

from saejax.errors import InputError
from saejax.features import records
from saejax.features.records import Vocabulary
from saejax.features.schemas import Example, Latent, Meta, Steered

EMPTY = {list[int]: [], list[float]: [], list[float | None]: [], int: 0, float: 0.0, str: "", float | None: None}
HOSTILE = ["</script><img onerror=alert(1)>", "\u202eright to left", "🙂", "\x00\x07\x1b[2J", "\\xe2\\x82", "'\"`&"]


def made(kind, **given):
    """A record whose fields are empty, but for those given."""
    import typing

    hints = typing.get_type_hints(kind)
    return kind(**{name: EMPTY.get(hint, {}) for name, hint in hints.items()} | given)


@pytest.fixture
def directory(tmp_path):
    latents = [made(Latent, latent=i, density=i / 7, n_active=2**40 + i, label=HOSTILE[i % 6]) for i in range(10)]
    examples = [
        made(Example, latent=i, interval=q, tokens=[1, 2], activations=[0.5, 0.25], loss_change=[None, 0.5], source=HOSTILE[q])
        for i in range(0, 10, 2)
        for q in range(3)
    ]
    steered = [made(Steered, latent=4, strength=s, prompt="The", continuation=[7, 8]) for s in (0.0, 2.0)]
    with records.whole(tmp_path / "features" / "member") as partial:
        records.write_latents(partial, latents)
        records.write_examples(partial, examples)
        records.write_steering(partial, steered)
        records.write_vocabulary(partial, Vocabulary(HOSTILE, [False] * 6))
        records.write_meta(partial, made(Meta, member="member", d_sae=10))
    directory = tmp_path / "features" / "member"
    assert list(records.read_latents(directory)) == [x._replace(density=x.latent / 7) for x in latents]
    assert list(records.read_examples(directory)) == examples and list(records.read_steering(directory)) == steered
    return directory


def test_one_latent_is_read_by_itself(directory):
    latent, examples, steered = records.of_latent(directory, 4)
    assert latent.n_active == 2**40 + 4 and [e.interval for e in examples] == [0, 1, 2] and len(steered) == 2
    assert examples[0].loss_change == [None, 0.5]
    assert records.of_latent(directory, 3)[1:] == ([], [])
    with pytest.raises(InputError, match="latent 10 is not there; give one from 0 to 9"):
        records.of_latent(directory, 10)
    grouped = dict(records.by_latent(records.read_examples(directory)))
    assert list(grouped) == [0, 2, 4, 6, 8] and all(len(own) == 3 for own in grouped.values())


def test_pandas_and_json_read_it(directory):
    frame = pandas.read_parquet(directory / "latents.parquet")
    assert list(frame.columns) == list(Latent._fields) and frame.density[7] == 1.0 and list(frame.label[:6]) == HOSTILE
    examples = pandas.read_parquet(directory / "examples.parquet")
    assert list(examples.columns) == list(Example._fields) and list(examples.activations[0]) == [0.5, 0.25]
    assert json.loads((directory / "vocabulary.json").read_text())["text"] == HOSTILE
    assert records.read_vocabulary(directory).text == HOSTILE


def test_what_is_not_whole_is_not_there(directory):
    features = directory.parent
    with pytest.raises(KeyboardInterrupt), records.whole(features / "other") as partial:
        records.write_meta(partial, made(Meta, member="other"))
        raise KeyboardInterrupt
    assert records.members(features) == ["member"] and records.members(features / "none") == []
    with records.whole(features / "other") as partial:
        assert list(partial.iterdir()) == []
        records.write_meta(partial, made(Meta, member="other"))
    assert records.members(features) == ["member", "other"] and records.read_meta(features / "other").member == "other"


def test_records_of_another_version_are_refused(directory):
    meta = json.loads((directory / "meta.json").read_text())
    del meta["map"]
    (directory / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="not the records of this version"):
        records.read_meta(directory)
    with pytest.raises(InputError, match="run --tasks=features first"):
        next(records.read_examples(directory.parent / "nobody"))
