"""The table of hook sites, by TransformerLens's names, and the `Tap` that captures and replaces at them.

The GPT-2 calls `x = tap(name, x)` at every site. Adding a site is one such call and one row here.
`hook_normalized` is the LayerNorm's output before gain and bias, as in TransformerLens.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax

from saejax.errors import InputError

Edit = jax.Array | Callable[[jax.Array], jax.Array]


class Site(NamedTuple):
    """A hook site's shape after [batch, ...], in the letters of `Shape` (D model, H heads, L positions, …)."""

    name: str
    shape: str


BEFORE_BLOCKS = (Site("hook_embed", "LxD"), Site("hook_pos_embed", "LxD"))
IN_BLOCK = (
    Site("hook_resid_pre", "LxD"),
    Site("ln1.hook_normalized", "LxD"),
    Site("attn.hook_q", "LxHxC"),
    Site("attn.hook_k", "LxHxC"),
    Site("attn.hook_v", "LxHxC"),
    Site("attn.hook_pattern", "HxLxL"),
    Site("attn.hook_z", "LxHxC"),
    Site("hook_attn_out", "LxD"),
    Site("hook_resid_mid", "LxD"),
    Site("ln2.hook_normalized", "LxD"),
    Site("mlp.hook_pre", "LxI"),
    Site("mlp.hook_post", "LxI"),
    Site("hook_mlp_out", "LxD"),
    Site("hook_resid_post", "LxD"),
)
AFTER_BLOCKS = (Site("ln_final.hook_normalized", "LxD"),)


def site_names(n_layer: int) -> tuple[str, ...]:
    """Every site of a GPT-2 with `n_layer` blocks, in the order in which the forward pass reaches them."""
    blocks = [f"blocks.{layer}.{site.name}" for layer in range(n_layer) for site in IN_BLOCK]
    return (*(s.name for s in BEFORE_BLOCKS), *blocks, *(s.name for s in AFTER_BLOCKS))


def check_sites(names: Sequence[str], n_layer: int) -> None:
    """Raises InputError, with the nearest names and the whole list, for a name that no site has."""
    known = site_names(n_layer)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            in_block = ", ".join(s.name for s in IN_BLOCK)
            raise InputError(
                f"--hook_name={name}: no such site in a model of {n_layer} blocks; {hint}Sites are "
                f"{', '.join(s.name for s in (*BEFORE_BLOCKS, *AFTER_BLOCKS))}, and blocks.0 to blocks.{n_layer - 1} "
                f"followed by one of {in_block}"
            )


def site_width(name: str, *, n_embd: int, n_inner: int) -> int:
    """The width D of the rows that a site gives once heads are joined.

    Raises:
      InputError: for `attn.hook_pattern`, whose rows have no fixed width.
    """
    short = name.split(".", 2)[2] if name.startswith("blocks.") else name
    shape = {s.name: s.shape for s in (*BEFORE_BLOCKS, *IN_BLOCK, *AFTER_BLOCKS)}[short]
    if shape == "HxLxL":
        raise InputError(
            f"--hook_name={name}: an attention pattern has no fixed width, so no autoencoder can be trained on it; "
            "choose a site whose activations are vectors, such as hook_resid_post, hook_mlp_out or attn.hook_z"
        )
    return n_inner if shape == "LxI" else n_embd


class Tap:
    """Captures and replaces activations during one trace of the GPT-2.

    It is made anew inside each traced call, so the function that holds it stays pure.
    """

    def __init__(self, capture: Sequence[str] = (), edits: Mapping[str, Edit] | None = None):
        self.wanted = tuple(capture)
        self.edits = dict(edits or {})
        self.captured: dict[str, jax.Array] = {}

    def __call__(self, name: str, x: jax.Array) -> jax.Array:
        """The site's activation as the model shall go on with it: edited, and captured after that, where asked for."""
        if name in self.edits:
            edit = self.edits[name]
            edited = edit(x) if callable(edit) else edit
            if edited.shape != x.shape:
                raise ValueError(f"the edit at {name} has shape {edited.shape}; the site has {x.shape}")
            x = edited.astype(x.dtype)
        if name in self.wanted:
            self.captured[name] = x
        return x

    @property
    def done(self) -> bool:
        """Whether every wanted site has been captured: the forward pass may end here."""
        return len(self.captured) == len(set(self.wanted))
