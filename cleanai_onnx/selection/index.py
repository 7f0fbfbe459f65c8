"""A record the other way round: which images cover an item."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cleanai_onnx.selection.record import CoverRecord
from cleanai_onnx.selection.scratch import scratch_file, write_all

__all__ = ["ImageIndex"]

CHUNK_PAIRS = 1 << 25
"""How many pairs of image and item are turned round at a time: 64 MiB up to 65,536 images."""
GATHERED_PAIRS = 1 << 22
"""How many pairs are looked up at a time."""


class ImageIndex:
    """The images that cover each item, for items that at least two images cover.

    The lists lie in a temporary file like the record's, 2 bytes for each pair of image and item up
    to 65,536 images and 4 beyond; in memory are 4 bytes for each item (8 beyond 2³² pairs).

    Attributes
    ----------
    only
        (images,) int64: how many items nobody but this image covers. An image with one is
        essential: it is in every subset that keeps the coverage.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """

    def __init__(self, record: CoverRecord) -> None:
        images = len(record)
        multiplicity = np.zeros(record.items, np.min_scalar_type(images))
        for items in record:
            multiplicity[items] += 1
        self.only = np.zeros(images, np.int64)
        for image, items in enumerate(record):
            self.only[image] = np.count_nonzero(multiplicity[items] == 1)
        # Taking the one image that covers an item changes the gain of no other.
        multiplicity[multiplicity == 1] = 0
        pairs = int(multiplicity.sum(dtype=np.int64))
        dtype = np.uint32 if pairs < 1 << 32 else np.int64
        self._starts: NDArray[Any] = np.zeros(record.items + 1, dtype)
        np.cumsum(multiplicity, dtype=self._starts.dtype, out=self._starts[1:])
        del multiplicity
        self._file = scratch_file(record.folder)
        try:
            self._fill(record, np.min_scalar_type(max(images - 1, 0)))
        except BaseException:
            self.close()
            raise

    def _fill(self, record: CoverRecord, dtype: np.dtype[Any]) -> None:
        """Write the lists, so many items at a time as fit into a chunk of memory."""
        low, pairs = 0, int(self._starts[-1])
        while (first := int(self._starts[low])) < pairs:
            # Of the type of the starts, which are converted otherwise: all of them, each time.
            end = self._starts.dtype.type(min(first + CHUNK_PAIRS, pairs))
            high = max(int(np.searchsorted(self._starts, end, side="right")) - 1, low + 1)
            places = self._starts[low:high].copy()
            ends = self._starts[low + 1 : high + 1]
            lists = np.zeros(int(ends[-1]) - first, dtype)
            for image, items in enumerate(record):
                inside = items[np.searchsorted(items, low) : np.searchsorted(items, high)] - low
                inside = inside[places[inside] < ends[inside]]
                lists[places[inside] - first] = image
                places[inside] += 1
            write_all(self._file, lists.data.cast("B"), record.folder)
            low = high
        # The system maps no empty file.
        self._lists: NDArray[Any] = np.memmap(self._file, dtype, "r") if low else np.zeros(0, dtype)

    def discount(self, gains: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        """Take 1 from the gain of each image, in place, for every one of `items` that it covers.

        Items that one image alone covers are left out.

        Parameters
        ----------
        gains
            (images,) int64.
        items
            (k,) int64: distinct items.
        """
        starts = self._starts[items].astype(np.int64)
        lengths = self._starts[items + 1].astype(np.int64) - starts
        ends = np.cumsum(lengths)
        done = 0
        while done < len(items):
            before = int(ends[done - 1]) if done else 0
            until = int(np.searchsorted(ends, before + GATHERED_PAIRS, side="right"))
            until = max(until, done + 1)
            part = slice(done, until)
            # Each list begins at its start; a running number over all lists then counts within it.
            places = np.repeat(starts[part] - (ends[part] - lengths[part] - before), lengths[part])
            places += np.arange(len(places))
            np.subtract.at(gains, self._lists[places], 1)
            done = until

    def close(self) -> None:
        """Remove the file."""
        self._lists = np.zeros(0, np.uint8)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
