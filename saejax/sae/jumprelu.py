"""`jumprelu`: latents are 0 up to a learnt threshold θ and jump there; sparsity is an L0 loss, trained through a kernel.

    pre = (x − [b_dec]) W_enc + b_enc,  f = pre [pre > θ],  x̂ = f W_dec + b_dec,  loss = ‖x − x̂‖² + sparsity

with ‖·‖² summed over dimensions and averaged over rows. The step at θ has no gradient; with a rectangle kernel of width ε,
∂f/∂θ = −(θ/ε) [|pre − θ| < ε/2] and ∂[pre > θ]/∂θ = −(1/ε) [|pre − θ| < ε/2] are used in its place.

Forms of the sparsity, λ the l0 coefficient and L0 a row's active latents:
  rajamanoharan2024: λ L0; the gradient through the kernel reaches θ alone; no centring, unit rows of W_dec. Source:
    Rajamanoharan et al. 2024b, "Jumping Ahead: Improving Reconstruction Fidelity with JumpReLU Sparse Autoencoders".
  saelens: the same, with centring and free norms. Here as there θ itself is the parameter, not log θ.
  anthropic2025: λ Σ_f tanh(c f ‖W_dec[f]‖), and a pre-activation loss λ_p Σ_f ReLU(θ − pre) ‖W_dec[f]‖; the kernel's gradient
    reaches the encoder too. Source: Anthropic, "Circuits Updates – January 2025". `saelens_tanh`: the pre-activation loss of
    dead latents alone, the kernel's gradient to θ alone, as are SAELens's defaults.
  quadratic: λ (2 / L0*) (L0 − L0*)², for a target L0*. Source: SAELens, after Gemma Scope 2.
  dictionary_learning: λ (mean L0 / L0* − 1)²; the step is taken of f, not of pre. Source: its `JumpReluTrainer`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.base import (
    HParams,
    LossAux,
    LossContext,
    Params,
    SparseAutoencoder,
    firings,
    sum_of_squares,
    summary,
    with_unit_rows,
    without_parallel_part,
)
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE

INITIAL_THRESHOLD = 0.01
# Where the step is of f, inactive latents stand at 0: they must not lie within half the default bandwidth of the threshold.
INITIAL_THRESHOLD_OF_LATENTS = 0.05


class Form(NamedTuple):
    """How the loss is written.

    Attributes:
      sparsity: "step", "tanh", "quadratic" or "relative".
      to_input: whether the kernel's gradient reaches the pre-activations too.
      centre: whether b_dec is subtracted from the input.
      unit: whether the rows of W_dec are kept at unit norm.
      step_of_latents: whether the step is taken of f, so that inactive latents stand at 0.
      pre_act_of_all: whether the pre-activation loss is of all latents, or of dead ones.
    """

    sparsity: str
    to_input: bool = False
    centre: bool = True
    unit: bool = False
    step_of_latents: bool = False
    pre_act_of_all: bool = False

    @property
    def unread(self) -> frozenset[str]:
        """The hyper-parameters that it has no use for."""
        tanh, target = frozenset({"tanh_scale", "pre_act_coefficient"}), frozenset({"target_l0"})
        return {"tanh": target, "step": tanh | target}.get(self.sparsity, tanh)


FORMS = {
    "rajamanoharan2024": Form("step", centre=False, unit=True),
    "saelens": Form("step"),
    "anthropic2025": Form("tanh", to_input=True, pre_act_of_all=True),
    "saelens_tanh": Form("tanh"),
    "quadratic": Form("quadratic"),
    "dictionary_learning": Form("relative", centre=False, unit=True, step_of_latents=True),
}


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def jump(pre_BxF: jax.Array, threshold_F: jax.Array, bandwidth: jax.Array, to_input: bool) -> jax.Array:
    """pre [pre > θ]; the kernel's pseudo-gradient to θ and, if `to_input`, its negative to pre."""
    return jnp.where(pre_BxF > threshold_F, pre_BxF, 0.0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def step(pre_BxF: jax.Array, threshold_F: jax.Array, bandwidth: jax.Array, to_input: bool) -> jax.Array:
    """[pre > θ] as float32; pseudo-gradients as in `jump`."""
    return (pre_BxF > threshold_F).astype(pre_BxF.dtype)


def _backward(height, slope):
    """The pseudo-gradient: the kernel times `height`(θ), and `slope`(pre > θ) for pre."""

    def backward(to_input: bool, saved, grad_BxF: jax.Array):
        pre_BxF, threshold_F, bandwidth = saved
        near_BxF = jnp.abs(pre_BxF - threshold_F) < bandwidth / 2
        near_grad_BxF = jnp.where(near_BxF, grad_BxF, 0.0)
        scale_F = height(threshold_F) / bandwidth  # outside the sum, which is the slower for every factor inside
        to_pre_BxF = slope(pre_BxF > threshold_F) * grad_BxF
        if to_input:
            to_pre_BxF += scale_F * near_grad_BxF
        return to_pre_BxF, -scale_F * near_grad_BxF.sum(0), jnp.zeros_like(bandwidth)

    return backward


def _saving(function):
    def forward(pre_BxF: jax.Array, threshold_F: jax.Array, bandwidth: jax.Array, to_input: bool):
        return function(pre_BxF, threshold_F, bandwidth, to_input), (pre_BxF, threshold_F, bandwidth)

    return forward


jump.defvjp(_saving(jump), _backward(lambda threshold_F: threshold_F, lambda active_BxF: active_BxF))
step.defvjp(_saving(step), _backward(lambda threshold_F: 1.0, lambda active_BxF: 0.0))


def jumprelu(frame: Frame, *, jumprelu_form: str | Form = "rajamanoharan2024") -> SparseAutoencoder:
    """Makes the autoencoder.

    Its hyper-parameters are `l0_coefficient` (λ), `bandwidth` (ε), `target_l0` (L0*), `tanh_scale` (c) and
    `pre_act_coefficient` (λ_p); `Form.unread` names those that a form has no use for.

    Args:
      frame: sizes.
      jumprelu_form: a name in `FORMS`, or a Form.
    """
    form = FORMS[jumprelu_form] if isinstance(jumprelu_form, str) else jumprelu_form
    frame = frame if form.centre else frame._replace(apply_b_dec_to_input=False)

    def init(key: jax.Array, b_dec_E: jax.Array) -> Params:
        params = frame.init(key, b_dec_E, gain=min(1.0, 2 * frame.d_in / frame.d_sae))
        threshold = INITIAL_THRESHOLD_OF_LATENTS if form.step_of_latents else INITIAL_THRESHOLD
        return {**params, "threshold": jnp.full(frame.d_sae, threshold)}

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        return jump(frame.pre_activations(params, x_BxD), params["threshold"], hparams["bandwidth"], form.to_input)

    def sparsity(params: Params, hparams: HParams, pre_BxF: jax.Array, f_BxF: jax.Array) -> jax.Array:
        if form.sparsity == "tanh":
            norm_F = jnp.linalg.norm(params["W_dec"], axis=-1)
            return jnp.mean(jnp.sum(jnp.tanh(hparams["tanh_scale"] * f_BxF * norm_F), axis=-1))
        of_BxF = f_BxF if form.step_of_latents else pre_BxF
        l0_B = jnp.sum(step(of_BxF, params["threshold"], hparams["bandwidth"], form.to_input), axis=-1)
        if form.sparsity == "quadratic":
            return jnp.mean(2.0 / hparams["target_l0"] * jnp.square(l0_B - hparams["target_l0"]))
        return jnp.square(l0_B.mean() / hparams["target_l0"] - 1.0) if form.sparsity == "relative" else l0_B.mean()

    def pre_act_loss(params: Params, pre_BxF: jax.Array, dead_F: jax.Array) -> jax.Array:
        below_BxF = jax.nn.relu(params["threshold"] - pre_BxF)
        below_BxF = below_BxF if form.pre_act_of_all else jnp.where(dead_F, below_BxF, 0.0)
        return jnp.sum(below_BxF.mean(0) * jnp.linalg.norm(params["W_dec"], axis=-1))

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxE: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        pre_BxF = frame.pre_activations(params, x_BxD)
        f_BxF = jump(pre_BxF, params["threshold"], hparams["bandwidth"], form.to_input)
        y_hat_BxE = frame.decode(params, f_BxF, x_BxD)
        l0_loss = hparams["l0_coefficient"] * sparsity(params, hparams, pre_BxF, f_BxF)
        total, terms = sum_of_squares(y_BxE - y_hat_BxE) + l0_loss, {"l0_loss": l0_loss}
        if form.sparsity == "tanh":
            terms["pre_act_loss"] = hparams["pre_act_coefficient"] * pre_act_loss(params, pre_BxF, context.dead_F)
            total += terms["pre_act_loss"]
        return total, summary(y_BxE, y_hat_BxE, firings(f_BxF), **terms)

    def after_update(params: Params, before: Params, observed: dict[str, jax.Array], context: LossContext) -> Params:
        # Projected, not clamped inside the loss, whose gradient would be 0 for ever at 0.
        params = {**params, "threshold": jnp.maximum(params["threshold"], 0.0)}
        return with_unit_rows(params, before, observed, context) if form.unit else params

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        return InferenceSAE(**params, activation="jumprelu", apply_b_dec_to_input=frame.centres)

    projection = {"project_gradients": without_parallel_part} if form.unit else {}
    return SparseAutoencoder(init, encode, frame.decode, loss, export, after_update=after_update, **projection)
