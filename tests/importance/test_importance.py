"""Exact clusters and silhouettes against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.importance import UNKNOWN, cluster, important_neurons, nearest, silhouette
from tests.coverage.suites import thorough

VALUES = st.lists(st.integers(-8, 8), min_size=1, max_size=9)


@given(VALUES)
@thorough(150)
def test_no_partition_is_better(numbers: list[int]) -> None:
    values = np.sort(np.array(numbers, np.float64))
    found = cluster(values, 4)
    assert len(found) == min(4, len(set(numbers)))
    for one in found:
        best = min(
            sum(float(np.square(part - part.mean()).sum()) for part in np.split(values, cuts))
            for cuts in combinations(range(1, len(values)), one.k - 1)
        )
        np.testing.assert_allclose(one.inertia, best, atol=1e-9)
        assert one.sizes.sum() == len(values)


@given(VALUES)
@thorough(150)
def test_the_silhouette_is_that_of_its_definition(numbers: list[int]) -> None:
    values = np.sort(np.array(numbers, np.float64))
    for one in cluster(values, min(4, max(1, len(values) - 1)))[1:]:
        of = np.repeat(np.arange(one.k), one.sizes)
        scores = []
        for i, value in enumerate(values):
            distance = np.abs(values - value)
            own = (of == of[i]) & (np.arange(len(values)) != i)
            if not own.any():
                scores.append(0.0)
                continue
            a = distance[own].mean()
            b = min(distance[of == other].mean() for other in range(one.k) if other != of[i])
            scores.append((b - a) / max(a, b))
        np.testing.assert_allclose(silhouette(values, one.sizes), np.mean(scores), atol=1e-9)


def test_ties_and_constant_neurons() -> None:
    traces = np.array([[0, 5, 1], [0, 5, 1], [0, 5, 9], [0, 5, 9.5]], np.float32)
    relevance = np.array([1.0, 2.0, 2.0])
    neurons = important_neurons(relevance, traces, 3, (2, 4), drop_zeros=True)
    assert [neuron.index for neuron in neurons] == [1, 2, 0]
    assert [len(neuron.centroids) for neuron in neurons] == [1, 2, 1]
    assert neurons[1].centroids.tolist() == [1, 9.25]
    assert nearest(np.array([0.0, 2.0]), np.array([-1, 1, 1.5], np.float32)).tolist() == [0, 0, 1]


def test_what_is_not_a_number_is_near_no_centroid() -> None:
    values = np.array([np.nan, -np.inf, 0.4, np.inf], np.float32)
    assert nearest(np.array([0.0, 1.0]), values).tolist() == [UNKNOWN, 0, 0, 1]


@pytest.mark.parametrize("exponent", [-1000, -530, 530, 1000])
def test_values_of_any_size_are_clustered(exponent: int) -> None:
    values = np.array([1.0, 2.0, 3.0, 10.0, 11.0, 30.0])
    sized = np.ldexp(values, exponent)
    for near, far in zip(cluster(values, 4), cluster(sized, 4), strict=True):
        assert far.sizes.tolist() == near.sizes.tolist()
        assert np.ldexp(far.centroids, -exponent).tolist() == near.centroids.tolist()
        with np.errstate(over="ignore"):
            assert far.inertia == np.ldexp(near.inertia, 2 * exponent)
        if near.k > 1:
            assert silhouette(sized, far.sizes) == pytest.approx(silhouette(values, near.sizes))


@pytest.mark.parametrize(
    ("values", "sizes", "said"),
    [
        ([0.0, 1.0, np.nan], [1, 2], "finite and ascending"),
        ([0.0, 2.0, 1.0], [1, 2], "finite and ascending"),
        ([0.0, 1.0, 2.0], [3], "no silhouette"),
        ([0.0, 1.0], [1, 1], "no silhouette"),
        ([0.0, 1.0, 2.0], [1, 1], "add up to the 3 values"),
        ([0.0, 1.0, 2.0], [0, 3], "at least 1"),
        ([[0.0, 1.0, 2.0]], [1, 2], "one dimension"),
        ([0.0, 1.0, 2.0], [1.0, 2.0], "whole numbers"),
    ],
)
def test_arguments_that_have_no_silhouette(values: list, sizes: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        silhouette(np.array(values), np.array(sizes))


def test_what_is_left_out_is_counted() -> None:
    trace = np.array([[0], [np.nan], [1], [1], [5], [np.inf], [0], [9]], np.float32)
    (neuron,) = important_neurons(np.ones(1), trace, 1, (2, 4), drop_zeros=True)
    assert (neuron.values, neuron.zeros, neuron.not_finite) == (4, 2, 2)
    assert (neuron.low, neuron.high) == (1, 9)
    assert sum(neuron.histogram) == 4
    assert [place for place, count in enumerate(neuron.histogram) if count] == [0, 24, 47]
