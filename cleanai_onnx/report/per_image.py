"""Tables with a row for each image, written while the images come in: memory stays flat.

A table is a CSV file (RFC 4180, UTF-8). It grows under a temporary name and appears under its own
when it is complete.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx.report.destination import GrowingFile
from cleanai_onnx.report.names import printable

__all__ = ["ImageTable", "LayerTable", "cell"]


class _Table:
    """A growing CSV file with a header."""

    def __init__(self, path: str | Path, header: Sequence[str]) -> None:
        self._path = path
        self._file = GrowingFile(path)
        self._writer = csv.writer(self._file)
        self._writer.writerow(header)

    def finish(self) -> Path:
        """Put the complete table in its place and return its path."""
        return self._file.finish()

    def discard(self) -> None:
        """Remove the table if it was not finished."""
        self._file.discard()


class ImageTable(_Table):
    """One row for each image: its position, name and scores.

    Parameters
    ----------
    path : path
    scores : sequence of str
        Names of the scores.
    """

    def __init__(self, path: str | Path, scores: Sequence[str]) -> None:
        super().__init__(path, ["index", "image", *scores])

    def add(self, names: Sequence[str], indexes: Sequence[int], scores: np.ndarray) -> None:
        """Append the images of a batch; `scores` is ``(images, scores)``, NaN for none."""
        for name, index, values in zip(names, indexes, scores, strict=True):
            self._writer.writerow([index, cell(name), *_numbers(values)])

    def widen(self, columns: Mapping[str, np.ndarray]) -> None:
        """Add columns ``(images,)`` to the rows that were written, once; none come after them."""
        if not self._file.is_open:
            return
        narrow, self._file = self._file, GrowingFile(self._path)
        try:
            writer = csv.writer(self._file)
            rows = csv.reader(narrow.lines())
            writer.writerow([*next(rows), *columns])
            for row, *values in zip(rows, *columns.values(), strict=True):
                writer.writerow([*row, *_numbers(values)])
        finally:
            narrow.discard()


class LayerTable(_Table):
    """One row for each image and layer.

    Parameters
    ----------
    path : path
    scores, layers : sequence of str
        Names of the scores and of the layers.
    """

    def __init__(self, path: str | Path, scores: Sequence[str], layers: Sequence[str]) -> None:
        super().__init__(path, ["index", "image", "layer", *scores])
        self._layers = [cell(layer) for layer in layers]

    def add(self, names: Sequence[str], indexes: Sequence[int], scores: np.ndarray) -> None:
        """Append the images of a batch; `scores` is ``(images, layers, scores)``."""
        for name, index, layers in zip(names, indexes, scores, strict=True):
            image = cell(name)
            for layer, values in zip(self._layers, layers, strict=True):
                self._writer.writerow([index, image, layer, *_numbers(values)])


def cell(name: str) -> str:
    """Return a name that a spreadsheet does not take for a formula."""
    text = printable(name)
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def _numbers(values: Iterable[Any]) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.9g}" for value in values]
