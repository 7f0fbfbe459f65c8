"""A set cover made smaller without losing a smallest solution.

The classic reductions (Garfinkel and Nemhauser 1972), repeated until none applies:

- an item that one image alone covers forces that image (an essential image);
- an item that is covered whenever another one is need not be asked for (a dominated item);
- an image that covers nothing but what another one covers is not needed (a dominated image).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Reduced", "reduce_cover"]

PRODUCT_TERMS = 20_000_000
"""Domination is found by a sparse product; one of more terms than this is left out."""


@dataclass(frozen=True)
class Reduced:
    """What is left of a set cover.

    Attributes
    ----------
    forced
        (f,) int64: rows of the original that belong to the solution.
    rows
        (r,) int64: rows of the original that are left to choose from.
    sets
        (r, c): which items that are left those rows cover; ones. Every column has two or more.
    """

    forced: NDArray[np.int64]
    rows: NDArray[np.int64]
    sets: Any


def reduce_cover(sets: Any) -> Reduced:
    """Reduce a set cover.

    Parameters
    ----------
    sets
        (n, m) `scipy.sparse.csr_array` of ones: row i covers the items j where it has one. Items
        that no row covers are left out.

    Returns
    -------
    Reduced
        Its `forced` rows, with a smallest choice of its `rows` that covers all its items, are a
        smallest choice of the original.
    """
    from scipy.sparse import csr_array

    sets = csr_array(sets, dtype=np.int32)
    rows = np.arange(sets.shape[0])
    forced: list[NDArray[np.int64]] = []
    while True:
        before = sets.shape
        sets = _distinct_items(sets)
        single = _count(sets, axis=0) == 1
        essential = _count(sets[:, single], axis=1) > 0
        if essential.any():
            forced.append(rows[essential])
            open_items = _count(sets[essential], axis=0) == 0
            sets, rows = sets[~essential][:, open_items], rows[~essential]
        sets = sets[:, ~_dominated(csr_array(sets.T), larger=True)]
        needed = (_count(sets, axis=1) > 0) & ~_dominated(sets, larger=False)
        sets, rows = sets[needed], rows[needed]
        if sets.shape == before:
            return Reduced(np.concatenate([np.zeros(0, np.int64), *forced]), rows, sets)


def _distinct_items(sets: Any) -> Any:
    """Keep one of all items that the same images cover; drop those that no image covers.

    Classes of items are split image by image; items of a class agree on all images so far.
    """
    classes = np.zeros(sets.shape[1], np.int64)
    count = 1
    for start, end in zip(sets.indptr[:-1], sets.indptr[1:], strict=True):
        items = sets.indices[start:end]
        old, inverse = np.unique(classes[items], return_inverse=True)
        classes[items] = count + inverse
        count += len(old)
    names, first = np.unique(classes, return_index=True)
    # Class 0 is what no image has touched.
    return sets[:, np.sort(first[names > 0])]


def _dominated(sets: Any, *, larger: bool) -> NDArray[np.bool_]:
    """Find rows that need not be looked at because of another one.

    With `larger` those that contain another row, otherwise those that lie within one. Of equal rows
    the first stays.
    """
    dominated = np.zeros(sets.shape[0], np.bool_)
    per_column = _count(sets, axis=0)
    if int((per_column**2).sum()) > PRODUCT_TERMS:
        return dominated
    sizes = _count(sets, axis=1)
    shared = (sets @ sets.T).tocoo()
    inside, outside = shared.coords
    contained = (shared.data == sizes[inside]) & (inside != outside)
    inside, outside = inside[contained], outside[contained]
    equal = sizes[inside] == sizes[outside]
    loser, winner = (outside, inside) if larger else (inside, outside)
    dominated[loser[~equal | (winner < loser)]] = True
    return dominated


def _count(sets: Any, axis: int) -> NDArray[np.int64]:
    return np.asarray(sets.sum(axis=axis), np.int64)
