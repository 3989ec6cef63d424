"""GPT-2 directories: read strictly, written so that `transformers` reads them; what cannot be used is an InputError."""

from __future__ import annotations

import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from saejax.errors import InputError
from saejax.lm import gpt2, weights

CONFIG = gpt2.GPT2Config(vocab_size=37, n_positions=20, n_embd=16, n_layer=2, n_head=4, n_inner=40, layer_norm_epsilon=1e-4)


def random_params(config=CONFIG, seed=0):
    """Every leaf random and of size 0.2, so that no tensor can be left out or exchanged unseen."""
    template = jax.eval_shape(lambda: gpt2.init(config, jax.random.key(0)))
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda a: (0.2 * generator.standard_normal(a.shape)).astype(np.float32), template)


def logits_of(config, params, tokens):
    return np.asarray(jax.jit(lambda p: gpt2.run(p, tokens, config=config)[0])(params))


@pytest.fixture
def directory(testdata, tmp_path):
    """A copy of tiny_gpt2 that a test may spoil."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(testdata / "tiny_gpt2" / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def rewrite(directory):
    """Passes the directory's tensors through a function."""

    def change(function):
        tensors = load_file(directory / "model.safetensors")
        save_file(function(tensors), directory / "model.safetensors")

    return change


def refused(directory, *words):
    with pytest.raises(InputError) as caught:
        weights.load(directory)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def assert_same_trees(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        assert x.dtype == y.dtype == np.float32
        np.testing.assert_array_equal(x, y)


def test_the_sizes_of_tiny_gpt2_are_read(testdata):
    config, params = weights.load(testdata / "tiny_gpt2")
    assert config == gpt2.GPT2Config(vocab_size=199, n_positions=64, n_embd=48, n_layer=3, n_head=4)
    stored = load_file(testdata / "tiny_gpt2" / "model.safetensors")
    assert len(jax.tree.leaves(params)) == len(stored)
    np.testing.assert_array_equal(params["h_2"]["attn"]["c_attn"]["kernel"], stored["transformer.h.2.attn.c_attn.weight"])
    np.testing.assert_array_equal(params["ln_f"]["scale"], stored["transformer.ln_f.weight"])


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path):
    params = random_params()
    weights.save(tmp_path / "new", CONFIG, params, end_of_text_token=0)
    config, loaded = weights.load(tmp_path / "new")
    assert config == CONFIG
    assert_same_trees(loaded, params)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["config.json", "model.safetensors"]


def test_transformers_loads_what_is_saved_and_gives_the_same_logits(tmp_path):
    torch = pytest.importorskip("torch", reason="transformers' GPT-2, the oracle here, is written in torch")
    from transformers import GPT2LMHeadModel

    params = random_params()
    weights.save(tmp_path, CONFIG, params, end_of_text_token=5)
    model, report = GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.get(kind) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    assert model.config.bos_token_id == model.config.eos_token_id == 5
    tokens = np.random.default_rng(0).integers(0, 37, (3, 20))
    with torch.no_grad():
        expected = model.eval()(torch.as_tensor(tokens)).logits.numpy()
    np.testing.assert_allclose(logits_of(CONFIG, params, tokens), expected, rtol=1e-4, atol=1e-5)


def test_a_model_saved_by_transformers_is_loaded(tmp_path):
    torch = pytest.importorskip("torch", reason="transformers' GPT-2, the oracle here, is written in torch")
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

    torch.manual_seed(0)
    settings = GPT2Config(vocab_size=37, n_positions=20, n_embd=16, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
        tokens = torch.randint(0, 37, (2, 20))
        expected = model(tokens).logits.numpy()
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    bare = GPT2Model(settings)
    bare.load_state_dict(model.transformer.state_dict())
    bare.save_pretrained(tmp_path / "bare")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1

    config, params = weights.load(tmp_path / "whole")
    np.testing.assert_allclose(logits_of(config, params, tokens.numpy()), expected, rtol=1e-4, atol=1e-5)
    for other in ("shards", "bare"):
        assert_same_trees(weights.load(tmp_path / other)[1], params)


def test_names_without_the_prefix_are_read(directory, rewrite, testdata):
    rewrite(lambda tensors: {name.removeprefix("transformer."): a for name, a in tensors.items()})
    assert_same_trees(weights.load(directory)[1], weights.load(testdata / "tiny_gpt2")[1])


def test_shards_are_read_by_their_index(directory, testdata):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    shards = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    for i, (name, tensor) in enumerate(tensors.items()):
        shards[list(shards)[i % 2]][name] = tensor
    for name, part in shards.items():
        save_file(part, directory / name)
    index = {"metadata": {}, "weight_map": {tensor: name for name, part in shards.items() for tensor in part}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_same_trees(weights.load(directory)[1], weights.load(testdata / "tiny_gpt2")[1])

    (directory / "model-00002-of-00002.safetensors").unlink()
    refused(directory, "model-00002-of-00002.safetensors", "no such file")


@pytest.mark.parametrize("index", ["{", "{}", "[]", '{"weight_map": 3}'])
def test_a_broken_index_is_refused(index, directory):
    (directory / "model.safetensors.index.json").write_text(index)
    refused(directory, "model.safetensors.index.json")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_weights_are_read_as_float32(dtype, directory, rewrite):
    half = np.dtype(dtype) if dtype == "float16" else jax.numpy.bfloat16
    original = load_file(directory / "model.safetensors")["transformer.h.1.mlp.c_fc.weight"]
    rewrite(lambda tensors: {name: a.astype(half) for name, a in tensors.items()})
    kernel = weights.load(directory)[1]["h_1"]["mlp"]["c_fc"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, original.astype(half).astype(np.float32))


@pytest.mark.parametrize("name", ["h.1.mlp.c_proj.bias", "wpe.weight", "wte.weight"])
def test_a_missing_tensor_is_refused(name, directory, rewrite):
    rewrite(lambda tensors: {key: a for key, a in tensors.items() if key != f"transformer.{name}"})
    refused(directory, f"missing: {name};")


def test_an_extra_tensor_is_refused(directory, rewrite):
    rewrite(lambda tensors: {**tensors, "transformer.h.3.ln_1.weight": np.ones(48, np.float32)})
    refused(directory, "extra: h.3.ln_1.weight")


def test_a_tensor_that_stands_twice_is_refused(directory, rewrite):
    rewrite(lambda tensors: {**tensors, "ln_f.bias": tensors["transformer.ln_f.bias"]})
    refused(directory, "model.safetensors", "ln_f.bias", "twice")


def test_a_misshapen_tensor_is_refused_with_both_shapes(directory, rewrite):
    rewrite(lambda t: {n: np.ascontiguousarray(a.T) if n.endswith("c_fc.weight") else a for n, a in t.items()})
    refused(directory, "h.0.mlp.c_fc.weight", "(192, 48)", "(48, 192)")


def test_a_config_of_other_sizes_than_the_weights_is_refused(directory):
    settings = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**settings, "vocab_size": 200}))
    refused(directory, "wte.weight", "(199, 48)", "(200, 48)")
    (directory / "config.json").write_text(json.dumps({**settings, "n_layer": 2}))
    refused(directory, "extra: h.2.attn.c_attn.bias", "more")


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"junk" * 100])
def test_a_corrupt_file_is_refused(spoil, directory):
    path = directory / "model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    refused(directory, str(path), "not a readable safetensors file")


def test_an_absent_directory_and_absent_files_are_refused(directory):
    refused(directory / "elsewhere", str(directory / "elsewhere" / "config.json"), "no such file")
    (directory / "model.safetensors").unlink()
    refused(directory, str(directory / "model.safetensors"), "no such file")


def test_pickled_weights_are_never_read(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    refused(directory, "model.safetensors", "never pickled", "save_pretrained")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation_function", "relu"),
        ("tie_word_embeddings", False),
        ("model_type", "llama"),
        ("scale_attn_by_inverse_layer_idx", True),
        ("scale_attn_weights", False),
        ("add_cross_attention", True),
    ],
)
def test_a_config_that_this_gpt2_does_not_compute_is_refused(name, value, directory):
    settings = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**settings, name: value}))
    refused(directory, "config.json", name, repr(value))


@pytest.mark.parametrize("text", ["{", "[]", "", '{"model_type": "gpt2"}'])
def test_a_config_that_is_not_one_is_refused(text, directory):
    (directory / "config.json").write_text(text)
    refused(directory, "config.json")


@pytest.mark.parametrize(("name", "value"), [("n_embd", "128"), ("n_head", 0), ("n_layer", None), ("n_inner", -1)])
def test_a_size_that_is_no_positive_number_is_refused(name, value, tmp_path, testdata):
    settings = json.loads((testdata / "tiny_gpt2" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, name: value}))
    with pytest.raises(InputError, match=f"{name} is .*positive whole number"):
        weights.load_config(tmp_path)


def test_heads_that_do_not_divide_the_width_are_refused(directory):
    settings = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**settings, "n_head": 5}))
    refused(directory, "config.json", "n_head")


def test_causal_mask_buffers_are_accepted_and_left_out(directory, rewrite, testdata):
    mask = np.tril(np.ones((64, 64), bool))[None, None]
    fill = np.float32(-1e4)
    rewrite(lambda tensors: {**tensors, "h.0.attn.bias": mask, "transformer.h.1.attn.masked_bias": np.asarray(fill)})
    assert_same_trees(weights.load(directory)[1], weights.load(testdata / "tiny_gpt2")[1])


@pytest.mark.parametrize("mask", [np.ones((1, 1, 8, 8)), np.triu(np.ones((8, 8))), np.zeros((1, 1, 4, 6))])
def test_a_mask_that_is_not_causal_is_refused(mask, directory, rewrite):
    rewrite(lambda tensors: {**tensors, "transformer.h.0.attn.bias": mask.astype(np.uint8)})
    refused(directory, "h.0.attn.bias", "causal mask")


def test_a_tied_head_is_accepted_and_another_refused(directory, rewrite, testdata):
    rewrite(lambda tensors: {**tensors, "lm_head.weight": tensors["transformer.wte.weight"].copy()})
    assert_same_trees(weights.load(directory)[1], weights.load(testdata / "tiny_gpt2")[1])
    rewrite(lambda tensors: {**tensors, "lm_head.weight": tensors["transformer.wte.weight"] + 1e-3})
    refused(directory, "lm_head.weight", "tied")


def test_a_head_without_an_embedding_is_refused(directory, rewrite):
    rewrite(lambda t: {n.replace("transformer.wte.weight", "lm_head.weight"): a for n, a in t.items()})
    refused(directory, "wte.weight")


def test_a_model_is_found_by_its_directory_and_a_wrong_path_is_refused(directory):
    assert weights.find(str(directory)) == directory
    for model in (str(directory / "absent"), "./absent", "a/b/c", "~/no-such-directory"):
        with pytest.raises(InputError, match="no such directory") as caught:
            weights.find(model)
        assert f"--model={model}:" in str(caught.value) and "\n" not in str(caught.value)


def test_a_hub_model_that_cannot_be_had_is_refused(monkeypatch):
    import huggingface_hub

    def offline(*args, **options):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(InputError, match="--other=someone/gpt2:.*not to be had from the Hub") as caught:
        weights.find("someone/gpt2", flag="other")
    assert "\n" not in str(caught.value)
