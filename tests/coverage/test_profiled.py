"""The metrics against a profile: brute force over every value, and the laws of their cards."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cleanai_onnx.coverage import (
    PROFILED,
    Learnt,
    LearntRelevance,
    LearntTraces,
    Observed,
    ProfileParameters,
)
from cleanai_onnx.coverage.importance import IMPORTANCE, important_layers
from cleanai_onnx.coverage.profiled import ProfiledMetric
from cleanai_onnx.coverage.sections import SECTIONS
from cleanai_onnx.errors import UsageError
from cleanai_onnx.profiles.moments import Moments
from tests.coverage.suites import thorough

SIZES = (2, 3)
NUMBERS = st.integers(-40, 40).map(lambda n: n / 8) | st.sampled_from([0.0, np.nan, np.inf])


def values(most: int) -> Any:
    return hnp.arrays(
        np.float32, st.tuples(st.integers(0, most), st.just(sum(SIZES))), elements=NUMBERS
    )


def classes_of(batch: np.ndarray) -> np.ndarray:
    return (batch[:, 0] > 0).astype(np.int64)


def learnt_of(training: np.ndarray) -> Learnt:
    moments = Moments.of(training) if len(training) else Moments.none(sum(SIZES))
    return Learnt(
        "channel",
        ("a", "b"),
        SIZES,
        moments.low,
        moments.high,
        moments.deviation,
        moments.ranged,
        relevance=(
            LearntRelevance(
                "b",
                slice(2, 5),
                True,
                np.array([1.0, 3.0, 2.0]),
                training[:, 2:],
                by_class=np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 1.0]]),
                trace_classes=classes_of(training),
            ),
        ),
        traces=(LearntTraces("b", slice(2, 5), training[:, 2:], classes_of(training)),),
    )


def measured(
    family: ProfiledMetric, learnt: Learnt, parameters: ProfileParameters, *batches: np.ndarray
) -> tuple[Any, np.ndarray]:
    state = family.init(learnt, parameters)
    scores = [np.zeros((0, len(family.scores(learnt))))]
    for batch in batches:
        state, found = family.update(state, Observed(batch, batch, classes_of(batch)))
        scores.append(found)
    return state, np.concatenate(scores)


@given(values(6), values(6), st.integers(1, 20), st.sampled_from([0.0, 0.5, 2.0]))
@thorough(200)
def test_brute_force(training: np.ndarray, suite: np.ndarray, k: int, margin: float) -> None:
    parameters = ProfileParameters(sections=k, margin=margin)
    learnt = learnt_of(training)
    below, above, sections, outside, left_out = set(), set(), set(), 0, 0
    for neuron in range(sum(SIZES)):
        seen = [float(v) for v in training[:, neuron] if not math.isnan(v)]
        if not seen:
            left_out += 1
            continue
        low, high = min(seen), max(seen)
        width = margin * float(learnt.deviation[neuron])
        ranged = math.isfinite(low) and math.isfinite(high) and low < high
        left_out += not ranged
        for value in map(float, suite[:, neuron]):
            if value < low - width:
                below.add(neuron)
            if value > high + width:
                above.add(neuron)
            if not ranged or math.isnan(value):
                continue
            if low <= value <= high:
                sections.add((neuron, min(int((value - low) / (high - low) * k), k - 1)))
            else:
                outside += 1
    totals = {
        table.metric: table.total
        for family in PROFILED
        for table in family.compute(measured(family, learnt, parameters, suite)[0])
    }
    assert totals["nbc-suite"][1:4] == (len(below), len(above), 2 * sum(SIZES))
    assert totals["snac"][1:3] == (len(above), sum(SIZES))
    ranged_neurons = sum(SIZES) - left_out
    assert totals["kmnc"][1:3] == (len(sections), k * ranged_neurons)
    assert totals["kmnc"][4:] == (left_out, outside)


@pytest.mark.parametrize("family", PROFILED, ids=lambda family: family.metrics[0].id)
@given(st.data())
@thorough(60)
def test_laws(family: ProfiledMetric, data: st.DataObject) -> None:
    parameters = ProfileParameters(
        sections=10, margin=0.25, important=(2,), compat="deepimportance-2020"
    )
    learnt = learnt_of(data.draw(values(6)))
    a, b, c = (data.draw(values(4)) for _ in range(3))

    def state(*batches: np.ndarray) -> Any:
        return measured(family, learnt, parameters, *batches)[0]

    whole = family.compute(state(np.concatenate([a, b, c])))
    # The size of batches and their order do not matter.
    assert family.compute(state(a, b, c)) == whole
    assert family.compute(state(c, a, b)) == whole
    # Merging is associative and commutative, and the first state is its identity.
    assert family.compute(family.merge(state(a), family.merge(state(b), state(c)))) == whole
    assert family.compute(family.merge(family.merge(state(c), state(b)), state(a))) == whole
    assert family.compute(family.merge(state(), state(a))) == family.compute(state(a))
    # More images never lower the coverage.
    for less, more in zip(family.compute(state(a)), whole, strict=True):
        assert (less.coverage or 0) <= (more.coverage or 0)


@given(values(6), values(6))
@thorough(60)
def test_what_images_add_sums_to_what_is_covered(training: np.ndarray, suite: np.ndarray) -> None:
    parameters, learnt = ProfileParameters(sections=10, important=(2, 3)), learnt_of(training)
    for family in PROFILED:
        state, scores = measured(family, learnt, parameters, suite[:2], suite[2:])
        total = family.compute(state)[0].total
        assert total is not None
        covered = {
            "nbc-suite": lambda row: row[1] + row[2],
            "kmnc": lambda row: row[1],
            "idc": lambda row: row[2],
            "lsc": lambda row: row[1],
        }[family.metrics[0].id](total)
        assert (
            scores[:, family.scores(learnt).index(f"adds {family.metrics[0].id}")].sum() == covered
        )


def test_both_ends_of_a_range_lie_in_a_section() -> None:
    learnt = learnt_of(np.array([[0.0] * 5, [1.0] * 5], np.float32))
    state, _ = measured(
        SECTIONS, learnt, ProfileParameters(sections=4), np.array([[0, 0.25, 0.5, 1, 1.5]], "f4")
    )
    assert state.hit[:, 0].tolist() == [1, 2, 4, 8, 0]


def from_zero_to_one(count: int) -> Learnt:
    ends = np.zeros(count, np.float32), np.ones(count, np.float32)
    return Learnt("channel", ("a",), (count,), *ends, np.ones(count), np.ones(count, np.bool_))


def test_too_many_sections_are_refused() -> None:
    learnt = from_zero_to_one(2**21)
    with pytest.raises(UsageError, match=r"needs 24\.4 GiB"):
        SECTIONS.init(learnt, ProfileParameters(sections=100_000))


def test_the_channels_of_a_resnet_50_take_less_than_100_mb() -> None:
    learnt = from_zero_to_one(22_720)
    state = SECTIONS.init(learnt, ProfileParameters(sections=1000))
    assert sum(array.nbytes for array in (state.hit, state.outside, state.neurons)) < 4e6


def test_every_metric_says_what_it_promises() -> None:
    for family in PROFILED:
        for metric in family.metrics:
            card = metric.card
            assert card.needs_profile and card.order_free and card.mergeable
            assert card.monotone == (card.scope == "suite")


@given(values(8), values(8))
@thorough(100)
def test_each_class_is_measured_as_if_it_were_alone(
    training: np.ndarray, suite: np.ndarray
) -> None:
    parameters, learnt = ProfileParameters(important=(2,)), learnt_of(training)
    state, _ = measured(IMPORTANCE, learnt, parameters, suite)
    rows = IMPORTANCE.compute(state)[2].rows
    assert [row[2] for row in rows] == [0, 1]
    for number, row in enumerate(rows):
        own, seen = training[classes_of(training) == number], suite[classes_of(suite) == number]
        assert row[3:5] == (len(own), len(seen))
        (layer,) = learnt.relevance
        assert layer.by_class is not None
        alone = replace(
            learnt,
            relevance=(
                LearntRelevance(
                    layer.name, layer.columns, True, layer.by_class[number], own[:, 2:]
                ),
            ),
        )
        only, _ = measured(IMPORTANCE, alone, parameters, seen)
        assert IMPORTANCE.compute(only)[0].rows == ((*row[:2], *row[5:]),)


def test_compat_pairs_clusters_by_index_with_activations_by_relevance() -> None:
    training = np.zeros((6, 5), np.float32)
    training[:, 2] = [1, 1, 1, 5.004, 5.004, 5.004]
    training[:, 3] = [10, 10, 10, 90, 90, 90]
    learnt = learnt_of(training)
    parameters = ProfileParameters(important=(2,), compat="deepimportance-2020")
    state, _ = measured(
        IMPORTANCE,
        replace(
            learnt,
            relevance=(
                replace(
                    learnt.relevance[0],
                    by_class=np.array([[1.0, 2.0, 0.0]]),
                    relevance=np.array([1.0, 2.0, 0.0]),
                ),
            ),
        ),
        parameters,
        np.array([[0, 0, 1, 20, 0]], np.float32),
    )
    subject = next(one for one in state.by_class if one.compat)
    assert [neuron.centroids.tolist() for neuron in subject.neurons] == [[1, 5], [10, 90]]
    assert subject.columns == (1, 0)
    # 20 is near the second cluster of the first neuron, and 1 near the first of the second.
    assert subject.covered.tolist() == [2]
    mean = IMPORTANCE.compute(state)[3].rows[0]
    assert mean == ("b", 2, 1, 0.25, 0.25, 0.25)


def test_a_layer_with_fewer_neurons_than_m_is_there_once() -> None:
    training = np.arange(20, dtype=np.float32).reshape(4, 5)
    parameters = ProfileParameters(important=(2, 3, 8), compat="deepimportance-2020")
    state, _ = measured(IMPORTANCE, learnt_of(training), parameters, training)
    idc, neurons, classes, compat = IMPORTANCE.compute(state)
    assert [row[1] for row in idc.rows] == [2, 3]
    assert [row[2] for row in neurons.rows] == [1, 2, 0]
    assert [row[1:3] for row in classes.rows] == [(2, 0), (3, 0), (2, 1), (3, 1)]
    assert [row[1] for row in compat.rows] == [2, 3]
    (facts,) = important_layers(state)
    assert [one.m for one in facts.combinations] == [2, 3]
    assert [one.neuron for one in facts.neurons] == [1, 2, 0]
    shares = [row[-1] for row in classes.rows if row[1] == 2]
    # The first class was not learnt: all images are of the second, but one.
    assert [row[3] for row in classes.rows] == [1, 1, 3, 3]
    assert classes.coverage == pytest.approx(sum(shares) / 2)


def test_too_many_classes_are_said_to_be_left_out() -> None:
    training = np.arange(20, dtype=np.float32).reshape(4, 5)
    learnt = learnt_of(training)
    layer = replace(learnt.relevance[0], by_class=np.ones((1000, 3)))
    state, _ = measured(
        IMPORTANCE, replace(learnt, relevance=(layer,)), ProfileParameters(), training
    )
    idc, _ = IMPORTANCE.compute(state)
    assert idc.notes[-1] == "idc-classes is not computed for 1,000 classes, only for up to 100."


def test_the_combinations_that_are_missing_are_named() -> None:
    training = np.array([[0, 0, 1, 10, 0], [0, 0, 1, 90, 0], [0, 0, 5, 90, 0]], np.float32)
    training = np.repeat(training, 3, axis=0)
    parameters = ProfileParameters(important=(2,))
    learnt = learnt_of(training)
    layer = replace(learnt.relevance[0], relevance=np.array([1.0, 3.0, -1.0]))
    state, _ = measured(IMPORTANCE, replace(learnt, relevance=(layer,)), parameters, training[:3])
    (facts,) = important_layers(state)
    (found,) = facts.combinations
    assert (found.m, found.covered, found.combinations) == (2, 1, 4)
    assert found.missing == ((1, 2), (2, 1), (2, 2))
    first = facts.neurons[0]
    assert (first.neuron, first.share, first.centroids, first.borders) == (1, 0.75, (10, 90), (50,))
    assert (first.low, first.high, first.values) == (10, 90, 9)
    assert (first.histogram[0], first.histogram[-1], sum(first.histogram)) == (3, 6, 9)


def test_training_activations_that_are_not_finite_are_counted() -> None:
    training = np.array([[0] * 5, [0, 0, 1, np.nan, 1], [0, 0, 2, np.inf, 1]], np.float32)
    learnt, parameters = learnt_of(training), ProfileParameters(important=(2,))
    state, _ = measured(IMPORTANCE, learnt, parameters, np.array([[0, 0, 0, np.nan, 0]], "f4"))
    table, neurons, _ = IMPORTANCE.compute(state)
    assert table.total is not None
    assert table.total[2] == 0  # an input with a value that is not a number covers nothing
    assert neurons.notes == (
        "b: 2 training activations of its important neurons are not finite and were left out of "
        "the clusters.",
    )
