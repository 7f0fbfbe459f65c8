"""The smallest subset of a suite that covers what the suite covers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cleanai_onnx.selection.exact import smallest_cover
from cleanai_onnx.selection.greedy import GreedyCover, Ranking, rank, without_redundant
from cleanai_onnx.selection.index import ImageIndex
from cleanai_onnx.selection.record import CoverRecord

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["EXACT_LIMIT", "SECONDS", "Subset", "smallest_subset"]

EXACT_LIMIT = 2_000_000
SECONDS = 10.0


@dataclass(frozen=True)
class Subset:
    """Images that cover together what the whole suite covers.

    Attributes
    ----------
    order
        (k,) int64: numbers of the images, the one that adds most first.
    gains
        (k,) int64: what each adds to those before it; positive, never rising.
    lower_bound
        No subset with the same coverage has fewer images.
    ranking
        The greedy order of the whole suite. It is the better one for "the best n images"; `order`
        is at most as long.
    only
        (images,) int64: for every image of the suite, how many items no other image covers: what
        would be lost without it.
    """

    order: NDArray[np.int64]
    gains: NDArray[np.int64]
    lower_bound: int
    ranking: Ranking
    only: NDArray[np.int64]

    @property
    def proven(self) -> bool:
        """Whether no smaller subset exists."""
        return len(self.order) == self.lower_bound


def smallest_subset(
    record: CoverRecord, *, exact_limit: int = EXACT_LIMIT, seconds: float = SECONDS
) -> Subset:
    """Choose as few images as possible that cover all that the suite covers.

    Essential images, which alone cover some item, come first. What they leave open is solved
    exactly where it is small enough, however large the suite, and by the greedy rule; of the two,
    and of the greedy rule over the whole suite, each without images that turned out redundant, the
    smallest is taken. The same record gives the same subset, unless the solver ran out of time.

    Parameters
    ----------
    record
        What each image covers.
    exact_limit
        The solver is asked if essential images leave at most so many pairs of an image and an open
        item. With 0 it never is.
    seconds
        After how long the solver is stopped. A subset that is not `proven` by then is the best one
        found.

    Raises
    ------
    OutputError
        If a temporary file cannot be written.
    """
    with ImageIndex(record) as index:
        ranking = rank(record, index)
        essential = np.flatnonzero(index.only)
        if len(ranking.order) == len(essential):
            # No smaller one exists, as often where the items are many.
            return Subset(ranking.order, ranking.gains, len(essential), ranking, index.only)
        candidates = [without_redundant(record, ranking.order)]
        rest = GreedyCover(record, index)
        for image in essential:
            rest.take(int(image))
        lower_bound = len(essential) + _dual_bound(record, rest)
        if 0 < rest.gains.sum() <= exact_limit:
            images, sets = _open_sets(record, rest)
            cover = smallest_cover(sets, seconds)
            lower_bound = max(lower_bound, len(essential) + cover.lower_bound)
            if cover.rows is not None:
                candidates.append(np.concatenate([essential, images[cover.rows]]))
        greedy = np.concatenate([essential, rest.take_best().order])
        candidates.append(without_redundant(record, greedy))
        best = rank(record, index, among=min(candidates, key=len))
    return Subset(best.order, best.gains, lower_bound, ranking, index.only)


def _dual_bound(record: CoverRecord, rest: GreedyCover) -> int:
    """Bound from below how many more images are needed.

    An open item counts 1 / (the most open items that an image covering it has). No image's items
    count more than 1 together, a feasible solution of the dual of the linear relaxation.
    """
    most = np.zeros(record.items, np.uint32)
    for image in np.argsort(rest.gains, kind="stable"):
        if rest.gains[image] > 0:
            most[_open_items(record, rest, int(image))] = rest.gains[image]
    sizes, counts = np.unique(most[most > 0], return_counts=True)
    return math.ceil(float((counts / sizes).sum()) - 1e-6)


def _open_sets(record: CoverRecord, rest: GreedyCover) -> tuple[NDArray[np.int64], csr_array]:
    """Return the images that still add something, and a matrix of ones of what they add."""
    from scipy.sparse import csr_array

    images = np.flatnonzero(rest.gains > 0)
    items = [_open_items(record, rest, int(image)) for image in images]
    names, columns = np.unique(np.concatenate(items), return_inverse=True)
    ends = np.cumsum([0, *(len(part) for part in items)])
    ones = np.ones(len(columns), np.int32)
    return images, csr_array((ones, columns, ends), shape=(len(images), len(names)))


def _open_items(record: CoverRecord, rest: GreedyCover, image: int) -> NDArray[np.int64]:
    items = record[image]
    return items[~rest.covered.holds(items)]
