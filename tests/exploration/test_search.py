"""The search: its gradient, its batches, and what it finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from cleanai_onnx.exploration.goals import Box, goals_from
from cleanai_onnx.exploration.search import (
    ALREADY,
    FOUND,
    NOTHING,
    Rules,
    Seeds,
    gradient_of,
    run,
    searcher,
)
from cleanai_onnx.exploration.space import PIXELS
from tests.exploration.small import (
    HIDDEN,
    classifier,
    images,
    layers_of,
    lowered,
    search,
    seeds_of,
    weights,
)

PROTOS = (classifier(1), classifier(2), classifier(3))
RULES = Rules(step=1.0, iterations=12, patch=(5, 5))
CONSTRAINED = {
    "light": RULES,
    "occlusion": replace(RULES, constraint="occlusion", step=0.5),
    "blackout": replace(RULES, constraint="blackout"),
    "linf": replace(RULES, constraint="linf", step=0.05, radius=0.2),
    "l2": replace(RULES, constraint="l2", step=0.5, radius=2.0),
    "any": replace(RULES, constraint="any", step=0.05),
}


def joint(x: np.ndarray, label: int, apart: int, rules: Rules, boxes: list[Box | None]) -> float:
    """Return J of one image, in float64."""
    total = 0.0
    for number, box in enumerate(boxes):
        w = {name: value.astype(np.float64) for name, value in weights(number + 1).items()}
        hidden = np.tanh(x.ravel() @ w["w"] + w["b"])
        score = (hidden @ w["v"])[label]
        total += -rules.apart * score if number == apart else score
        if box is not None:
            (neuron,) = box.neurons
            total += rules.coverage * hidden[neuron]
    return total


def test_gradient_against_finite_differences() -> None:
    rules = replace(RULES, apart=1.7, coverage=0.6)
    models = tuple(lowered(proto, 2, layers_of(proto)) for proto in PROTOS)
    x, label, apart = images(2), np.array([2, 0], np.int32), np.array([1, 2], np.int32)
    above = Box((3,), (0.9,), (np.inf,), (np.inf,), (1.0,))
    chosen: list[list[Box | None]] = [[None, above], [above, None], [None, None]]
    goals = tuple(goals_from(boxes, 1) for boxes in chosen)
    seeds = Seeds(x, apart, np.arange(2, dtype=np.int32), goals, None)
    found, _ = gradient_of(models, rules)(
        tuple(model.weights for model in models), x, label, np.zeros(2, bool), seeds
    )
    for row in range(2):
        wanted, boxes = np.zeros(x[row].shape), [of[row] for of in chosen]
        for place in np.ndindex(wanted.shape):
            ends = []
            for sign in (1, -1):
                moved = x[row].astype(np.float64)
                moved[place] += sign * 1e-5
                ends.append(joint(moved, int(label[row]), int(apart[row]), rules, boxes))
            wanted[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(np.asarray(found)[row], wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("constraint", CONSTRAINED)
def test_what_is_found_is_an_image_that_the_runtime_sees_differently(constraint: str) -> None:
    rules = CONSTRAINED[constraint]
    models = tuple(lowered(proto, 8) for proto in PROTOS)
    points = images(30)
    outcome = search(models, rules, seeds_of(points), 8)
    levels = outcome.points * np.float32(255)
    np.testing.assert_array_equal((np.rint(levels) / 255).astype(np.float32), outcome.points)
    assert outcome.points.min() >= 0
    assert outcome.points.max() <= 1
    change = outcome.points - points
    if constraint == "linf":
        assert np.abs(change).max() <= 0.2 + 0.5 / 255 + 1e-6
    if constraint == "blackout":
        assert change.max() <= 0
    sessions = [onnxruntime.InferenceSession(proto.SerializeToString()) for proto in PROTOS]
    classes = np.stack(
        [s.run(None, {"x": np.moveaxis(outcome.points, -1, 1)})[0].argmax(axis=1) for s in sessions]
    )
    differs = (classes != classes[:1]).any(axis=0)
    np.testing.assert_array_equal(differs, outcome.became != NOTHING)
    assert ALREADY in outcome.became
    # Brightness alone moves nothing in images that are noise.
    assert FOUND in outcome.became or constraint in ("light", "blackout")
    assert (outcome.steps[outcome.became == NOTHING] == rules.iterations).all()


@pytest.mark.parametrize("constraint", ["l2", "blackout", "occlusion"])
def test_the_outcome_of_a_seed_does_not_depend_on_its_batch(constraint: str) -> None:
    rules = CONSTRAINED[constraint]
    points = images(20)
    small = search(tuple(lowered(p, 3) for p in PROTOS), rules, seeds_of(points), 3)
    large = search(tuple(lowered(p, 32) for p in PROTOS), rules, seeds_of(points, padding=12), 32)
    np.testing.assert_array_equal(small.became, large.became[:20])
    np.testing.assert_array_equal(small.steps, large.steps[:20])
    np.testing.assert_allclose(small.points, large.points[:20], atol=1.01 / 255)
    # Padding is not searched from.
    assert not large.became[20:].any()


def test_a_softmax_at_the_end_changes_nothing() -> None:
    points = images(12)
    plain = search(tuple(lowered(classifier(n), 4) for n in (1, 2)), RULES, seeds_of(points), 4)
    soft = search(
        tuple(lowered(classifier(n, softmax=True), 4) for n in (1, 2)), RULES, seeds_of(points), 4
    )
    np.testing.assert_array_equal(plain.became, soft.became)
    np.testing.assert_array_equal(plain.points, soft.points)


def test_a_goal_is_reached_where_the_neuron_is_in_its_box() -> None:
    proto = PROTOS[0]
    model = lowered(proto, 8, layers_of(proto))
    points = images(10)
    boxes = [Box((i % HIDDEN,), (0.8,), (np.inf,), (np.inf,), (1.0,)) for i in range(10)]
    rules = replace(CONSTRAINED["l2"], seek="goal", radius=4.0, iterations=30)
    outcome = search((model,), rules, seeds_of(points, (goals_from(boxes, 1),)), 8)
    w = weights(1)
    hidden = np.tanh(outcome.points.reshape(10, -1) @ w["w"] + w["b"])
    reached = np.array([hidden[i, i % HIDDEN] > 0.8 for i in range(10)])
    np.testing.assert_array_equal(reached, outcome.became != NOTHING)
    assert (outcome.became == FOUND).any()


def off_at_first() -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """Return a classifier with a ReLU whose units are off for all seeds, its weights and biases."""
    proto = classifier(1, "Relu")
    w = weights(1)["w"]
    bias = -(images(12).reshape(12, -1) @ w).max(axis=0) - np.float32(0.2)
    for tensor in proto.graph.initializer:
        if tensor.name == "b":
            tensor.CopyFrom(numpy_helper.from_array(bias, "b"))
    return proto, w, bias


def search_for_units(waking: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where searches for units that are off ended, and each unit's weights and lack."""
    proto, w, bias = off_at_first()
    model, points = lowered(proto, 8, layers_of(proto), waking=waking), images(12)
    units = np.arange(12) % HIDDEN
    boxes = [Box((int(unit),), (0.1,), (np.inf,), (np.inf,), (1.0,)) for unit in units]
    rules = replace(CONSTRAINED["any"], seek="goal", iterations=40)
    outcome = search((model,), rules, seeds_of(points, (goals_from(boxes, 1),)), 8)
    hidden = outcome.points.reshape(12, -1) @ w + bias
    reached = np.array([hidden[row, unit] > 0.1 for row, unit in enumerate(units)])
    np.testing.assert_array_equal(reached, outcome.became == FOUND)
    lacking = 0.1 - (points.reshape(12, -1) @ w + bias)[np.arange(12), units]
    least = lacking / np.linalg.norm(w[:, units], axis=0)
    return reached, np.linalg.norm((outcome.points - points).reshape(12, -1), axis=1), least


def test_units_that_are_off_for_every_seed_are_reached_with_a_small_change() -> None:
    reached, change, least = search_for_units(waking=True)
    assert reached.all()
    # No change that reaches them is smaller than `least`; black and white pixels make it larger.
    assert (change >= 0.99 * least).all()
    assert (change <= 2 * least + 0.1).all()
    assert not search_for_units(waking=False)[0].any()


def test_a_narrow_section_is_reached() -> None:
    proto = PROTOS[0]
    model, points = lowered(proto, 8, layers_of(proto)), images(12)
    boxes = [Box((i % HIDDEN,), (0.2,), (0.21,), (0.205,), (1.0,)) for i in range(12)]
    for constraint in ("any", "l2"):
        rules = replace(CONSTRAINED[constraint], seek="goal", radius=4.0, iterations=40)
        outcome = search((model,), rules, seeds_of(points, (goals_from(boxes, 1),)), 8)
        assert (outcome.became != NOTHING).sum() >= 11, constraint


def test_a_compiled_loop_does_what_single_steps_do() -> None:
    rules, seeds = CONSTRAINED["l2"], seeds_of(images(20))
    models = tuple(lowered(proto, 8) for proto in PROTOS[:2])
    loop = searcher(models, rules, PIXELS, "gpu")
    weights_of = tuple(model.weights for model in models)
    found, finished = run(loop, weights_of, seeds, 8, 0, lambda: False, lambda _: None)
    wanted = search(models, rules, seeds, 8)
    assert finished
    np.testing.assert_array_equal(found.became, wanted.became)
    np.testing.assert_array_equal(found.steps, wanted.steps)
    np.testing.assert_allclose(found.points, wanted.points, atol=1.01 / 255)
