"""GPT-2 (Radford et al. 2019) in Flax Linen, with TransformerLens's hook sites.

Letters of shapes: B batch, L position, D model width, H heads, C head width, I inner width, V vocabulary.
LayerNorm's epsilon is the config's (1e-5), GELU is the tanh form, the unembedding is the embedding's
transpose. LayerNorm, the softmax and the logits are float32 whatever `dtype` is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from saejax.lm.sites import Edit, Tap, check_sites

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class GPT2Config:
    """The sizes of a GPT-2, by HuggingFace's names."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None
    layer_norm_epsilon: float = 1e-5

    @property
    def inner(self) -> int:
        """Width of the MLP's hidden layer."""
        return self.n_inner or 4 * self.n_embd


class Linear(nn.Module):
    """A linear layer with GPT-2's initialisation; those that write to the residual stream start smaller.

    Positions and batch are one axis while it multiplies: on a CPU the gradient of a product of matrices is 1.6 times as
    fast as that of a product over two leading axes.
    """

    features: int
    config: GPT2Config
    dtype: Any
    residual: bool = False

    @nn.compact
    def __call__(self, x_BxLxD):
        """[B, L, D] → [B, L, features]."""
        std = 0.02 / (2 * self.config.n_layer) ** 0.5 if self.residual else 0.02
        kernel = self.param("kernel", nn.initializers.normal(std), (x_BxLxD.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x_NxD = x_BxLxD.reshape(-1, x_BxLxD.shape[-1]).astype(self.dtype)
        y_NxE = x_NxD @ kernel.astype(self.dtype) + bias.astype(self.dtype)
        return y_NxE.reshape(*x_BxLxD.shape[:-1], self.features)


class LayerNorm(nn.Module):
    """LayerNorm with a tap between the normalisation and the gain."""

    epsilon: float

    @nn.compact
    def __call__(self, x_BxLxD, tap: Tap, site: str):
        """x → its LayerNorm, in x's dtype."""
        width = x_BxLxD.shape[-1]
        scale_D = self.param("scale", nn.initializers.ones, (width,))
        bias_D = self.param("bias", nn.initializers.zeros, (width,))
        x32_BxLxD = x_BxLxD.astype(jnp.float32)
        centred_BxLxD = x32_BxLxD - x32_BxLxD.mean(-1, keepdims=True)
        variance_BxLx1 = jnp.square(centred_BxLxD).mean(-1, keepdims=True)
        normalized_BxLxD = tap(f"{site}.hook_normalized", centred_BxLxD * jax.lax.rsqrt(variance_BxLx1 + self.epsilon))
        return (normalized_BxLxD * scale_D + bias_D).astype(x_BxLxD.dtype)


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    config: GPT2Config
    dtype: Any

    @nn.compact
    def __call__(self, x_BxLxD, tap: Tap, site: str):
        """The normalised stream → what attention writes to it, [B, L, D]."""
        cfg = self.config
        B, L, D = x_BxLxD.shape
        heads = (B, L, cfg.n_head, D // cfg.n_head)
        qkv_BxLx3D = Linear(3 * D, cfg, self.dtype, name="c_attn")(x_BxLxD)
        q, k, v = (tap(f"{site}.hook_{n}", a.reshape(heads)) for n, a in zip("qkv", jnp.split(qkv_BxLx3D, 3, axis=-1)))
        scores_BxHxLxL = jnp.einsum("bqhc,bkhc->bhqk", q, k, preferred_element_type=jnp.float32)
        scores_BxHxLxL = scores_BxHxLxL / jnp.sqrt(jnp.float32(heads[-1]))
        causal_LxL = jnp.tril(jnp.ones((L, L), bool))
        scores_BxHxLxL = jnp.where(causal_LxL, scores_BxHxLxL, jnp.finfo(jnp.float32).min)
        pattern_BxHxLxL = tap(f"{site}.hook_pattern", jax.nn.softmax(scores_BxHxLxL, axis=-1).astype(self.dtype))
        z_BxLxHxC = tap(f"{site}.hook_z", jnp.einsum("bhqk,bkhc->bqhc", pattern_BxHxLxL, v))
        return Linear(D, cfg, self.dtype, residual=True, name="c_proj")(z_BxLxHxC.reshape(B, L, D))


class MLP(nn.Module):
    """The two-layer perceptron of a block."""

    config: GPT2Config
    dtype: Any

    @nn.compact
    def __call__(self, x_BxLxD, tap: Tap, site: str):
        """The normalised stream → what the MLP writes to it, [B, L, D]."""
        pre_BxLxI = tap(f"{site}.hook_pre", Linear(self.config.inner, self.config, self.dtype, name="c_fc")(x_BxLxD))
        post_BxLxI = tap(f"{site}.hook_post", jax.nn.gelu(pre_BxLxI, approximate=True))
        return Linear(x_BxLxD.shape[-1], self.config, self.dtype, residual=True, name="c_proj")(post_BxLxI)


class Block(nn.Module):
    """LayerNorm → attention → residual → LayerNorm → MLP → residual."""

    config: GPT2Config
    dtype: Any

    @nn.compact
    def __call__(self, x_BxLxD, tap: Tap, site: str):
        """The stream before the block → after it, [B, L, D]."""
        epsilon = self.config.layer_norm_epsilon
        x_BxLxD = tap(f"{site}.hook_resid_pre", x_BxLxD)
        attended = LayerNorm(epsilon, name="ln_1")(x_BxLxD, tap, f"{site}.ln1")
        attended = Attention(self.config, self.dtype, name="attn")(attended, tap, f"{site}.attn")
        x_BxLxD = tap(f"{site}.hook_resid_mid", x_BxLxD + tap(f"{site}.hook_attn_out", attended))
        hidden = LayerNorm(epsilon, name="ln_2")(x_BxLxD, tap, f"{site}.ln2")
        hidden = MLP(self.config, self.dtype, name="mlp")(hidden, tap, f"{site}.mlp")
        return tap(f"{site}.hook_resid_post", x_BxLxD + tap(f"{site}.hook_mlp_out", hidden))


class GPT2(nn.Module):
    """Tokens to logits, calling `tap` at every site; ends early where only captures are wanted."""

    config: GPT2Config
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens_BxL, tap: Tap, want_logits: bool = True):
        """Tokens [B, L] → logits float32 [B, L, V], or None where they are not wanted."""
        cfg = self.config
        normal = nn.initializers.normal
        wte = nn.Embed(cfg.vocab_size, cfg.n_embd, embedding_init=normal(0.02), dtype=self.dtype, name="wte")
        wpe = nn.Embed(cfg.n_positions, cfg.n_embd, embedding_init=normal(0.01), dtype=self.dtype, name="wpe")
        B, L = tokens_BxL.shape
        embed_BxLxD = tap("hook_embed", wte(tokens_BxL))
        position_BxLxD = jnp.broadcast_to(wpe(jnp.arange(L)), embed_BxLxD.shape)
        x_BxLxD = embed_BxLxD + tap("hook_pos_embed", position_BxLxD)
        for layer in range(cfg.n_layer):
            if not want_logits and tap.done:
                return None
            x_BxLxD = Block(cfg, self.dtype, name=f"h_{layer}")(x_BxLxD, tap, f"blocks.{layer}")
        if not want_logits and tap.done:
            return None
        x_BxLxD = LayerNorm(cfg.layer_norm_epsilon, name="ln_f")(x_BxLxD, tap, "ln_final")
        if not want_logits:
            return None
        embedding_VxD = wte.embedding.astype(self.dtype)
        x_NxD = x_BxLxD.reshape(B * L, cfg.n_embd)
        logits_NxV = jnp.einsum("nd,vd->nv", x_NxD, embedding_VxD, preferred_element_type=jnp.float32)
        return logits_NxV.reshape(B, L, cfg.vocab_size)


def init(config: GPT2Config, key: jax.Array) -> Params:
    """Random float32 parameters, as GPT-2 is initialised.

    Args:
      config: the sizes.
      key: a JAX random key.
    """
    return GPT2(config).init(key, jnp.zeros((1, 1), jnp.int32), Tap())["params"]


def run(
    params: Params,
    tokens_BxL: jax.Array,
    *,
    config: GPT2Config,
    capture: Sequence[str] = (),
    edits: Mapping[str, Edit] | None = None,
    logits: bool = True,
    dtype: Any = jnp.float32,
) -> tuple[jax.Array | None, dict[str, jax.Array]]:
    """Runs the GPT-2; pure, for use under jit, vmap and grad.

    Args:
      params: float32 parameters, as `init` or `weights.load` give them.
      tokens_BxL: integer tokens, L at most `config.n_positions`.
      config: the sizes.
      capture: names of the sites to return, after any edit there.
      edits: site name → a replacement array, or a function of the activation.
      logits: False ends the pass after the deepest captured site.
      dtype: of the activations and matrix products, float32 or bfloat16.

    Returns:
      (logits float32 [B, L, V] or None, {site: activation}). `hook_normalized` sites are float32.

    Raises:
      InputError: a name that no site has. ValueError: a context that is too long, an edit of another shape.
    """
    edits = edits or {}
    check_sites([*capture, *edits], config.n_layer)
    if tokens_BxL.shape[1] > config.n_positions:
        raise ValueError(f"a context of {tokens_BxL.shape[1]} tokens; the model has {config.n_positions} positions")
    tap = Tap(capture, edits)
    # Accelerators may multiply float32 in fewer bits; float32 means float32 here.
    with jax.default_matmul_precision("highest" if dtype == jnp.float32 else "default"):
        logits_BxLxV = GPT2(config, dtype).apply({"params": params}, tokens_BxL, tap, logits)
    return logits_BxLxV, tap.captured


def next_token_losses(logits_BxLxV: jax.Array, tokens_BxL: jax.Array) -> jax.Array:
    """Cross-entropy of each token given those before it, in nats, float32 [B, L-1].

    The target's logit is picked by comparing, not by indexing, and no slice of the logits is taken: so the gradient needs no
    scatter and no copy.
    """
    logits_BxLxV = logits_BxLxV.astype(jnp.float32)
    is_target_BxLxV = jnp.roll(tokens_BxL, -1, axis=1)[..., None] == jnp.arange(logits_BxLxV.shape[-1])
    picked_BxL = jnp.sum(jnp.where(is_target_BxLxV, logits_BxLxV, 0.0), axis=-1)
    return (jax.nn.logsumexp(logits_BxLxV, axis=-1) - picked_BxL)[:, :-1]
