"""Exact changes of form: the same function of the input, written with or without b_dec subtracted from it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from saejax.sae.inference import InferenceSAE


def with_input_bias(sae: InferenceSAE, wanted: bool) -> InferenceSAE:
    """The same latents and outputs with `apply_b_dec_to_input` as wanted; (x − b) W + c = x W + (c − b W).

    Not for "matching_pursuit", whose residual starts at the centred input, nor where D ≠ E.
    """
    if sae.apply_b_dec_to_input == wanted:
        return sae
    # In float64 on the host: a product in an accelerator's reduced precision would change which latents are active.
    shift_F = (1.0 if wanted else -1.0) * (np.asarray(sae.b_dec, np.float64) @ np.asarray(sae.W_enc, np.float64))
    changed = {"b_enc": np.asarray(sae.b_enc, np.float64) + shift_F}
    if sae.activation == "gated":  # its magnitudes have a bias of their own, and the pre-activations scaled by exp(r_mag)
        changed["b_mag"] = np.asarray(sae.b_mag, np.float64) + shift_F * np.exp(np.asarray(sae.r_mag, np.float64))
    arrays = {name: jnp.asarray(a, jnp.float32) for name, a in changed.items()}
    return sae.replace(**arrays, apply_b_dec_to_input=wanted)
