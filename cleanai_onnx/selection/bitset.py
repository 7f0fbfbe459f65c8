"""A set of items of which each takes one bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BitSet"]


class BitSet:
    """A set of numbers from 0 to `size` - 1, empty at first; an eighth of a byte for each."""

    def __init__(self, size: int) -> None:
        self._bits = np.zeros((size + 7) // 8, np.uint8)

    def holds(self, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of each of `items` whether it is in the set."""
        held: NDArray[np.uint8] = self._bits[items >> 3] & _bit(items)
        return held.astype(np.bool_)

    def add(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put the distinct `items` into the set, and return those that were not in it."""
        new = items[~self.holds(items)]
        np.bitwise_or.at(self._bits, new >> 3, _bit(new))
        return new


def _bit(items: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.left_shift(np.uint8(1), (items & 7).astype(np.uint8))
