"""What `--tasks=evaluate` writes: of a whole small run, and of probes on text whose labels are known."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

import launch
from saejax.config import Config
from saejax.evaluation import intervals, splice
from saejax.evaluation.splice import Spliced
from saejax.evaluation.survey import survey
from saejax.lm import tokenizer, tokens, weights
from saejax.lm.corpus import Document
from saejax.sae.inference import InferenceSAE
from saejax.tasks import evaluation_tables, probes
from tests.conftest import flags_of

SITE, INNER = "blocks.1.hook_resid_post", "blocks.1.mlp.hook_post"


def test_a_run_tests_itself_and_says_how_sure_it_is(finished):
    results = json.loads((finished / "evaluation.json").read_text())
    (checks,) = results["self_test"].values()
    assert len(checks) == 5
    for about in checks.values():
        assert abs(about["value"] - about["expected"]) <= about["tolerance"] < 0.01
    for name, own in results["intervals"].items():
        assert {"fvu", "explained_variance", "l0", "ce_sae", "ce_recovered", "kl_sae", "mse", "cosine_similarity"} <= own.keys()
        for metric, (low, high) in own.items():
            assert low <= results["members"][name][metric] <= high, (name, metric)
    assert results["intervals"].keys() == results["members"].keys() == results["dictionaries"].keys()
    (mmcs,) = results["mmcs"].values()
    matrix = np.array(mmcs["matrix"])
    assert mmcs["members"] == list(results["members"]) and matrix.shape == (6, 6)
    assert (np.diag(matrix) == 1).all() and (matrix > 0).all() and (matrix <= 1).all()
    for about in results["dictionaries"].values():
        assert 1 <= about["unique_features"] <= about["latents"] == 256
    assert (finished / "plots" / "mmcs.png").read_bytes().startswith(b"\x89PNG")
    assert "self_test" not in " ".join(results["members"])


def test_a_run_whose_splice_is_broken_stops_with_one_line(finished, corpus, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").unlink()
    predict = splice._predict

    def a_position_late(*args, **kwargs):
        sums, spliced = predict(*args, **kwargs)
        return sums, jnp.roll(spliced, 1, axis=1)

    monkeypatch.setattr(splice, "_predict", a_position_late)
    assert launch.main(flags_of(corpus, tmp_path / "run")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("launch.py: self-test identity/ce_recovered at blocks.2.hook_resid_post: ")
    assert not (tmp_path / "run" / "evaluation.json").exists()


def text(rng):
    words = rng.choice("the array of values is sorted and then copied to a buffer that some caller gives".split(), 60)
    part = " ".join(words)
    return f"{part[:120]}\n\nParameters\n----------\nx : {part[120:220]}\n\nReturns\n-------\ny : {part[220:]}\n"


@pytest.fixture(scope="module")
def surveyed():
    """(the model's tokenizer, windows, documents, survey) of 80 made-up documents of two packages."""
    rng, bpe = np.random.default_rng(0), tokenizer.load(weights.find("tiny"))
    documents = [Document(f"{('numpy', 'jax')[i % 2]}/a.py:f{i}", text(rng)) for i in range(80)]
    options = {"n_train": 10_000, "n_held_out": 1, "held_out_fraction": 0.0}
    windows = tokens.pack(documents, bpe, context_size=64, **options)["train"]
    config, params = weights.load(weights.find("tiny"))
    document_NxL = intervals.document_of_positions(windows.starts, windows.tokens_NxL.shape)
    keep_NxL = ~windows.special_mask(bpe.token_to_id(weights.END_OF_TEXT))
    model = splice.LanguageModel(params, config, jnp.dtype("float32"))
    found = survey(model, (SITE, INNER), windows.tokens_NxL, keep_NxL, batch_windows=32, n_sample=8000)
    return bpe, windows, document_NxL, found


def members(n_latents=64, reads=SITE, width=128):
    """A random autoencoder of the residual stream, or a transcoder that predicts it."""
    rng = np.random.default_rng(0)
    tensors = (rng.normal(size=(width, n_latents)), np.zeros(n_latents), rng.normal(size=(n_latents, 128)), np.zeros(128))
    sae = InferenceSAE(*map(jnp.float32, tensors), apply_b_dec_to_input=reads == SITE)
    return {"member": Spliced(reads, SITE, sae)}


def test_probes_of_a_transcoder(surveyed):
    """Latents of what it reads; absorption along probes of what it writes, which has another width."""
    bpe, windows, document_NxL, found = surveyed
    results = probes.run(Config(), members(reads=INNER, width=512), found, windows, bpe, document_NxL)
    assert results["probing"]["baselines"].keys() == {INNER}
    assert 0 <= results["absorption"]["member"]["mean"] <= 1


@pytest.mark.parametrize("n_latents", [64, 2])
def test_probes_of_labelled_text(surveyed, n_latents, capsys):
    bpe, windows, document_NxL, found = surveyed
    results = probes.run(Config(), members(n_latents), found, windows, bpe, document_NxL)
    labels = results["probing"]["labels"]
    assert labels.keys() == {"first_letter", "section", "package"}
    assert labels["package"].keys() == {"numpy", "jax"} and {"parameters", "returns", "summary"} <= labels["section"].keys()
    own, dense = results["probing"]["members"]["member"], results["probing"]["baselines"][SITE]["dense"]
    assert own.keys() == {f"{metric}_k{k}" for metric in ("auc", "balanced_accuracy", "f1") for k in (1, 5)}
    # The model knows the letters of its tokens, and nothing in these texts tells their packages.
    assert dense["auc"]["first_letter"] > 0.98 > own["auc_k1"]["first_letter"]
    assert dense["auc"]["package"] == pytest.approx(0.5, abs=0.1)
    assert 0 <= results["absorption"]["member"]["mean"] <= 1
    json.dumps(results, allow_nan=False)
    about = {"unique_features": 64, "max_cosine_median": 0.1}
    evaluation_tables.latents(results | {"dictionaries": {"member": about}})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120 and any("dense probe" in line for line in lines)


def test_probes_are_left_out_where_they_cannot_be(surveyed, capsys):
    bpe, windows, document_NxL, found = surveyed
    assert probes.run(Config(probe_tokens=0), members(), found, windows, bpe, document_NxL) == {}
    nameless = dataclasses.replace(windows, sources=[f"a.jsonl:{i}" for i in range(len(windows.sources))])
    few = found._replace(addresses_N=found.addresses_N[:300], rows={SITE: found.rows[SITE][:300]})
    assert probes.run(Config(), members(), few, nameless, bpe, document_NxL) == {}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "first letters only" in lines[0] and "no probes" in lines[1]
