"""Which images to keep: what each of them covers is recorded while the suite streams by."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import coverage
from cleanai_onnx.container import UnfitError, list_in, whole_in
from cleanai_onnx.coverage import PROFILED, Items
from cleanai_onnx.measuring.cover_items import CoverItems, Covers
from cleanai_onnx.measuring.criteria import Criterion
from cleanai_onnx.result import CriterionFacts, SubsetFacts, SubsetImage
from cleanai_onnx.selection import CoverRecord, Packed, Subset, TextRecord, smallest_subset

if TYPE_CHECKING:
    from cleanai_onnx.coverage import Array
    from cleanai_onnx.states.images import Images, Rows

__all__ = ["SubsetRecorder"]

REDUNDANT = 50
"""So many of the images that are not needed are named."""


class SubsetRecorder:
    """Records what each image covers, and finds the images worth keeping in the end.

    What is recorded lies in a temporary file; see `cleanai_onnx.selection.CoverRecord`.

    Parameters
    ----------
    criteria
        From `find_criteria`.
    most
        How many images there will be at most, where that is known.
    opener
        Opens files in which what is recorded is kept, for `restore`.

    Raises
    ------
    UsageError
        If there are too many items.
    OutputError
        If the temporary file cannot be written, now or later.
    """

    def __init__(
        self,
        criteria: Sequence[Criterion],
        most: int | None = None,
        opener: Callable[[str], IO[bytes]] | None = None,
    ) -> None:
        self.criteria = tuple(criteria)
        self.items = CoverItems(criteria, most)
        self._record = CoverRecord(self.items.size, self.items.categories, opener=opener)
        self._names = TextRecord()
        self._indexes = array("q")
        self._subset: Subset | None = None
        self._facts: SubsetFacts | None = None

    def add(
        self,
        state: coverage.State,
        figures: coverage.InputFigures,
        activations: Sequence[Array],
        against: Sequence[Any],
        observed: coverage.Observed | None,
        names: Sequence[str],
        indexes: Sequence[int],
    ) -> np.ndarray:
        """Record a batch.

        Parameters
        ----------
        state, figures, activations
            As for `coverage.covered_by_each`.
        against, observed
            The states of `PROFILED`, and what they look at; None without a profile.
        names, indexes
            Of the images.

        Returns
        -------
        ``(B, criteria)`` float64: how many items each image covers that none before it did.
        """
        found: dict[str, tuple[Items, ...]] = {}
        for view in ("channel", "unit"):
            metrics = [c.metric for c in self.criteria if c.family is None and c.view == view]
            if metrics:
                each = coverage.covered_by_each(state, figures, activations, view, metrics)
                found |= {f"{metric}/{view}": (items,) for metric, items in each.items()}
        for number in sorted({c.family for c in self.criteria if c.family is not None}):
            assert observed is not None
            parts = PROFILED[number].covered_by_each(against[number], observed)
            found |= {c.name: parts[c.metric] for c in self.criteria if c.family == number}
        return self._append([found[c.name] for c in self.criteria], names, indexes)

    def _append(
        self, found: Sequence[Sequence[Items]], names: Sequence[str], indexes: Iterable[int]
    ) -> np.ndarray:
        added = self._record.append(ragged=self.items.numbered(found))
        self._names.extend(names)
        self._indexes.extend(indexes)
        self._subset = self._facts = None
        return added.by_category.astype(np.float64)

    def extend(self, covers: Covers, images: Images) -> np.ndarray:
        """Record what images cover that was recorded before, and return what each of them adds.

        The result is that of `add`; `images` are the same ones, with their names and positions.

        Raises
        ------
        UsageError
            If the file in which `covers` lie does not hold what it should.
        """
        sets = covers.sets()
        return np.concatenate(
            [np.empty((0, len(self.criteria))), *(self._taken(sets, r) for r in images.rows())]
        )

    def _taken(self, sets: Iterator[list[list[np.ndarray]]], rows: Rows) -> np.ndarray:
        of_images = list(islice(sets, len(rows.names)))
        found = [
            [[one[place][part] for one in of_images] for part in range(len(criterion.parts))]
            for place, criterion in enumerate(self.criteria)
        ]
        return self._append(found, rows.names, rows.indexes.tolist())

    @property
    def indexes(self) -> np.ndarray:
        """``(images,)`` int64: the positions of the images in their suite, ascending."""
        return np.array(self._indexes, np.int64)

    def packed(self) -> Iterator[Packed]:
        """Yield what each image covers, in the numbers of `items`."""
        return self._record.packed()

    def sets(self) -> Iterator[list[list[np.ndarray]]]:
        """Yield, for each image, what it covers of each criterion and part."""
        return map(self.items.apart, self.packed())

    def stored(self) -> dict[str, Any]:
        """Return what `restore` needs besides the files, which have reached the disk then."""
        self._record.flush()
        return {"images": len(self._record), "combinations": self.items.combinations}

    def restore(self, tree: Mapping[str, Any], images: Images) -> None:
        """Take up what `stored` returned; nothing has been added yet. `images` are those so far.

        Raises
        ------
        UnfitError
            If the tree or the files do not fit.
        """
        self.items.restore(list_in(tree, "combinations"))
        self._record.restore(whole_in(tree, "images"))
        for rows in images.rows():
            self._names.extend(rows.names)
            self._indexes.extend(rows.indexes.tolist())
        if len(self._names) != len(self._record):
            raise UnfitError("what its images cover is of another number of images")

    def facts(self, file: str | None = None) -> SubsetFacts:
        """Return the smallest subset found, and what it keeps; `file` is where it is listed."""
        if self._facts is None:
            self._facts = self._assembled()
        return replace(self._facts, file=file)

    def _assembled(self) -> SubsetFacts:
        subset = self._found()
        whole = self._record.covered
        covered = self._record.covered_by_category
        reached = np.cumsum(subset.gains)
        kept = np.zeros(len(self._record), np.bool_)
        kept[subset.order] = True
        return SubsetFacts(
            criteria=tuple(
                CriterionFacts(c.metric, c.view, covered[c.name], sum(c.parts))
                for c in self.criteria
            ),
            of=len(self._record),
            images=tuple(
                SubsetImage(
                    path=self._names[image],
                    index=self._indexes[image],
                    adds=adds,
                    share=share / whole,
                    only=int(subset.only[image]),
                )
                for image, adds, share in zip(
                    subset.order.tolist(), subset.gains.tolist(), reached.tolist(), strict=True
                )
            ),
            lower_bound=subset.lower_bound,
            redundant=tuple(
                self._names[image] for image in np.flatnonzero(~kept)[:REDUNDANT].tolist()
            ),
        )

    def columns(self) -> dict[str, np.ndarray]:
        """Return what is known of each image in the end, in the order in which they came.

        ``rank`` in the greedy order of the whole suite, from 1, and what the image ``adds by rank``
        to those before it; NaN and 0 for an image that adds nothing. ``covers alone`` counts the
        items that no other image covers, ``in subset`` is 1 for an image of the subset.
        """
        subset = self._found()
        rank = np.full(len(self._record), math.nan)
        adds, kept = np.zeros(len(rank)), np.zeros(len(rank))
        rank[subset.ranking.order] = np.arange(1, len(subset.ranking.order) + 1)
        adds[subset.ranking.order] = subset.ranking.gains
        kept[subset.order] = 1
        return {"rank": rank, "adds by rank": adds, "covers alone": subset.only, "in subset": kept}

    def _found(self) -> Subset:
        if self._subset is None:
            self._subset = smallest_subset(self._record)
        return self._subset

    def close(self) -> None:
        """Close the files, once the facts are known; without them nothing can be."""
        if self._facts is not None:
            self._record.close()
            self._names.close()
