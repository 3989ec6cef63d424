"""`InferenceSAE`: the one form in which trained autoencoders and transcoders are evaluated, exported and read back.

Raw activations go in and come out: whatever scaling training used has been folded into the weights, or, where it depends on the
row, is done here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from saejax.sae.pursuit import matching_pursuit
from saejax.sae.scaling import normalize, undo
from saejax.sae.selection import keep_group_max, keep_top_k

# σ, and the fields beside W_enc, b_enc, W_dec and b_dec that it needs.
ACTIVATIONS = {
    "relu": (),
    "topk": ("k",),
    "jumprelu": ("threshold",),
    "gated": ("r_mag", "b_mag"),
    "thresholding": (),
    "group_max": ("k",),
    "matching_pursuit": ("k", "residual_threshold"),
}


def thresholding(pre_BxF: jax.Array) -> jax.Array:
    """ReLU6(60 (z − 0.9)) / 6 + ReLU(z − 1): 0 up to 0.9, then steeply to 1, then z. Source: sparse_coding."""
    return jax.nn.relu6(60.0 * (pre_BxF - 0.9)) / 6.0 + jax.nn.relu(pre_BxF - 1.0)


@struct.dataclass
class InferenceSAE:
    """A pytree: f = σ(pre), pre = (x − [apply_b_dec_to_input] b_dec) W_enc + b_enc, x̂ = f W_dec + b_dec [+ x W_skipᵀ].

    A transcoder reads rows of width D and predicts rows of width E; for an autoencoder E = D.

    Attributes:
      W_enc [D, F], b_enc [F], W_dec [F, E], b_dec [E]: float32.
      threshold [F]: "jumprelu": pre where pre > max(threshold, 0), else 0.
      r_mag [F], b_mag [F]: "gated": b_enc is the gate's bias b_gate; f = [pre > 0] ReLU((pre − b_gate) exp(r_mag) + b_mag).
      k: int scalar; "topk": the k largest, then ReLU; "group_max": the largest of each of k runs of latents, then ReLU;
        "matching_pursuit": most steps. `k_max` bounds the last statically.
      residual_threshold: float scalar, "matching_pursuit": the norm of a residual that needs no further latent.
      W_skip [E, D]: a linear path beside the latents, or None.
      activation: σ, a name in `ACTIVATIONS`.
      apply_b_dec_to_input: whether the decoder's bias is subtracted from the input.
      normalize_activations: a row-dependent scaling of the input, undone in the output: a name in `scaling.PER_ROW`, or "none".
    """

    W_enc: jax.Array
    b_enc: jax.Array
    W_dec: jax.Array
    b_dec: jax.Array
    threshold: jax.Array | None = None
    r_mag: jax.Array | None = None
    b_mag: jax.Array | None = None
    k: jax.Array | None = None
    residual_threshold: jax.Array | None = None
    W_skip: jax.Array | None = None
    activation: str = struct.field(pytree_node=False, default="relu")
    apply_b_dec_to_input: bool = struct.field(pytree_node=False, default=True)
    normalize_activations: str = struct.field(pytree_node=False, default="none")
    k_max: int = struct.field(pytree_node=False, default=0)

    def encode(self, x_BxD: jax.Array) -> jax.Array:
        """Rows float32 [B, D] → latents float32 [B, F]."""
        x_BxD, _ = normalize(x_BxD, self.normalize_activations)
        centred_BxD = x_BxD - self.b_dec if self.apply_b_dec_to_input else x_BxD
        if self.activation == "matching_pursuit":
            stop = {"k": self.k, "residual_threshold": self.residual_threshold, "k_max": self.k_max}
            return matching_pursuit(centred_BxD, self.W_dec, **stop)
        pre_BxF = centred_BxD @ self.W_enc + self.b_enc
        if self.activation == "gated":
            magnitude_BxF = (pre_BxF - self.b_enc) * jnp.exp(self.r_mag) + self.b_mag
            return jnp.where(pre_BxF > 0, jax.nn.relu(magnitude_BxF), 0.0)
        if self.activation == "thresholding":
            return thresholding(pre_BxF)
        f_BxF = jax.nn.relu(pre_BxF)
        if self.activation == "topk":
            return keep_top_k(f_BxF, self.k)
        if self.activation == "group_max":
            return keep_group_max(f_BxF, self.k)
        if self.activation == "jumprelu":
            return jnp.where(pre_BxF > self.threshold, f_BxF, 0.0)
        return f_BxF

    def decode(self, f_BxF: jax.Array) -> jax.Array:
        """Latents → rows float32 [B, E], without the skip path, and in the input's normalized units where there are such."""
        return f_BxF @ self.W_dec + self.b_dec

    def reconstruct(self, x_BxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Rows float32 [B, D] → (latents [B, F], predicted rows [B, E])."""
        f_BxF = self.encode(x_BxD)
        y_BxE = self.decode(f_BxF)
        normalized_BxD, undoing = normalize(x_BxD, self.normalize_activations)
        if self.W_skip is not None:
            y_BxE = y_BxE + normalized_BxD @ self.W_skip.T
        return f_BxF, undo(y_BxE, undoing)

    def with_unit_decoder(self) -> InferenceSAE:
        """The same function with decoder rows of norm 1, latents being multiplied by the old norms.

        Exact for "relu", "jumprelu" and "gated"; for "topk" and "group_max" it keeps the selection only if that was made on
        latents so scaled, or if the norms are equal. Not for "thresholding" and "matching_pursuit".
        """
        norm_F = jnp.linalg.norm(self.W_dec, axis=-1)
        norm_F = jnp.where(norm_F > 0, norm_F, 1.0)
        scaled = {
            name: getattr(self, name) * norm_F
            for name in ("W_enc", "b_enc", "threshold", "b_mag")
            if getattr(self, name) is not None
        }
        return self.replace(**scaled, W_dec=self.W_dec / norm_F[:, None])

    def for_raw_input(self, scale: float, target_scale: float | None = None) -> InferenceSAE:
        """The autoencoder of raw rows x, given this one of rows `scale`·x (and of targets `target_scale`·y).

        Latents are multiplied by 1/scale, so that of the weights only biases and thresholds change, and, where the two scales
        differ, the decoder's rows and the skip path.
        """
        target_scale = scale if target_scale is None else target_scale
        if self.activation == "thresholding" and scale != 1.0:  # its σ has a scale of its own
            return self.replace(W_enc=self.W_enc * scale, W_dec=self.W_dec / target_scale, b_dec=self.b_dec / target_scale)
        biases = {
            name: getattr(self, name) / scale
            for name in ("b_enc", "threshold", "b_mag", "residual_threshold")
            if getattr(self, name) is not None
        }
        ratio = scale / target_scale
        skip = None if self.W_skip is None else self.W_skip * ratio
        return self.replace(**biases, W_dec=self.W_dec * ratio, b_dec=self.b_dec / target_scale, W_skip=skip)
