"""The metrics a second time, from their definitions: slow, obvious, without the package's code.

Activations of a layer are ``(inputs, *shape)`` float32. A neuron's value is the unit's activation
or, in the channel view, the spatial mean rounded once to float32; `neurons` makes ``(inputs, N)``
of either. The functions count for one layer, or for one pair of adjacent layers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

Values = np.ndarray
VIEWS = ("unit", "channel")


def mean(values: np.ndarray) -> np.float32:
    """Return the exact mean, rounded once; NaN if any value is NaN."""
    numbers = values.reshape(-1).tolist()
    if any(map(math.isnan, numbers)):
        return np.float32(math.nan)
    return np.float32(float(Fraction(math.fsum(numbers)) / len(numbers)))


def neurons(a: np.ndarray, channel_axis: int, view: str) -> Values:
    if view == "unit":
        return a.reshape(len(a), -1)
    by_channel = np.moveaxis(a, 1 + channel_axis, 1)
    return np.array([[mean(channel) for channel in one] for one in by_channel], np.float32)


def layer_means(a: np.ndarray) -> list[np.float32]:
    return [mean(one) for one in a]


# Counted in each input, summed over the inputs.


def nc(values: Values, means: Sequence[np.float32]) -> int:
    return sum(int((one > m).sum()) for one, m in zip(values, means, strict=True))


def tc(values: Values, t: float) -> int:
    return int((values > np.float32(t)).sum())


def mnc(values: Values, intervals: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    return tuple(
        int(((values >= np.float32(low)) & (values <= np.float32(high))).sum())
        for low, high in intervals
    )


def largest(one: np.ndarray, k: int) -> list[int]:
    """Return the indices of the k largest numbers, of equal ones the lower index; NaN is none."""
    numbers = one.tolist()
    places = [index for index, number in enumerate(numbers) if not math.isnan(number)]
    return sorted(places, key=lambda index: (-numbers[index], index))[:k]


def tknc(values: Values, k: int) -> float:
    return math.fsum(float(one[index]) for one in values for index in largest(one, k))


def nbc(values: Values, bounds_from: int) -> tuple[float, float, int, int]:
    """Return lower bound, upper bound, how many lie outside, of how many."""
    setting = [v for v in values[:bounds_from].reshape(-1).tolist() if not math.isnan(v)]
    counted = values[bounds_from:]
    low, high = min(setting, default=math.inf), max(setting, default=-math.inf)
    outside = int(((counted < low) | (counted > high)).sum()) if setting else 0
    return low, high, outside, counted.size


# Two inputs.


def sign_change(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return a * b <= 0


def strict_sign_change(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (np.sign(a) != np.sign(b)) & ~np.isnan(a) & ~np.isnan(b)


def value_change(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.abs(a - b) > np.float32(t)


def interaction(
    name: str,
    here: tuple[np.ndarray, np.ndarray],
    there: tuple[np.ndarray, np.ndarray],
    t: float,
    t_there: float,
) -> int:
    """Count the pairs (i, j) of ss, sv, vs or vv, each of them looked at."""
    sign_here, sign_there = sign_change(*here).tolist(), sign_change(*there).tolist()
    value_here = value_change(*here, t).tolist()
    value_there = value_change(*there, t_there).tolist()
    covered = 0
    for i in range(len(sign_here)):
        changes = sign_here[i] if name[0] == "s" else value_here[i]
        others = any(sign_here[other] for other in range(len(sign_here)) if other != i)
        for j in range(len(sign_there)):
            reacts = sign_there[j] if name[1] == "s" else value_there[j] and not sign_there[j]
            covered += changes and not others and reacts
    return covered


# The suite as a whole.


def ever(marked: Callable[[np.ndarray], np.ndarray], values: Values) -> int:
    """Count the neurons that are marked for some input."""
    found = np.zeros(values.shape[1], bool)
    for one in values:
        found |= marked(one)
    return int(found.sum())


def nc_suite(values: Values, t: float) -> int:
    return ever(lambda one: one > np.float32(t), values)


def nc_suite_scaled(values: Values, units: Values, t: float) -> int:
    """Count those with (a - min) / (max - min) > t, extrema of the units of the same input."""
    found = np.zeros(values.shape[1], bool)
    for one, of_units in zip(values, units, strict=True):
        numbers = of_units[~np.isnan(of_units)]
        if len(numbers) and numbers.max() > numbers.min():
            with np.errstate(over="ignore"):
                spread = numbers.max() - numbers.min()
                found |= one - numbers.min() > np.float32(t) * spread
    return int(found.sum())


def tknc_suite(values: Values, k: int) -> int:
    return len({index for one in values for index in largest(one, k)})


def some_pair(changes: Callable[[np.ndarray, np.ndarray], np.ndarray], values: Values) -> int:
    found = np.zeros(values.shape[1], bool)
    for one, other in itertools.combinations(values, 2):
        found |= changes(one, other)
    return int(found.sum())
