"""Training that starts from an autoencoder read from a file: `InferenceSAE` → an architecture's parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from saejax.errors import InputError
from saejax.interop.folding import with_input_bias
from saejax.sae.base import HParams, Params, SparseAutoencoder, without_parallel_part
from saejax.sae.inference import InferenceSAE

_RESCALABLE = ("relu", "jumprelu", "gated")
_CLOSE = 1e-4


def adopt(sae: SparseAutoencoder, params: Params, hparams: HParams, start: InferenceSAE, where: str) -> Params:
    """An architecture's parameters with the maps, biases and thresholds of an autoencoder; what that lacks stays as it is.

    Decoder rows get unit norm where that changes nothing but the latents' units, so that a constraint to unit norms finds
    them so.

    Args:
      sae: the architecture.
      params: its own at the start.
      hparams: one member's.
      start: in training's units (`InferenceSAE.for_raw_input` of the reciprocal scales).
      where: what error messages call it.

    Raises:
      InputError: other sizes, another activation; rows whose norms the architecture would change; a dictionary that is not
        tied, for an architecture whose is; a part that the architecture lacks.
    """
    own = sae.export(params, hparams)
    for name, letters in (("W_enc", "d_in, d_sae"), ("W_dec", "d_sae, d_out")):
        have, want = getattr(start, name).shape, getattr(own, name).shape
        if have != want:
            raise InputError(
                f"--sae={where}: {name} is [{letters}] = {list(have)}; the sweep's is {list(want)}; change --d_sae"
            )
    if start.activation != own.activation:
        raise InputError(
            f"--sae={where}: its activation is {start.activation}, the sweep's is {own.activation}; train that one"
        )
    if start.activation in _RESCALABLE:
        start = start.with_unit_decoder()
    norm_F = jnp.linalg.norm(start.W_dec, axis=-1)
    if sae.project_gradients is without_parallel_part and not jnp.allclose(norm_F, 1.0, atol=_CLOSE):
        raise InputError(
            f"--sae={where}: its decoder rows do not have unit norm, as the chosen form keeps them; choose a form with free "
            f"norms, such as saelens"
        )
    if "scale" in params:  # thresholding is exported in units of its thresholds, scale²
        start = start.replace(W_enc=start.W_enc * norm_F, b_enc=start.b_enc * norm_F, W_dec=start.W_dec / norm_F[:, None])
    if own.apply_b_dec_to_input != start.apply_b_dec_to_input:
        start = with_input_bias(start, own.apply_b_dec_to_input)
    if "W_enc" not in params and not jnp.allclose(start.W_enc, start.W_dec.T, atol=_CLOSE * float(jnp.abs(start.W_dec).max())):
        raise InputError(
            f"--sae={where}: W_enc is not W_dec's transpose, as the sweep's tied dictionary has it; choose another"
        )
    if "b_dec" not in params and bool((start.b_dec != 0).any()):
        raise InputError(f"--sae={where}: has a decoder bias, which the sweep's architecture lacks; choose another")
    if "W_skip" not in params and start.W_skip is not None:
        raise InputError(f"--sae={where}: has a skip path; give --skip")
    found = {
        "W_enc": start.W_enc,
        "b_enc": start.b_enc,
        "b_gate": start.b_enc,
        "W_dec": start.W_dec,
        "b_dec": start.b_dec,
        "r_mag": start.r_mag,
        "b_mag": start.b_mag,
        "W_skip": start.W_skip,
        "threshold": _threshold(params, start),
        "scale": jnp.sqrt(norm_F),
    }
    taken = {name: found[name] for name in params if found.get(name) is not None}
    return {**params, **{name: jnp.asarray(value, params[name].dtype) for name, value in taken.items()}}


def _threshold(params: Params, start: InferenceSAE) -> jax.Array | None:
    """A threshold for each latent, or the one that batch-topk learns, where all are the same but for rounding."""
    if start.threshold is None or "threshold" not in params:
        return None
    if params["threshold"].ndim:
        return start.threshold
    mean = start.threshold.mean()
    return mean if bool(jnp.abs(start.threshold - mean).max() <= _CLOSE * jnp.abs(mean)) else None
