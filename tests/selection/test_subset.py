"""Subsets against all subsets of tiny suites."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cleanai_onnx.selection import CoverRecord, smallest_subset
from tests.selection.brute_force import covered_by, greedy, record_of, smallest, suites

ODD = [{0, 1, 2, 3}, {0, 1, 4}, {2, 3, 5}]
"""The greedy rule takes the first one and then needs the two others, which suffice alone."""
CYCLE = [{0, 1}, {1, 2}, {2, 3}, {3, 4}, {0, 4}]
"""No image is essential or dominated; the linear relaxation says 2.5."""


def check(sets, subset) -> None:
    """Test what holds for every subset, proven or not."""
    order, gains = subset.order.tolist(), subset.gains.tolist()
    assert len(set(order)) == len(order)
    assert covered_by(sets, order) == covered_by(sets, range(len(sets)))
    for place, (image, gain) in enumerate(zip(order, gains, strict=True)):
        assert gain == len(sets[image] - covered_by(sets, order[:place])) > 0
    assert gains == sorted(gains, reverse=True)
    assert subset.lower_bound <= smallest(sets) <= len(order) <= len(greedy(sets)[0])
    assert subset.proven == (subset.lower_bound == len(order))


@settings(deadline=None)
@given(sets=suites())
@example(sets=[])
@example(sets=[set(), set()])
@example(sets=[{3}])
@example(sets=[{1, 2}, {1, 2}, {1, 2}])
@example(sets=ODD)
@example(sets=CYCLE)
def test_exact_is_the_optimum(sets):
    subset = smallest_subset(record_of(sets))
    check(sets, subset)
    assert subset.proven
    assert len(subset.order) == smallest(sets)


@settings(deadline=None)
@given(sets=suites())
@example(sets=CYCLE)
def test_without_the_solver_the_bound_holds(sets):
    check(sets, smallest_subset(record_of(sets), exact_limit=0))


def test_the_limit_is_of_open_pairs():
    # Image 0 is essential; CYCLE, which it leaves open, has 10 pairs.
    record = record_of([{7, 8}, *CYCLE])
    assert smallest_subset(record, exact_limit=10).proven
    unsolved = smallest_subset(record, exact_limit=9)
    assert (unsolved.lower_bound, len(unsolved.order), unsolved.proven) == (4, 4, True)


def test_one_that_no_bound_proves_without_the_solver():
    # Lines of the projective plane of order 2, by their complements: any two leave a point open.
    lines = [{i % 7, (i + 1) % 7, (i + 3) % 7} for i in range(7)]
    complements = [set(range(7)) - line for line in lines]
    assert smallest(complements) == 3
    assert smallest_subset(record_of(complements)).proven
    unsolved = smallest_subset(record_of(complements), exact_limit=0)
    assert (unsolved.lower_bound, unsolved.proven) == (2, False)
    check(complements, unsolved)


def test_no_time_is_the_greedy_subset():
    rng = np.random.default_rng(0)
    record = CoverRecord(400)
    record.append(rng.integers(0, 400, (300, 20)))
    subset = smallest_subset(record, seconds=0.0)
    assert not subset.proven
    assert 0 < subset.lower_bound < len(subset.order) <= len(subset.ranking.order)
    assert subset.gains.sum() == record.covered


def test_of_duplicates_the_first_is_kept():
    assert smallest_subset(record_of([{1}, {1, 2}, {1, 2}, {1, 2}])).order.tolist() == [1]


@settings(deadline=None)
@given(sets=suites())
def test_only_is_what_would_be_lost(sets):
    subset = smallest_subset(record_of(sets))
    everything = range(len(sets))
    whole = covered_by(sets, everything)
    lost = [len(whole - covered_by(sets, [i for i in everything if i != j])) for j in everything]
    assert subset.only.tolist() == lost


@settings(deadline=None)
@given(sets=suites(), data=st.data())
def test_the_size_does_not_depend_on_the_order(sets, data):
    shuffled = data.draw(st.permutations(sets))
    sizes = [len(smallest_subset(record_of(suite)).order) for suite in (sets, shuffled)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("images", [1, 40])
def test_all_images_essential(images):
    subset = smallest_subset(record_of([{image} for image in range(images)], images))
    assert subset.order.tolist() == list(range(images))
    assert subset.proven
