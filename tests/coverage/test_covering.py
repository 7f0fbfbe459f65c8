"""What each image covers by itself, against a measurement of that image alone."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cleanai_onnx import coverage
from cleanai_onnx.coverage import UNIONS
from cleanai_onnx.coverage.engine import is_vector
from cleanai_onnx.result import LayerFacts
from tests.coverage.measuring import PARAMETERS, by_name, measured


def layer(name: str, shape: tuple[int, ...]) -> LayerFacts:
    return LayerFacts(name, "", "Relu", shape, 0, int(np.prod(shape)), shape[0])


LAYERS = (layer("a", (5, 6, 7)), layer("b", (9,)), layer("c", (3, 40, 50)), layer("d", (2100, 2)))


def suite(seed: int) -> list[np.ndarray]:
    """Return activations with ties, thresholds met exactly, both signs, and NaN."""
    random = np.random.default_rng(seed)
    arrays = []
    for one in LAYERS:
        a = random.normal(0, 1, (5, *one.shape)).round(1).astype(np.float32)
        a[0] = 0.75
        a[1] = np.maximum(a[1], 0)
        a[2].flat[0] = np.nan
        a[3] = np.nan if one.name == "b" else 0
        arrays.append(a)
    return arrays


@pytest.mark.parametrize("view", ["channel", "unit"])
@pytest.mark.parametrize("seed", range(4))
def test_the_items_of_each_image_are_what_it_covers_alone(seed: int, view: coverage.View) -> None:
    arrays = suite(seed)
    found: dict[str, list[np.ndarray]] = {metric: [] for metric in UNIONS}
    state = None
    for first in (0, 3):
        part = [a[first : first + 3] for a in arrays]
        state, (figures,) = measured(LAYERS, part, state=state)
        padded = [np.concatenate([a, np.full_like(a, 1e9)])[:3] for a in part]
        each = coverage.covered_by_each(state, figures, jax.device_put(padded), view, UNIONS)
        for metric in UNIONS:
            found[metric] += each[metric]
    assert state is not None
    whole = by_name(coverage.compute(state))
    edges = np.cumsum([0, *(one.size(view) for one in LAYERS)])
    alone = [
        by_name(coverage.compute(measured(LAYERS, [a[[i]] for a in arrays])[0])) for i in range(5)
    ]
    for metric in UNIONS:
        for i in range(5):
            counts = np.histogram(found[metric][i], edges)[0].tolist()
            assert counts == [row[1] for row in alone[i][metric, view].rows], (metric, i)
        union = np.unique(np.concatenate(found[metric]))
        counts = np.histogram(union, edges)[0].tolist()
        assert counts == [row[1] for row in whole[metric, view].rows], metric
    assert PARAMETERS.top_k == 3 and is_vector(LAYERS[1])


def test_which_metrics_are_unions() -> None:
    assert set(UNIONS) == {"nc-suite", "nc-suite-scaled", "nc-suite-scaled-abs", "tknc-suite"}
