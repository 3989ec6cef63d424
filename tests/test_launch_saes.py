"""The command on autoencoders from files, transcoders, fine-tuning and the Hub's stand-in."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import launch
from saejax.interop import hub, load, saelens
from tests.conftest import flags_of

MEMBER = "topk-k8-d256-lr1e-3-seed0"
SMALL = ["--training_tokens=10000", "--architecture=topk", "--l1_coefficient=", "--k=8", "--probe_tokens=0"]


def results_of(workdir):
    return json.loads((workdir / "evaluation.json").read_text())


def test_sae_alone_is_evaluated_to_the_same_numbers(finished, corpus, tmp_path):
    """Training elsewhere, exported; here nothing but text, GPT-2 and `--sae`, by two formats."""
    place = finished / "saes" / MEMBER
    sparsify = tmp_path / "as_sparsify"
    found = load.load(place)
    load.FORMATS["sparsify"].save(sparsify, found.sae, metadata=found.metadata)
    arguments = [f"--sae={place},{sparsify}", "--tasks=evaluate", "--probe_tokens=0"]
    assert launch.main(flags_of(corpus, tmp_path / "run", *arguments)) == 0
    before, after = results_of(finished)["members"][MEMBER], results_of(tmp_path / "run")["members"]
    assert after.keys() == {MEMBER, "as_sparsify"}
    for name in after:
        for metric, value in before.items():
            np.testing.assert_allclose(after[name][metric], value, rtol=1e-4, atol=1e-6, err_msg=metric)


def test_training_starts_from_sae_and_goes_on_with_what_it_says(finished, corpus, tmp_path):
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("saes", "checkpoints", "evaluation.json"))
    for task in ("train", "evaluate"):
        (tmp_path / "run/settings" / f"{task}.json").unlink()
    run = json.loads((tmp_path / "run/run.json").read_text())
    run["tasks"] = {"extract": run["tasks"]["extract"]}
    (tmp_path / "run/run.json").write_text(json.dumps(run))
    (tmp_path / "run/metrics.jsonl").unlink()
    start = finished / "saes" / MEMBER
    arguments = [*SMALL, f"--sae={start}", "--learning_rate=0,1e-3", "--tasks=train,evaluate"]
    assert launch.main(flags_of(corpus, tmp_path / "run", *arguments)) == 0
    members = results_of(tmp_path / "run")["members"]
    still, trained = members["topk-k8-d256-lr0-seed0"], members["topk-k8-d256-lr1e-3-seed0"]
    given = members[f"given-{MEMBER}"]  # whose own name is taken by a member that was trained from it
    np.testing.assert_allclose(given["fvu"], results_of(finished)["members"][MEMBER]["fvu"], rtol=1e-5)
    np.testing.assert_allclose(still["fvu"], given["fvu"], rtol=1e-4)
    assert trained["fvu"] < still["fvu"]


def test_sae_beside_a_trained_sweep_and_a_refused_start(finished, corpus, tmp_path, capsys):
    """`--sae` adds to what is evaluated without touching what was trained; a refused start does not bind the folder."""
    shutil.copytree(finished, tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(finished / "saes" / MEMBER, other)
    arguments = flags_of(corpus, tmp_path / "run", f"--sae={other}", "--tasks=evaluate")
    assert launch.main(arguments) == 0
    assert results_of(tmp_path / "run")["members"].keys() == {*results_of(finished)["members"], "other"}
    assert launch.main(flags_of(corpus, tmp_path / "fresh", *SMALL, f"--sae={other}", "--d_sae=128")) == 2
    assert "W_enc" in capsys.readouterr().err
    assert launch.main(flags_of(corpus, tmp_path / "fresh", *SMALL, f"--sae={other}", "--tasks=extract,train")) == 0


def test_transcoders_with_a_skip_path_then_fine_tuning_then_resuming(corpus, tmp_path):
    """Attention's input to its output, trained; KL fine-tuning lowers KL; the second command has nothing to do."""
    arguments = flags_of(
        corpus,
        tmp_path / "run",
        *SMALL,
        *["--architecture=topk,jumprelu", "--hook_name=blocks.1.ln2.hook_normalized"],
        *["--target_hook_name=blocks.1.hook_mlp_out", "--skip", "--finetune_tokens=6400", "--finetune_batch_size=640"],
        *["--finetune_learning_rate=1e-3", "--tasks=extract,train,finetune,evaluate", "--lr_warm_up_steps=2"],
    )
    assert launch.main(arguments) == 0
    members = results_of(tmp_path / "run")["members"]
    assert len(members) == 4
    tuned = [name for name in members if name.endswith("-kl")]
    assert len(tuned) == 2
    for name in tuned:
        assert members[name]["kl_sae"] < members[name.removesuffix("-kl")]["kl_sae"]
    found = load.load(tmp_path / "run/saes/jumprelu-l0_0.1-d256-lr1e-3-seed0")
    assert (found.hook_name, found.target_hook_name) == ("blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out")
    assert json.loads((tmp_path / "run/saes/jumprelu-l0_0.1-d256-lr1e-3-seed0/cfg.json").read_text())["architecture"] == (
        "jumprelu_skip_transcoder"
    )
    before = (tmp_path / "run/evaluation.json").read_bytes()
    assert launch.main(arguments) == 0
    assert (tmp_path / "run/evaluation.json").read_bytes() == before
    shutil.rmtree(tmp_path / "run/saes" / tuned[0])
    assert launch.main(arguments) == 0  # what is gone is made again, from the checkpoints
    assert (tmp_path / "run/saes" / tuned[0] / "cfg.json").exists()


@pytest.mark.parametrize("scaling", ["layer_norm", "constant_norm_rescale"])
def test_rows_scaled_each_by_itself_are_exported_with_their_scaling(corpus, tmp_path, scaling):
    arguments = [*SMALL, f"--normalize_activations={scaling}", "--architecture=batch_topk", "--b_dec_init=geometric_median"]
    assert launch.main(flags_of(corpus, tmp_path / "run", *arguments)) == 0
    name = "batch_topk-k8-d256-lr1e-3-seed0"
    sae = saelens.load(tmp_path / "run/saes" / name)
    assert (sae.normalize_activations, sae.activation) == (scaling, "jumprelu")
    values = results_of(tmp_path / "run")["members"][name]
    assert values["fvu"] < 0.9 and 2 < values["l0"] < 40
    x = np.random.default_rng(0).normal(size=(4, 128)).astype(np.float32)
    np.testing.assert_allclose(sae.encode(3.0 * x), sae.encode(x), rtol=1e-3, atol=1e-4)


SITE = "blocks.2.hook_resid_post"
BAD = {
    "no such autoencoder": (["--sae=no/such/folder"], ["no/such/folder"]),
    "several to start from": (["--sae=SAE,SAE2"], ["training starts from one"]),
    "another width": (["--sae=SAE", "--d_sae=128", "--k=8"], ["W_enc", "[128, 256]", "[128, 128]"]),
    "another model's": (["--sae=NARROW", "--tasks=evaluate"], ["reads 16", "have 128"]),
    "a transcoder of tied weights": (
        [f"--target_hook_name={SITE}", "--architecture=tied"],
        [f"--target_hook_name={SITE}", "tied"],
    ),
    "targets for some": ([f"--target_hook_name={SITE},blocks.1.hook_mlp_out", "--architecture=topk"], ["2 sites for the 1"]),
    "a scaled transcoder": (
        [f"--target_hook_name={SITE}", "--architecture=topk", "--normalize_activations=layer_norm"],
        ["--normalize_activations=layer_norm"],
    ),
    "a skip path alone": (["--skip", "--architecture=topk"], ["--skip", "--target_hook_name"]),
    "prefixes": (
        ["--architecture=matryoshka", "--matryoshka_prefixes=0.3,1"],
        ["--matryoshka_prefixes=0.3,1", "whole numbers"],
    ),
    "groups": (["--architecture=group_max", "--k=7"], ["--k=7", "does not divide"]),
    "repository": (["--push_to_hub=nobody"], ["nobody", "owner/name"]),
    "token": (["--push_to_hub=someone/something"], ["HF_TOKEN"]),
    "another activation": (["--sae=SAE", "--architecture=jumprelu", "--k="], ["activation is topk", "jumprelu"]),
    "another scaling": (["--sae=SAE", "--normalize_activations=layer_norm"], ["--normalize_activations", "layer_norm"]),
    "k that is not there": (["--k_anneal_from=64", "--architecture=jumprelu", "--k="], ["--k_anneal_from=64", "no k"]),
    "k of groups": (["--k_anneal_from=64", "--architecture=group_max"], ["--k_anneal_from=64", "group_max"]),
    "norms that are kept": (["--decoder_init_norm=0.1"], ["--decoder_init_norm=0.1", "unit norm"]),
    "cycles of nothing": (["--lr_cycles=3"], ["--lr_cycles=3", "cosine"]),
    "parts": (["--microbatch_size=300"], ["--microbatch_size=300", "does not divide"]),
    "decay of nothing": (["--weight_decay=0.1"], ["--weight_decay=0.1", "adamw"]),
    "fine-tuning of nothing": (["--tasks=finetune"], ["run --tasks="]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(case, finished, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arguments, words = BAD[case]
    narrow = saelens.load(finished / "saes" / MEMBER)
    narrow = narrow.replace(W_enc=narrow.W_enc[:16], W_dec=narrow.W_dec[:, :16], b_dec=narrow.b_dec[:16])
    saelens.save(tmp_path / "narrow", narrow, metadata={"hook_name": SITE})
    places = {
        "SAE2": finished / "saes" / MEMBER.replace("k8", "k4"),
        "SAE": finished / "saes" / MEMBER,
        "NARROW": tmp_path / "narrow",
    }
    for word, place in places.items():
        arguments = [a.replace(word, str(place)) for a in arguments]
    own = ["--architecture=topk", "--l1_coefficient=", "--k=8", *arguments]
    if any("l1" in a for a in arguments) or "--architecture=tied" in arguments:
        own = [a for a in own if a != "--k=8"] + ["--k="]
    assert launch.main(flags_of(corpus, tmp_path / "run", *own)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("launch.py: ") and "Traceback" not in "".join(lines), lines
    assert all(word in lines[-1] for word in words), lines[-1]
    assert not (tmp_path / "run/saes").exists() and not (tmp_path / "run/checkpoints").exists()


class StandIn:
    """The two calls of the Hub's client that uploading makes."""

    def __init__(self, token=None):
        self.token, self.calls = token, []
        StandIn.last = self

    def create_repo(self, **about):
        self.calls.append(("create_repo", about))

    def create_commit(self, **about):
        self.calls.append(("create_commit", about))


def test_a_run_is_pushed_with_a_card_and_without_its_token(finished, corpus, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_test")
    monkeypatch.setattr("huggingface_hub.HfApi", StandIn)
    assert launch.main(flags_of(corpus, tmp_path / "run", "--push_to_hub=someone/something")) == 0
    made, committed = StandIn.last.calls
    assert made[0] == "create_repo" and made[1]["repo_id"] == "someone/something"
    files = {operation.path_in_repo: operation.path_or_fileobj for operation in committed[1]["operations"]}
    assert {f"{MEMBER}/cfg.json", f"{MEMBER}/sae_weights.safetensors", "README.md"} <= files.keys()
    assert MEMBER in files["README.md"].decode()
    shown = capsys.readouterr()
    assert "hf_secret_of_the_test" not in shown.out + shown.err
    for path in (tmp_path / "run").glob("*"):
        if path.is_file():
            assert b"hf_secret_of_the_test" not in path.read_bytes()
    assert hub.TOKEN == "HF_TOKEN"
