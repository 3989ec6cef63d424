"""Which architecture name and which tensors hold which `InferenceSAE`: SAELens's nine, and saejax's own for all others.

`saejax_<activation>`, `saejax_<activation>_transcoder` and `saejax_<activation>_skip_transcoder` are directories of the same
layout for what SAELens has no class for; saejax reads them back exactly, SAELens refuses their name. Source: sae-lens 6,
`saes/{standard,gated,topk,jumprelu,matching_pursuit}_sae.py`, `saes/transcoder.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from saejax.sae.inference import ACTIVATIONS, InferenceSAE

KINDS = ("autoencoder", "transcoder", "skip_transcoder")


class Row(NamedTuple):
    """One architecture.

    Attributes:
      name: in cfg.json.
      activation: a name in `ACTIVATIONS`.
      kind: a name in `KINDS`.
      tensors: {tensor: (field of InferenceSAE, its shape in the letters D, F and E)}.
      settings: {key of cfg.json: the scalar field of InferenceSAE it holds}.
    """

    name: str
    activation: str
    kind: str
    tensors: Mapping[str, tuple[str, str]]
    settings: Mapping[str, str]

    @property
    def is_own(self) -> bool:
        """Whether only saejax reads it."""
        return self.name.startswith("saejax_")


def _same(*shaped: str) -> dict[str, tuple[str, str]]:
    """{"W_enc:DF"} → {"W_enc": ("W_enc", "DF")}: tensors that are called as the fields are."""
    return {name: (name, letters) for name, letters in (s.split(":") for s in shaped)}


_PLAIN = _same("W_enc:DF", "b_enc:F", "W_dec:FE", "b_dec:E")
_JUMP, _SKIP = _same("threshold:F"), _same("W_skip:ED")
_DECODER = _same("W_dec:FE", "b_dec:E")
_GATED = {**_same("W_enc:DF", "r_mag:F", "b_mag:F"), "b_gate": ("b_enc", "F"), **_DECODER}
_PURSUIT = {"max_iterations": "k", "residual_threshold": "residual_threshold"}
_LATENT_FIELDS = _same("threshold:F", "r_mag:F", "b_mag:F")

SAELENS = (
    Row("standard", "relu", "autoencoder", _PLAIN, {}),
    Row("gated", "gated", "autoencoder", _GATED, {}),
    Row("topk", "topk", "autoencoder", _PLAIN, {"k": "k"}),
    Row("jumprelu", "jumprelu", "autoencoder", _PLAIN | _JUMP, {}),
    Row("matching_pursuit", "matching_pursuit", "autoencoder", _DECODER, _PURSUIT),
    Row("transcoder", "relu", "transcoder", _PLAIN, {}),
    Row("skip_transcoder", "relu", "skip_transcoder", _PLAIN | _SKIP, {}),
    Row("jumprelu_transcoder", "jumprelu", "transcoder", _PLAIN | _JUMP, {}),
    Row("jumprelu_skip_transcoder", "jumprelu", "skip_transcoder", _PLAIN | _JUMP | _SKIP, {}),
)


def _own(activation: str, kind: str) -> Row:
    tensors = _PLAIN | {n: t for n, t in _LATENT_FIELDS.items() if n in ACTIVATIONS[activation]}
    settings = {name: name for name in ("k", "residual_threshold") if name in ACTIVATIONS[activation]}
    if activation == "gated":
        tensors = _GATED
    if activation == "matching_pursuit":
        tensors, settings = _DECODER, _PURSUIT
    name = f"saejax_{activation}" + ("" if kind == "autoencoder" else f"_{kind}")
    return Row(name, activation, kind, tensors | (_SKIP if kind == "skip_transcoder" else {}), settings)


OWN = tuple(_own(activation, kind) for activation in ACTIVATIONS for kind in KINDS)
ROWS: Mapping[str, Row] = {row.name: row for row in SAELENS + OWN}


def kind_of(sae: InferenceSAE, has_target: bool) -> str:
    """A name in `KINDS`; a path W_skip, another width of output or a target's site makes a transcoder."""
    if sae.W_skip is not None:
        return "skip_transcoder"
    return "transcoder" if has_target or sae.W_enc.shape[0] != sae.W_dec.shape[1] else "autoencoder"


def row_for(sae: InferenceSAE, kind: str) -> Row:
    """SAELens's row where its class computes the same, saejax's own otherwise."""
    for row in SAELENS:
        if (row.activation, row.kind) == (sae.activation, kind) and _saelens_computes_the_same(sae, kind):
            return row
    return _own(sae.activation, kind)


def _saelens_computes_the_same(sae: InferenceSAE, kind: str) -> bool:
    if kind != "autoencoder":  # its transcoders do not undo a row's scaling in the output
        return sae.normalize_activations == "none"
    if sae.activation == "matching_pursuit":  # its decoder adds b_dec only if the encoder subtracts it
        return sae.apply_b_dec_to_input or not bool((sae.b_dec != 0).any())
    return True
