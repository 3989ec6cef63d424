"""Neuronpedia's import files: round trips, the schema's names, awkward text, and what is refused."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from saejax.errors import InputError
from saejax.interop import logit_tables as tables_module
from saejax.interop import neuronpedia as np_format

SOURCE = np_format.Source(np_format.source_id(2, "res-saejax"), "gpt2-small", "res-saejax", dataset="d", num_prompts=10)
SINGLE = {
    "release": np_format.Release("saejax", "Autoencoders", "someone", urls=("https://example.org",)),
    "model": np_format.Model("gpt2-small", 12, 3072, "openai"),
    "source_set": np_format.SourceSet("gpt2-small", "res-saejax", "Residual", "someone", releaseName="saejax"),
    "source": SOURCE,
}
AWKWARD = ["</script>", "😀", "�", "\x00", "\\\x00", "\n", "\u2028", '"\\', " ", "Ġthe", "\\u0000 said", "日本"]


def latent(index, tokens=("a", "b", "c"), values=(0.0, 2.5, 1.0), said=()):
    return np_format.Latent(
        np_format.Feature(
            "gpt2-small",
            SOURCE.id,
            str(index),
            maxActApprox=2.5,
            pos_str=tuple(tokens),
            pos_values=tuple(map(float, range(len(tokens)))),
            frac_nonzero=0.25,
            freq_hist_data_bar_heights=(1.0, 2.0),
            freq_hist_data_bar_values=(0.5, 1.5),
        ),
        (np_format.activation(SOURCE, index, tokens, values, dataIndex="7"),),
        tuple(np_format.explanation(SOURCE, index, text, explanationModelName="m") for text in said),
    )


def test_round_trip_in_shards(tmp_path):
    latents = tuple(latent(i, said=("of things",) if i == 3 else ()) for i in range(23))
    taken = []
    stream = (taken.append(one) or one for one in latents)
    assert np_format.write(tmp_path / "2-res", **SINGLE, latents=stream, features_per_file=2) == 23 == len(taken)
    names = sorted(path.relative_to(tmp_path / "2-res").as_posix() for path in (tmp_path / "2-res").rglob("*.*"))
    shards = [f"{folder}/batch-{i}.jsonl.gz" for folder in ("features", "activations") for i in range(12)]
    files = ["release.jsonl", "model.jsonl", "sourceset.jsonl", "source.jsonl", "explanations/batch-1.jsonl.gz"]
    assert names == sorted(shards + files)
    assert np_format.read(tmp_path / "2-res") == np_format.Export(**SINGLE, latents=latents)


def test_the_same_records_give_the_same_bytes(tmp_path):
    for name in "ab":
        np_format.write(tmp_path / name, **SINGLE, latents=[latent(0)])
    for folder in ("features", "activations"):
        a, b = ((tmp_path / name / folder / "batch-0.jsonl.gz").read_bytes() for name in "ab")
        assert a == b


def test_lines_have_the_columns_of_neuronpedia(tmp_path):
    np_format.write(tmp_path / "s", **SINGLE, latents=[latent(5, said=("x",))])

    def line(folder):
        return json.loads(gzip.open(tmp_path / "s" / folder / "batch-0.jsonl.gz").read())

    feature, act, said = line("features"), line("activations"), line("explanations")
    assert (feature["modelId"], feature["layer"], feature["index"]) == ("gpt2-small", "2-res-saejax", "5")
    assert feature["pos_str"] == ["a", "b", "c"] and feature["frac_nonzero"] == 0.25 and feature["hasVector"] is False
    assert (act["maxValue"], act["maxValueTokenIndex"], act["minValue"]) == (2.5, 1, 0.0)
    assert len(act["id"]) == len(said["id"]) == 25 and act["layer"] == said["layer"] == "2-res-saejax"
    assert said["description"] == "x" and "authorId" in said
    sourceset = json.loads((tmp_path / "s" / "sourceset.jsonl").read_text())
    assert sourceset["releaseName"] == "saejax" and sourceset["visibility"] == "PUBLIC"


def test_awkward_text_survives(tmp_path):
    values = [1.0] * len(AWKWARD)
    awkward = latent(0, AWKWARD, values, said=("\\u0000", "</script>😀"))
    np_format.write(tmp_path / "s", **SINGLE, latents=[awkward])
    assert np_format.read(tmp_path / "s").latents == (awkward,)
    for folder in ("activations", "explanations"):
        text = gzip.open(tmp_path / "s" / folder / "batch-0.jsonl.gz").read().decode("ascii")
        for line in text.splitlines():
            json.loads(line.replace("\\u0000", " "))  # as Neuronpedia's import does


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path):
    broken = b"\xe6\x97".decode("utf-8", "surrogateescape")
    np_format.write(tmp_path / "s", **SINGLE, latents=[latent(0, ["\ud83d", broken, "\ud83d\ude00"])])
    (back,) = np_format.read(tmp_path / "s").latents
    assert back.activations[0].tokens == ("\ufffd", "\ufffd\ufffd", "😀")


def test_a_failed_write_leaves_the_old_directory(tmp_path):
    np_format.write(tmp_path / "s", **SINGLE, latents=[latent(0)])

    def failing():
        yield latent(1)
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError):
        np_format.write(tmp_path / "s", **SINGLE, latents=failing())
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert np_format.read(tmp_path / "s").latents == (latent(0),)


@pytest.mark.parametrize(
    ("latents", "word"),
    [
        ([latent(0), latent(0)], "twice"),
        ([latent(0, values=(0.0, float("inf"), 1.0))], "NaN or infinite"),
        ([latent(0)._replace(activations=latent(1).activations)], "belongs to gpt2-small 2-res-saejax 1"),
        ([latent(0)._replace(feature=latent(0).feature._replace(pos_values=(1.0,)))], "3 pos_str but 1 pos_values"),
        ([latent("x")], "'x'"),
    ],
)
def test_records_that_cannot_be_written(latents, word, tmp_path):
    with pytest.raises(InputError) as error:
        np_format.write(tmp_path / "s", **SINGLE, latents=latents)
    assert word in str(error.value) and "\n" not in str(error.value) and not any(tmp_path.iterdir())


def test_single_records_that_disagree(tmp_path):
    wrong = SINGLE | {"source": SOURCE._replace(setName="other")}
    with pytest.raises(InputError, match="setName is 'other'"):
        np_format.write(tmp_path / "s", **wrong, latents=[])


def edit(folder, file, change):
    path = folder / f"{file}.jsonl.gz"
    lines = [json.loads(line) for line in gzip.open(path)]
    path.write_bytes(
        gzip.compress("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in change(lines)).encode())
    )


def second(**changed):
    return lambda lines: [lines[0], {**lines[1], **changed}]


@pytest.mark.parametrize(
    ("file", "change", "word"),
    [
        ("features/batch-0", lambda lines: [lines[0], "{\n"], "batch-0.jsonl.gz:2: not JSON"),
        ("features/batch-0", lambda lines: [lines[0], "3\n"], ":2: not a JSON object"),
        ("features/batch-0", lambda lines: [lines[0], lines[0]], ":2: feature 0 is there twice"),
        ("features/batch-0", lambda lines: lines[:1], "activations/batch-0.jsonl.gz:2: of feature 1"),
        ("features/batch-0", second(pos_str="abc"), ":2: pos_str holds 'abc', not a list"),
        ("features/batch-0", second(pos_values=[1, "2", 3]), ":2: pos_values holds '2', not float"),
        ("features/batch-0", second(pos_values=[1]), ":2: 3 pos_str but 1 pos_values"),
        ("features/batch-0", second(frac_nonzero=None), ":2: frac_nonzero"),
        ("features/batch-0", second(frac_nonzero=float("nan")), ":2: not JSON (NaN"),
        ("features/batch-0", lambda lines: [lines[0], json.dumps(lines[1]).replace("0.25", "1e999")], ":2: frac_nonzero"),
        ("features/batch-0", second(layer="3-res"), ":2: belongs to gpt2-small 3-res"),
        ("features/batch-0", lambda lines: [lines[0], {"modelId": "gpt2-small"}], ":2: layer is missing"),
        ("activations/batch-0", second(maxValueTokenIndex=9), ":2: maxValueTokenIndex is 9"),
        ("activations/batch-0", second(maxValue=9), ":2: maxValue is 9.0"),
        ("activations/batch-0", second(values=[1.0]), ":2: 3 tokens but 1 values"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(file, change, word, tmp_path):
    np_format.write(tmp_path / "s", **SINGLE, latents=[latent(0), latent(1)])
    edit(tmp_path / "s", file, change)
    with pytest.raises(InputError) as error:
        np_format.read(tmp_path / "s")
    assert word in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_absent_or_cut_off(tmp_path):
    np_format.write(tmp_path / "s", **SINGLE, latents=[latent(0)])
    path = tmp_path / "s" / "activations" / "batch-0.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="batch-0.jsonl.gz:1: cannot be read"):
        np_format.read(tmp_path / "s")
    whole = gzip.compress(b"{}" * 99)
    path.write_bytes(whole[:12] + bytes([whole[12] ^ 255]) + whole[13:])
    with pytest.raises(InputError, match="batch-0.jsonl.gz:1: "):
        np_format.read(tmp_path / "s")
    (tmp_path / "s" / "model.jsonl").unlink()
    with pytest.raises(InputError, match=r"model\.jsonl: no such file"):
        np_format.read(tmp_path / "s")


def test_reads_what_neuronpedia_s_converter_writes(tmp_path):
    """Numbers as indices, shards without gzip, and columns that are not ours."""
    np_format.write(tmp_path / "s", **SINGLE, latents=[latent(4)])
    for folder in ("features", "activations"):
        path = tmp_path / "s" / folder / "batch-0.jsonl.gz"
        line = json.loads(gzip.open(path).read()) | {"index": 4, "createdAt": "2025-01-01T00:00:00", "umap_x": None}
        line |= {"vector": None} if folder == "features" else {"dfaValues": None}
        path.unlink()
        (tmp_path / "s" / folder / "batch-0.jsonl").write_text(json.dumps(line) + "\n")
    assert np_format.read(tmp_path / "s").latents == (latent(4),)


def test_logit_tables(monkeypatch):
    rng = np.random.default_rng(0)
    W_dec, W_U = rng.normal(size=(37, 8)).astype(np.float32), rng.normal(size=(8, 50)).astype(np.float32)
    tokens = [f"t{i}" for i in range(50)]
    monkeypatch.setattr(tables_module, "_BLOCK_FLOATS", 500)  # 10 latents at a time, and a last block of 7
    tables = np_format.logit_tables(W_dec, W_U, tokens, 5)
    logits = W_dec.astype(np.float64) @ W_U
    order = np.argsort(logits, axis=1)
    assert tables.neg_str == tuple(tuple(tokens[i] for i in row[:5]) for row in order)
    assert tables.pos_str == tuple(tuple(tokens[i] for i in row[::-1][:5]) for row in order)
    np.testing.assert_allclose(tables.pos_values, np.sort(logits, axis=1)[:, ::-1][:, :5], rtol=1e-5)
    np.testing.assert_allclose(tables.neg_values, np.sort(logits, axis=1)[:, :5], rtol=1e-5)


@pytest.mark.parametrize(("shape", "n_tokens", "n"), [((7, 50), 50, 5), ((8, 50), 49, 5), ((8, 50), 50, 0), ((8, 50), 50, 51)])
def test_logit_tables_of_what_does_not_fit(shape, n_tokens, n):
    with pytest.raises(InputError):
        np_format.logit_tables(np.zeros((3, 8)), np.zeros(shape), ["t"] * n_tokens, n)
