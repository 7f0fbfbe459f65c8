"""Boxes against the metrics: what lies in the box of an item covers the item."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cleanai_onnx.coverage import PROFILED, Learnt, LearntRelevance, Observed, ProfileParameters
from cleanai_onnx.exploration.goals import Box
from cleanai_onnx.exploration.lacking import Covered, boxes_for, least_of
from cleanai_onnx.result import LayerFacts

NEURONS = 6
RANDOM = np.random.default_rng(5)
TRACES = RANDOM.choice([0.2, 1.0, 3.0], (200, NEURONS)).astype(np.float32)
TRACES += RANDOM.normal(0, 0.05, TRACES.shape).astype(np.float32)
LEARNT = Learnt(
    view="channel",
    layers=("a", "b"),
    sizes=(2, 4),
    low=TRACES.min(axis=0),
    high=TRACES.max(axis=0),
    deviation=TRACES.std(axis=0, dtype=np.float64),
    ranged=np.array([True, True, False, True, True, True]),
    relevance=(LearntRelevance("b", slice(2, 6), True, np.array([1.0, 4, 2, 3]), TRACES[:, 2:]),),
)
PARAMETERS = ProfileParameters(sections=7, margin=0.5, important=(3,))
SEEDS = RANDOM.normal(1, 1, (12, NEURONS)).astype(np.float32)


def within(box: Box) -> np.ndarray:
    """Return values in the box, those of the other neurons by chance."""
    values = RANDOM.normal(1, 1, NEURONS).astype(np.float32)
    for neuron, low, high in zip(box.neurons, box.low, box.high, strict=True):
        low = high - 1 if low == -math.inf else low
        high = low + 1 if high == math.inf else high
        values[neuron] = low + RANDOM.uniform(0.05, 0.95) * (high - low)
    return values[None]


@pytest.mark.parametrize("metric", ["nbc-suite", "snac", "kmnc", "idc"])
def test_boxes_of_profiled_metrics(metric: str) -> None:
    family = next(f for f in PROFILED if metric in [m.id for m in f.metrics])
    state = family.init(LEARNT, PARAMETERS)
    covered = Covered(family.items(state)[metric])

    def items(values: np.ndarray) -> list[np.ndarray]:
        found = family.covered_by_each(state, Observed(values, values))[metric]
        return [part[0] for part in found]

    for seed in SEEDS:
        covered.add(items(seed[None]))
    for turn in range(4):
        boxes = boxes_for(metric, covered, state, 0.75, SEEDS, np.random.default_rng(turn))
        assert all((box is None) == (boxes[0] is None) for box in boxes)
        if boxes[0] is None:
            assert covered.count == covered.items
            assert turn > 0
            break
        for box in boxes:
            assert box is not None
            assert covered.would_add(items(within(box)))
        assert sum(covered.add(items(within(box))) for box in boxes if box is not None) > 0


@pytest.mark.parametrize("metric", ["nc-suite", "nc-suite-scaled"])
def test_boxes_of_neurons(metric: str) -> None:
    covered = Covered((NEURONS,))
    covered.add([np.array([0, 3])])
    boxes = boxes_for(metric, covered, None, 0.6, SEEDS, np.random.default_rng(0))
    assert {box.neurons[0] for box in boxes if box is not None} == {1, 2, 4, 5}
    assert {(box.low[0], box.high[0]) for box in boxes if box is not None} == {(0.6, math.inf)}
    covered.add([np.arange(NEURONS)])
    nothing = boxes_for(metric, covered, None, 0.6, SEEDS, np.random.default_rng(0))
    assert nothing == [None] * len(SEEDS)


def test_what_nothing_can_be_below_is_not_sought() -> None:
    family = next(f for f in PROFILED if "nbc-suite" in [m.id for m in f.metrics])
    state = family.init(LEARNT, PARAMETERS)
    covered = Covered(family.items(state)["nbc-suite"])
    layers = [
        LayerFacts(name, name, op, (size,), 0, size, size)
        for name, op, size in (("a", "Tanh", 2), ("b", "Relu", 4))
    ]
    many = np.repeat(SEEDS, 5, axis=0)
    boxes = boxes_for(
        "nbc-suite", covered, state, 0.75, many, np.random.default_rng(0), least_of(layers)
    )
    # The margin takes the lower ends of all ranges below 0.
    sought = {(box.neurons[0], math.isinf(box.low[0])) for box in boxes if box is not None}
    assert sought == {(0, True), (1, True), *((n, False) for n in range(NEURONS))}


def test_kmnc_aims_at_the_nearest_section() -> None:
    family = next(f for f in PROFILED if f.metrics[0].id == "kmnc")
    state = family.init(LEARNT, PARAMETERS)
    covered = Covered(family.items(state)["kmnc"])
    boxes = boxes_for("kmnc", covered, state, 0.75, SEEDS, np.random.default_rng(0))
    for seed, box in zip(SEEDS, boxes, strict=True):
        assert box is not None
        (neuron,) = box.neurons
        # Nothing is covered, so the section that the seed is in is the nearest that is lacking.
        value = np.clip(seed[neuron], LEARNT.low[neuron], LEARNT.high[neuron])
        assert box.low[0] - 1e-5 <= value <= box.high[0] + 1e-5


def test_idc_aims_at_combinations_in_the_order_of_distance() -> None:
    family = next(f for f in PROFILED if "idc" in [m.id for m in f.metrics])
    state = family.init(LEARNT, PARAMETERS)
    covered = Covered(family.items(state)["idc"])
    near = np.repeat(SEEDS[:1], 3, axis=0)
    boxes = boxes_for("idc", covered, state, 0.75, near, np.random.default_rng(0))
    subject = state.subjects[0]
    spreads = [np.ptp(neuron.centroids) for neuron in subject.neurons]
    away = [
        sum(abs(near[0, n] - c) / s for n, c, s in zip(b.neurons, b.centre, spreads, strict=True))
        for b in boxes
        if b is not None
    ]
    assert len(away) == 3
    assert away == sorted(away)
    assert len({tuple(box.centre) for box in boxes if box is not None}) == 3


def test_covered_counts_each_item_once() -> None:
    covered = Covered((4, 2))
    assert covered.items == 6
    assert covered.add([np.array([1, 2]), np.array([0])]) == 3
    assert not covered.would_add([np.array([2]), np.array([0])])
    assert covered.add([np.array([2, 3]), np.array([], int)]) == 1
    assert covered.count == 4
    assert covered.lacking(0).tolist() == [0]
    assert covered.lacking(1).tolist() == [1]
    assert covered.lacking(0, 1).tolist() == [0]


def test_combinations_without_end() -> None:
    covered = Covered((2**60,))
    assert covered.add([np.array([0, 2, 2**59])]) == 3
    assert not covered.would_add([np.array([2**59])])
    assert covered.lacking(0, 3).tolist() == [1, 3, 4]
    assert covered.count == 3
