"""Statistics that stream: fed in any blocks and merged in any order, they are those of one pass."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from cleanai_onnx.inspection.exciting import Exciting
from cleanai_onnx.inspection.kept import KeptValues
from cleanai_onnx.inspection.measure import Settings
from cleanai_onnx.inspection.moments import CrossMoments
from cleanai_onnx.inspection.overlap import (
    BINS,
    Overlaps,
    bin_of,
    intersection_over_union,
    shares_of,
)
from cleanai_onnx.inspection.ranks import Ordered
from cleanai_onnx.inspection.scores import Confidence
from tests.coverage.suites import thorough
from tests.inspection.measuring import EVERY, binary, neurons, scores

CUTS = st.lists(st.integers(0, 60), max_size=5).map(sorted)


@given(CUTS, st.sampled_from([0.0, 0.3]))
@thorough(25)
def test_scores_do_not_depend_on_the_blocks(cuts: list[int], missing: float) -> None:
    x = neurons(1, 60, 5, "rounded")
    random = np.random.default_rng(2)
    y = (random.random((60, 2)) < 0.4).astype(float)
    y[random.random(y.shape) < missing] = np.nan
    names = [name for name in EVERY if name not in ("probe", "logistic-l1")]
    once = scores(x, y, binary("a", "b"), names)
    parts = scores(x, y, binary("a", "b"), names, blocks=cuts)
    for name in names:
        for field in ("score", "low", "high", "p"):
            np.testing.assert_allclose(
                getattr(parts[name], field), getattr(once[name], field), rtol=1e-9, atol=1e-9
            )


@given(CUTS, st.permutations(range(3)))
@thorough(25)
def test_moments_merge_in_any_order(cuts: list[int], order: list[int]) -> None:
    x = neurons(1, 60, 4)
    y = np.random.default_rng(3).normal(size=(60, 3))
    y[5:9, 1] = np.nan
    edges = [0, *cuts, 60]
    parts = [CrossMoments.of(x[a:b], y[a:b]) for a, b in pairwise(edges) if b > a]
    left = CrossMoments.none(4, 3)
    for place in np.random.default_rng(order[0]).permutation(len(parts)):
        left = parts[place].merged(left)
    once = CrossMoments.of(x, y)
    for field in ("count", "mean_y", "squares_y", "products", "mean_x", "squares_x"):
        np.testing.assert_allclose(getattr(left, field), getattr(once, field), rtol=1e-9)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 6))
@thorough(50)
def test_the_most_exciting_images(numbers: list[int], size: int) -> None:
    values = np.array(numbers, np.float32)[:, None]
    found = Exciting.none(1, 4)
    for first in range(0, len(values), size):
        block = values[first : first + size]
        found = found.with_block(block, np.arange(first, first + len(block)))
    expected = sorted(range(len(numbers)), key=lambda place: (-numbers[place], place))[:4]
    known = found.images[0][found.images[0] >= 0]
    assert known.tolist() == expected
    assert found.values[0, : len(known)].tolist() == [numbers[place] for place in expected]


def test_a_value_that_is_no_number_excites_nothing() -> None:
    values = np.array([[np.nan], [1.0]], np.float32)
    found = Exciting.none(1, 2).with_block(values, np.arange(2))
    assert found.images[0, 0] == 1


@given(
    st.permutations(range(30)),
    st.integers(1, 40),
    st.integers(1, 10),
    st.integers(1, 29),
    st.data(),
)
@thorough(30)
def test_the_sample_does_not_depend_on_order_blocks_or_parts(
    order: list[int], capacity: int, size: int, cut: int, data: st.DataObject
) -> None:
    """Of images with one key, the first are kept; and what is told is in the order of images."""
    # Some have one key.
    keys = np.array(data.draw(st.lists(st.integers(0, 20), min_size=30, max_size=30)), np.uint64)
    values = np.arange(60, dtype=np.float32).reshape(30, 2)
    expected = np.sort(np.lexsort((np.arange(30), keys))[:capacity])
    whole = gathered(order, keys, values, capacity, size)
    merged = KeptValues(2, 1, capacity)
    for first, rows in ((0, range(cut)), (cut, range(cut, 30))):
        own = [row - first for row in order if row in rows]
        part = gathered(own, keys[first:], values[first:], capacity, size)
        stream = io.BytesIO()
        part.write(stream)
        stream.seek(0)
        merged.merge(stream, first)
        part.close()
    for kept in (whole, merged):
        assert kept.hypotheses[:, 0].tolist() == values[expected, 0].tolist()
        every = np.arange(len(kept))
        (block,) = kept.blocks(every)
        assert np.array_equal(block, values[expected].T)
        (some,) = kept.blocks(every[::2], range(1, 2))
        assert np.array_equal(some, values[expected[::2], 1:].T)
        assert np.array_equal(kept.layer(every, range(2)), values[expected])
        kept.close()


def gathered(
    order: list[int], keys: np.ndarray, values: np.ndarray, capacity: int, size: int
) -> KeptValues:
    kept = KeptValues(2, 1, capacity)
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        kept.add(values[rows], values[rows, :1].astype(float), rows, keys[rows])
    return kept


@pytest.mark.parametrize("shape", ["normal", "rectified", "rounded"])
def test_ranks_are_scipys(shape: str) -> None:
    values = np.ascontiguousarray(neurons(5, 200, 6, shape).T)
    ordered = Ordered(values)
    np.testing.assert_array_equal(ordered.ranks, rankdata(values, axis=1))
    for row, ties in zip(values, ordered.ties, strict=True):
        _, counts = np.unique(row, return_counts=True)
        assert ties == (counts**3 - counts).sum()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=50))
@thorough(60)
def test_bins_are_in_order(numbers: list[float]) -> None:
    values = np.sort(np.array(numbers, np.float32))
    bins = bin_of(values)
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < BINS


def test_bins_are_sixteenths_of_an_octave() -> None:
    values = np.float32(2) ** np.arange(-11, 11, 1 / 64, dtype=np.float64)
    bins = bin_of(values.astype(np.float32))
    width = [values[bins == one].max() / values[bins == one].min() for one in np.unique(bins)]
    assert max(width) < 1 + 1 / 16
    assert bin_of(np.array([-1, -0.0, 0, 1], np.float32)).tolist() == [
        384 - 193, 384, 384, 384 + 193,
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "grid"), [((8, 8), (4, 4)), ((7, 5), (3, 2)), ((4, 4), (4, 4))])
def test_shares_are_areas(size: tuple[int, int], grid: tuple[int, int]) -> None:
    masks = (np.random.default_rng(0).random((3, *size)) < 0.5).astype(np.float32)
    found = shares_of(masks, grid)
    # Each pixel in so many parts that cells and pixels both consist of whole parts.
    fine = np.kron(masks, np.ones(grid, np.float32))
    expected = fine.reshape(3, grid[0], size[0], grid[1], size[1]).mean(axis=(2, 4))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("quantile", [None, 0.02, 0.2])
@pytest.mark.parametrize("batch", [1, 3, 10])
def test_overlap_against_brute_force(quantile: float | None, batch: int) -> None:
    random = np.random.default_rng(1)
    masks = (random.random((2, 10, 12, 12)) < [[[[0.3]]], [[[0.05]]]]).astype(np.float32)
    maps = np.maximum(random.normal(size=(10, 3, 6, 6)), 0).astype(np.float32)
    shares = np.stack([shares_of(one, (6, 6)) for one in masks])
    maps[:, 0] += 5 * shares[0]
    known = np.ones((2, 10), bool)
    known[1, [2, 7]] = False
    shares[~known] = np.nan
    counted = Overlaps.none(3, 2)
    for first in range(0, 10, batch):
        part = Overlaps.none(3, 2)
        part.add(maps[first : first + batch], shares[:, first : first + batch])
        counted = part.merged(counted)
    found = intersection_over_union(counted, Confidence(), Settings(quantile))
    for mask in range(2):
        rows = known[mask]
        # At the resolution of the masks: each activation is its cell of two by two pixels.
        inside = masks[mask, rows] > 0
        area = inside.sum()
        for channel in range(3):
            bins = np.kron(bin_of(maps[rows, channel]), np.ones((2, 2), int))
            wanted = area if quantile is None else quantile * bins.size
            edge = next(one for one in range(BINS + 1) if (bins >= one).sum() <= wanted + 1e-6)
            top = bins >= edge
            expected = (top & inside).sum() / (top | inside).sum()
            assert found.score[channel, mask] == pytest.approx(expected, abs=1e-6)
    assert found.inputs.tolist() == [10, 8]
    assert found.score[0, 0] == found.score[:, 0].max()
