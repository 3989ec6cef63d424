"""The Flax GPT-2 against `transformers` and TransformerLens (gpt2_sites.npz), its edits, early exit and causality."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.errors import InputError
from saejax.lm import gpt2, weights
from saejax.lm.sites import site_names

RESID = "blocks.1.hook_resid_post"
MLP = "blocks.1.mlp.hook_post"


@functools.cache
def load(testdata):
    return weights.load(testdata / "tiny_gpt2")


@functools.cache
def clean_run(testdata, dtype=jnp.float32):
    """Logits and every site's activations under one jit."""
    config, params = load(testdata)
    tokens = np.load(testdata / "gpt2_sites.npz")["tokens"]
    run = jax.jit(lambda p, t: gpt2.run(p, t, config=config, capture=site_names(config.n_layer), dtype=dtype))
    return jax.device_get(run(params, tokens))


def mean_loss(logits, tokens):
    return float(gpt2.next_token_losses(logits, tokens).mean())


def kl_per_position(clean_logits, logits):
    clean, changed = (np.asarray(jax.nn.log_softmax(a), np.float64) for a in (clean_logits, logits))
    return (np.exp(clean) * (clean - changed)).sum(-1)


def test_logits_and_every_site_agree_with_transformers_and_transformer_lens(testdata, reference):
    data = reference("gpt2_sites")
    logits, captured = clean_run(testdata)
    np.testing.assert_allclose(logits, data["logits"], rtol=0, atol=1e-4)
    assert set(captured) == set(site_names(3))
    for name, activation in captured.items():
        np.testing.assert_allclose(activation, data[f"sites/{name}"], rtol=0, atol=1e-4, err_msg=name)


def test_losses_and_kl_of_the_ablations_agree_with_the_reference(testdata, reference):
    data = reference("gpt2_sites")
    config, params = load(testdata)
    tokens = data["tokens"]
    clean_logits, captured = clean_run(testdata)
    assert abs(mean_loss(clean_logits, tokens) - data["loss/clean"]) < 1e-5

    mean_D = data["ablation/mean_vector"]
    np.testing.assert_allclose(captured[RESID].mean((0, 1)), mean_D, atol=1e-5)
    run = jax.jit(lambda edits: gpt2.run(params, tokens, config=config, edits=edits)[0])
    mlp = captured[MLP]
    logits = {
        "zero_resid_post": run({RESID: jnp.zeros((4, 40, 48))}),
        "mean_resid_post": run({RESID: jnp.broadcast_to(mean_D, (4, 40, 48))}),
        "zero_mlp_post": run({MLP: jnp.zeros(mlp.shape)}),
    }
    for name, ablated in logits.items():
        assert abs(mean_loss(ablated, tokens) - data[f"loss/{name}"]) < 1e-5, name
        assert abs(kl_per_position(clean_logits, ablated).mean() - data[f"kl/{name}"]) < 1e-5, name
    per_position = kl_per_position(clean_logits, logits["zero_resid_post"])
    np.testing.assert_allclose(per_position, data["kl_per_position/zero_resid_post"], rtol=0, atol=1e-5)


def test_an_edit_by_a_function_equals_the_edit_by_its_value(testdata, reference):
    config, params = load(testdata)
    tokens = reference("gpt2_sites")["tokens"]
    value = -0.5 * clean_run(testdata)[1][RESID] + 0.1

    @functools.partial(jax.jit, static_argnames="by_function")
    def run(value, by_function):
        edit = (lambda x: -0.5 * x + 0.1) if by_function else value
        return gpt2.run(params, tokens, config=config, edits={RESID: edit}, capture=[RESID, "blocks.2.hook_resid_pre"])

    logits, captured = run(value, by_function=True)
    by_value, _ = run(value, by_function=False)
    np.testing.assert_allclose(logits, by_value, atol=2e-5)
    np.testing.assert_allclose(captured[RESID], value, atol=1e-5, err_msg="a capture is after the edit")
    np.testing.assert_array_equal(captured["blocks.2.hook_resid_pre"], captured[RESID])
    assert np.abs(logits - clean_run(testdata)[0]).max() > 0.1


def test_a_replacement_with_the_clean_activation_changes_nothing(testdata, reference):
    config, params = load(testdata)
    logits, captured = clean_run(testdata)
    edits = {name: captured[name] for name in site_names(3)}
    edited = jax.jit(lambda e: gpt2.run(params, reference("gpt2_sites")["tokens"], config=config, edits=e)[0])(edits)
    np.testing.assert_allclose(edited, logits, atol=2e-5)


@pytest.mark.parametrize(
    ("sites", "needed"),
    [
        (["hook_embed"], {"wte", "wpe"}),
        (["blocks.0.mlp.hook_post", "blocks.0.hook_resid_pre"], {"wte", "wpe", "h_0"}),
        (["blocks.1.hook_resid_post"], {"wte", "wpe", "h_0", "h_1"}),
        (["blocks.2.hook_resid_post", "blocks.0.attn.hook_z"], {"wte", "wpe", "h_0", "h_1", "h_2"}),
    ],
)
def test_without_logits_the_pass_ends_after_the_deepest_site(sites, needed, testdata, reference):
    config, params = load(testdata)
    only_needed = {name: tree for name, tree in params.items() if name in needed}
    tokens = reference("gpt2_sites")["tokens"]
    logits, captured = jax.jit(lambda p: gpt2.run(p, tokens, config=config, capture=sites, logits=False))(only_needed)
    assert logits is None and set(captured) == set(sites)
    for name in sites:
        np.testing.assert_allclose(captured[name], clean_run(testdata)[1][name], atol=1e-5, err_msg=name)


def test_without_logits_the_unembedding_is_not_traced(testdata):
    config, params = load(testdata)
    tokens = jnp.zeros((1, 4), jnp.int32)

    def n_products(logits, capture):
        run = functools.partial(gpt2.run, config=config, capture=capture, logits=logits)
        return str(jax.make_jaxpr(run)(params, tokens)).count("dot_general[")

    assert n_products(True, ["ln_final.hook_normalized"]) == 3 * 6 + 1
    assert n_products(False, ["ln_final.hook_normalized"]) == 3 * 6
    assert n_products(False, ["blocks.0.hook_resid_post"]) == 6
    assert n_products(False, ["blocks.0.hook_resid_post", "blocks.1.attn.hook_q"]) == 12


def test_an_edit_of_another_shape_is_refused(testdata):
    config, params = load(testdata)
    tokens = jnp.zeros((2, 4), jnp.int32)
    for edit in (jnp.zeros((2, 4, 47)), jnp.zeros(48), lambda x: x[:1]):
        with pytest.raises(ValueError, match=f"edit at {RESID}.*shape"):
            jax.eval_shape(lambda edit=edit: gpt2.run(params, tokens, config=config, edits={RESID: edit}))


def test_unknown_sites_are_refused_with_the_nearest_names(testdata):
    config, params = load(testdata)
    tokens = jnp.zeros((1, 4), jnp.int32)
    with pytest.raises(InputError, match="did you mean blocks.1.hook_resid_p"):
        gpt2.run(params, tokens, config=config, capture=["blocks.1.hook_resid"])
    with pytest.raises(InputError, match="did you mean.* blocks.2.attn.hook_z"):
        gpt2.run(params, tokens, config=config, edits={"blocks.3.attn.hook_z": jnp.zeros(())})


def test_a_context_longer_than_the_positions_is_refused(testdata):
    config, params = load(testdata)
    with pytest.raises(ValueError, match="65 tokens.*64 positions"):
        gpt2.run(params, jnp.zeros((1, 65), jnp.int32), config=config)
    logits = jax.eval_shape(lambda: gpt2.run(params, jnp.zeros((1, 64), jnp.int32), config=config)[0])
    assert logits.shape == (1, 64, 199)


def test_bfloat16_is_near_float32(testdata, close):
    """bfloat16 keeps 8 bits: three blocks of it stay within 3 % of the largest value, and within 1 % in the mean."""
    logits, captured = clean_run(testdata)
    logits16, captured16 = clean_run(testdata, jnp.bfloat16)
    assert logits16.dtype == np.float32
    close(logits16, logits, 0.03, "logits")
    assert np.abs(logits16 - logits).mean() < 0.01 * np.abs(logits).max()
    for name, activation in captured16.items():
        assert activation.dtype == (np.float32 if name.endswith("hook_normalized") else jnp.bfloat16), name
        close(activation, captured[name], 0.03, name)


def test_vmap_over_replacements_equals_a_loop(testdata, reference):
    config, params = load(testdata)
    tokens = reference("gpt2_sites")["tokens"][:2, :12]
    stack = jax.random.normal(jax.random.key(0), (3, 2, 12, 48))

    def run(replacement):
        logits, captured = gpt2.run(params, tokens, config=config, edits={RESID: replacement}, capture=[MLP, "hook_embed"])
        return logits, captured[MLP]

    logits, mlp = jax.jit(jax.vmap(run))(stack)
    one = jax.jit(run)
    for i, replacement in enumerate(stack):
        expected_logits, expected_mlp = one(replacement)
        np.testing.assert_allclose(logits[i], expected_logits, atol=1e-5)
        np.testing.assert_allclose(mlp[i], expected_mlp, atol=1e-5)
    assert np.abs(logits[0] - logits[1]).max() > 0.1


def test_logits_depend_on_this_and_earlier_positions_only(testdata, reference):
    config, params = load(testdata)
    tokens = reference("gpt2_sites")["tokens"][:1, :7]
    readout = jax.random.normal(jax.random.key(1), (config.vocab_size,))

    def score_of(delta_LxD):
        return gpt2.run(params, tokens, config=config, edits={"hook_embed": lambda x: x + delta_LxD})[0][0] @ readout

    jacobian_LxLxD = jax.jit(jax.jacrev(score_of))(jnp.zeros((7, config.n_embd)))
    size_LxL = np.abs(np.asarray(jacobian_LxLxD)).max(-1)
    later = np.triu(np.ones((7, 7), bool), 1)
    assert (size_LxL[later] == 0).all()
    assert (size_LxL[~later] > 1e-3).all()


def test_next_token_losses_of_a_hand_computed_case():
    logits = jnp.log(jnp.asarray([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [1.0, 1.0, 1.0]]]))
    losses = gpt2.next_token_losses(logits + 7.0, jnp.asarray([[2, 0, 1]]))
    np.testing.assert_allclose(losses, -np.log([[0.5, 0.2]]), rtol=1e-6)


def test_init_has_the_standard_deviations_of_gpt2():
    config = gpt2.GPT2Config(vocab_size=300, n_positions=200, n_embd=32, n_layer=2, n_head=2)
    params = jax.jit(functools.partial(gpt2.init, config))(jax.random.key(3, impl="rbg"))
    expected = {"c_attn": 0.02, "c_fc": 0.02, "c_proj": 0.02 / 2}
    for module in ("attn", "mlp"):
        for name, dense in params["h_1"][module].items():
            assert np.std(dense["kernel"]) == pytest.approx(expected[name], rel=0.08), name
            assert not np.any(dense["bias"])
    assert np.std(params["wte"]["embedding"]) == pytest.approx(0.02, rel=0.05)
    assert np.std(params["wpe"]["embedding"]) == pytest.approx(0.01, rel=0.05)
    assert (params["ln_f"]["scale"] == 1).all() and params["h_0"]["mlp"]["c_fc"]["kernel"].shape == (32, 128)
