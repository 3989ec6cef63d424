"""A loaded model and its autoencoders, asked by text: text → padded tokens → a compiled program → plain values for JSON.

Tokens go out as [text, escaped] pairs, as `features.vocabulary` shows them; numbers as Python floats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.errors import InputError
from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features.vocabulary import vocabulary
from saejax.live import programs
from saejax.live.edits import N_EDITS, Edit, pack
from saejax.live.known import Known
from saejax.lm.weights import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

N_STRONGEST = 12  # latents listed at each token
N_NEXT = 10  # tokens listed of a distribution
N_SAMPLED = 24  # tokens of a continuation
_SHORTEST = 32  # lengths that programs are compiled for double from here


class Text(NamedTuple):
    """A text as the model reads it.

    Attributes:
      tokens: `<|endoftext|>` first where documents are so begun; cut to the context.
      n_given: how many there were before the cut.
    """

    tokens: list[int]
    n_given: int


class Session:
    """The model, loaded and compiled.

    Attributes:
      context_size: tokens of a text, at most.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        members: Mapping[str, Spliced],
        known: Mapping[str, Known],
        *,
        context_size: int,
        prepend_bos: bool,
        exclude_special: bool,
    ):
        self.context_size = context_size
        self._model, self._tokenizer, self._members, self._known = model, tokenizer, members, known
        self._shown = list(zip(*vocabulary(tokenizer, model.config.vocab_size)))
        self._end_of_text, self._prepend_bos = tokenizer.token_to_id(END_OF_TEXT), prepend_bos
        self._exclude_special = exclude_special
        doubled = (_SHORTEST * 2**i for i in range(16))
        self._lengths = (*(length for length in doubled if length < context_size), context_size)

    def members(self) -> list[dict[str, Any]]:
        """What there is: {"name", "reads", "writes", "n_latents", "recorded"} of each autoencoder."""
        return [
            {"name": name, "reads": m.reads, "writes": m.writes, "n_latents": len(m.sae.W_dec), "recorded": name in self._known}
            for name, m in self._members.items()
        ]

    @property
    def n_programs(self) -> int:
        """How many `warm_up` compiles."""
        return 3 * len(self._lengths) * len(self._forms())

    def warm_up(self, advance: Callable[[int], None]) -> None:
        """Compiles every program for every length and form of autoencoder; `advance` is told of each."""
        for name, length in itertools.product(self._forms().values(), self._lengths):
            text = Text([self._end_of_text] * (length // 2), length // 2)
            self._activations(name, text, (), length)
            advance(1)
            self._changes(name, text, (), 0, length)
            advance(1)
            self._continuations(name, text, (), 0, 1.0, 1, length)
            advance(1)

    def _forms(self) -> dict[tuple, str]:
        """{what programs are compiled for: an autoencoder of that form}; others of the same form share its programs."""
        shapes = {name: str(jax.tree.map(lambda a: (a.shape, a.dtype), m.sae)) for name, m in self._members.items()}
        return {(m.reads, m.writes, shapes[name]): name for name, m in self._members.items()}

    def look(self, *, member: str, text: str, latents: Sequence[int]) -> dict[str, Any]:
        """Activations along a text.

        Args:
          member: an autoencoder's name.
          text: any.
          latents: at most `N_EDITS`, whose activations at every token are wanted.

        Returns:
          tokens; n_given, limit; strongest: [[latent, activation], …] of each token; activations: {latent: one a token}; l0,
          fvu (None where nothing varies); labels, boosted, max_activations: of the latents that are named, where features were
          collected.
        """
        read = self._read(text)
        found = self._activations(member, read, latents, self._length(len(read.tokens)))
        n = len(read.tokens)
        strongest = [
            [[int(latent), float(value)] for latent, value in zip(*row) if value > 0]
            for row in zip(found.latents_LxN[:n], found.values_LxN[:n])
        ]
        named = sorted({latent for row in strongest for latent, _ in row} | set(latents))
        known = self._known.get(member)
        return {
            "tokens": self._show(read.tokens),
            "n_given": read.n_given,
            "limit": self.context_size,
            "strongest": strongest,
            "activations": {latent: found.chosen_LxK[:n, i].tolist() for i, latent in enumerate(latents)},
            "l0": float(found.l0),
            "fvu": float(found.error / found.variance) if found.variance > 0 else None,
            "labels": {latent: known.labels[latent] for latent in named} if known else {},
            "boosted": {latent: self._show(known.boosted[latent]) for latent in named} if known else {},
            "max_activations": {latent: float(known.max_activation_F[latent]) for latent in named} if known else {},
        }

    def change(self, *, member: str, text: str, edits: Sequence[Edit], position: int | None) -> dict[str, Any]:
        """What edits change.

        Args:
          member, text: as in `look`.
          edits: at most `N_EDITS`.
          position: of the token after which the next one is looked at; None: the last.

        Returns:
          position, token: the one there; next: {tokens, before, after}, probabilities; kl; loss_change of each token (None at
          the first); units.

        Raises:
          InputError: no such position.
        """
        read = self._read(text)
        n = len(read.tokens)
        if n == 0 or (position is not None and position >= n):
            raise InputError(f"position={position}: the text has {n} tokens")
        position = n - 1 if position is None else position
        found = self._changes(member, read, edits, position, self._length(n))
        listed = {"before": found.before_N.tolist(), "after": found.after_N.tolist()}
        return {
            "position": position,
            "token": self._show(read.tokens[position : position + 1])[0],
            "next": {"tokens": self._show(found.tokens_N), **listed},
            "kl": max(0.0, float(found.kl)),
            "loss_change": [None, *found.loss_change_L[1:n].tolist()],
            "units": found.unit_E[: len(edits)].tolist(),
        }

    def sample(self, *, member: str, text: str, edits: Sequence[Edit], seed: int, temperature: float) -> dict[str, Any]:
        """{"before", "after"}: sampled continuations, as long as the context has room.

        Args:
          member, text, edits: as in `change`.
          seed: of the samples, the same for both.
          temperature: 0 takes the most probable token each time.
        """
        read = self._read(text)
        n = len(read.tokens)
        room = min(N_SAMPLED, self.context_size - n) if n else 0
        sampled_2xT = self._continuations(member, read, edits, seed, temperature, room, self._length(n + room))
        before, after = map(self._show, sampled_2xT)
        return {"before": before, "after": after}

    def _read(self, text: str) -> Text:
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of pairs are no Unicode
        tokens = self._tokenizer.encode(whole, add_special_tokens=False).ids
        if self._prepend_bos:
            tokens = [self._end_of_text, *tokens]
        return Text(tokens[: self.context_size], len(tokens))

    def _show(self, tokens: Sequence[int]) -> list[list]:
        return [list(self._shown[token]) for token in tokens]

    def _length(self, n: int) -> int:
        return next(length for length in self._lengths if length >= n)

    def _arguments(self, member: str, text: Text, length: int) -> tuple[tuple, programs.Setting]:
        tokens_L = np.full(length, self._end_of_text, np.int32)
        tokens_L[: len(text.tokens)] = text.tokens
        model, spliced = self._model, self._members[member]
        setting = programs.Setting(
            model.config, model.dtype, spliced.reads, spliced.writes, self._end_of_text, self._exclude_special
        )
        return (model.params, spliced.sae, tokens_L, np.int32(len(text.tokens))), setting

    def _edits(self, member: str, edits: Sequence[Edit]):
        known = self._known.get(member)
        return pack(edits, known.max_activation_F if known else None)

    def _activations(self, member: str, text: Text, latents: Sequence[int], length: int) -> programs.Activations:
        arguments, setting = self._arguments(member, text, length)
        latents_K = np.zeros(N_EDITS, np.int32)
        latents_K[: len(latents)] = latents
        n = min(N_STRONGEST, len(self._members[member].sae.W_dec))
        return jax.device_get(programs.activations(*arguments, latents_K, setting=setting, n=n))

    def _changes(self, member: str, text: Text, edits: Sequence[Edit], position: int, length: int) -> programs.Changes:
        arguments, setting = self._arguments(member, text, length)
        n = min(N_NEXT, self._model.config.vocab_size)
        edited = self._edits(member, edits)
        return jax.device_get(programs.changes(*arguments, np.int32(position), edited, setting=setting, n=n))

    def _continuations(
        self, member: str, text: Text, edits: Sequence[Edit], seed: int, temperature: float, n: int, length: int
    ) -> np.ndarray:
        (params, sae, tokens_L, n_text), setting = self._arguments(member, text, length)
        more = (self._edits(member, edits), np.uint32(seed), np.float32(temperature))
        tokens_2xL = jnp.stack([tokens_L, tokens_L])
        for i in range(n):
            tokens_2xL = programs.continued(params, sae, tokens_2xL, n_text, np.int32(i), *more, setting=setting)
        return jax.device_get(tokens_2xL)[:, n_text : n_text + n]
