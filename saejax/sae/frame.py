"""`Frame`: the linear maps that an architecture's activation stands between, for an autoencoder or a transcoder.

    pre = (x − [apply_b_dec_to_input] b_dec) W_enc + b_enc,   ŷ = f W_dec + b_dec [+ x W_skipᵀ]

A transcoder reads one site and predicts another (Dunefsky et al. 2024, "Transcoders find interpretable LLM feature
circuits"); its input is not centred, since b_dec belongs to the site that is predicted. The skip path is Paulo et al. 2025's,
"Transcoders beat sparse autoencoders for interpretability"; it starts at 0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae import sparse
from saejax.sae.base import Params, random_unit_rows
from saejax.sae.places import Places
from saejax.sae.products import centred_product, product, recalled, transposed_product


class Frame(NamedTuple):
    """Sizes, and how the maps start and multiply; static.

    Attributes:
      d_in: D, the width of the site that is read.
      d_sae: F.
      d_out: E, the width of the site that a transcoder predicts; None for an autoencoder.
      skip: whether there is a W_skip.
      apply_b_dec_to_input: whether the decoder's bias is subtracted from the input, where the architecture does so.
      decoder_init_norm: of W_dec's rows at the start; None for the architecture's own.
      dtype: of the products' operands, "float32" or "bfloat16".
    """

    d_in: int
    d_sae: int
    d_out: int | None = None
    skip: bool = False
    apply_b_dec_to_input: bool = True
    decoder_init_norm: float | None = None
    dtype: str = "float32"

    @property
    def width_out(self) -> int:
        """E."""
        return self.d_in if self.d_out is None else self.d_out

    @property
    def centres(self) -> bool:
        """Whether b_dec is subtracted from the input."""
        return self.apply_b_dec_to_input and self.d_out is None

    def init(self, key: jax.Array, b_dec_E: jax.Array, *, norm: float = 1.0, gain: float = 1.0) -> Params:
        """W_enc, b_enc, W_dec, b_dec and, if there is one, W_skip.

        W_dec's rows have random directions and norm `norm` (or `decoder_init_norm`); W_enc is `gain` times its transpose, or,
        for a transcoder, whose two sides have nothing to share, of random columns.
        """
        norm = norm if self.decoder_init_norm is None else self.decoder_init_norm
        key_out, key_in = jax.random.split(key)
        W_dec_FxE = norm * random_unit_rows(key_out, self.d_sae, self.width_out)
        W_enc_FxD = W_dec_FxE if self.d_out is None else norm * random_unit_rows(key_in, self.d_sae, self.d_in)
        params = {"W_enc": gain * W_enc_FxD.T, "b_enc": jnp.zeros(self.d_sae), "W_dec": W_dec_FxE, "b_dec": b_dec_E}
        return {**params, "W_skip": jnp.zeros((self.width_out, self.d_in))} if self.skip else params

    def project(self, params: Params, x_BxD: jax.Array) -> jax.Array:
        """x [− b_dec], times W_enc: float32 [B, F]."""
        if self.centres:
            return centred_product(x_BxD, params["b_dec"], params["W_enc"], self.dtype)
        return self.product(x_BxD, params["W_enc"])

    def pre_activations(self, params: Params, x_BxD: jax.Array) -> jax.Array:
        """`project` + b_enc: float32 [B, F]."""
        return self.project(params, x_BxD) + params["b_enc"]

    def recalled(self, params: Params, x_BxD: jax.Array, pre_BxF: jax.Array) -> jax.Array:
        """`pre_BxF`, which `pre_activations` made before, with its gradients; the product is not made again."""
        centre_D = params["b_dec"] if self.centres else None
        return recalled(pre_BxF, x_BxD, centre_D, params["W_enc"], params["b_enc"], self.dtype)

    def encoded(self, params: Params, x_BxD: jax.Array, values: jax.Array, places: Places) -> jax.Array:
        """The values, which are pre-activations at the places or 0, with their gradients."""
        centre_D = params["b_dec"] if self.centres else None
        return sparse.encoded(values, places, x_BxD, centre_D, params["W_enc"], params["b_enc"], self.dtype)

    def decode_sparse(self, params: Params, values: jax.Array, places: Places, x_BxD: jax.Array) -> jax.Array:
        """`decode` of latents that are values and places: float32 [B, E]."""
        return sparse.decode(values, places, params["W_dec"], len(x_BxD), self.dtype) + self.offset(params, x_BxD)

    def decode(self, params: Params, f_BxF: jax.Array, x_BxD: jax.Array) -> jax.Array:
        """f W_dec + b_dec [+ x W_skipᵀ]: float32 [B, E]."""
        return self.product(f_BxF, params["W_dec"]) + self.offset(params, x_BxD)

    def offset(self, params: Params, x_BxD: jax.Array) -> jax.Array:
        """What is predicted with no latent active: b_dec [+ x W_skipᵀ], float32 [E] or [B, E]."""
        return params["b_dec"] + self.product(x_BxD, params["W_skip"].T) if self.skip else params["b_dec"]

    def product(self, a_MxK: jax.Array, b_KxN: jax.Array) -> jax.Array:
        """a @ b in `dtype`, float32."""
        return product(a_MxK, b_KxN, self.dtype)

    def transposed_product(self, a_MxK: jax.Array, b_NxK: jax.Array) -> jax.Array:
        """a @ bᵀ in `dtype`, float32."""
        return transposed_product(a_MxK, b_NxK, self.dtype)
