"""The figures of each image of a run, kept on disk while the images stream by.

They are columns in files that only grow, so that a run that was killed can go on from the last
length that it knows to be good; tables are made of them at the end, and they are what a state file
has of single images. Memory does not grow with the number of images.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cleanai_onnx import container
from cleanai_onnx.container import UnfitError
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs import Manifest
from cleanai_onnx.selection.scratch import scratch_file, write_all

__all__ = [
    "REMEDY",
    "ImageRecord",
    "Images",
    "Rows",
    "Shape",
    "StoredImages",
    "add_images",
    "list_images",
    "refused",
    "scratch",
]

REMEDY = "make one with --state"
"""What to do where a state is broken."""
_DIGEST = 32
"""Bytes of a SHA-256."""
ROWS = 1024
"""So many images are read at a time."""
Opener = Callable[[str], IO[bytes]]
"""Opens the file of a column, to be read and written, unbuffered."""


class Rows(NamedTuple):
    """Some images in the order of the suite.

    `digests` are their SHA-256, ``(n, 32)`` uint8, zeros where it is not known; `model` is
    ``(n, S)`` and `layers`, where it is kept, ``(n, L, M)``, both float64: see
    `cleanai_onnx.coverage.Scores`.
    """

    names: list[str]
    indexes: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint8]
    model: npt.NDArray[np.float64]
    layers: npt.NDArray[np.float64] | None

    @property
    def hashes(self) -> list[str]:
        """The SHA-256 of each image in hexadecimal, empty where it is not known."""
        return [row.tobytes().hex() if row.any() else "" for row in self.digests]


@dataclass(frozen=True)
class Shape:
    """How much there is of each image: S scores, and M scores of each of L layers, if any."""

    scores: int
    layers: tuple[int, int] | None = None

    def columns(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Return the type and the shape of an item of each column; names are apart."""
        found: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "indexes": (np.dtype(np.int64), ()),
            "digests": (np.dtype(np.uint8), (_DIGEST,)),
            "name_lengths": (np.dtype(np.uint32), ()),
            "model": (np.dtype(np.float64), (self.scores,)),
        }
        if self.layers is not None:
            found["layers"] = (np.dtype(np.float64), self.layers)
        return found


class Images(Protocol):
    """The figures of images, wherever they lie."""

    @property
    def shape(self) -> Shape:
        """How much there is of each image."""

    def __len__(self) -> int:
        """Return how many images there are."""

    def rows(self) -> Iterator[Rows]:
        """Yield the images, some at a time."""


def refused(sentence: str) -> UsageError:
    """Return the error that says what is wrong with a state."""
    return UsageError(sentence)


def scratch(folder: str | Path | None = None) -> Opener:
    """Return what opens columns that are gone when the process ends, in whatever way."""
    return lambda _: scratch_file(folder)


class ImageRecord:
    """Figures of images that are added batch by batch.

    Parameters
    ----------
    opener
        Opens the files; what they hold is kept, and forgotten by `truncate`.
    shape
        Of what there will be.

    Raises
    ------
    OutputError
        If a file cannot be opened, or written to later.
    """

    def __init__(self, opener: Opener, shape: Shape, folder: str | Path | None = None) -> None:
        self.shape = shape
        self._folder = folder
        self._columns = shape.columns()
        self._files = {name: opener(name) for name in (*self._columns, "names")}
        self._count = self._name_bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def lengths(self) -> tuple[int, int]:
        """How many images there are, and how many bytes their names have."""
        return self._count, self._name_bytes

    def truncate(self, count: int, name_bytes: int) -> None:
        """Keep the first `count` images of those that the files hold, and their names.

        Raises
        ------
        UnfitError
            If the files are shorter.
        """
        for name, file in self._files.items():
            length = name_bytes if name == "names" else count * self._item(name)
            if file.seek(0, os.SEEK_END) < length:
                raise UnfitError(f"its file of {name} is too short")
            file.truncate(length)
        self._count, self._name_bytes = count, name_bytes

    def add(
        self,
        names: Sequence[str],
        indexes: Sequence[int],
        hashes: Sequence[str],
        model: npt.NDArray[np.float64],
        layers: npt.NDArray[np.float64],
    ) -> None:
        """Append the images of a batch; of those that are not known, the hash is empty."""
        digests = b"".join(bytes.fromhex(one) if one else bytes(_DIGEST) for one in hashes)
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        found = {
            "indexes": np.asarray(indexes, np.int64),
            "digests": np.frombuffer(digests, np.uint8),
            "name_lengths": np.array([len(name) for name in encoded], np.uint32),
            "model": model,
            "layers": layers,
        }
        for name, (dtype, item) in self._columns.items():
            array = np.ascontiguousarray(found[name], dtype).reshape(len(names), *item)
            self._append(name, self._count * self._item(name), array.tobytes())
        content = b"".join(encoded)
        self._append("names", self._name_bytes, content)
        self._count += len(names)
        self._name_bytes += len(content)

    def _append(self, name: str, end: int, content: bytes) -> None:
        self._files[name].seek(end)
        write_all(self._files[name], memoryview(content), self._folder)

    def _item(self, name: str) -> int:
        dtype, item = self._columns[name]
        return int(dtype.itemsize * np.prod(item, dtype=object))

    def flush(self) -> None:
        """Wait until the disk has everything."""
        for file in self._files.values():
            os.fsync(file.fileno())

    def rows(self) -> Iterator[Rows]:
        """Yield the images, some at a time."""
        start = 0
        for first in range(0, self._count, ROWS):
            count = min(ROWS, self._count - first)
            found = {}
            for name, (dtype, item) in self._columns.items():
                content = self._read(name, first * self._item(name), count * self._item(name))
                found[name] = np.frombuffer(content, dtype).reshape(count, *item)
            size = int(found["name_lengths"].sum(dtype=np.int64))
            yield _rows(found, self._read("names", start, size))
            start += size

    def _read(self, name: str, start: int, size: int) -> bytes:
        self._files[name].seek(start)
        pieces = []
        # An unbuffered file may give a part.
        while size and (piece := self._files[name].read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def _rows(found: dict[str, npt.NDArray[Any]], names: bytes) -> Rows:
    ends = np.cumsum(found["name_lengths"], dtype=np.int64).tolist()
    starts = [0, *ends[:-1]]
    return Rows(
        [
            names[start:end].decode("utf-8", "surrogatepass")
            for start, end in zip(starts, ends, strict=True)
        ],
        found["indexes"],
        found["digests"],
        found["model"],
        found.get("layers"),
    )


def list_images(manifest: Manifest, images: Images, most: int | None = None) -> None:
    """Add images to a manifest by their positions: the first so many of them, or all."""
    left = len(images) if most is None else most
    for rows in images.rows():
        manifest.add(rows.indexes[:left].tolist(), rows.hashes[:left])
        left -= len(rows.names)
        if left <= 0:
            return


def add_images(archive: zipfile.ZipFile, images: Images) -> int:
    """Add the figures of images to a file, and return how many bytes their names have."""
    for name, (dtype, item) in images.shape.columns().items():
        pieces = (_column(rows, name).astype(dtype, copy=False).tobytes() for rows in images.rows())
        container.add_rows(archive, f"images.{name}", dtype, (len(images), *item), pieces)
    size = sum(int(_lengths(rows).sum(dtype=np.int64)) for rows in images.rows())
    content = (b"".join(_encoded(rows)) for rows in images.rows())
    container.add_rows(archive, "images.names", np.uint8, (size,), content)
    return size


def _column(rows: Rows, name: str) -> npt.NDArray[Any]:
    found = _lengths(rows) if name == "name_lengths" else getattr(rows, name)
    assert isinstance(found, np.ndarray)
    return found


def _encoded(rows: Rows) -> Iterable[bytes]:
    return (name.encode("utf-8", "surrogatepass") for name in rows.names)


def _lengths(rows: Rows) -> npt.NDArray[np.uint32]:
    return np.array([len(name) for name in _encoded(rows)], np.uint32)


class StoredImages:
    """The figures of images in a file that was written with `add_images`.

    Parameters
    ----------
    path
        The file; it is opened each time that rows are read.
    count, name_bytes, shape
        What is in it.
    positions
        How many places the suite has; every index is one of them.
    """

    def __init__(
        self, path: str | Path, count: int, name_bytes: int, shape: Shape, positions: int
    ) -> None:
        self._path, self._count, self._name_bytes = path, count, name_bytes
        self._positions = positions
        self.shape = shape

    def __len__(self) -> int:
        return self._count

    def rows(self) -> Iterator[Rows]:
        """Yield the images, some at a time.

        Raises
        ------
        UsageError
            If the file does not hold what it should.
        """
        with container.opened(self._path, "state", REMEDY, refused) as archive:
            columns = {
                name: container.rows_of(
                    archive, f"images.{name}", dtype, (self._count, *item), ROWS
                )
                for name, (dtype, item) in self.shape.columns().items()
            }
            before = -1
            with container.opened_bytes(archive, "images.names", self._name_bytes) as names:
                for parts in zip(*columns.values(), strict=True):
                    found = dict(zip(columns, parts, strict=True))
                    size = int(found["name_lengths"].sum(dtype=np.int64))
                    indexes = np.concatenate([[before], found["indexes"]])
                    if (np.diff(indexes) <= 0).any() or indexes[-1] >= self._positions:
                        raise UnfitError("its images are not in the order of their suite")
                    before = int(indexes[-1])
                    content = names.read(size)
                    if len(content) != size:
                        raise UnfitError("its names are cut short")
                    yield _rows(found, content)
                if names.read(1):
                    raise UnfitError("its names are longer than they say")
