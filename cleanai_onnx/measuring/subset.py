"""Which images to keep: what each of them covers is recorded while the suite streams by."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import coverage
from cleanai_onnx.coverage import PROFILED, UNIONS, Items, Learnt
from cleanai_onnx.errors import UsageError
from cleanai_onnx.result import CriterionFacts, SubsetFacts, SubsetImage, View
from cleanai_onnx.selection import CoverRecord, Subset, TextRecord, smallest_subset

if TYPE_CHECKING:
    from cleanai_onnx.coverage import Array

__all__ = ["Criterion", "SubsetRecorder", "find_criteria"]

MOST_ITEMS = 2**28
"""Two gigabytes of memory when the subset is looked for; more is refused."""
MOST_NUMBERED = 2**20
"""So many different combinations of one part are told apart where the images are not counted."""
REDUNDANT = 50
"""So many of the images that are not needed are named."""


@dataclass(frozen=True)
class Criterion:
    """A coverage whose items the subset has to keep.

    Attributes
    ----------
    metric, view
        As in the tables.
    parts
        How many items there are, in one part or several.
    family
        The number of its family in `PROFILED`; None for a metric that needs no profile.
    """

    metric: str
    view: View
    parts: tuple[int, ...]
    family: int | None = None

    @property
    def name(self) -> str:
        """Its name in tables: metric and view."""
        return f"{self.metric}/{self.view}"


def find_criteria(
    wanted: Sequence[str], state: coverage.State, against: Sequence[Any], learnt: Learnt | None
) -> tuple[Criterion, ...]:
    """Return the criteria that the names in `wanted` mean; without a name all, of channels.

    Parameters
    ----------
    wanted
        Metrics, or metric/view. The view is that of channels by default, as in the papers; a
        metric that needs a profile has the one that the profile was learnt in.
    state
        Of the run, for its layers.
    against, learnt
        The states of `PROFILED`, and what they are measured against; empty and None without a
        profile.

    Raises
    ------
    UsageError
        If there is no such criterion, or its items are too many.
    """
    known: dict[str, Criterion] = {}
    for view in ("channel", "unit"):
        size = sum(layer.size(view) for layer in state.layers)
        known |= {f"{metric}/{view}": Criterion(metric, view, (size,)) for metric in UNIONS}
    profiled = {metric.id for family in PROFILED for metric in family.metrics}
    for number, (family, of_family) in enumerate(zip(PROFILED, against, strict=False)):
        assert learnt is not None
        for metric, parts in family.items(of_family).items():
            view = "channel" if metric == "idc" else learnt.view
            if any(parts):
                known[f"{metric}/{view}"] = Criterion(metric, view, parts, number)
    if not wanted:
        found = [one for one in known.values() if one.view == "channel" or one.family is not None]
    else:
        found = [_named(name, known, profiled, learnt) for name in wanted]
    return tuple(dict.fromkeys(found))


def _named(
    name: str, known: dict[str, Criterion], profiled: set[str], learnt: Learnt | None
) -> Criterion:
    for spelt in (name, f"{name}/channel", f"{name}/unit"):
        if spelt in known:
            return known[spelt]
    metric = name.partition("/")[0]
    if metric in profiled and learnt is None:
        raise UsageError(f"--subset-metrics {metric} needs --profile or --train.")
    if metric == "idc" and learnt is not None and not learnt.relevance:
        raise UsageError(f"--subset-metrics idc: not computed, {learnt.without_relevance}.")
    metrics = ", ".join(sorted({one.metric for one in known.values()}))
    raise UsageError(
        f"--subset-metrics {name[:100]}: no such criterion; choose from {metrics}, each of "
        "channels, or of units with /unit where the metric has them."
    )


@dataclass
class _Part:
    """Items of a criterion in the record: numbered as they are, or as they come where too many."""

    first: int
    size: int
    serial: dict[int, int] | None = field(default=None)

    def numbered(self, items: Items) -> list[np.ndarray]:
        """Return the items' numbers in the record, for each image of a batch."""
        if self.serial is None:
            return [self.first + of_image for of_image in items]
        return [
            np.array([self.first + self._serial(item) for item in of_image.tolist()], np.int64)
            for of_image in items
        ]

    def _serial(self, item: int) -> int:
        assert self.serial is not None
        number = self.serial.setdefault(item, len(self.serial))
        if number >= self.size:
            raise UsageError(
                f"--subset: the images cover more than {self.size:,} different combinations of "
                "idc: give fewer --important, or leave idc out with --subset-metrics."
            )
        return number


class SubsetRecorder:
    """Records what each image covers, and finds the images worth keeping in the end.

    What is recorded lies in a temporary file; see `cleanai_onnx.selection.CoverRecord`.

    Parameters
    ----------
    criteria
        From `find_criteria`.
    most
        How many images there will be at most, where that is known.

    Raises
    ------
    UsageError
        If there are too many items.
    OutputError
        If the temporary file cannot be written, now or later.
    """

    def __init__(self, criteria: Sequence[Criterion], most: int | None = None) -> None:
        self.criteria = tuple(criteria)
        self._parts: list[list[_Part]] = []
        categories: dict[str, range] = {}
        end = 0
        for criterion in self.criteria:
            start, parts = end, []
            for size in criterion.parts:
                # An image covers one combination, so there are no more of them than images.
                room = size if criterion.metric != "idc" else min(size, most or MOST_NUMBERED)
                parts.append(_Part(end, room, None if room == size else {}))
                end += room
            categories[criterion.name] = range(start, end)
            self._parts.append(parts)
        if end > MOST_ITEMS:
            raise UsageError(
                f"--subset: {', '.join(categories)} have {end:,} items to cover, more than "
                f"{MOST_ITEMS:,}: choose fewer with --subset-metrics."
            )
        self._record = CoverRecord(end, categories)
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
        numbered = [
            part.numbered(items)
            for criterion, parts_of in zip(self.criteria, self._parts, strict=True)
            for part, items in zip(parts_of, found[criterion.name], strict=True)
        ]
        added = self._record.append(
            ragged=[np.concatenate(of_image) for of_image in zip(*numbered, strict=True)]
        )
        self._names.extend(names)
        self._indexes.extend(indexes)
        self._subset = self._facts = None
        return added.by_category.astype(np.float64)

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
        """Remove the temporary files, once the facts are known; without them nothing can be."""
        if self._facts is not None:
            self._record.close()
            self._names.close()
