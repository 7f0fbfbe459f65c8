"""Extrema, mean and variance of every neuron, learnt batch by batch and merged exactly.

Means and sums of squares are merged by the formulas of Chan, Golub and LeVeque (Updating formulae
and a pairwise algorithm for computing sample variances, 1979, eq. 2.1), in float64: parts merged
give the same counts and extrema as one pass, and the same mean and variance but for rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.container import array_in

__all__ = ["Moments"]


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of N neurons. A value that is not a number counts for nothing.

    Attributes
    ----------
    count
        ``(N,)`` int64, how many values there were.
    low, high
        ``(N,)`` float32, the extrema; +inf and -inf without a value.
    mean, squares
        ``(N,)`` float64, the mean and the sum of the squared distances from it.
    """

    count: npt.NDArray[np.int64]
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]

    @staticmethod
    def none(neurons: int) -> Moments:
        """Return the moments before the first value; the identity of `merged`."""
        return Moments(
            np.zeros(neurons, np.int64),
            np.full(neurons, np.inf, np.float32),
            np.full(neurons, -np.inf, np.float32),
            np.zeros(neurons),
            np.zeros(neurons),
        )

    @staticmethod
    def of(values: npt.NDArray[np.float32]) -> Moments:
        """Return the moments of ``(B, N)`` values."""
        numbers = ~np.isnan(values)
        count = numbers.sum(axis=0, dtype=np.int64)
        complete = bool(numbers.all())
        doubles = values.astype(np.float64)
        known = doubles if complete else np.where(numbers, doubles, 0)
        with np.errstate(invalid="ignore"):  # infinite activations have no variance
            mean = known.sum(axis=0) / np.maximum(count, 1)
            distance = doubles - mean
            squares = np.square(distance if complete else np.where(numbers, distance, 0)).sum(
                axis=0
            )
        return Moments(
            count,
            np.fmin.reduce(values, axis=0, initial=np.float32(np.inf)),
            np.fmax.reduce(values, axis=0, initial=np.float32(-np.inf)),
            mean,
            squares,
        )

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both."""
        count = self.count + other.count
        weight = other.count / np.maximum(count, 1)
        with np.errstate(invalid="ignore"):
            step = other.mean - self.mean
            mean = self.mean + step * weight
            squares = self.squares + other.squares + np.square(step) * self.count * weight
        return Moments(
            count,
            np.fmin(self.low, other.low),
            np.fmax(self.high, other.high),
            mean,
            squares,
        )

    def stored(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name, for `restored`."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @staticmethod
    def restored(tree: Mapping[str, Any], neurons: int) -> Moments:
        """Return the moments of so many neurons that `stored` took apart.

        Raises
        ------
        UnfitError
            If the tree is not of such moments.
        """
        return Moments(
            array_in(tree, "count", np.int64, neurons),
            array_in(tree, "low", np.float32, neurons),
            array_in(tree, "high", np.float32, neurons),
            array_in(tree, "mean", np.float64, neurons),
            array_in(tree, "squares", np.float64, neurons),
        )

    @property
    def deviation(self) -> npt.NDArray[np.float64]:
        """``(N,)`` float64, the standard deviation of the population (divided by n)."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))

    @property
    def ranged(self) -> npt.NDArray[np.bool_]:
        """``(N,)`` booleans: whether the neuron took at least two different, finite values."""
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.low) & np.isfinite(self.high) & (self.low < self.high)
