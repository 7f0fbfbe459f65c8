"""Exact k-means and the silhouette against scikit-learn, on thousands of values."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from cleanai_onnx.importance import cluster, important_neurons, nearest, silhouette
from tests.coverage.suites import thorough

FEW = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=1, max_size=40)
"""Ties, duplicates, columns of one value, and fewer distinct values than clusters."""


@pytest.mark.parametrize("count", [1000, 1024, 1025, 4097])
@pytest.mark.parametrize("shape", ["normal", "rectified", "apart", "rounded"])
def test_its_k_means_is_never_better(shape: str, count: int) -> None:
    random = np.random.default_rng(count)
    values = random.normal(1, 2, count)
    if shape == "rectified":
        values = np.maximum(values, 0)
    elif shape == "apart":
        values += random.choice([0, 30, 70], count)
    elif shape == "rounded":
        values = np.round(values, 1)
    column = values.astype(np.float32).astype(np.float64)[:, None]
    for each in cluster(column[:, 0], 6)[1:]:
        # Threads that wait for each other make this slow on a busy machine.
        with threadpool_limits(1):
            peer = KMeans(each.k, n_init=4, random_state=0).fit(column)
        assert each.inertia <= peer.inertia_ * (1 + 1e-12)
        assert each.inertia > 0.9 * peer.inertia_
        # A best partition has every value in the cluster with the nearest centroid.
        found = np.bincount(nearest(each.centroids, column[:, 0]), minlength=each.k)
        assert found.tolist() == each.sizes.tolist()


@pytest.mark.parametrize("offset", [0, 1000])
def test_the_silhouette_is_the_same(offset: float) -> None:
    random = np.random.default_rng(7)
    ordered = np.sort(np.maximum(random.normal(1, 2, 3000), 0) + offset)
    for clustering in cluster(ordered, 5)[1:]:
        labels = np.repeat(np.arange(clustering.k), clustering.sizes)
        peer = silhouette_score(ordered[:, None], labels, metric="manhattan")
        assert silhouette(ordered, clustering.sizes) == pytest.approx(peer, abs=1e-9)


@given(FEW)
@thorough(60)
def test_ties_and_few_distinct_values(numbers: list[float]) -> None:
    values = np.sort(np.array(numbers))
    found = cluster(values, 4)
    assert len(found) == min(4, len(set(numbers)))
    for each in found:
        with threadpool_limits(1), warnings.catch_warnings():
            # It warns that it found fewer clusters than it was asked for.
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer = KMeans(each.k, n_init=2, random_state=0).fit(values[:, None])
        assert each.inertia <= peer.inertia_ + 1e-12
        if 1 < each.k < len(values):
            labels = np.repeat(np.arange(each.k), each.sizes)
            theirs = silhouette_score(values[:, None], labels)
            assert silhouette(values, each.sizes) == pytest.approx(theirs, abs=1e-9)
    # Exactly as many clusters as distinct values: nothing is left to explain.
    if len(set(numbers)) <= 4:
        assert found[-1].inertia == 0
        assert found[-1].centroids.tolist() == sorted(set(numbers))


@given(FEW, st.integers(1, 6))
@thorough(60)
def test_the_number_of_clusters_has_the_largest_silhouette(numbers: list[float], most: int) -> None:
    traces = np.array(numbers, np.float32)[:, None]
    (neuron,) = important_neurons(np.ones(1), traces, 1, (2, most + 1), drop_zeros=False)
    ordered = np.sort(traces[:, 0].astype(np.float64))
    scores = {
        each.k: silhouette_score(
            ordered[:, None], np.repeat(np.arange(each.k), each.sizes), metric="manhattan"
        )
        for each in cluster(ordered, most + 1)
        if 1 < each.k < len(ordered)
    }
    assert neuron.silhouettes.keys() == scores.keys()
    chosen = len(neuron.centroids)
    assert scores.get(chosen, 0) == pytest.approx(max(scores.values(), default=0), abs=1e-9)


def test_clusters_far_apart_are_found() -> None:
    values = np.concatenate([center + np.arange(5.0) for center in (-1e6, 0, 10, 1e6)])
    found = cluster(values, 4)[3]
    assert found.sizes.tolist() == [5, 5, 5, 5]
    assert found.centroids.tolist() == [-1e6 + 2, 2, 12, 1e6 + 2]
    assert found.inertia == 40
    assert found.boundaries.tolist() == [-499998, 7, 500007]


def test_a_common_offset_costs_no_digits() -> None:
    values = np.random.default_rng(0).integers(0, 1000, 500) / 8
    for near, far in zip(cluster(values, 5), cluster(values + 2.0**40, 5), strict=True):
        assert near.sizes.tolist() == far.sizes.tolist()
        assert far.inertia == pytest.approx(near.inertia, rel=1e-9)
