"""`InferenceSAE`: the one form in which trained autoencoders are evaluated, exported and read back.

Raw activations go in and come out: whatever scaling training used has been folded into the weights.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from saejax.sae.selection import top_k_mask

ACTIVATIONS = ("relu", "topk")


@struct.dataclass
class InferenceSAE:
    """A pytree: f = σ((x − [apply_b_dec_to_input] b_dec) W_enc + b_enc), x̂ = f W_dec + b_dec.

    Attributes:
      W_enc [D, F], b_enc [F], W_dec [F, D], b_dec [D]: float32.
      k: int scalar, the number of latents kept where σ is "topk" (its k largest, then ReLU); 0 for "relu".
      activation: σ, one of `ACTIVATIONS`.
      apply_b_dec_to_input: whether the decoder's bias is subtracted from the input.
    """

    W_enc: jax.Array
    b_enc: jax.Array
    W_dec: jax.Array
    b_dec: jax.Array
    k: jax.Array
    activation: str = struct.field(pytree_node=False)
    apply_b_dec_to_input: bool = struct.field(pytree_node=False)

    def encode(self, x_BxD: jax.Array) -> jax.Array:
        """Rows float32 [B, D] → latents float32 [B, F]."""
        centred_BxD = x_BxD - self.b_dec if self.apply_b_dec_to_input else x_BxD
        f_BxF = jax.nn.relu(centred_BxD @ self.W_enc + self.b_enc)
        return jnp.where(top_k_mask(f_BxF, self.k), f_BxF, 0.0) if self.activation == "topk" else f_BxF

    def decode(self, f_BxF: jax.Array) -> jax.Array:
        """Latents → reconstructed rows float32 [B, D]."""
        return f_BxF @ self.W_dec + self.b_dec

    def with_unit_decoder(self) -> InferenceSAE:
        """The same function with decoder rows of norm 1, latents being multiplied by the old norms.

        Exact for "relu"; for "topk" it keeps the selection only if it was made on latents so scaled, or if the norms
        are equal.
        """
        norm_F = jnp.linalg.norm(self.W_dec, axis=-1)
        norm_F = jnp.where(norm_F > 0, norm_F, 1.0)
        return self.replace(W_enc=self.W_enc * norm_F, b_enc=self.b_enc * norm_F, W_dec=self.W_dec / norm_F[:, None])

    def for_raw_input(self, scale: float) -> InferenceSAE:
        """The autoencoder of raw rows x, given this one of rows `scale`·x; latents are multiplied by 1/scale.

        With x' = scale·x: f(x) = f'(scale·x)/scale, x̂ = x̂'/scale, so only the biases change and decoder rows keep
        their norms.
        """
        return self.replace(b_enc=self.b_enc / scale, b_dec=self.b_dec / scale)
