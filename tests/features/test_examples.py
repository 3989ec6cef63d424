"""Which stretches are shown, against brute force."""

from __future__ import annotations

import numpy as np

from saejax.features import examples
from saejax.features.examples import Choice
from saejax.features.statistics import intervals_of
from tests.features.conftest import random_latents, text_of

CHOICE = Choice(n_top=5, n_intervals=4, n_of_interval=3, before=6, after=4, seed=0)


def of(f_N, text, latent=3, choice=CHOICE):
    rows = np.flatnonzero(f_N).astype(np.int32)
    return rows, f_N[rows], examples.choose(latent, rows, f_N[rows], text, choice)


def test_top_examples_are_the_best_of_each_window():
    text = text_of(n_windows=20, vocab_size=5000)
    f_N = random_latents(320, 1)[:, 0] * text.keep_N
    rows, values, chosen = of(f_N, text)
    windows_NxL = f_N.reshape(20, 16)
    best = sorted(range(20), key=lambda w: -windows_NxL[w].max())[:5]
    top = [one for one in chosen if one.interval == 0]
    assert [one.address for one in top] == [w * 16 + int(windows_NxL[w].argmax()) for w in best]
    assert [one.rank for one in top] == list(range(5))
    starts = [*text.windows.starts, 320]
    for one in chosen:
        document = max(i for i, start in enumerate(starts) if start <= one.address)
        window = one.address // 16 * 16
        assert one.first == max(one.address - 6, starts[document], window)
        assert one.end == min(one.address + 5, starts[document + 1], window + 16)
        np.testing.assert_array_equal(examples.activations(one, rows, values), f_N[one.first : one.end])


def test_samples_lie_in_their_intervals_and_nothing_is_shown_twice():
    text = text_of(n_windows=60, vocab_size=5000)
    f_N = random_latents(960, 1)[:, 0] * text.keep_N
    rows, values, chosen = of(f_N, text)
    interval = dict(zip(rows.tolist(), intervals_of(values, 4).tolist()))
    for q in range(1, 5):
        own = [one for one in chosen if one.interval == q]
        left = sum(v == q for v in interval.values()) - sum(interval[o.address] == q for o in chosen if o.interval == 0)
        assert len(own) == min(3, left) and all(interval[one.address] == q for one in own)
    assert len({one.address for one in chosen}) == len(chosen)
    assert of(f_N, text)[2] == chosen
    assert of(f_N, text, latent=4)[2] != chosen and of(f_N, text, choice=CHOICE._replace(seed=1))[2] != chosen


def test_samples_are_uniform():
    text = text_of(n_windows=40, vocab_size=50_000)
    f_N = (text.keep_N & (np.arange(640) % 3 == 0)).astype(np.float32)
    rows = np.flatnonzero(f_N)
    counts = dict.fromkeys(rows.tolist(), 0)
    choice = Choice(1, 1, 10, 0, 0, 0)
    for latent in range(400):
        for one in examples.choose(latent, rows, f_N[rows], text, choice):
            counts[one.address] += one.interval
    drawn = np.array(list(counts.values()))[1:]  # the first is the top example, and not drawn
    expected = 4000 / len(drawn)
    assert abs(drawn.mean() - expected) < 0.01 * expected and drawn.std() < 1.3 * expected**0.5


def test_the_same_text_is_shown_once():
    text = text_of(n_windows=8, vocab_size=5000)
    text.windows.tokens_NxL[:, 1:10] = np.arange(1, 10)
    f_N = np.zeros(128, np.float32)
    f_N[np.arange(8) * 16 + 9] = np.arange(8, 0, -1)  # eight copies of one text, and one other
    f_N[5 * 16 + 14] = 0.5
    text.windows.starts[:] = 0
    _, _, chosen = of(f_N, text._replace(windows=text.windows), choice=CHOICE._replace(n_of_interval=2))
    assert [one.address for one in chosen] == [9, 5 * 16 + 14] and [one.interval for one in chosen] == [0, 4]


def test_nothing_of_a_latent_that_never_fires():
    assert of(np.zeros(320, np.float32), text_of(20))[2] == []
