"""The values of neurons for single images, kept on disk for the measures that need ranks.

Ranks, quantiles and fits need all values at once. They are kept as float32 in a temporary file
without a name, for at most `capacity` images; where there are more, for a uniform sample of them,
chosen by their content as in `cleanai_onnx.profiles.sample`. So memory stays flat and the file
bounded, measures are exact up to `capacity` images, and beyond it each says from how many it comes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import IO, TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.selection.scratch import scratch_file, write_all

__all__ = ["KeptValues"]

Floats: TypeAlias = npt.NDArray[np.float64]

BLOCK_BYTES = 32 * 2**20
"""Of values that are looked at together."""


class KeptValues:
    """Values of neurons and hypotheses for a bounded number of images.

    Parameters
    ----------
    neurons, hypotheses : int
        How many values each image has of either.
    capacity : int
        How many images are kept at most.
    """

    def __init__(self, neurons: int, hypotheses: int, capacity: int) -> None:
        self._neurons, self._capacity = neurons, capacity
        self._row_bytes = 4 * neurons
        self._file: IO[bytes] = scratch_file(None)
        self._claimed = np.empty((0, hypotheses))
        self._largest: list[tuple[int, int]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def hypotheses(self) -> Floats:
        """``(n, H)`` float64, the values of the hypotheses."""
        return self._claimed[: self._count]

    def add(
        self,
        values: npt.NDArray[np.float32],
        hypotheses: Floats,
        keys: npt.NDArray[np.uint64] | None,
    ) -> None:
        """Add images.

        Parameters
        ----------
        values
            ``(b, N)``.
        hypotheses
            ``(b, H)``.
        keys
            ``(b,)``, see `cleanai_onnx.profiles.sample.image_keys`; None if there is room for all.
        """
        fitting = min(self._capacity - self._count, len(values))
        if keys is not None:
            for row in range(fitting):
                heapq.heappush(self._largest, (-int(keys[row]), self._count + row))
        self._write(self._count, values[:fitting])
        self._grow(self._count + fitting)
        self._claimed[self._count : self._count + fitting] = hypotheses[:fitting]
        self._count += fitting
        if keys is None:
            assert fitting == len(values)
            return
        for row in range(fitting, len(values)):
            key, place = self._largest[0]
            if int(keys[row]) < -key:
                heapq.heapreplace(self._largest, (-int(keys[row]), place))
                self._write(place, values[row : row + 1])
                self._claimed[place] = hypotheses[row]

    def blocks(
        self, rows: npt.NDArray[np.int64], columns: range | None = None
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the values of `rows`, some neurons at a time: ``(N_block, n)``, contiguous.

        `columns` are the neurons to yield, all by default.
        """
        if not len(rows):
            return
        kept = np.memmap(self._file, np.float32, "r", shape=(self._count, self._neurons))
        columns = range(self._neurons) if columns is None else columns
        step = max(BLOCK_BYTES // (4 * len(rows)), 1)
        every = len(rows) == self._count
        for first in range(columns.start, columns.stop, step):
            part = kept[:, first : min(first + step, columns.stop)]
            yield np.ascontiguousarray((part if every else part[rows]).T)

    def layer(self, rows: npt.NDArray[np.int64], columns: range) -> npt.NDArray[np.float32]:
        """Return the values of some neurons together: ``(n, N)``."""
        kept = np.memmap(self._file, np.float32, "r", shape=(self._count, self._neurons))
        return np.ascontiguousarray(kept[rows, columns.start : columns.stop])

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def _write(self, place: int, values: npt.NDArray[np.float32]) -> None:
        if values.size:
            self._file.seek(place * self._row_bytes)
            write_all(self._file, np.ascontiguousarray(values).data.cast("B"), None)

    def _grow(self, count: int) -> None:
        if count > len(self._claimed):
            larger = np.empty((max(count, 2 * len(self._claimed)), self._claimed.shape[1]))
            larger[: self._count] = self._claimed[: self._count]
            self._claimed = larger
