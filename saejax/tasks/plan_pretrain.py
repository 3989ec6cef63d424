"""`--plan` of `pretrain`: a few documents, and a few steps of GPT-2."""

from __future__ import annotations

import itertools
import time

import jax
import jax.numpy as jnp

from saejax.config import Config
from saejax.lm import corpus, pretrain, tokenizer, weights
from saejax.planning import counts, measure
from saejax.planning.forecast import Forecast
from saejax.tasks import inputs
from saejax.tasks.plan_extract import measure_text
from saejax.tasks.pretrain import CHARACTERS_A_TOKEN, HELD_OUT_TOKENS, recipe

STEP_SECONDS, DOCUMENTS = 4.0, 2000


def forecast_of(config: Config) -> Forecast:
    """What `pretrain` takes: the n-gram baselines are left out, which are counted in seconds."""
    how = recipe(config)
    lm = inputs.lm_from_flags(config, config.lm_vocab_size)
    text = measure_text(config, tokenizer.load(weights.find("tiny")))
    shape = (1, how.batch_windows, config.context_size)
    n_tokens = how.batch_windows * config.context_size

    def begin():
        state = pretrain.init(lm, how)
        return jax.block_until_ready(pretrain.train_steps(state, jnp.zeros(shape, jnp.int32), config=lm, recipe=how))

    done = measure.once(begin)
    state = [done.result[0]]

    def step() -> jax.Array:
        state[0], losses = pretrain.train_steps(state[0], jnp.zeros(shape, jnp.int32), config=lm, recipe=how)
        return losses

    step_seconds = measure.repeated(step, budget_seconds=STEP_SECONDS)
    n_text = min(config.lm_text_tokens, text.most_tokens or config.lm_text_tokens) + HELD_OUT_TOKENS
    state_bytes = counts.tree_bytes(state[0])
    seconds = {
        "text": text.seconds(n_text, 0, config.held_out_fraction),
        "tokenizer": _tokenizer_seconds(config, n_text),
        "compilation": done.seconds,
        "steps": how.n_steps * step_seconds,
    }
    kept = counts.kept_checkpoints(how.n_steps, config.checkpoint_every_steps)
    disk = kept * state_bytes + counts.tokens_bytes(n_text) + counts.FLOAT32_BYTES * counts.lm_parameters(lm)
    # Besides: the documents, which the tokenizer is trained on, and their tokens.
    peak = done.peak_bytes + n_text * (CHARACTERS_A_TOKEN + 2 * counts.TOKEN_BYTES)
    operations = 3 * how.n_steps * n_tokens * counts.lm_operations(lm, config.context_size, logits=True)
    return Forecast("pretrain", seconds, disk, peak, operations)


def _tokenizer_seconds(config: Config, n_tokens: int) -> float:
    """Of training the tokenizer, by as many characters as some documents have; it reads eight a token at most."""
    stream = corpus.documents(config.dataset, split=config.dataset_split, text_column=config.text_column)
    documents = [document.text for document in itertools.islice(stream, DOCUMENTS)]
    start = time.monotonic()
    tokenizer.train(iter(documents), config.lm_vocab_size)
    characters = max(1, sum(len(text) for text in documents))
    return (time.monotonic() - start) * 4 * n_tokens / characters
