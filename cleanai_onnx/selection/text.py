"""Texts of any number on disk: the names of a million images are no burden on memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path

from cleanai_onnx.selection.scratch import scratch_file, write_all

__all__ = ["TextRecord"]


class TextRecord:
    """Texts, appended and read by their number. They lie in a temporary file like a `CoverRecord`.

    Raises
    ------
    OutputError
        If the file cannot be created, or written to later.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = folder
        self._ends = array("q")
        self._file = scratch_file(folder)

    def extend(self, texts: Iterable[str]) -> None:
        """Append texts; lone surrogates are kept."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        end = self._ends[-1] if self._ends else 0
        self._file.seek(end)
        write_all(self._file, memoryview(b"".join(encoded)), self._folder)
        for part in encoded:
            end += len(part)
            self._ends.append(end)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self):
            raise IndexError(f"text {number} of {len(self)}")
        start = self._ends[number - 1] if number else 0
        self._file.seek(start)
        return self._file.read(self._ends[number] - start).decode("utf-8", "surrogatepass")

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
