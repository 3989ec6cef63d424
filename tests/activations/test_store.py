"""The store of activations: bits, checksums, interrupted writing, statistics, and batches that are pure in the step."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from saejax.activations import store
from saejax.errors import InputError

N, D, CHUNK = 101, 6, 7


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """15 chunks of 7 rows, the last of 3."""
    monkeypatch.setattr(store, "CHUNK_BYTES", 2 * D * CHUNK)


def make_rows(n=N, seed=0):
    """Random bfloat16 rows; the first two columns hold the row's number."""
    rows = np.random.default_rng(seed).standard_normal((n, D)) * 10
    rows[:, 0], rows[:, 1] = np.divmod(np.arange(n), 128)
    return rows.astype(ml_dtypes.bfloat16)


def numbers(rows):
    """The rows' numbers, as `make_rows` wrote them."""
    rows = np.asarray(rows, np.float64).reshape(-1, D)
    return (rows[:, 0] * 128 + rows[:, 1]).astype(int).tolist()


def bits(rows):
    return np.ascontiguousarray(rows).view(np.uint16)


def write(directory, rows, sizes=(10,)):
    writer = store.StoreWriter(directory, np.arange(len(rows)) * 3, D)
    append(writer, rows, sizes)
    writer.close()
    return writer


def append(writer, rows, sizes=(10,)):
    start, i = 0, 0
    while start < len(rows):
        writer.append(rows[start : start + sizes[i % len(sizes)]])
        start, i = start + sizes[i % len(sizes)], i + 1


def opened(directory, *, batch_size=8, seed=0, chunks_a_group=3):
    return store.StoredActivations(directory, batch_size=batch_size, seed=seed, chunks_a_group=chunks_a_group)


def chunk_files(directory):
    return sorted(p for p in (directory / "rows").rglob("*") if p.is_file() and not p.name.endswith(".json"))


@pytest.mark.parametrize("sizes", [(10,), (1,), (7,), (3, 50, 0, 9), (101,)])
def test_rows_come_back_bit_for_bit_however_they_are_appended(sizes, tmp_path):
    rows = make_rows()
    writer = write(tmp_path / "new", rows, sizes)
    assert writer.n_done == N and writer.n_done_at_open == 0
    source = opened(tmp_path / "new")
    assert (source.n_rows, source.width) == (N, D)
    assert source.first_rows(N).dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(bits(source.first_rows(N)), bits(rows))
    np.testing.assert_array_equal(bits(source.first_rows(13)), bits(rows[:13]))
    assert source.first_rows(10 * N).shape == (N, D)
    np.testing.assert_array_equal(np.load(tmp_path / "new" / "addresses.npy"), np.arange(N) * 3)
    assert len(chunk_files(tmp_path / "new")) == 15


def test_unusual_values_come_back_bit_for_bit(tmp_path):
    patterns = np.arange(0, 2**16, dtype=np.uint16)  # subnormals and −0 among them
    patterns = patterns[np.abs(patterns.view(ml_dtypes.bfloat16).astype(np.float32)) < 1e15]  # squares fit float32
    patterns = patterns[:: len(patterns) // 600][:600].reshape(100, D)
    write(tmp_path, patterns.view(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(bits(opened(tmp_path).first_rows(10**6)), patterns)


def test_a_store_smaller_than_a_chunk_is_whole(tmp_path):
    rows = make_rows(3)
    write(tmp_path, rows, (2,))
    source = opened(tmp_path, batch_size=4)
    np.testing.assert_array_equal(bits(source.first_rows(3)), bits(rows))
    assert sorted(numbers(source.batches(0, 3))) == sorted([0, 1, 2] * 4)


@pytest.mark.parametrize("place", [0, 30, -1])
def test_a_flipped_byte_is_noticed(place, tmp_path):
    write(tmp_path, make_rows())
    path = chunk_files(tmp_path)[6]
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    source = opened(tmp_path)
    with pytest.raises(ValueError, match="Digest mismatch"):
        source.first_rows(N)
    with pytest.raises(ValueError, match="Digest mismatch"):
        source.batches(0, N // 8 + 1)


def test_a_chunk_that_was_cut_short_is_noticed(tmp_path):
    write(tmp_path, make_rows())
    path = chunk_files(tmp_path)[6]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError):
        opened(tmp_path).first_rows(N)


def test_a_chunk_that_is_gone_is_noticed(tmp_path):
    write(tmp_path, make_rows())
    chunk_files(tmp_path)[6].unlink()
    with pytest.raises((ValueError, OSError)):
        opened(tmp_path).first_rows(N)


def test_rows_of_zeros_are_rows_like_others(tmp_path):
    rows = make_rows()
    rows[14:21] = 0
    write(tmp_path, rows)
    np.testing.assert_array_equal(bits(opened(tmp_path).first_rows(N)), bits(rows))


def same_statistics(a, b):
    return np.array_equal(a.mean_D, b.mean_D) and a.mean_norm == b.mean_norm


@pytest.mark.parametrize("stops", [(40,), (5,), (30, 31, 90), (94, 98)])
def test_a_writer_that_was_killed_goes_on_to_the_same_store(stops, tmp_path):
    rows = make_rows()
    write(tmp_path / "straight", rows)
    for stop in stops:
        writer = store.StoreWriter(tmp_path / "killed", np.arange(N) * 3, D)
        begin = writer.n_done_at_open
        assert begin % CHUNK == 0
        append(writer, rows[begin:stop], (4,))
        assert begin <= writer.n_done <= stop
        with pytest.raises(InputError, match=f"{writer.n_done} of {N} rows"):
            opened(tmp_path / "killed")
        done = writer.n_done
        del writer
    writer = store.StoreWriter(tmp_path / "killed", np.arange(N) * 3, D)
    assert writer.n_done_at_open == writer.n_done == done
    assert done > 0 or stops == (5,)
    append(writer, rows[done:])
    writer.close()
    straight, killed = opened(tmp_path / "straight"), opened(tmp_path / "killed")
    np.testing.assert_array_equal(bits(killed.first_rows(N)), bits(rows))
    assert same_statistics(killed.statistics, straight.statistics)
    np.testing.assert_array_equal(bits(killed.batches(5, 9)), bits(straight.batches(5, 9)))


def test_what_is_counted_is_on_disk(tmp_path):
    """Whatever `progress.json` counts can be read by another process, before the writer is closed."""
    rows = make_rows()
    writer = store.StoreWriter(tmp_path, np.arange(N), D)
    append(writer, rows[:80], (4,))
    done = json.loads((tmp_path / "progress.json").read_text())["n_done"]
    assert 0 < done == writer.n_done <= 80 and done % CHUNK == 0
    array = store._open(tmp_path, open=True)
    np.testing.assert_array_equal(bits(array[:done].read().result()), bits(rows[:done]))


def test_a_finished_store_that_is_opened_again_is_left_as_it_is(tmp_path):
    rows = make_rows()
    write(tmp_path, rows)
    before = opened(tmp_path).statistics
    writer = store.StoreWriter(tmp_path, np.arange(N) * 3, D)
    assert writer.n_done_at_open == N
    writer.close()
    assert same_statistics(opened(tmp_path).statistics, before)
    np.testing.assert_array_equal(bits(opened(tmp_path).first_rows(N)), bits(rows))


def test_a_store_of_another_shape_is_not_gone_on_with(tmp_path):
    write(tmp_path, make_rows())
    for n, width in ((N + 1, D), (N, D + 1)):
        with pytest.raises(ValueError):
            store.StoreWriter(tmp_path, np.arange(n), width)


def test_more_rows_than_the_store_has_are_refused(tmp_path):
    writer = store.StoreWriter(tmp_path, np.arange(10), D)
    with pytest.raises((ValueError, IndexError)):
        writer.append(make_rows(20))
        writer.close()


def test_an_absent_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="no activations in .*--tasks=extract") as caught:
        opened(tmp_path / "absent")
    assert "\n" not in str(caught.value)


def test_statistics_are_those_of_numpy_in_float64(tmp_path):
    rows = make_rows()
    write(tmp_path, rows)
    statistics = opened(tmp_path).statistics
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(statistics.mean_D, exact.mean(0), rtol=1e-12, atol=1e-12)
    assert statistics.mean_norm == pytest.approx(np.linalg.norm(exact, axis=1).mean(), rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 8, 50, 250])
@pytest.mark.parametrize("chunks_a_group", [1, 3, 100])
def test_each_pass_visits_each_row_once(batch_size, chunks_a_group, tmp_path):
    rows = make_rows()
    write(tmp_path, rows)
    source = opened(tmp_path, batch_size=batch_size, chunks_a_group=chunks_a_group)
    n_steps = -(-3 * N // batch_size)
    read = source.batches(0, n_steps)
    assert read.shape == (n_steps, batch_size, D) and read.dtype == ml_dtypes.bfloat16
    order = numbers(read)
    passes = [order[i : i + N] for i in (0, N, 2 * N)]
    assert all(sorted(p) == list(range(N)) for p in passes)
    np.testing.assert_array_equal(bits(read).reshape(-1, D), bits(rows[order]), err_msg="rows are whole")
    assert len({tuple(p) for p in passes}) == 3


def test_batches_are_pure_in_the_step(tmp_path):
    write(tmp_path, make_rows())
    source = opened(tmp_path)
    single = [bits(source.batches(step, 1)) for step in range(40)]
    for step, n in ((0, 40), (39, 1), (3, 20), (12, 2), (0, 1), (25, 13)):
        for other in (source, opened(tmp_path)):
            np.testing.assert_array_equal(bits(other.batches(step, n)), np.concatenate(single[step : step + n]))


def test_the_order_differs_between_seeds_and_mixes_the_chunks_of_a_group(tmp_path):
    write(tmp_path, make_rows())
    orders = {seed: numbers(opened(tmp_path, seed=seed).batches(0, 12)) for seed in (0, 1, 2)}
    assert len({tuple(order) for order in orders.values()}) == 3
    for order in orders.values():
        chunks = [row // CHUNK for row in order]
        assert 2 <= len(set(chunks[:8])) <= 3, "a group is three chunks, and its rows are mixed"
        assert sum(a + 1 == b for a, b in zip(order, order[1:])) < 30
        assert len(set(chunks[:40])) < 15, "a group is read before the next"


def test_each_pass_groups_the_chunks_anew(tmp_path):
    write(tmp_path, make_rows())
    order = numbers(opened(tmp_path, batch_size=N).batches(0, 4))
    first_groups = [frozenset(row // CHUNK for row in order[i * N : i * N + 15]) for i in range(4)]
    assert len(set(first_groups)) > 2


def test_a_row_is_read_from_disk_once_a_pass(tmp_path):
    write(tmp_path, make_rows())
    source = opened(tmp_path)
    reads = []
    array = source._array

    class Counted:
        shape = array.shape

        def __getitem__(self, key):
            reads.append((key.start, key.stop))
            return array[key]

    source._array = Counted()
    for step in range(N // 8):
        source.batches(step, 1)
    chunks = [(start, min(start + CHUNK, N)) for start in range(0, N, CHUNK)]
    assert sorted(reads[: len(chunks)]) == chunks  # what comes after them is read ahead for the next pass
    assert len(reads) <= len(chunks) + source._chunks_a_group


def test_a_path_with_dots_is_a_path(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    rows = np.ones((3, 4), ml_dtypes.bfloat16)
    writer = store.StoreWriter(Path("../there"), np.arange(3), 4)
    writer.append(rows)
    writer.close()
    np.testing.assert_array_equal(store.StoredActivations(Path("../there"), batch_size=1, seed=0).first_rows(3), rows)
