"""Candidates for the nearest trace: the nearest one is always among them, and few others are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cleanai_onnx.surprise import NearestTraces, ranking
from cleanai_onnx.surprise.ranking import Ranking
from tests.coverage.suites import thorough


def squared_distances(
    traces: np.ndarray, classes: np.ndarray, query: np.ndarray, label: int, same: bool
) -> np.ndarray:
    """Return the squared distances of a query from all traces, infinite from unwanted ones."""
    squared = np.square(traces.astype(np.float64) - query.astype(np.float64)).sum(axis=1)
    return np.where((classes == label) == same, squared, np.inf)


def check(traces: np.ndarray, classes: np.ndarray, queries: np.ndarray, of: np.ndarray) -> int:
    """Check both searches, and return how many candidates there were."""
    order = np.argsort(classes, kind="stable")
    traces, classes = traces[order], classes[order]
    found = Ranking(traces, np.arange(len(traces)), classes)
    count = 0
    for same in (True, False):
        rows, query = found.candidates(queries, of, same=same)
        count += len(rows)
        for i, (x, label) in enumerate(zip(queries, of.tolist(), strict=True)):
            squared = squared_distances(traces, classes, x, label, same)
            own = rows[query == i]
            assert len(own) == len(set(own.tolist()))
            assert ((classes[own] == label) == same).all()
            assert squared[own].min() == squared.min()
    return count


@pytest.mark.parametrize("kernel", [False, True])
@given(data=st.data())
@thorough(150)
def test_the_nearest_is_a_candidate(kernel: bool, data: st.DataObject) -> None:
    numbers = st.integers(-40, 40).map(lambda n: n / 8) | st.floats(-(2.0**99), 2.0**99, width=32)
    traces, queries = (
        data.draw(hnp.arrays(np.float32, st.tuples(rows, st.just(3)), elements=numbers))
        for rows in (st.integers(2, 40), st.integers(1, 20))
    )
    classes = np.arange(len(traces)) % data.draw(st.integers(2, min(len(traces), 5)))
    of = np.arange(len(queries)) * 5 % (int(classes.max()) + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_pays", lambda *_: kernel)
        check(traces, classes, queries, of)


def test_searches_agree_whatever_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    # Parts of 8,192 traces, blocks of 512, calls of 32, 128 and 512 queries; none is whole.
    traces = rng.normal(size=(9001, 24)).astype(np.float32)
    queries = rng.normal(size=(701, 24)).astype(np.float32)
    for kinds in (2, 9, 600):
        classes = np.sort(np.r_[np.arange(kinds), rng.integers(0, kinds, 9001 - kinds)])
        of = rng.integers(0, kinds, 701)
        nearest = []
        # Alone, and side by side: with few queries the traces are divided among the threads.
        for kernel, threads in ((True, 1), (True, 5), (False, 1), (False, 5)):
            monkeypatch.setattr(ranking, "_pays", lambda *_, kernel=kernel: kernel)
            monkeypatch.setattr(ranking, "processors", lambda threads=threads: threads)
            monkeypatch.setattr(ranking, "_WORTH", 1 << 16)
            found = NearestTraces(traces, classes)
            nearest.append(found.surprise(queries, of))
            np.testing.assert_array_equal(found.surprise(queries[:30], of[:30]), nearest[0][:30])
        for other in nearest[1:]:
            np.testing.assert_array_equal(nearest[0], other)
        # Where rounding leaves no doubt, there is one candidate.
        monkeypatch.undo()
        assert check(traces, classes, queries[:40], of[:40]) < 1.05 * 2 * 40


@pytest.mark.parametrize("kernel", [False, True])
def test_what_rounding_could_confuse_is_a_candidate(
    monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    rng = np.random.default_rng(1)
    monkeypatch.setattr(ranking, "_pays", lambda *_: kernel)
    # One far trace makes all differences but its own smaller than the rounding of the products.
    traces = np.concatenate([rng.normal(size=(2500, 6)), [[1e6] * 6]]).astype(np.float32)
    classes = np.arange(2501) % 2
    queries = rng.normal(size=(40, 6)).astype(np.float32)
    assert check(traces, classes, queries, np.arange(40) % 2) > 40 * 1250


def test_a_dead_layer_is_measured_once() -> None:
    classes = np.arange(30_000) % 3
    traces = np.zeros((30_000, 8), np.float32)
    traces[classes == 2, 0] = 1
    nearest = NearestTraces(traces, classes)
    queries = np.zeros((4000, 8), np.float32)
    queries[::2, 0] = 3
    found = nearest.surprise(queries, np.arange(4000) % 4 // 2 * 2)
    # Of class 0, whose trace class 1 has too; and of class 2, a distance of 1 from the others.
    assert np.isinf(found[0::4]).all() and np.isnan(found[1::4]).all()
    np.testing.assert_array_equal(found[2::4], 2)
    np.testing.assert_array_equal(found[3::4], 1)
    # One trace for each class is all there is to look through.
    assert nearest.distinct == 3 and nearest.neighbours == 2


def test_traces_are_divided_in_whole_blocks() -> None:
    block = ranking.BLOCK
    assert ranking._shares(block + 7, 5 * block + 3, 2) == [
        (block + 7, 3 * block),
        (3 * block, 5 * block + 3),
    ]
    # There are fewer blocks than threads.
    assert ranking._shares(3, block, 4) == [(3, block)]


def test_a_share_without_a_trace_of_the_class_adds_nothing() -> None:
    rng = np.random.default_rng(2)
    traces = rng.normal(size=(4 * ranking.BLOCK, 5)).astype(np.float32)
    classes = np.arange(len(traces)) // (2 * ranking.BLOCK)
    found = Ranking(traces, np.arange(len(traces)), classes)
    of = np.array([0, 1])
    wanted = ranking._Queries.of(traces[[5, 2000]], of, found)
    one = found._by_kernel(wanted, 0, 2 * ranking.BLOCK, same=True)
    assert one.queries.tolist() == [0] and one.rows.tolist() == [5]
