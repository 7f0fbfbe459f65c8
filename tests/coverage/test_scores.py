"""Figures of single images against brute force on each image alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from cleanai_onnx import coverage
from tests.coverage.measuring import PARAMETERS, expected, measured
from tests.coverage.suites import TINY, activations, small_suites, thorough

NAMES = coverage.score_names(PARAMETERS)
VIEWS = ("unit", "channel")


def scores(arrays: list[np.ndarray], parameters=PARAMETERS, batch: int = 3) -> coverage.Scores:
    _, figures = measured(TINY, arrays, parameters, batch=batch)
    seen, model, layers = 0, [], []
    for of_batch in figures:
        found = coverage.scores_of(of_batch, TINY, parameters, seen)
        seen += len(found.model)
        model.append(found.model)
        layers.append(found.layers)
    return coverage.Scores(np.concatenate(model), np.concatenate(layers))


def by_hand(arrays: list[np.ndarray], index: int) -> dict[str, list[tuple[float, float]]]:
    """Return (part, whole) for each layer, for each score."""
    bounds, one = PARAMETERS.bounds_from, [a[[index]] for a in arrays]
    alone = expected(TINY, one)
    after = expected(TINY, [np.concatenate([a[:bounds], a[[index]]]) for a in arrays])
    found = {}
    for view in VIEWS:
        found[f"nc/{view}"] = alone["nc", view]
        found[f"tc/{view}"] = alone["tc", view]
        for place, (low, high) in enumerate(PARAMETERS.intervals):
            found[f"mnc[{low:g},{high:g}]/{view}"] = [
                (row[place], row[-1]) for row in alone["mnc", view]
            ]
        found[f"tknc/{view}"] = alone["tknc", view]
        if index >= bounds:
            found[f"nbc/{view}"] = [row[2:] for row in after["nbc", view]]
        else:
            found[f"nbc/{view}"] = [(math.nan, total) for _, total in alone["nc", view]]
    return found


@thorough(10)
@given(small_suites(most=5))
def test_scores_are_those_of_each_image_alone(arrays: list[np.ndarray]) -> None:
    ours = scores(arrays)
    for index in range(len(arrays[0])):
        wanted = by_hand(arrays, index)
        assert set(wanted) == set(NAMES)
        for column, name in enumerate(NAMES):
            parts = wanted[name]
            of_model = sum(part for part, _ in parts) / sum(whole for _, whole in parts)
            of_layers = [part / whole for part, whole in parts]
            assert ours.model[index, column] == pytest.approx(of_model, nan_ok=True)
            assert ours.layers[index, :, column] == pytest.approx(of_layers, nan_ok=True)


def test_names_are_unique_and_say_the_view() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [name.rpartition("/")[2] for name in NAMES] == sorted(
        (name.rpartition("/")[2] for name in NAMES), reverse=True
    )


def test_compat_divides_by_k_for_each_layer() -> None:
    arrays = [activations(np.random.default_rng(1), of.shape, "any", 2) for of in TINY]
    compat = replace(PARAMETERS, cleanai_compat=True)
    column = NAMES.index("tknc/unit")
    # The layer of one unit counts once without, three times with.
    selected = 1 + 3 * (len(TINY) - 1)
    ours, theirs = scores(arrays), scores(arrays, compat)
    np.testing.assert_allclose(
        ours.model[:, column] * selected, theirs.model[:, column] * 3 * len(TINY)
    )


def test_images_that_set_the_bounds_have_no_boundary_score() -> None:
    arrays = [activations(np.random.default_rng(1), of.shape, "any", 5) for of in TINY]
    for batch in (1, 3):
        column = scores(arrays, batch=batch).model[:, NAMES.index("nbc/unit")]
        assert np.isnan(column).tolist() == [True, True, False, False, False]
