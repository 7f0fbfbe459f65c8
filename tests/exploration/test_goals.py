"""Goals against loops over neurons."""

from __future__ import annotations

import math

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanai_onnx.exploration.goals import Box, closed, gain, goals_from, missing, reached

NEURONS, WIDTH = 6, 3
NUMBER = st.floats(-4, 4, width=32)


@st.composite
def sides(draw: st.DrawFn) -> tuple[float, float, float]:
    low, high = sorted((draw(NUMBER), draw(NUMBER)))
    kind = draw(st.sampled_from(["closed", "above", "below"]))
    if kind == "above":
        return low, math.inf, math.inf
    if kind == "below":
        return -math.inf, high, -math.inf
    return low, high, (low + high) / 2


@st.composite
def boxes(draw: st.DrawFn) -> Box | None:
    count = draw(st.integers(0, WIDTH))
    if not count:
        return None
    neurons = draw(st.permutations(range(NEURONS)))[:count]
    ends = [draw(sides()) for _ in neurons]
    weights = [draw(st.floats(0.125, 4, width=32)) for _ in neurons]
    return Box(neurons, *(list(column) for column in zip(*ends, strict=True)), weights)


@settings(deadline=None, max_examples=60)
@given(st.lists(boxes(), min_size=3, max_size=3), st.integers(0, 2**31))
def test_gain_and_reached(wanted: list[Box | None], chance: int) -> None:
    values = np.random.default_rng(chance).normal(0, 2, (3, NEURONS)).astype(np.float32)
    goals = goals_from(wanted, WIDTH)
    gained, arrived = np.asarray(gain(goals, values)), np.asarray(reached(goals, values))
    lacking, bounded = np.asarray(missing(goals, values)), np.asarray(closed(goals))
    for row, box in enumerate(wanted):
        total, every, away, ends = 0.0, box is not None, 0.0, True
        for neuron, low, high, centre, weight in zip(*(box or ((),) * 5), strict=True):
            value = float(values[row, neuron])
            every &= low < value < high
            ends &= math.isfinite(low) and math.isfinite(high)
            if high == math.inf:
                total += weight * value
                away += weight * max(low - value, 0)
            elif low == -math.inf:
                total -= weight * value
                away += weight * max(value - high, 0)
            else:
                total -= weight * abs(value - centre)
                away += weight * abs(value - centre)
        np.testing.assert_allclose(gained[row], total, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(lacking[row], away, rtol=1e-4, atol=1e-4)
        assert bool(arrived[row]) == every
        assert bool(bounded[row]) == ends


def test_gradient_of_a_closed_box_leads_to_its_centre() -> None:
    goals = goals_from([Box((1,), (0.0,), (1.0,), (0.5,), (2.0,))], WIDTH)
    gradient = jax.grad(lambda v: gain(goals, v).sum())
    assert gradient(np.zeros((1, NEURONS), np.float32))[0].tolist() == [0, 2, 0, 0, 0, 0]
    assert gradient(np.ones((1, NEURONS), np.float32))[0].tolist() == [0, -2, 0, 0, 0, 0]
    assert np.isfinite(gradient(np.full((1, NEURONS), 0.5, np.float32))).all()
