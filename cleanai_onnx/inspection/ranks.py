"""Sorted values and ranks of neurons, which all measures of order share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Ordered", "midranks"]

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ordered:
    """The values of N neurons for n images, and their order.

    Attributes
    ----------
    values
        ``(N, n)`` float32.
    """

    values: npt.NDArray[np.float32]

    @cached_property
    def finite(self) -> npt.NDArray[np.bool_]:
        """``(N,)``: whether all values of a neuron are finite."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    @cached_property
    def order(self) -> npt.NDArray[np.intp]:
        """``(N, n)``: which image has the smallest value, and so on."""
        return np.argsort(self.values, axis=1)

    @cached_property
    def sorted(self) -> npt.NDArray[np.float32]:
        """``(N, n)``: the values in ascending order."""
        return np.take_along_axis(self.values, self.order, axis=1)

    @cached_property
    def ranks(self) -> npt.NDArray[np.float64]:
        """``(N, n)``: the midranks, from 1; see `midranks`."""
        return midranks(self.order, self.sorted)

    @cached_property
    def ties(self) -> Floats:
        """``(N,)``: the sum of t³ - t over runs of t equal values.

        The variance of midranks is that of distinct ranks without a twelfth of it.
        """
        n = self.values.shape[1]
        squares = np.einsum("rn,rn->r", self.ranks, self.ranks)
        found: Floats = n * (n + 1) * (2 * n + 1) * 2.0 - 12 * squares
        return found


def midranks(
    order: npt.NDArray[np.intp], values: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return the ranks of the rows, from 1; equal values share the mean of their ranks.

    Parameters
    ----------
    order, values
        ``(N, n)``: the order of each row, and its values in that order.
    """
    rows, n = values.shape
    starts = np.ones((rows, n), bool)
    np.not_equal(values[:, 1:], values[:, :-1], out=starts[:, 1:])
    places = np.arange(n, dtype=np.int32)
    first = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    ends = np.ones((rows, n), bool)
    ends[:, :-1] = starts[:, 1:]
    last = np.minimum.accumulate(np.where(ends, places, n - 1)[:, ::-1], axis=1)[:, ::-1]
    found = np.empty((rows, n))
    np.put_along_axis(found, order, (first + last) / 2 + 1, axis=1)
    return found
