"""The shared sweeps against numpy, at every length where their form changes."""

from __future__ import annotations

import math
from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from cleanai_onnx.coverage.sweeps import (
    count_rows,
    fold_chunks,
    lower,
    reduce_rows,
    row_extrema,
    upper,
)
from tests.coverage.measuring import compiled_here
from tests.coverage.suites import STEP, thorough

LENGTHS = (1, 15, 17, 512, 513, 4096, 4097, 4830, 8209)
PREDICATES = tuple(
    (lambda a, t=t: a > t) if t % 2 else (lambda a, t=t: (a <= t) & (a > -t)) for t in range(-4, 7)
)
"""Eleven: a word of eight counters and one of three. Some hold for nearly all, some for none."""


@cache
def compiled_sweeps():
    return compiled_here(lambda a: (row_extrema(a), count_rows(a, PREDICATES)), wide=True)


def rows(seed: int, size: int, nan: float) -> np.ndarray:
    generator = np.random.default_rng(seed)
    a = (generator.integers(-512, 513, (3, size)) * STEP).astype(np.float32)
    a[generator.random(a.shape) < nan] = math.nan
    return a


@pytest.mark.parametrize("size", LENGTHS)
@thorough(12, shrink=False)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 0, 0.1, 0.9, 1]))
def test_extrema_and_counts(size: int, seed: int, nan: float) -> None:
    a = rows(seed, size, nan)
    (low, high, levels), counts = compiled_sweeps()(jnp.asarray(a))
    lowest = np.where(np.isnan(a), np.inf, a)
    highest = np.where(np.isnan(a), -np.inf, a)
    np.testing.assert_array_equal(low, lowest.min(axis=1))
    np.testing.assert_array_equal(high, highest.max(axis=1))
    for level in levels:
        width = lowest.shape[1] // 16
        lowest, highest = (
            ends[:, : 16 * width].reshape(3, 16, width) for ends in (lowest, highest)
        )
        lowest, highest = lowest.min(axis=1), highest.max(axis=1)
        np.testing.assert_array_equal(level.real, lowest)
        np.testing.assert_array_equal(level.imag, highest)
    assert lowest.shape[1] <= 512
    wanted = [[int(holds(row).sum()) for holds in PREDICATES] for row in a]
    assert np.asarray(counts).tolist() == wanted


@pytest.mark.parametrize("size", LENGTHS)
def test_counts_when_every_element_is_counted(size: int) -> None:
    """No counter runs over into its neighbour."""
    a = np.full((3, size), 3, np.float32)
    _, counts = compiled_sweeps()(jnp.asarray(a))
    wanted = [size if holds(np.float32(3)) else 0 for holds in PREDICATES]
    assert {0, size} == set(wanted)
    assert np.asarray(counts).tolist() == [wanted] * 3


@pytest.mark.parametrize("size", LENGTHS)
def test_nan_in_any_place_is_ignored(size: int) -> None:
    for place in {0, 1 % size, size // 16 % size, size // 2, max(size - 2, 0), size - 1}:
        a = np.zeros((3, size), np.float32)
        a[0, place] = math.nan
        a[1], a[1, place] = math.nan, 2
        a[2], a[2, place] = -1, math.nan
        (low, high, _), counts = compiled_sweeps()(jnp.asarray(a))
        alone = size == 1
        assert low.tolist() == [math.inf if alone else 0, 2, math.inf if alone else -1]
        assert high.tolist() == [-math.inf if alone else 0, 2, -math.inf if alone else -1]
        wanted = [[int(holds(row).sum()) for holds in PREDICATES] for row in a]
        assert np.asarray(counts).tolist() == wanted


@pytest.mark.parametrize("size", [1, 512, 513, 4830, 8209])
def test_sums_of_rows_are_exact_where_float32_is(size: int) -> None:
    a = rows(1, size, 0)
    sums = compiled_here(lambda a: reduce_rows(lax.add, a, 0))(jnp.asarray(a))
    assert sums.tolist() == [math.fsum(row.tolist()) for row in a]


def test_fold_chunks_covers_every_element_once() -> None:
    a = np.arange(35, dtype=np.float32)[None]
    folded, rest = fold_chunks(lax.add, jnp.asarray(a), 0)
    assert folded.tolist() == [[float(sum(range(0, 32, 2))), float(sum(range(1, 32, 2)))]]
    assert rest.tolist() == [[32, 33, 34]]


def test_lower_and_upper_ignore_nan() -> None:
    bound, a = jnp.float32([1, 1, 1]), jnp.float32([0, 2, math.nan])
    assert lower(bound, a).tolist() == [0, 1, 1]
    assert upper(bound, a).tolist() == [1, 2, 1]
