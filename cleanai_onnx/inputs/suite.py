"""The suite: the images under test, found but not yet read."""

from __future__ import annotations

import difflib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.result import SkippedImage

if TYPE_CHECKING:
    from cleanai_onnx.inputs.stores import Store
    from cleanai_onnx.inputs.tables import TableStore

__all__ = ["PixelAxes", "Suite", "sample"]

PixelAxes = Literal["NHW", "NHWC", "NCHW"]


@dataclass(frozen=True, eq=False)
class Suite:
    """The images under test, in their order; each has an index from 0 to ``len(suite) - 1``.

    Attributes
    ----------
    source
        What the user named, in a form that can be printed.
    kind
        ``files`` (image files), ``pixels`` (one uint8 array of images, which is preprocessed like
        files are) or ``ready`` (one array of values that the model takes as they are).
    found
        How many were found before `limit` took a part of them.
    root, files
        For files: the folder, and the path of each file relative to it with ``/`` between parts.
    store
        For files that are not in a folder: what has them, by the names in `files`.
    array, rows, axes
        For arrays: the array (memory mapped if it comes from a ``.npy`` file), the rows that
        belong to the suite, and, for pixels, what the axes are.
    unreadable
        Folders that could not be listed, which therefore may hold images that were not found.
    """

    source: str
    kind: Literal["files", "pixels", "ready"]
    found: int
    root: str = ""
    files: tuple[str, ...] = ()
    store: Store | None = None
    array: npt.NDArray[Any] | None = None
    rows: Sequence[int] = range(0)
    axes: PixelAxes | None = None
    unreadable: tuple[SkippedImage, ...] = ()

    def __len__(self) -> int:
        return len(self.files) if self.kind == "files" else len(self.rows)

    def name(self, index: int) -> str:
        """Return the printable name of an item: its relative path, or ``digits.npy[12]``."""
        if self.kind == "files":
            return shown(self.files[index])
        return f"{self.source}[{self.rows[index]}]"

    def full_name(self, index: int) -> str:
        """Return the name of an item as it is, which may not be printable."""
        return self.files[index] if self.kind == "files" else self.name(index)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all items, in order. With a million images, prefer `name`."""
        return tuple(self.name(index) for index in range(len(self)))

    def path(self, index: int) -> str:
        """Return the path of an item of a suite of files; of one with a store, below `root`."""
        if self.store is not None:
            return self.root + self.files[index]
        return os.path.join(self.root, *self.files[index].split("/"))

    def row(self, index: int) -> npt.NDArray[Any]:
        """Return an item of a suite of an array as it is there."""
        if self.array is None:
            raise TypeError("only a suite of an array has rows")
        row: npt.NDArray[Any] = self.array[self.rows[index]]
        return row

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an item of a suite of pixels, as (height, width) or (height, width, channels)."""
        if self.kind != "pixels":
            raise TypeError("only a suite of pixels has pixels")
        row = np.asarray(self.row(index), dtype=np.uint8)
        if self.axes == "NCHW":
            row = np.moveaxis(row, 0, -1)
        return row[..., 0] if row.ndim == 3 and row.shape[-1] == 1 else row

    @property
    def folder(self) -> str:
        """The folder that names are relative to; empty where images are in something else."""
        return os.path.abspath(self.root) if self.kind == "files" and self.store is None else ""

    @property
    def table(self) -> TableStore | None:
        """What has the images, where these are rows of tables."""
        from cleanai_onnx.inputs.tables import TableStore

        return self.store if isinstance(self.store, TableStore) else None

    def called(self, text: str) -> list[int]:
        """Return the indexes of the items called `text`: the name, or the end of the path."""
        # As the report prints the name, or as the file system has it.
        spellings = {text, shown(text)}
        exact = [index for index, name in enumerate(self.names) if name in spellings]
        # The folder that all names are relative to may be the last part of what was given.
        lead = f"{shown(self.folder)}/"
        ends = tuple(f"/{spelling}" for spelling in spellings)
        return exact or [
            index for index, name in enumerate(self.names) if f"{lead}{name}".endswith(ends)
        ]

    def find(self, text: str) -> int:
        """Return the index of the item called `text`: its name, or the end of its path.

        Raises
        ------
        UsageError
            If no item, or more than one, is called that.
        """
        names, matches = self.names, self.called(text)
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UsageError(
                f"'{shown(text)}' is the end of {len(matches)} paths in {self.source}, among them "
                f"'{names[matches[0]]}' and '{names[matches[1]]}': give more of the path."
            )
        near = difflib.get_close_matches(text, names[:10_000], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        if len(self) < self.found:
            hint = f" among the {len(self):,} of {self.found:,} that --limit chose{hint}"
        raise UsageError(f"No image of {self.source} is called '{shown(text)}'{hint}")

    def limited(self, limit: int | None, seed: int = 0) -> Suite:
        """Return a suite of at most `limit` items, chosen by `seed`, in the order they had.

        Raises
        ------
        UsageError
            If `limit` is not positive.
        """
        if limit is None:
            return self
        if limit < 1:
            raise UsageError(
                f"The limit on images must be at least 1, not {limit} (--limit).",
                slug="option-value",
            )
        if limit >= len(self):
            return self
        return self.subset(sample(len(self), limit, seed))

    def shard(self, first: int, last: int) -> Suite:
        """Return a suite of the items from `first` to before `last`.

        Folders that could not be listed are those of the first shard.
        """
        part = self.subset(range(first, last))
        return part if first == 0 else replace(part, unreadable=())

    def subset(self, indexes: Sequence[int]) -> Suite:
        """Return a suite of the items at `indexes`, in that order."""
        if self.kind == "files":
            return replace(self, files=tuple(self.files[index] for index in indexes))
        return replace(self, rows=tuple(self.rows[index] for index in indexes))


def sample(population: int, size: int, seed: int) -> list[int]:
    """Return `size` distinct integers below `population`, sorted, the same for a seed everywhere.

    Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987): every subset is equally likely, and
    it needs `size` draws only. It uses nothing but ``Random.random``, the one method whose
    sequence Python promises to keep from version to version.
    """
    draw = random.Random(seed).random
    chosen: set[int] = set()
    for top in range(population - size, population):
        candidate = int(draw() * (top + 1))
        chosen.add(top if candidate in chosen else candidate)
    return sorted(chosen)
