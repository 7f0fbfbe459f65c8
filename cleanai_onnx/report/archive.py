"""Arrays of many images in one .npz file, written batch by batch while memory stays flat."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.report.folder import GrowingFolder

__all__ = ["GrowingArchive"]


@dataclass
class _Rows:
    """The rows of one array so far, in a file."""

    stream: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    count: int = 0


class GrowingArchive:
    """A .npz file (without compression) in a folder; its arrays grow along their first axis.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(self, folder: GrowingFolder, name: str) -> None:
        self._folder, self._name = folder, name
        self._rows: dict[str, _Rows] = {}
        self._open = ExitStack()

    def add(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append rows to arrays, each with the item shape and the dtype that it has had before."""
        with self._folder.failing():
            for name, array in arrays.items():
                rows = self._rows.get(name)
                if rows is None:
                    stream = self._open.enter_context(self._folder.open(self._part(name)))
                    rows = self._rows[name] = _Rows(stream, array.dtype, array.shape[1:])
                if array.dtype != rows.dtype or array.shape[1:] != rows.shape:
                    raise ValueError(f"rows of {name!r} have changed their type or shape")
                rows.stream.write(np.ascontiguousarray(array).tobytes())
                rows.count += len(array)

    def finish(self) -> None:
        """Put the arrays together in the file."""
        with (
            self._folder.failing(),
            self._open,
            self._folder.open(self._name) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name, rows in self._rows.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    header = {
                        "descr": np.lib.format.dtype_to_descr(rows.dtype),
                        "fortran_order": False,
                        "shape": (rows.count, *rows.shape),
                    }
                    np.lib.format.write_array_header_2_0(entry, header)
                    rows.stream.seek(0)
                    shutil.copyfileobj(rows.stream, entry, 2**20)
        with self._folder.failing():
            for name in self._rows:
                self._folder.remove(self._part(name))

    def discard(self) -> None:
        """Close the files; they go with the folder."""
        self._open.close()

    def _part(self, name: str) -> str:
        """Return the name of the file that holds the rows of an array."""
        return f".{list(self._rows).index(name) if name in self._rows else len(self._rows)}"
