"""The n-gram baselines against a count in plain Python, and against a case computed by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from saejax.lm import ngram


def oracle(train, held_out, n_vocab):
    """The docstring's formulas, a token at a time."""
    unigram = Counter(token for window in train for token in window)
    n_tokens = sum(unigram.values())
    pairs = Counter((a, b) for window in train for a, b in zip(window, window[1:]))
    starts = Counter()
    successors = Counter()
    for (a, _), count in pairs.items():
        starts[a] += count
        successors[a] += 1

    def p_unigram(b):
        return (unigram[b] + 1) / (n_tokens + n_vocab)

    def p_bigram(a, b):
        if not starts[a]:
            return p_unigram(b)
        return (max(pairs[a, b] - 0.75, 0) + 0.75 * successors[a] * p_unigram(b)) / starts[a]

    seen = [(a, b) for window in held_out for a, b in zip(window, window[1:])]
    return {
        "unigram": -sum(math.log(p_unigram(b)) for _, b in seen) / len(seen),
        "bigram": -sum(math.log(p_bigram(a, b)) for a, b in seen) / len(seen),
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_losses_equal_a_count_in_plain_python(seed, dtype):
    generator = np.random.default_rng(seed)
    train = (generator.integers(0, 30, (9, 11)) ** 2 // 40).astype(dtype)
    held_out = generator.integers(0, 25, (5, 7)).astype(dtype)
    expected = oracle(train.tolist(), held_out.tolist(), 25)
    actual = ngram.held_out_losses(train, held_out, 25)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, rel=1e-12), name


def test_large_vocabularies_do_not_overflow():
    train = np.asarray([[70_000, 69_999, 70_000, 69_999]], np.int32)
    held_out = np.asarray([[70_000, 69_999]], np.int32)
    expected = oracle(train.tolist(), held_out.tolist(), 70_001)
    assert ngram.held_out_losses(train, held_out, 70_001) == pytest.approx(expected, rel=1e-12)


def test_a_hand_computed_case():
    """Training 0 1 0 1 | 0 2 0 1 over V = 3: c = (4, 3, 1), so P = (5, 4, 2)/11; 0 → 1 three times, 0 → 2 once."""
    train = np.asarray([[0, 1, 0, 1], [0, 2, 0, 1]])
    losses = ngram.held_out_losses(train, np.asarray([[0, 1, 0]]), 3)
    p_01 = (3 - 0.75) / 4 + 0.75 * 2 / 4 * 4 / 11
    p_10 = (1 - 0.75) / 1 + 0.75 * 1 / 1 * 5 / 11
    assert losses["bigram"] == pytest.approx(-(math.log(p_01) + math.log(p_10)) / 2, rel=1e-12)
    assert losses["unigram"] == pytest.approx(-(math.log(4 / 11) + math.log(5 / 11)) / 2, rel=1e-12)


def test_the_bigram_sums_to_one_over_the_vocabulary_after_any_token():
    n_vocab = 9
    train = np.random.default_rng(0).integers(0, 7, (4, 9))  # 7 and 8 are never seen
    train[:, -1] = 7  # 7 is seen, but never followed
    for before in range(n_vocab):
        pairs = [np.asarray([[before, after]]) for after in range(n_vocab)]
        losses = [ngram.held_out_losses(train, pair, n_vocab) for pair in pairs]
        for name in ("bigram", "unigram"):
            assert sum(math.exp(-loss[name]) for loss in losses) == pytest.approx(1.0, abs=1e-12), (name, before)
