"""Training in PyTorch: one module with autograd, or a stack of them with `torch.func.vmap`; both with `torch.optim.Adam`.

The step is saejax's: loss and gradients → projection → clipping → Adam at this step's rate → constraint. A stack's parameters,
moments and counters have a leading axis M.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state

from saejax.reference.base import Sae, Seen
from saejax.reference.options import Options

Tensors = dict[str, Tensor]


class Training:
    """One autoencoder, or an ensemble; `step` trains all members on the same rows.

    Attributes:
      params, buffers: by name, with a leading axis M where there are several members.
    """

    def __init__(self, saes: Sequence[Sae], hparams: Tensors, options: Options, *, device: str = "cpu", compile: bool = False):
        """Makes the state.

        Args:
          saes: the members, alike but for their parameters.
          hparams: float32 [M] by name, `learning_rate` among them.
          options: of the step.
          device: where everything is.
          compile: whether loss and gradients go through `torch.compile`.
        """
        self._options, self._device, self._step = options, torch.device(device), 0
        rates = hparams["learning_rate"].tolist()
        own = {name: value.to(device) for name, value in hparams.items() if name != "learning_rate"}
        self._sae, self._alone = saes[0].to(device), len(saes) == 1
        if self._alone:
            self.params, self.buffers = dict(self._sae.named_parameters()), dict(self._sae.named_buffers())
            self._hparams = {name: value[0] for name, value in own.items()}
            self._loss = torch.compile(self._sae) if compile else self._sae
            self._gradients = self._gradients_of_one
        else:
            params, self.buffers = stack_module_state([sae.to(device) for sae in saes])
            self.params, self._hparams = {name: value.detach() for name, value in params.items()}, own
            self._skeleton = copy.deepcopy(self._sae).to("meta")
            mapped = torch.vmap(grad_and_value(self._loss_of_member, has_aux=True), in_dims=(0, 0, 0, 0, None, None))
            self._mapped = torch.compile(mapped) if compile else mapped
            self._gradients = self._gradients_of_stack
        one_rate = len(set(rates)) == 1  # then one Adam updates whole stacks, else each member's slices, at its rate
        members = [self.params] if one_rate else [{n: p[m] for n, p in self.params.items()} for m in range(len(saes))]
        self._members, self._rates = members, rates[: len(members)]
        groups = [{"params": list(member.values()), "lr": rate} for member, rate in zip(members, rates)]
        self._adam = torch.optim.Adam(groups, betas=(options.b1, options.b2), eps=options.eps, fused=True)
        W_dec = self.params["W_dec"]
        self._since_fired = torch.zeros(W_dec.shape[:-1], dtype=torch.int32, device=device)

    def step(self, x_BxD: Tensor) -> Tensor:
        """One update on float32 rows; the members' losses before it, [M]."""
        options = self._options
        dead = self._since_fired > options.dead_window_steps
        auxk = self._sae.has_auxk and self._step > options.dead_window_steps and bool(dead.any())
        hparams = options.in_force(self._hparams, self._step)
        grads, loss, seen = self._gradients(hparams, dead, x_BxD, auxk)
        with torch.no_grad():
            self._sae.project(self.params, grads)
            if options.gradient_clip:
                self._clip(grads)
            for i, member in enumerate(self._members):
                self._adam.param_groups[i]["lr"] = self._rates[i] * options.rate(self._step)
                for name, param in member.items():
                    param.grad = grads[name] if len(self._members) == 1 else grads[name][i]
            self._adam.step()
            self._sae.constrain({**self.params, **self.buffers}, seen, hparams)
            self._since_fired = torch.where(seen["fired_F"], 0, self._since_fired + 1)
        self._step += 1
        return loss.detach().reshape(-1)

    @torch.no_grad()
    def encode(self, x_BxD: Tensor) -> Tensor:
        """The latents of rows, [M, B, F]."""

        def one(params: Tensors, buffers: Tensors, hparams: Tensors) -> Tensor:
            return functional_call(_Encoding(self._skeleton), _prefixed(params, buffers), (x_BxD, hparams))

        with self._autocast():
            if self._alone:
                return self._sae.encode(x_BxD, self._hparams)[None]
            return torch.vmap(one)(self.params, self.buffers, self._hparams)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._options.bfloat16)

    def _gradients_of_one(self, hparams: Tensors, dead_F: Tensor, x_BxD: Tensor, auxk: bool) -> tuple[Tensors, Tensor, Seen]:
        with self._autocast():
            loss, seen = self._loss(x_BxD, hparams, dead_F, auxk)
        grads = torch.autograd.grad(loss, list(self.params.values()), materialize_grads=True)
        return dict(zip(self.params, grads)), loss, seen

    def _loss_of_member(
        self, params: Tensors, buffers: Tensors, hparams: Tensors, dead_F: Tensor, x_BxD: Tensor, auxk: bool
    ) -> tuple[Tensor, Seen]:
        return functional_call(self._skeleton, (params, buffers), (x_BxD, hparams, dead_F, auxk))

    def _gradients_of_stack(self, hparams: Tensors, dead: Tensor, x_BxD: Tensor, auxk: bool) -> tuple[Tensors, Tensor, Seen]:
        with self._autocast():
            grads, (loss, seen) = self._mapped(self.params, self.buffers, hparams, dead, x_BxD, auxk)
        return grads, loss, seen

    def _clip(self, grads: Tensors) -> None:
        """Each member's gradient brought to a norm of at most `gradient_clip`."""
        first = 0 if self._alone else 1
        norm = sum(g.square().flatten(first).sum(-1) for g in grads.values()).sqrt()
        scale = torch.where(norm < self._options.gradient_clip, 1.0, self._options.gradient_clip / norm)
        for g in grads.values():
            g.mul_(scale.reshape(scale.shape + (1,) * (g.ndim - scale.ndim)))


class _Encoding(torch.nn.Module):
    """A module whose `forward` is another's `encode`, for `functional_call`."""

    def __init__(self, sae: Sae):
        super().__init__()
        self.sae = sae

    def forward(self, x_BxD: Tensor, hparams: Tensors) -> Tensor:
        """The latents."""
        return self.sae.encode(x_BxD, hparams)


def _prefixed(params: Tensors, buffers: Tensors) -> Tensors:
    return {f"sae.{name}": value for name, value in {**params, **buffers}.items()}
