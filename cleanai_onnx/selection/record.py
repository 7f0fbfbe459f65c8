"""What each image of a suite covers, kept on disk, and what it added when it came."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from cleanai_onnx.container import UnfitError
from cleanai_onnx.selection.bitset import BitSet
from cleanai_onnx.selection.packing import (
    LARGEST_ITEM,
    Form,
    pack,
    packed_length,
    unpack,
    unpack_stored,
)
from cleanai_onnx.selection.scratch import scratch_file, write_all

__all__ = ["SIZES", "Added", "CoverRecord", "Packed"]

NOTHING = -1
"""In a matrix of items: the image covers nothing there."""
SIZES = np.dtype([("form", np.uint8), ("count", np.uint32)])
"""What is kept of each set beside its content."""


class Packed(NamedTuple):
    """A set as `pack` wrote it, and how many items it has."""

    form: Form
    size: int
    content: bytes


@dataclass(frozen=True)
class Added:
    """How many items each image of a batch covered that no image before it had covered.

    Attributes
    ----------
    total
        (B,) int64: of all items.
    by_category
        (B, C) int64: of the items of each category, in the order in which they were given.
    """

    total: NDArray[np.int64]
    by_category: NDArray[np.int64]


class CoverRecord:
    """The items that each image covers, appended batch by batch, read by the image's number.

    The sets lie in a temporary file, 2 bytes or less for each item in most suites; in memory are a
    bit for each item there is and 17 bytes for each image. The file is gone when the record is
    closed (it is a context manager) or collected, or when the process ends, in whatever way.

    Parameters
    ----------
    items
        How many items there are; they are numbered from 0.
    categories
        Names of ranges of items that do not overlap, for `Added.by_category`. They need not hold
        every item.
    folder
        Where the temporary file lies; by default where the system keeps such files, which the
        environment variable TMPDIR names.
    opener
        Opens two files instead, by name, which the caller keeps: `restore` goes on from them.

    Raises
    ------
    ValueError
        If `items` is negative or above 2³², or a category is no ascending range of them or
        overlaps another.
    OutputError
        If the file cannot be created, or written to later.
    """

    def __init__(
        self,
        items: int,
        categories: Mapping[str, range] | None = None,
        *,
        folder: str | Path | None = None,
        opener: Callable[[str], IO[bytes]] | None = None,
    ) -> None:
        if not 0 <= items <= LARGEST_ITEM + 1:
            raise ValueError(f"the number of items is {items}; give one from 0 to 2**32")
        self.items = items
        self.categories = dict(categories or {})
        _check_categories(self.categories, items)
        self.folder = folder
        self._bounds = [(r.start, r.stop) for r in self.categories.values()]
        self._covered = BitSet(items)
        self._covered_by_category = np.zeros(len(self._bounds), np.int64)
        self._covered_count = 0
        # Whole columns, not an object for each image: a million images take 17 MB.
        self._forms = array("B")
        self._counts = array("q")
        self._ends = array("q")
        self._file = scratch_file(folder) if opener is None else opener("covers")
        self._sizes = None if opener is None else opener("cover_sizes")

    def append(
        self,
        matrix: NDArray[np.integer[Any]] | None = None,
        ragged: Sequence[NDArray[np.integer[Any]]] | None = None,
    ) -> Added:
        """Append a batch of images, and say what each added. All of the batch is kept, or nothing.

        An image covers what its row of `matrix` and its array of `ragged` name, together; order and
        repetitions do not matter.

        Parameters
        ----------
        matrix
            (B, n) integers: items, or -1 where an image covers nothing.
        ragged
            B arrays of any lengths: items.

        Raises
        ------
        ValueError
            If neither is given, they are of different numbers of images, or a number is no item.
        OutputError
            If the file cannot be written.
        """
        batch = self._sets_of_batch(matrix, ragged)
        packed = [pack(items, self.items) for items in batch]
        self._file.seek(self.stored_bytes)
        content = b"".join(content for _, content in packed)
        write_all(self._file, memoryview(content), self.folder)
        if self._sizes is not None:
            sizes = [(form, len(items)) for items, (form, _) in zip(batch, packed, strict=True)]
            self._sizes.seek(len(self) * SIZES.itemsize)
            rows = np.array(sizes, SIZES).tobytes()
            write_all(self._sizes, memoryview(rows), self.folder)
        total = np.zeros(len(batch), np.int64)
        by_category = np.zeros((len(batch), len(self._bounds)), np.int64)
        for row, (items, (form, stored)) in enumerate(zip(batch, packed, strict=True)):
            total[row], by_category[row] = self._cover(items)
            self._place(form, len(items), len(stored))
        return Added(total, by_category)

    def _cover(self, items: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
        """Count what an image covers that none before it did: in all, and of each category."""
        new = self._covered.add(items)
        by_category = np.zeros(len(self._bounds), np.int64)
        if self._bounds:
            ends = np.searchsorted(new, self._bounds)
            by_category = ends[:, 1] - ends[:, 0]
        self._covered_count += len(new)
        self._covered_by_category += by_category
        return len(new), by_category

    def _place(self, form: int, count: int, length: int) -> None:
        self._forms.append(form)
        self._counts.append(count)
        self._ends.append(self.stored_bytes + length)

    def flush(self) -> None:
        """Wait until the disk has what an `opener` keeps."""
        assert self._sizes is not None
        for file in (self._file, self._sizes):
            os.fsync(file.fileno())

    def restore(self, images: int) -> None:
        """Take up the first so many `images` that the kept files hold; none was appended yet.

        Raises
        ------
        UnfitError
            If the files are shorter, or hold something else.
        """
        assert self._sizes is not None and not len(self)
        length = images * SIZES.itemsize
        if self._sizes.seek(0, os.SEEK_END) < length:
            raise UnfitError("its file of cover_sizes is too short")
        self._sizes.truncate(length)
        self._sizes.seek(0)
        for form, count in np.frombuffer(_read(self._sizes, length), SIZES).tolist():
            if form not in tuple(Form):
                raise UnfitError("what an image covers is written in an unknown form")
            self._place(form, count, packed_length(Form(form), count, self.items))
        if self._file.seek(0, os.SEEK_END) < self.stored_bytes:
            raise UnfitError("its file of covers is too short")
        self._file.truncate(self.stored_bytes)
        for packed in self.packed():
            self._cover(unpack_stored(*packed, self.items))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(images,) int64: how many items each image covers."""
        return np.array(self._counts, np.int64)

    @property
    def covered(self) -> int:
        """How many items some image covers."""
        return self._covered_count

    @property
    def covered_by_category(self) -> dict[str, int]:
        """How many items of each category some image covers."""
        return dict(zip(self.categories, self._covered_by_category.tolist(), strict=True))

    @property
    def stored_bytes(self) -> int:
        """The length of the file."""
        return self._ends[-1] if self._ends else 0

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._ends)

    def __getitem__(self, image: int) -> NDArray[np.int64]:
        """Return the items that an image covers: int64, ascending, distinct."""
        if not 0 <= image < len(self):
            raise IndexError(f"image {image} of a record of {len(self)} images")
        form, _, content = self._packed(image)
        return unpack(form, content, self.items)

    def packed(self) -> Iterator[Packed]:
        """Yield what each image covers as it lies in the file."""
        return (self._packed(image) for image in range(len(self)))

    def _packed(self, image: int) -> Packed:
        start = self._ends[image - 1] if image else 0
        self._file.seek(start)
        content = _read(self._file, self._ends[image] - start)
        return Packed(Form(self._forms[image]), self._counts[image], content)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return (self[image] for image in range(len(self)))

    def close(self) -> None:
        """Close the files; what was counted stays, the sets cannot be read any more."""
        self._file.close()
        if self._sizes is not None:
            self._sizes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _sets_of_batch(
        self,
        matrix: NDArray[np.integer[Any]] | None,
        ragged: Sequence[NDArray[np.integer[Any]]] | None,
    ) -> list[NDArray[np.int64]]:
        sets = [] if ragged is None else [_flat_integers(items) for items in ragged]
        if matrix is not None:
            matrix = np.asarray(matrix)
            if matrix.ndim != 2:
                raise ValueError(f"the matrix has shape {matrix.shape}; it must be (images, items)")
            rows = [_flat_integers(row) for row in matrix]
            rows = [row[row != NOTHING] for row in rows]
            if ragged is not None and len(sets) != len(rows):
                raise ValueError(
                    f"the matrix is of {len(rows)} images, the ragged arrays are of {len(sets)}"
                )
            pairs = zip(rows, sets, strict=True)
            sets = rows if ragged is None else [np.concatenate(pair) for pair in pairs]
        elif ragged is None:
            raise ValueError("no images were given: give a matrix, ragged arrays, or both")
        return [self._distinct(items) for items in sets]

    def _distinct(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        if not (items[1:] > items[:-1]).all():
            items = np.unique(items)
        if len(items) and not 0 <= items[0] <= items[-1] < self.items:
            wrong = items[0] if items[0] < 0 else items[-1]
            raise ValueError(f"an image covers item {wrong}; the {self.items} items begin at 0")
        return items


def _read(file: IO[bytes], size: int) -> bytes:
    pieces = []
    # An unbuffered file may give a part.
    while size and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _flat_integers(items: NDArray[Any]) -> NDArray[np.int64]:
    items = np.asarray(items)
    if items.ndim != 1:
        raise ValueError(f"the items of an image have shape {items.shape}; give a flat array")
    if len(items) and items.dtype.kind not in "iu":
        raise ValueError(f"items are integers, not {items.dtype}")
    return items.astype(np.int64)


def _check_categories(categories: Mapping[str, range], items: int) -> None:
    end = 0
    for name, category in sorted(categories.items(), key=lambda pair: pair[1].start):
        if category.step != 1 or category.stop < category.start or category.stop > items:
            raise ValueError(f"category {name!r} is {category}, no range of the {items} items")
        if category.start < end:
            raise ValueError(f"category {name!r} overlaps another: it begins before item {end}")
        end = category.stop
