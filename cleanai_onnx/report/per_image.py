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
from cleanai_onnx.report.names import spreadsheet_cell

__all__ = ["ImageTable", "LayerTable"]


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
    hashed : bool
        Whether there is a column ``sha256`` before the scores.
    """

    def __init__(self, path: str | Path, scores: Sequence[str], *, hashed: bool = False) -> None:
        super().__init__(path, ["index", "image", *(["sha256"] if hashed else []), *scores])
        self._hashed = hashed

    def add(
        self,
        names: Sequence[str],
        indexes: Sequence[int],
        scores: np.ndarray,
        hashes: Sequence[str] = (),
    ) -> None:
        """Append the images of a batch.

        `scores` is ``(images, scores)``, NaN for none; `hashes` are the cells of the column
        ``sha256``, if there is one.
        """
        between = [[digest] for digest in hashes] if self._hashed else [[]] * len(names)
        for name, index, digest, values in zip(names, indexes, between, scores, strict=True):
            self._writer.writerow([index, spreadsheet_cell(name), *digest, *_numbers(values)])

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
        self._layers = [spreadsheet_cell(layer) for layer in layers]

    def add(self, names: Sequence[str], indexes: Sequence[int], scores: np.ndarray) -> None:
        """Append the images of a batch; `scores` is ``(images, layers, scores)``."""
        for name, index, layers in zip(names, indexes, scores, strict=True):
            image = spreadsheet_cell(name)
            for layer, values in zip(self._layers, layers, strict=True):
                self._writer.writerow([index, image, layer, *_numbers(values)])


def _numbers(values: Iterable[Any]) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.9g}" for value in values]
