"""Reductions and the solver against all subsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.sparse import csr_array

from cleanai_onnx.selection import reduction
from cleanai_onnx.selection.exact import smallest_cover
from cleanai_onnx.selection.reduction import reduce_cover
from tests.selection.brute_force import ITEMS, Sets, covered_by, smallest, suites


def matrix(sets: Sets) -> csr_array:
    dense = np.zeros((len(sets), ITEMS), np.int32)
    for row, items in zip(dense, sets, strict=True):
        row[list(items)] = 1
    return csr_array(dense)


def left(reduced) -> Sets:
    return [set(np.flatnonzero(row).tolist()) for row in reduced.sets.toarray()]


@settings(deadline=None)
@given(sets=suites())
def test_reductions_keep_a_smallest_solution(sets):
    reduced = reduce_cover(matrix(sets))
    assert len(reduced.forced) + smallest(left(reduced)) == smallest(sets)
    rows, rest = [*reduced.forced, *reduced.rows], left(reduced)
    assert covered_by(sets, rows) == covered_by(sets, range(len(sets)))
    assert covered_by(rest, range(len(rest))) == set(range(reduced.sets.shape[1]))


@settings(deadline=None)
@given(sets=suites())
def test_what_is_left_cannot_be_reduced(sets):
    rest = left(reduce_cover(matrix(sets)))
    by_item = [
        {i for i, items in enumerate(rest) if j in items}
        for j in covered_by(rest, range(len(rest)))
    ]
    for family in (rest, by_item):
        assert not any(a <= b for i, a in enumerate(family) for j, b in enumerate(family) if i != j)
    assert all(len(images) > 1 for images in by_item)


@settings(deadline=None)
@given(sets=suites())
def test_the_optimum(sets):
    cover = smallest_cover(matrix(sets), seconds=10)
    assert cover.lower_bound == len(cover.rows) == smallest(sets)
    assert covered_by(sets, cover.rows) == covered_by(sets, range(len(sets)))


@settings(deadline=None)
@given(sets=suites())
def test_the_optimum_where_domination_is_too_dear(sets):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "PRODUCT_TERMS", 0)
        cover = smallest_cover(matrix(sets), seconds=10)
    assert cover.lower_bound == len(cover.rows) == smallest(sets)


def test_what_the_solver_calls_a_cover_and_is_none(monkeypatch):
    class Result:
        x = np.zeros(5)
        mip_dual_bound = 2.5

    monkeypatch.setattr("scipy.optimize.milp", lambda *_, **__: Result)
    cover = smallest_cover(matrix([{0, 1}, {1, 2}, {2, 3}, {3, 4}, {0, 4}]), seconds=10)
    assert cover.rows is None
    assert cover.lower_bound == 3
