"""dictionary_learning's format: against its formulas written out in torch, and against the real package where it is installed.

The package is not in the 'test' extra, since it brings nnsight, circuitsvis and a torchvision that must match torch; without it
`test_the_real_package_*` are skipped, and nothing else.
"""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch

from saejax.errors import InputError
from saejax.interop import dictionary_learning
from saejax.interop.dictionary_table import CLASSES, SAVED_AS

D, F, K = 16, 64, 4
METADATA = {"model_name": "gpt2", "hook_name": "blocks.1.hook_resid_post", "context_size": 128}
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("dictionary_learning") is None, reason="the real dictionary_learning is not installed"
)


def relu_of(state, x):
    norms = state["decoder.weight"].norm(dim=0)
    f = torch.relu((x - state["bias"]) @ state["encoder.weight"].T + state["encoder.bias"])
    return f * norms, f @ state["decoder.weight"].T + state["bias"]


def april_update(state, x):
    norms = state["decoder.weight"].norm(dim=0)
    f = torch.relu(x @ state["encoder.weight"].T + state["encoder.bias"])
    return f * norms, f @ state["decoder.weight"].T + state["decoder.bias"]


def gated(state, x):
    pre = (x - state["decoder_bias"]) @ state["encoder.weight"].T
    f = (pre + state["gate_bias"] > 0) * torch.relu(state["r_mag"].exp() * pre + state["mag_bias"])
    return f, f @ state["decoder.weight"].T + state["decoder_bias"]


def jumprelu(state, x):
    pre = x @ state["W_enc"] + state["b_enc"]
    f = torch.relu(pre * (pre > state["threshold"]))
    return f, f @ state["W_dec"] + state["b_dec"]


def topk(state, x):
    pre = torch.relu((x - state["b_dec"]) @ state["encoder.weight"].T + state["encoder.bias"])
    values, indices = pre.topk(int(state["k"]), dim=-1)
    f = torch.zeros_like(pre).scatter_(-1, indices, values)
    return f, f @ state["decoder.weight"].T + state["b_dec"]


def batch_topk(state, x):
    pre = torch.relu((x - state["b_dec"]) @ state["encoder.weight"].T + state["encoder.bias"])
    f = pre * (pre > state["threshold"])
    return f, f @ state["decoder.weight"].T + state["b_dec"]


def matryoshka(state, x):
    pre = torch.relu((x - state["b_dec"]) @ state["W_enc"] + state["b_enc"])
    f = pre * (pre > state["threshold"])
    return f, f @ state["W_dec"] + state["b_dec"]


FORMULAS = {
    "AutoEncoder": relu_of,
    "AutoEncoderNew": april_update,
    "GatedAutoEncoder": gated,
    "JumpReluAutoEncoder": jumprelu,
    "AutoEncoderTopK": topk,
    "BatchTopKSAE": batch_topk,
    "MatryoshkaBatchTopKSAE": matryoshka,
}
LINEAR = {"encoder.weight": (F, D), "encoder.bias": (F,), "decoder.weight": (D, F)}
NAMED = {"W_enc": (D, F), "b_enc": (F,), "W_dec": (F, D), "b_dec": (D,)}
SHAPES = {
    "AutoEncoder": {**LINEAR, "bias": (D,)},
    "AutoEncoderNew": {**LINEAR, "decoder.bias": (D,)},
    "GatedAutoEncoder": {
        "encoder.weight": (F, D),
        "decoder.weight": (D, F),
        "decoder_bias": (D,),
        "gate_bias": (F,),
        "mag_bias": (F,),
        "r_mag": (F,),
    },
    "JumpReluAutoEncoder": {**NAMED, "threshold": (F,)},
    "AutoEncoderTopK": {**LINEAR, "b_dec": (D,)},
    "BatchTopKSAE": {**LINEAR, "b_dec": (D,)},
    "MatryoshkaBatchTopKSAE": NAMED,
}


def write(folder, name, threshold=0.7, **changed):
    """A directory as the package's trainers leave it."""
    torch.manual_seed(0)
    state = {key: torch.randn(shape) * (0.3 if "r_mag" in key else 1.0) for key, shape in SHAPES[name].items()}
    trainer = {"dict_class": name, "submodule_name": "resid_post_layer_1", "layer": 1, "lm_name": "openai-community/gpt2"}
    if "k" in CLASSES[name].buffers:
        state |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.as_tensor(threshold)}
        trainer["k"] = K
    if name.startswith("Matryoshka"):
        state["group_sizes"] = torch.tensor([16, 48])
    folder.mkdir()
    state |= changed
    torch.save({key: value for key, value in state.items() if value is not None}, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))
    return state


def theirs_of(folder, rows):
    """(latents, outputs) of the real package's object."""
    from dictionary_learning.utils import load_dictionary

    with torch.no_grad():
        theirs, _ = load_dictionary(str(folder), "cpu")
        x_hat, f = theirs(torch.tensor(rows), output_features=True)
    return f, x_hat


@pytest.mark.parametrize("name", CLASSES)
def test_computes_the_package_s_formulas(name, tmp_path, rows, same):
    state = write(tmp_path / "sae", name)
    same(dictionary_learning.load(tmp_path / "sae"), rows, *FORMULAS[name](state, torch.tensor(rows)))


@needs_package
@pytest.mark.parametrize("name", CLASSES)
def test_the_real_package_computes_the_same(name, tmp_path, rows, same):
    write(tmp_path / "sae", name)
    same(dictionary_learning.load(tmp_path / "sae"), rows, *theirs_of(tmp_path / "sae", rows))


@pytest.mark.parametrize("name", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_that_was_never_set_passes_all(name, tmp_path, rows, same):
    state = write(tmp_path / "sae", name, threshold=-1.0)
    same(dictionary_learning.load(tmp_path / "sae"), rows, *FORMULAS[name](state, torch.tensor(rows)))


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("activation", SAVED_AS)
def test_what_is_saved_computes_the_same(activation, applied, tmp_path, make, rows, same, exactly):
    sae = make(activation, applied=applied, unit=True)
    dictionary_learning.save(tmp_path / "sae", sae, metadata=METADATA)
    state = torch.load(tmp_path / "sae" / "ae.pt", weights_only=True)
    same(sae, rows, *FORMULAS[SAVED_AS[activation]](state, torch.tensor(rows)))
    back = dictionary_learning.load(tmp_path / "sae")
    f, y = back.reconstruct(rows)
    same(sae, rows, f, y)
    if applied == CLASSES[SAVED_AS[activation]].subtracts_b_dec and activation != "relu":
        exactly(back, sae)
    assert dictionary_learning.origin(tmp_path / "sae").hook_name == METADATA["hook_name"]


@needs_package
@pytest.mark.parametrize("activation", SAVED_AS)
def test_the_real_package_reads_what_is_saved(activation, tmp_path, make, rows, same):
    sae = make(activation, applied=activation == "jumprelu", unit=True)
    dictionary_learning.save(tmp_path / "sae", sae, metadata=METADATA)
    same(sae, rows, *theirs_of(tmp_path / "sae", rows))


def test_half_precision_is_read_as_float32(tmp_path):
    state = write(tmp_path / "sae", "JumpReluAutoEncoder")
    torch.save({name: t.bfloat16() for name, t in state.items()}, tmp_path / "sae" / "ae.pt")
    np.testing.assert_array_equal(dictionary_learning.load(tmp_path / "sae").W_enc, state["W_enc"].bfloat16().float())


def test_a_module_s_own_name_is_no_site(tmp_path):
    write(tmp_path / "sae", "AutoEncoderTopK")
    origin = dictionary_learning.origin(tmp_path / "sae")
    assert origin.hook_name is None and origin.metadata["submodule_name"] == "resid_post_layer_1"


@pytest.mark.parametrize(
    ("activation", "kind", "settings", "word"),
    [
        ("group_max", "autoencoder", {}, "group_max"),
        ("topk", "transcoder", {}, "transcoder"),
        ("relu", "autoencoder", {"normalize": "layer_norm"}, "layer_norm"),
    ],
)
def test_what_the_format_cannot_hold(activation, kind, settings, word, tmp_path, make):
    with pytest.raises(InputError, match=word) as error:
        dictionary_learning.save(tmp_path / "sae", make(activation, kind, **settings), metadata={})
    assert "saelens" in str(error.value) and not any(tmp_path.iterdir())


class Trap:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_in_the_file_does_not_run(tmp_path):
    write(tmp_path / "sae", "AutoEncoderTopK")
    torch.save({"encoder.weight": Trap(tmp_path / "sprung")}, tmp_path / "sae" / "ae.pt")
    refused(tmp_path / "sae", "never run")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "sae" / "ae.pt")
    refused(tmp_path / "sae", "never run")
    assert not (tmp_path / "sprung").exists()


def refused(folder, word):
    with pytest.raises(InputError) as error:
        dictionary_learning.load(folder)
    assert word in str(error.value) and str(folder) in str(error.value) and "\n" not in str(error.value)


def test_without_torch(tmp_path, monkeypatch):
    write(tmp_path / "sae", "AutoEncoderTopK")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(InputError, match=r"\.\[torch\]"):
        dictionary_learning.load(tmp_path / "sae")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"b_dec": None}, "missing b_dec"),
        ({"extra": torch.zeros(3)}, "unknown extra"),
        ({"encoder.bias": torch.zeros(3)}, "encoder.bias has shape (3,), not (64,)"),
        ({"encoder.bias": torch.zeros(F, dtype=torch.int64)}, "encoder.bias is int64"),
        ({"encoder.bias": torch.full((F,), torch.nan)}, "NaN"),
        ({"encoder.weight": torch.zeros(F)}, "encoder.weight"),
        ({"encoder.weight": None}, "encoder.weight"),
        ({"k": torch.tensor(65)}, "k is 65"),
        ({"k": torch.tensor(5)}, "but 4 in config.json"),
        ({"k": None}, "k"),
        ({"threshold": torch.tensor(torch.inf)}, "threshold"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(changed, word, tmp_path):
    write(tmp_path / "sae", "BatchTopKSAE", **changed)
    refused(tmp_path / "sae", word)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda folder: (folder / "ae.pt").unlink(), "cannot be read"),
        (lambda folder: (folder / "ae.pt").write_bytes(b""), "cannot be read"),
        (lambda folder: (folder / "ae.pt").write_bytes(b"PK\x03\x04 and then nothing"), "cannot be read"),
        (lambda folder: torch.save([torch.zeros(2)], folder / "ae.pt"), "not a state dict"),
        (lambda folder: (folder / "config.json").unlink(), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{}"), "trainer is None"),
        (lambda folder: (folder / "config.json").write_text('{"trainer": {"dict_class": "IdentityDict"}}'), "IdentityDict"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_in_one_line(spoil, word, tmp_path):
    write(tmp_path / "sae", "AutoEncoderTopK")
    spoil(tmp_path / "sae")
    refused(tmp_path / "sae", word)
