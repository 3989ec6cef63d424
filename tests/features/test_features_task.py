"""`--tasks=features` on a whole small run: its records against brute force, killed and resumed, refused, and exported."""

from __future__ import annotations

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pandas
import pytest

import launch
from saejax.features import ablation, member, records
from saejax.interop import neuronpedia, saelens
from saejax.lm import gpt2, tokens, weights
from tests.conftest import flags_of

NAMES = ["relu-l1_3-d256-lr1e-3-seed0", "topk-k8-d256-lr1e-3-seed0"]
FLAGS = (
    "--tasks=features",
    f"--feature_members={','.join(NAMES)}",
    "--feature_tokens=4000",
    "--feature_steering_tokens=3",
    "--feature_ablations=1",
    "--feature_affected=20",
    "--eval_batch_size=1024",
)


@pytest.fixture(scope="module")
def collected(finished, corpus, tmp_path_factory):
    """The work directory of a whole run with features."""
    workdir = tmp_path_factory.mktemp("features") / "run"
    shutil.copytree(finished, workdir)
    assert launch.main(flags_of(corpus, workdir, *FLAGS, "--neuronpedia")) == 0
    return workdir


def dense(workdir, name):
    """(latents [N, F] of every position, 0 where they do not count; windows; which count), by one dense pass."""
    windows = tokens.load(workdir / "tokens_features")["held_out"]
    config, params = weights.load(weights.find("tiny"))
    keep_NxL = ~windows.special_mask(0)
    site = "blocks.2.hook_resid_post"
    text = jnp.asarray(windows.tokens_NxL)
    _, captured = gpt2.run(params, text, config=config, capture=(site,), logits=False)
    f_NxF = np.asarray(saelens.load(workdir / "saes" / name).encode(captured[site].reshape(text.size, -1)))
    return f_NxF * keep_NxL.reshape(-1, 1), windows, keep_NxL.reshape(-1)


@pytest.mark.parametrize("name", NAMES)
def test_records_are_what_a_dense_pass_says(collected, name):
    f_NxF, windows, keep_N = dense(collected, name)
    directory = collected / "features" / name
    frame = pandas.read_parquet(directory / "latents.parquet")
    meta = records.read_meta(directory)
    assert len(windows.tokens_NxL) == -(-4000 // 64) and meta.n_rows == keep_N.sum() and meta.d_sae == len(frame) == 256
    assert meta.evaluation["l0"] == json.loads((collected / "evaluation.json").read_text())["members"][name]["l0"]
    n_active = (f_NxF > 0).sum(0)
    assert np.abs(frame.n_active - n_active).max() <= 2  # a choice of the k largest may fall otherwise in another batch
    np.testing.assert_allclose(frame.density, frame.n_active / keep_N.sum())
    np.testing.assert_allclose(frame.max_activation, f_NxF.max(0), rtol=1e-4, atol=1e-4)
    assert meta.n_alive == (frame.n_active > 0).sum()
    for latent in (0, 17, 200):
        own, examples, _ = records.of_latent(directory, latent)
        f_N = f_NxF[:, latent]
        if not own.n_active:
            assert examples == [] and own.histogram_counts == []
            continue
        top = [e for e in examples if e.interval == 0]
        assert max(top[0].activations) == pytest.approx(f_N.max(), rel=1e-4) and sum(own.histogram_counts) == own.n_active
        for example in examples:
            first = example.address - example.peak
            span = slice(first, first + len(example.tokens))
            assert example.tokens == windows.tokens_NxL.reshape(-1)[span].tolist()
            np.testing.assert_allclose(example.activations, f_N[span], rtol=1e-3, atol=1e-3)
            assert (example.source, example.position) == windows.trace(example.address)


def test_effects_are_of_those_that_were_asked_for(collected):
    directory = collected / "features" / NAMES[1]
    meta = records.read_meta(directory)
    examples = list(records.read_examples(directory))
    measured = [e for e in examples if e.loss_change]
    steered = list(records.read_steering(directory))
    assert meta.n_ablated == len(measured) == 20 == meta.n_steered and len(steered) == 20 * 3
    assert {e.latent for e in measured} == {s.latent for s in steered}
    assert all(e.interval == 0 and e.rank == 0 and len(e.loss_change) == len(e.tokens) for e in measured)
    assert [(s.latent, s.strength) for s in steered] == sorted((s.latent, s.strength) for s in steered)
    assert all(len(s.continuation) == 3 and s.tokens[0] == meta.end_of_text and s.prompt == "The" for s in steered)
    ordered = [(e.latent, e.interval, e.rank) for e in examples]
    assert ordered == sorted(ordered) and len(set(ordered)) == len(ordered)


def same_records(one, other):
    """Whether two folders' tables hold the same bytes, and their metas the same but for clocks."""
    for name in ("latents.parquet", "examples.parquet", "steering.parquet", "vocabulary.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    metas = [records.read_meta(directory)._replace(seconds={}, peak_memory_bytes=0) for directory in (one, other)]
    assert metas[0] == metas[1]


def test_killed_and_started_again_it_ends_the_same(collected, finished, corpus, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "run")
    run, n_calls = ablation.effects, 0

    def killed(*args, **kwargs):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2:  # in the second member
            raise KeyboardInterrupt
        return run(*args, **kwargs)

    monkeypatch.setattr(member.ablation, "effects", killed)
    assert launch.main(flags_of(corpus, tmp_path / "run", *FLAGS)) == 130
    monkeypatch.undo()
    features = tmp_path / "run" / "features"
    assert records.members(features) == NAMES[:1]
    first = (features / NAMES[0] / "meta.json").stat().st_mtime_ns
    assert launch.main(flags_of(corpus, tmp_path / "run", *FLAGS)) == 0
    assert (features / NAMES[0] / "meta.json").stat().st_mtime_ns == first
    for name in NAMES:
        same_records(features / name, collected / "features" / name)
    assert not list(features.glob(".*"))


def test_what_is_gone_is_made_again_and_what_is_there_is_not(collected, corpus, tmp_path, capsys):
    shutil.copytree(collected, tmp_path / "run")
    assert launch.main(flags_of(corpus, tmp_path / "run", *FLAGS)) == 0
    assert "features: complete" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "run" / "features" / NAMES[1])
    assert launch.main(flags_of(corpus, tmp_path / "run", *FLAGS)) == 0
    assert f"features/{NAMES[1]} is missing" in capsys.readouterr().err
    same_records(tmp_path / "run" / "features" / NAMES[1], collected / "features" / NAMES[1])


def test_neuronpedia_reads_the_export(collected):
    (directory,) = (collected / "neuronpedia" / "tiny").glob("2-topk*")
    export = neuronpedia.read(directory)
    own = collected / "features" / NAMES[1]
    rows, examples = list(records.read_latents(own)), list(records.read_examples(own))
    assert [latent.feature.index for latent in export.latents] == [str(i) for i in range(256)]
    assert sum(len(latent.activations) for latent in export.latents) == len(examples)
    assert sum(len(latent.explanations) for latent in export.latents) == sum(row.label != "" for row in rows)
    shown = records.read_vocabulary(own).text
    latent = next(latent for latent in export.latents if latent.activations)
    example = next(e for e in examples if str(e.latent) == latent.feature.index)
    row = rows[example.latent]
    assert latent.activations[0].tokens == tuple(shown[t] for t in example.tokens)
    assert latent.feature.maxActApprox == row.max_activation and latent.feature.frac_nonzero == row.density
    assert latent.feature.pos_str == tuple(shown[t] for t in row.boosted_tokens)


def test_recommended_members_alone(finished, corpus, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    flags = [flag for flag in FLAGS if "members" not in flag] + ["--feature_members=recommended", "--feature_ablations=0"]
    assert launch.main(flags_of(corpus, tmp_path / "run", *flags, "--feature_steering_tokens=0")) == 0
    (about,) = json.loads((tmp_path / "run/evaluation.json").read_text())["recommended"].values()
    assert records.members(tmp_path / "run" / "features") == [about["member"]]
    assert list(records.read_steering(tmp_path / "run" / "features" / about["member"])) == []
    assert about["member"] in capsys.readouterr().out


BAD = {
    "member": (["--feature_members=nobody"], ["--feature_members=nobody", NAMES[0]]),
    "steering": (["--feature_steering_tokens=64"], ["--feature_steering_tokens=64", "--context_size=64"]),
    "prompt": ([f"--feature_prompt={'word ' * 70}"], ["--feature_prompt=", "--context_size=64"]),
    "split": (["--feature_split=test"], ["--feature_split=test", "held_out, train"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, finished, corpus, capsys):
    arguments, words = BAD[case]
    assert launch.main(flags_of(corpus, finished, *FLAGS, *arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error


def test_other_settings_are_refused(collected, corpus, capsys):
    assert launch.main(flags_of(corpus, collected, *FLAGS, "--feature_seed=1")) == 2
    assert "--feature_seed=1" in capsys.readouterr().err
