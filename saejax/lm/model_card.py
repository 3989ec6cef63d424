"""The README.md of a GPT-2 that `--tasks=pretrain` made."""

from __future__ import annotations

import numpy as np

from saejax.lm import gpt2
from saejax.lm.pretrain import Recipe
from saejax.lm.tokens import TokenWindows

_TEMPLATE = """---
library_name: transformers
tags: [gpt2, saejax]
---
# A GPT-2 of {n_layer} layers and width {n_embd}, trained on {dataset}

Made by `python launch.py --tasks=pretrain` of saejax; loads with `transformers.GPT2LMHeadModel.from_pretrained`
and with `saejax.lm.weights.load`.

| model | held-out loss (nats a token) |
|---|---|
| unigram, add-one | {unigram:.3f} |
| bigram, absolute discounting | {bigram:.3f} |
| **this model** | **{gpt2:.3f}** |

The loss is the mean cross-entropy over positions 2 to {context} of {held_out_tokens:,} held-out tokens. Documents are
held out by a hash of their text; the n-gram models were counted on the same training windows.

- Sizes: {n_layer} layers, width {n_embd}, {n_head} heads, context {context}, byte-level BPE of {vocab:,} tokens.
- Text: {dataset}, {train_tokens:,} training tokens (fingerprint {fingerprint}).
- Training: {steps:,} steps of {batch:,} tokens ({seen:,} in all), AdamW at {learning_rate:g} with {warm_up} steps of
  warm-up and a cosine to a hundredth, weight decay {weight_decay:g}, gradients clipped at {clip:g}, {dtype}, seed {seed}.
"""


def text(
    dataset: str, config: gpt2.GPT2Config, recipe: Recipe, splits: dict[str, TokenWindows], losses: dict[str, float]
) -> str:
    """The model card.

    Args:
      dataset: what it was trained on.
      config, recipe: its sizes and training.
      splits: the text.
      losses: held-out nats a token of `unigram`, `bigram` and `gpt2`.
    """
    batch = recipe.batch_windows * config.n_positions
    return _TEMPLATE.format(
        dataset=dataset,
        n_layer=config.n_layer,
        n_embd=config.n_embd,
        n_head=config.n_head,
        context=config.n_positions,
        vocab=config.vocab_size,
        held_out_tokens=splits["held_out"].tokens_NxL.size,
        train_tokens=splits["train"].tokens_NxL.size,
        fingerprint=splits["train"].fingerprint,
        steps=recipe.n_steps,
        batch=batch,
        seen=recipe.n_steps * batch,
        learning_rate=recipe.learning_rate,
        warm_up=recipe.warm_up_steps,
        weight_decay=recipe.weight_decay,
        clip=recipe.gradient_clip,
        dtype=np.dtype(recipe.dtype).name,
        seed=recipe.seed,
        **losses,
    )
