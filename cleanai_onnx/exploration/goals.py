"""Goals: what a search wants of the neurons of a model, as a box of their values.

Whatever a criterion counts, an item that the suite lacks is a box: a channel above a threshold, a
value in a section of a neuron's range, the activations of the important neurons nearest to given
centroids. A goal says which neurons, the ends of the box, and where to aim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

__all__ = ["Box", "Goals", "closed", "gain", "goals_from", "missing", "no_goals", "reached"]

Array: TypeAlias = Any


class Box(NamedTuple):
    """What is wanted of one input.

    Attributes
    ----------
    neurons
        Their numbers, all layers one after the other.
    low, high
        The ends of the box, not part of it; infinite where it is open.
    centre
        Where to aim, within the box; of no meaning for a side that is open.
    weight
        How much a step of each neuron counts.
    """

    neurons: Sequence[int]
    low: Sequence[float]
    high: Sequence[float]
    centre: Sequence[float]
    weight: Sequence[float]


class Goals(NamedTuple):
    """The boxes of a batch: ``(B, K)`` each, K the most neurons of any box.

    `weight` is 0 where a box has fewer neurons. `neurons` is int32, the others are float32.
    """

    neurons: Array
    low: Array
    high: Array
    centre: Array
    weight: Array


def goals_from(boxes: Sequence[Box | None], width: int) -> Goals:
    """Return boxes of at most `width` neurons as arrays; None is no goal."""
    made = no_goals(len(boxes), width)
    for row, box in enumerate(boxes):
        if box is not None:
            for array, values in zip(made, box, strict=True):
                array[row, : len(values)] = values
    return made


def no_goals(rows: int, width: int = 1) -> Goals:
    """Return goals that are reached by nothing and pull nowhere."""

    def full(value: float) -> npt.NDArray[np.float32]:
        return np.full((rows, width), value, np.float32)

    return Goals(
        np.zeros((rows, width), np.int32), full(-np.inf), full(np.inf), full(0.0), full(0.0)
    )


def gain(goals: Goals, values: Array) -> Array:
    """Return what is ascended, ``(B,)``: the value of a neuron where the box is open above.

    Where it is open below, the value with the other sign; otherwise the distance from the centre,
    negative. Each is times its weight, and summed over the neurons.

    Parameters
    ----------
    goals
    values
        ``(B, N)``, the neurons of all layers.
    """
    own, off = _own(goals, values)
    below = jnp.isneginf(goals.low)
    towards = jnp.where(jnp.isposinf(goals.high), own, jnp.where(below, -own, -off))
    return _weighed(goals, towards)


def missing(goals: Goals, values: Array) -> Array:
    """Return by how much the gain has to rise, about, to be well within each box: ``(B,)``.

    Parameters
    ----------
    goals
    values
        ``(B, N)``, the neurons of all layers.
    """
    own, off = _own(goals, values)
    away = jnp.where(jnp.isposinf(goals.high), jnp.maximum(goals.low - own, 0), off)
    away = jnp.where(jnp.isneginf(goals.low), jnp.maximum(own - goals.high, 0), away)
    return _weighed(goals, away)


def _own(goals: Goals, values: Array) -> tuple[Array, Array]:
    """Return the values of the neurons of each goal, and how far they are from their centres."""
    own = jnp.take_along_axis(values, goals.neurons, axis=1)
    return own, jnp.abs(own - jnp.where(jnp.isfinite(goals.centre), goals.centre, 0))


def _weighed(goals: Goals, amounts: Array) -> Array:
    return jnp.sum(jnp.where(goals.weight > 0, goals.weight * amounts, 0), axis=1)


def closed(goals: Goals) -> Array:
    """Return which boxes end on every side, ``(B,)`` booleans."""
    ends = jnp.isfinite(goals.low) & jnp.isfinite(goals.high)
    return jnp.all(ends | (goals.weight <= 0), axis=1)


def reached(goals: Goals, values: Array) -> Array:
    """Return whether each input is in its box, ``(B,)`` booleans."""
    own = jnp.take_along_axis(values, goals.neurons, axis=1)
    inside = (own > goals.low) & (own < goals.high)
    wanted = goals.weight > 0
    return jnp.all(inside | ~wanted, axis=1) & jnp.any(wanted, axis=1)
