"""Surprise of a suite: what its tables and scores say, and what they say is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.coverage import Learnt, LearntTraces, Observed, ProfileParameters
from cleanai_onnx.coverage.surprise import SURPRISE
from cleanai_onnx.coverage.surprise_figures import bucket_of
from cleanai_onnx.errors import UsageError
from cleanai_onnx.result import Table
from cleanai_onnx.surprise import ClassDensity, NearestTraces
from tests.coverage.suites import thorough

RNG = np.random.default_rng(5)
TRAINING = RNG.normal(size=(60, 3)).astype(np.float32)
CLASSES = np.arange(60) % 2
SUITE = RNG.normal(size=(20, 3)).astype(np.float32) * 2
PREDICTED = np.arange(20) % 2


def learnt_of(*layers: LearntTraces, has_classes: bool = True) -> Learnt:
    nothing = np.zeros(3)
    return Learnt(
        "channel",
        ("fc",),
        (3,),
        nothing.astype(np.float32),
        nothing.astype(np.float32),
        nothing,
        nothing.astype(np.bool_),
        traces=layers,
        has_classes=has_classes,
    )


def layer(traces: np.ndarray, classes: np.ndarray, name: str = "fc") -> LearntTraces:
    return LearntTraces(name, slice(0, 3), traces, classes)


def measured(
    learnt: Learnt,
    suite: np.ndarray = SUITE,
    predicted: np.ndarray | None = PREDICTED,
    parameters: ProfileParameters | None = None,
) -> tuple[dict[str, Table], np.ndarray]:
    state: Any = SURPRISE.init(learnt, parameters or ProfileParameters())
    state, scores = SURPRISE.update(state, Observed(suite, suite, predicted))
    return {table.metric: table for table in SURPRISE.compute(state)}, scores


def test_scores_and_tables_are_those_of_the_numerics() -> None:
    learnt = learnt_of(layer(TRAINING, CLASSES))
    parameters = ProfileParameters(surprise_buckets=50, surprise_bounds=(20.0, 3.0))
    tables, scores = measured(learnt, parameters=parameters)
    assert SURPRISE.scores(learnt) == ("lsa", "dsa", "mdsa", "adds lsc", "adds dsc")
    for label in (0, 1):
        density = ClassDensity.of(TRAINING[label == CLASSES])
        assert density is not None
        likelihood, distance = density.surprise(SUITE[label == PREDICTED])
        np.testing.assert_array_equal(scores[label == PREDICTED, 0], likelihood)
        np.testing.assert_array_equal(scores[label == PREDICTED, 2], distance)
    dsa = NearestTraces(TRAINING, CLASSES).surprise(SUITE, PREDICTED)
    np.testing.assert_array_equal(scores[:, 1], dsa)
    for place, (metric, bound) in enumerate([("lsc", 20.0), ("dsc", 3.0)]):
        values = scores[:, place].tolist()
        edges = [bound * i / 50 for i in range(51)]
        hit = {i for v in values for i in range(50) if edges[i] < v <= edges[i + 1]}
        (row,) = tables[metric].rows
        below, above = sum(v <= 0 for v in values), sum(v > bound for v in values)
        assert row == ("fc", len(hit), 50, len(hit) / 50, below, above)
        assert scores[:, 3 + place].sum() == len(hit)
    for place, metric in enumerate(("lsa", "dsa", "mdsa")):
        (row,) = tables[metric].rows
        assert row[:4] == ("fc", 20, 0, 0)
        column = scores[:, place]
        assert row[4:] == (column.min(), pytest.approx(column.mean()), column.max())


def test_undefined_and_infinite_figures_are_counted_apart() -> None:
    twice = TRAINING.copy()
    twice[1] = twice[0]
    suite = np.stack([twice[0] + 1e-3, np.full(3, np.nan), twice[0]]).astype(np.float32)
    tables, scores = measured(learnt_of(layer(twice, CLASSES)), suite, np.array([0, 0, 7]))
    assert scores[0, 1] == np.inf and np.isnan(scores[1:, :3]).all()
    assert tables["dsa"].rows == (("fc", 3, 2, 1, None, None, None),)
    assert tables["lsa"].rows[0][1:4] == (3, 2, 0)
    assert tables["dsc"].rows[0][4:] == (0, 1)


def test_several_layers_have_scores_of_their_own() -> None:
    learnt = learnt_of(layer(TRAINING, CLASSES, "a"), layer(TRAINING, CLASSES, "b"))
    assert SURPRISE.scores(learnt)[:4] == ("lsa a", "dsa a", "mdsa a", "lsa b")
    tables, scores = measured(learnt)
    assert [row[0] for row in tables["lsc"].rows] == ["a", "b"]
    assert scores.shape == (20, 8)


def test_a_model_without_classes_has_one() -> None:
    learnt = learnt_of(layer(TRAINING, np.zeros(60, np.int64)), has_classes=False)
    tables, scores = measured(learnt, predicted=None)
    assert np.isfinite(scores[:, [0, 2]]).all() and np.isnan(scores[:, 1]).all()
    assert tables["dsa"].rows == () and tables["dsc"].coverage is None
    assert tables["dsc"].notes == ("fc: not computed, the model has no classes to be told apart.",)


@pytest.mark.parametrize(
    ("traces", "classes", "metric", "note"),
    [
        (TRAINING, np.zeros(60, np.int64), "dsa", "fc: not computed, the training images are all"),
        (TRAINING[:1], CLASSES[:1], "lsa", "fc: not computed, no class has two training traces"),
        (TRAINING * 0, CLASSES, "mdsa", "fc: 3 of 3 channels hardly vary"),
        (TRAINING[[0, 2, 4, 6, 8, 1]], CLASSES[[0, 2, 4, 6, 8, 1]], "lsa",
         "fc: 1 of 2 classes (1) have too few"),
        (TRAINING[[0, 2, 1, 3, 5, 7, 9]], CLASSES[[0, 2, 1, 3, 5, 7, 9]], "lsa",
         "fc: the covariance of 1 of 2 classes (0) is singular; 1e-06 of its mean"),
        (np.where(np.arange(60)[:, None] == 3, np.nan, TRAINING).astype(np.float32), CLASSES,
         "dsc", "fc: 1 training traces are not finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_said(
    traces: np.ndarray, classes: np.ndarray, metric: str, note: str
) -> None:
    tables, _ = measured(learnt_of(layer(traces, classes)))
    assert any(text.startswith(note) for text in tables[metric].notes)


def test_many_classes_are_named_by_the_first_few() -> None:
    tables, _ = measured(learnt_of(layer(TRAINING, np.r_[0, 0, 0, 0, 0, 0, np.arange(3, 57)])))
    note = "fc: 54 of 55 classes (3, 4, 5, 6, 7, …) have too few training traces; "
    assert any(text.startswith(note) for text in tables["lsa"].notes)
    one = np.zeros(60, np.int64)
    tables, _ = measured(learnt_of(layer(TRAINING[:, [0, 0, 1]], one), has_classes=False))
    assert "fc: the covariance is singular; 1e-06" in " ".join(tables["lsa"].notes)


def test_a_profile_without_traces() -> None:
    tables, scores = measured(learnt_of())
    assert scores.shape == (20, 2)
    for table in tables.values():
        assert table.notes == ("Not computed: the profile has no activation traces.",)
        assert not table.rows


@given(st.lists(st.floats(-1, 40) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 30.0])))
@thorough(200)
def test_buckets_are_open_below_and_closed_above(values: list[float]) -> None:
    found = bucket_of(np.array(values, np.float64), 30.0, 10)
    for value, bucket in zip(values, found.tolist(), strict=True):
        if np.isnan(value):
            assert bucket == -2
        elif value <= 0:
            assert bucket == -1
        elif value > 30:
            assert bucket == 10
        else:
            assert 0 <= bucket < 10
            assert 3 * bucket <= value * (1 + 1e-15) and value <= 3 * (bucket + 1) * (1 + 1e-15)


@pytest.mark.parametrize(
    "fields",
    [{"surprise_buckets": 0}, {"surprise_bounds": (0, 1)}, {"surprise_bounds": (1, np.inf)}],
)
def test_parameters_without_a_meaning_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(fields)).replace("_", "-")):
        replace(ProfileParameters(), **fields)
