"""What a plan says of what was measured."""

from __future__ import annotations

import pytest

from saejax.lm.corpus import Document
from saejax.planning import forecast, text
from saejax.planning.forecast import Forecast

A = Forecast("extract", {"text": 4.0, "forward": 60.0, "nothing": 0.0}, 2_000, 10**9, 10)
B = Forecast("train", {"steps": 7200.0}, 3_000, 2 * 10**9, 20)


def test_a_table_of_tasks_and_their_total():
    extract, _, total = forecast.rows([A, B])
    assert extract == ["extract", "64 s", "1.0 GB", "2.0 kB", "1.00e+01", "forward 60 s, text 4.0 s"]
    assert total[:5] == ["all", "2.0 h", "2.0 GB", "5.0 kB", "3.00e+01"]


def test_what_does_not_fit_is_named():
    assert forecast.shortages([A, B], free_disk_bytes=5_000, memory_bytes=2 * 10**9) == []
    disk, memory = forecast.shortages([A, B], free_disk_bytes=4_999, memory_bytes=10**9)
    assert disk.startswith("disk: 5.0 kB are needed") and "--store_tokens" in disk
    assert memory.startswith("memory: train needs 2.0 GB") and "--batch_size" in memory


@pytest.mark.parametrize(("n_passes", "verdict"), [(0.5, "recomputing"), (1.0, "recomputing"), (3.0, "keeping")])
def test_activations_are_kept_where_passes_would_cost_more(n_passes, verdict):
    said = forecast.keep_or_recompute(
        n_passes=n_passes, bytes_kept=10**9, forward_seconds=100.0, write_seconds=20.0, read_seconds=2.0
    )
    assert said.startswith(f"activations: {verdict} them is cheaper")


def test_text_is_read_until_both_splits_are_full():
    found = text.Text(windows=None, first_seconds=1.0, read_seconds=0.01, encode_seconds=0.1, most_tokens=None)
    assert found.seconds(95, 1, 0.05) == pytest.approx(1 + 100 * 0.01 + 96 * 0.1)
    assert found.seconds(95, 50, 0.05) == pytest.approx(1 + 1000 * 0.01 + 145 * 0.1)
    assert found._replace(most_tokens=300).seconds(95, 50, 0.05) == pytest.approx(1 + 300 * 0.01 + 145 * 0.1)


class Letters:
    """A tokenizer of one token a character."""

    def token_to_id(self, token):
        return 0

    def encode_batch(self, texts, add_special_tokens):
        return [type("Encoding", (), {"ids": [1] * len(t)})() for t in texts]


def test_the_size_of_a_local_file_bounds_its_tokens(tmp_path):
    def measure(dataset, budget_seconds, n):
        documents = (Document(str(i), f"{i:09d}") for i in range(n))
        how = {"dataset": str(dataset), "context_size": 5, "prepend_bos": True, "budget_seconds": budget_seconds}
        return text.measure(documents, Letters(), **how)

    file = tmp_path / "text.txt"
    file.write_bytes(b"x" * 9_000_000)
    whole = measure(file, 60.0, 100)
    assert whole.most_tokens == whole.windows.tokens_NxL.size == 1000 and whole.document_tokens == 10
    assert measure(file, 0.0, 10**6).most_tokens == pytest.approx(10_000_000, rel=0.02)
    assert measure("pydocs", 0.0, 10**6).most_tokens is None
