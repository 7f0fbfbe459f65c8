"""Greedy set cover: always the image that adds most to those taken so far.

Of all rules that run in polynomial time none guarantees much better: the cover is at most
H(d) = 1 + 1/2 + … + 1/d times the smallest, where d is the largest set (Chvátal 1979), and the
first k images cover at least 1 - 1/e of what the best k cover (Nemhauser, Wolsey and Fisher 1978).

Gains are not evaluated again when they may be stale (lazy greedy, Minoux 1978, CELF): when an item
becomes covered, the images that share it, which an index names, lose it from their gains at once.
Every pair of image and item is touched once in all. Lazy evaluation is quick where gains differ
widely; images of a suite cover much the same numbers, and it would evaluate nearly all of them for
each one taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cleanai_onnx.selection.bitset import BitSet
from cleanai_onnx.selection.index import ImageIndex
from cleanai_onnx.selection.record import CoverRecord

__all__ = ["GreedyCover", "Ranking", "rank", "without_redundant"]


@dataclass(frozen=True)
class Ranking:
    """Images in the order in which they add most.

    Attributes
    ----------
    order
        (k,) int64: numbers of the images.
    gains
        (k,) int64: how many items each covers that those before it do not; positive, never rising.
    """

    order: NDArray[np.int64]
    gains: NDArray[np.int64]


class GreedyCover:
    """The images taken so far, and what each other image would add to them.

    Attributes
    ----------
    gains
        (images,) int64: exact at all times; 0 or less for images that add nothing or may not be
        taken.
    covered
        The items that the images taken so far cover.
    """

    def __init__(
        self, record: CoverRecord, index: ImageIndex, among: NDArray[np.int64] | None = None
    ) -> None:
        self._record = record
        self._index = index
        self.covered = BitSet(record.items)
        self.gains = record.sizes
        if among is not None:
            others = np.ones(len(record), np.bool_)
            others[among] = False
            self.gains[others] = 0

    def take(self, image: int) -> int:
        """Take an image, and return what it added."""
        new = self.covered.add(self._record[image])
        self._index.discount(self.gains, new)
        self.gains[image] = 0
        return len(new)

    def take_best(self) -> Ranking:
        """Take the image that adds most, the earliest of equals, until none adds anything."""
        order: list[int] = []
        gains: list[int] = []
        while len(self.gains) and self.gains[best := int(self.gains.argmax())] > 0:
            order.append(best)
            gains.append(self.take(best))
        return Ranking(np.array(order, np.int64), np.array(gains, np.int64))


def rank(record: CoverRecord, index: ImageIndex, among: NDArray[np.int64] | None = None) -> Ranking:
    """Order images by what they add until all that they cover is covered; ties go to the earlier.

    Parameters
    ----------
    record, index
        What the images cover, both ways round.
    among
        (k,) int64: numbers of the images to choose from; by default all.
    """
    return GreedyCover(record, index, among).take_best()


def without_redundant(record: CoverRecord, images: Iterable[int]) -> NDArray[np.int64]:
    """Leave out images whose items the others cover too, one after the other from the last.

    Parameters
    ----------
    record
        What the images cover.
    images
        Distinct images, in the order in which they were taken.

    Returns
    -------
    (k,) int64
        Those that stay, in the same order. They cover what `images` cover, and each of them covers
        something that the others do not.
    """
    order = np.array(list(images), np.int64)
    times = np.zeros(record.items, np.min_scalar_type(len(order)))
    for image in order:
        times[record[image]] += 1
    stays = np.ones(len(order), np.bool_)
    for place in reversed(range(len(order))):
        items = record[order[place]]
        if (times[items] > 1).all():
            times[items] -= 1
            stays[place] = False
    return order[stays]
