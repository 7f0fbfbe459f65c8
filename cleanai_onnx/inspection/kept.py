"""The values of neurons for single images, kept on disk for the measures that need ranks.

Ranks, quantiles and fits need all values at once. They are kept as float32 in a temporary file
without a name, for at most `capacity` images; where there are more, for a uniform sample of them,
chosen by their content as in `cleanai_onnx.profiles.sample`. So memory stays flat and the file
bounded, measures are exact up to `capacity` images, and beyond it each says from how many it comes.
Images are told in the order of the suite, so that nothing depends on how they came: parts of a
suite merge into the very sample of one pass.
"""

from __future__ import annotations

import heapq
import pickle
import shutil
from collections.abc import Iterator, Sequence
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
        self._indexes = np.empty(0, np.int64)
        # Of the images that are kept: the negative of key and index, and the row.
        self._largest: list[tuple[int, int, int]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def hypotheses(self) -> Floats:
        """``(n, H)`` float64, the values of the hypotheses, in the order of the images."""
        claimed = self._claimed[: self._count]
        order = self._order()
        return claimed if order is None else claimed[order]

    def add(
        self,
        values: npt.NDArray[np.float32],
        hypotheses: Floats,
        indexes: Sequence[int] | npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint64] | None,
    ) -> None:
        """Add images.

        Parameters
        ----------
        values
            ``(b, N)``.
        hypotheses
            ``(b, H)``.
        indexes
            Where each lies in the suite.
        keys
            ``(b,)``, see `cleanai_onnx.profiles.sample.image_keys`; None if there is room for all.
            Of images with one key, the first of the suite are kept.
        """
        indexes = np.asarray(indexes, np.int64)
        fitting = min(self._capacity - self._count, len(values))
        if keys is not None:
            for row in range(fitting):
                place = self._count + row
                heapq.heappush(self._largest, (-int(keys[row]), -int(indexes[row]), place))
        self._write(self._count, values[:fitting])
        self._grow(self._count + fitting)
        new = slice(self._count, self._count + fitting)
        self._claimed[new], self._indexes[new] = hypotheses[:fitting], indexes[:fitting]
        self._count += fitting
        if keys is None:
            assert fitting == len(values)
            return
        for row in range(fitting, len(values)):
            rank, place = (-int(keys[row]), -int(indexes[row])), self._largest[0][2]
            if rank > self._largest[0][:2]:
                heapq.heapreplace(self._largest, (*rank, place))
                self._write(place, values[row : row + 1])
                self._claimed[place], self._indexes[place] = hypotheses[row], indexes[row]

    def write(self, stream: IO[bytes]) -> None:
        """Write everything to a stream, for `merge` in another process."""
        keys = None
        if self._largest:
            keys = np.empty(self._count, np.uint64)
            for negative, _, place in self._largest:
                keys[place] = -negative
        known = self._claimed[: self._count], self._indexes[: self._count], keys
        pickle.dump(known, stream, pickle.HIGHEST_PROTOCOL)
        self._file.seek(0)
        shutil.copyfileobj(self._file, stream)

    def merge(self, stream: IO[bytes], first: int) -> None:
        """Add the images that `write` wrote for a part of the suite whose first image is `first`.

        It reads what only this program has written: pickle would run what another has.
        """
        claimed, indexes, keys = pickle.load(stream)
        step = max(BLOCK_BYTES // self._row_bytes, 1)
        for start in range(0, len(claimed), step):
            rows = slice(start, start + step)
            content = stream.read(len(claimed[rows]) * self._row_bytes)
            values = np.frombuffer(content, np.float32).reshape(-1, self._neurons)
            self.add(
                values, claimed[rows], indexes[rows] + first, None if keys is None else keys[rows]
            )

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
        order = self._order()
        every = len(rows) == self._count and order is None
        places = rows if order is None else order[rows]
        for first in range(columns.start, columns.stop, step):
            part = kept[:, first : min(first + step, columns.stop)]
            yield np.ascontiguousarray((part if every else part[places]).T)

    def layer(self, rows: npt.NDArray[np.int64], columns: range) -> npt.NDArray[np.float32]:
        """Return the values of some neurons together: ``(n, N)``."""
        kept = np.memmap(self._file, np.float32, "r", shape=(self._count, self._neurons))
        order = self._order()
        places = rows if order is None else order[rows]
        return np.ascontiguousarray(kept[places, columns.start : columns.stop])

    def _order(self) -> npt.NDArray[np.int64] | None:
        """Return the row of each image in the order of the suite; None where they are in it."""
        indexes = self._indexes[: self._count]
        return None if (np.diff(indexes) > 0).all() else np.argsort(indexes, kind="stable")

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
            self._indexes = np.resize(self._indexes, len(larger))
