"""The k largest against a stable sort."""

from __future__ import annotations

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.coverage.selection import top_k
from cleanai_onnx.coverage.sweeps import row_extrema
from tests.coverage.measuring import compiled_here
from tests.coverage.suites import thorough

ROWS = 2


@cache
def selected(k: int):
    return compiled_here(lambda a: top_k(a, row_extrema(a)[2], k), wide=True)


def check(a: np.ndarray, k: int) -> None:
    values, indices = (np.asarray(found) for found in selected(k)(jnp.asarray(a)))
    assert values.shape == indices.shape == (len(a), k)
    for row, ours, places in zip(a, values, indices, strict=True):
        order = np.argsort(np.where(np.isnan(row), np.inf, -row), kind="stable")
        numbers = order[~np.isnan(row[order])][:k]
        assert ours[: len(numbers)].tolist() == row[numbers].tolist()
        assert (ours[len(numbers) :] == -np.inf).all()
        assert set(places[: len(numbers)].tolist()) == set(numbers.tolist())


def rows(seed: int, size: int, kind: str) -> np.ndarray:
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((ROWS, size)).astype(np.float32)
    if kind == "ties":
        a = np.round(a * 2).astype(np.float32)
    elif kind == "rectified":
        a = np.maximum(a, 0)
    elif kind == "few positive":
        a = np.where(generator.random(a.shape) < 2 / size, 1, 0).astype(np.float32)
    elif kind == "constant":
        a[:] = -0.5
    elif kind == "tied at the end":
        a = -np.abs(a) - 1
        a[:, -5:] = 2
        a[:, size // 2] = 2
    elif kind == "signed zeros":
        a = np.where(generator.random(a.shape) < 0.5, np.float32(-0.0), np.float32(0.0))
    elif kind == "NaN":
        a[generator.random(a.shape) < 0.5] = math.nan
    elif kind == "nothing but NaN":
        a[:] = math.nan
        a[0, -1] = -3
    elif kind == "one tie beyond a window":
        a = np.arange(size, dtype=np.float32)[::-1].repeat(ROWS).reshape(size, ROWS).T.copy()
        a[:, -1] = a[:, size // 4]
    return a


KINDS = (
    "any",
    "ties",
    "rectified",
    "few positive",
    "constant",
    "tied at the end",
    "signed zeros",
    "NaN",
    "nothing but NaN",
    "one tie beyond a window",
)


# Searched directly; one level of blocks; two levels, with elements that fill no block in each.
@pytest.mark.parametrize(
    ("size", "k"),
    [(1, 1), (5, 3), (5, 5), (60, 50), (4096, 3), (4097, 1), (5003, 3), (5003, 50), (70_013, 5)],
)
@thorough(30, shrink=False)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
def test_selects_what_a_stable_sort_puts_first(size: int, k: int, seed: int, kind: str) -> None:
    check(rows(seed, size, kind), k)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_row(kind: str) -> None:
    for size, k in ((60, 50), (5003, 3), (70_013, 5)):
        check(rows(11, size, kind), k)


@pytest.mark.parametrize("size", [2, 5003])
def test_zeros_of_both_signs_are_equal(size: int) -> None:
    a = np.zeros((ROWS, size), np.float32)
    a[:, 0] = -0.0
    check(a, 1)


def test_the_largest_in_any_place() -> None:
    size = 5003
    for place in (0, 1, 311, 312, 313, 4991, 4992, 4993, size - 1):
        a = np.zeros((ROWS, size), np.float32)
        a[:, place] = 1
        a[1, place] = -1
        check(a, 1)


@pytest.mark.parametrize(("size", "k"), [(200_000, 4096), (200_000, 5000), (4097, 4097)])
def test_any_k_can_be_traced(size: int, k: int) -> None:
    """Compiling these would take long; what fails, fails while they are traced."""
    a = jax.ShapeDtypeStruct((ROWS, size), np.float32)
    values, indices = jax.eval_shape(lambda a: top_k(a, row_extrema(a)[2], k), a)
    assert values.shape == indices.shape == (ROWS, k)


def test_more_ties_than_a_window_holds() -> None:
    """k = 4,200 of 140,000 equal elements: the lowest 4,200, from two windows."""
    check(np.zeros((1, 140_000), np.float32), 4200)
