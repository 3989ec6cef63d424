"""dictionary_learning's classes: which tensors of `ae.pt` hold which field of `InferenceSAE`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# Shapes of InferenceSAE's fields; a decoder's rows are as wide as the input.
FIELD_SHAPES = {"W_enc": "DF", "W_dec": "FD", "b_dec": "D"} | dict.fromkeys(("b_enc", "threshold", "r_mag", "b_mag"), "F")


class Class(NamedTuple):
    """One class of the package.

    Attributes:
      activation: a name in `ACTIVATIONS`.
      subtracts_b_dec: from the input.
      tensors: {tensor: field of InferenceSAE}; those of `nn.Linear`, "….weight", are the field's transpose.
      buffers: what its state dict holds besides: "k" and "threshold", scalars, and "group_sizes".
      unit_decoder: when its latents are multiplied by the decoder's norms: "never", "always", or "unless close" to 1.
    """

    activation: str
    subtracts_b_dec: bool
    tensors: Mapping[str, str]
    buffers: tuple[str, ...] = ()
    unit_decoder: str = "never"

    def shape(self, tensor: str) -> str:
        """A tensor's shape in letters."""
        letters = FIELD_SHAPES[self.tensors[tensor]]
        return letters[::-1] if tensor.endswith(".weight") else letters

    @property
    def encoder(self) -> str:
        """The tensor that holds W_enc."""
        return next(tensor for tensor, field in self.tensors.items() if field == "W_enc")


_LINEAR = {"encoder.weight": "W_enc", "decoder.weight": "W_dec"}
_WITH_BIAS = {**_LINEAR, "encoder.bias": "b_enc"}
_NAMED = {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
_GATED = {**_LINEAR, "decoder_bias": "b_dec", "gate_bias": "b_enc", "mag_bias": "b_mag", "r_mag": "r_mag"}
_TOPK = {**_WITH_BIAS, "b_dec": "b_dec"}

CLASSES: Mapping[str, Class] = {
    # `from_pretrained` scales the decoder to unit norm unless torch.allclose finds it there already.
    "AutoEncoder": Class("relu", True, {**_WITH_BIAS, "bias": "b_dec"}, unit_decoder="unless close"),
    # `forward(output_features=True)` gives latents multiplied by the decoder's norms.
    "AutoEncoderNew": Class("relu", False, {**_WITH_BIAS, "decoder.bias": "b_dec"}, unit_decoder="always"),
    "GatedAutoEncoder": Class("gated", True, _GATED),
    # Its attribute apply_b_dec_to_input is not saved, and is false in what is loaded.
    "JumpReluAutoEncoder": Class("jumprelu", False, {**_NAMED, "threshold": "threshold"}),
    "AutoEncoderTopK": Class("topk", True, _TOPK, ("k", "threshold")),
    "BatchTopKSAE": Class("jumprelu", True, _TOPK, ("k", "threshold")),
    "MatryoshkaBatchTopKSAE": Class("jumprelu", True, _NAMED, ("k", "threshold", "group_sizes")),
}
SAVED_AS = {"relu": "AutoEncoder", "gated": "GatedAutoEncoder", "jumprelu": "JumpReluAutoEncoder", "topk": "AutoEncoderTopK"}
