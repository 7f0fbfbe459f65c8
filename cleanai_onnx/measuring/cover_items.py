"""The items of all criteria, numbered one after the other for one record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cleanai_onnx.container import UnfitError
from cleanai_onnx.coverage import Items
from cleanai_onnx.errors import UsageError
from cleanai_onnx.measuring.criteria import Criterion
from cleanai_onnx.selection.packing import unpack_stored
from cleanai_onnx.selection.record import Packed

__all__ = ["CoverItems", "Covers"]

MOST_ITEMS = 2**28
"""Two gigabytes of memory when the subset is looked for; more is refused."""
MOST_NUMBERED = 2**20
"""So many different combinations of one part are told apart where the images are not counted."""
Set = npt.NDArray[np.int64]


@dataclass
class _Range:
    """Items of a part of a criterion: numbered as they are, or as they come where too many."""

    first: int
    size: int
    room: int
    serial: dict[int, int] = field(default_factory=dict)
    came: list[int] = field(default_factory=list)

    @property
    def as_they_come(self) -> bool:
        return self.room < self.size

    def numbered(self, items: Items) -> list[Set]:
        if not self.as_they_come:
            return [self.first + of_image for of_image in items]
        return [
            np.array([self.first + self._serial(item) for item in of_image.tolist()], np.int64)
            for of_image in items
        ]

    def _serial(self, item: int) -> int:
        number = self.serial.setdefault(item, len(self.serial))
        if number == len(self.came):
            self.came.append(item)
        if number >= self.room:
            raise UsageError(
                f"--subset: the images cover more than {self.room:,} different combinations of "
                "idc: give fewer --important, or leave idc out with --subset-metrics."
            )
        return number


class CoverItems:
    """How the items of criteria are numbered.

    Parameters
    ----------
    criteria
    most
        How many images there will be at most, where that is known. An image covers one combination
        of a part of ``idc``, so there are no more of them than images, and more are numbered as
        they come.

    Raises
    ------
    UsageError
        If there are too many items.
    """

    def __init__(self, criteria: Sequence[Criterion], most: int | None = None) -> None:
        self.criteria, self.most = tuple(criteria), most or MOST_NUMBERED
        self._ranges: list[list[_Range]] = []
        self.categories: dict[str, range] = {}
        end = 0
        for criterion in self.criteria:
            start, ranges = end, []
            for size in criterion.parts:
                room = size if criterion.metric != "idc" else min(size, self.most)
                ranges.append(_Range(end, size, room))
                end += room
            self.categories[criterion.name] = range(start, end)
            self._ranges.append(ranges)
        self.size = end
        if end > MOST_ITEMS:
            raise UsageError(
                f"--subset: {', '.join(self.categories)} have {end:,} items to cover, more than "
                f"{MOST_ITEMS:,}: choose fewer with --subset-metrics."
            )

    def numbered(self, found: Sequence[Sequence[Items]]) -> list[Set]:
        """Return the numbers of what each image of a batch covers.

        `found` has, for each criterion and part of it, the items of each image.
        """
        parts = [
            one.numbered(items)
            for ranges, of_parts in zip(self._ranges, found, strict=True)
            for one, items in zip(ranges, of_parts, strict=True)
        ]
        return [np.concatenate(of_image) for of_image in zip(*parts, strict=True)]

    def apart(self, packed: Packed) -> list[list[Set]]:
        """Return the items of each criterion and part again, of what one image covers.

        Raises
        ------
        UnfitError
            If it is no set of these items.
        """
        numbers = unpack_stored(*packed, self.size)
        return [[_apart(one, numbers) for one in ranges] for ranges in self._ranges]

    @property
    def combinations(self) -> list[Set]:
        """For each part that is numbered as they come, what has come, in this order."""
        return [np.array(one.came, np.int64) for one in self._as_they_come()]

    def restore(self, combinations: Sequence[object]) -> None:
        """Take up `combinations`; nothing was numbered yet.

        Raises
        ------
        UnfitError
            If they are none.
        """
        ranges = list(self._as_they_come())
        if len(combinations) != len(ranges):
            raise UnfitError("what its images cover has other parts")
        for one, found in zip(ranges, combinations, strict=True):
            if not isinstance(found, np.ndarray) or found.dtype != np.int64 or found.ndim != 1:
                raise UnfitError("the combinations that its images cover are no numbers")
            one.came = found.tolist()
            one.serial = {item: number for number, item in enumerate(one.came)}
            fits = len(one.serial) == len(one.came) <= one.room
            if not fits or any(not 0 <= item < one.size for item in one.came):
                raise UnfitError("the combinations that its images cover are none that there are")

    def _as_they_come(self) -> Iterator[_Range]:
        return (one for ranges in self._ranges for one in ranges if one.as_they_come)


def _apart(one: _Range, numbers: Set) -> Set:
    low, high = np.searchsorted(numbers, (one.first, one.first + one.room))
    inside: Set = numbers[low:high] - one.first
    if not one.as_they_come:
        return inside
    if len(inside) and inside[-1] >= len(one.came):
        raise UnfitError("an image covers a combination that is not listed")
    return np.array([one.came[number] for number in inside.tolist()], np.int64)


class Covers(Protocol):
    """What each image covers, wherever it lies."""

    @property
    def items(self) -> CoverItems:
        """How it is numbered."""

    def packed(self) -> Iterator[Packed]:
        """Yield it image by image, in these numbers."""

    def sets(self) -> Iterator[list[list[Set]]]:
        """Yield, for each image, what it covers of each criterion and part."""
