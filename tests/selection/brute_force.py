"""Smallest covers by trying all subsets, greedy covers by the definition, suites to try them on."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from cleanai_onnx.selection import CoverRecord

Sets = list[set[int]]
ITEMS = 14


def suites(images: int = 9) -> st.SearchStrategy[Sets]:
    """Tiny suites; many sets are empty, equal or contained in others."""
    items = st.integers(0, ITEMS - 1)
    return st.lists(st.sets(items, max_size=6), max_size=images)


def record_of(sets: Sets, items: int = ITEMS) -> CoverRecord:
    record = CoverRecord(items)
    record.append(ragged=[np.array(sorted(covered), np.int64) for covered in sets])
    return record


def covered_by(sets: Sets, images) -> set[int]:
    return set().union(*(sets[image] for image in images))


def smallest(sets: Sets) -> int:
    """Return the number of images of a smallest subset."""
    whole = covered_by(sets, range(len(sets)))
    return next(
        size
        for size in range(len(sets) + 1)
        if any(covered_by(sets, images) == whole for images in combinations(range(len(sets)), size))
    )


def greedy(sets: Sets) -> tuple[list[int], list[int]]:
    """Return the order and the gains, every gain evaluated anew in every round."""
    covered: set[int] = set()
    order, gains = [], []
    while True:
        new = [len(items - covered) for items in sets]
        if not any(new):
            return order, gains
        best = new.index(max(new))
        order.append(best)
        gains.append(new[best])
        covered |= sets[best]
