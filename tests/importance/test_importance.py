"""Exact clusters and silhouettes against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.importance import cluster, important_neurons, nearest, silhouette
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
    for one in cluster(values, 4)[1:]:
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
