"""The tables of single images: which of them are wanted, filled batch by batch or all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cleanai_onnx.report.per_image import ImageTable, LayerTable
from cleanai_onnx.states.images import Images

__all__ = ["ImageTables"]


class ImageTables:
    """Tables with a row for each image, and for each image and layer, where they are wanted."""

    def __init__(self, tables: Sequence[ImageTable | LayerTable]) -> None:
        self._tables = tuple(tables)

    @staticmethod
    def opened(
        per_image: str | Path | None,
        per_layer: str | Path | None,
        names: Sequence[str],
        layer_names: Sequence[str],
        layers: Sequence[str],
    ) -> ImageTables:
        """Open the tables whose paths are given."""
        tables: list[ImageTable | LayerTable] = []
        try:
            if per_image is not None:
                tables.append(ImageTable(per_image, names, hashed=True))
            if per_layer is not None:
                tables.append(LayerTable(per_layer, layer_names, layers))
        except BaseException:
            ImageTables(tables).discard()
            raise
        return ImageTables(tables)

    def add(
        self,
        names: Sequence[str],
        indexes: Sequence[int],
        hashes: Sequence[str],
        model: np.ndarray,
        layers: np.ndarray | None,
    ) -> None:
        """Append the images of a batch: ``(images, scores)``, ``(images, layers, scores)``."""
        for table in self._tables:
            if isinstance(table, ImageTable):
                table.add(names, indexes, model, hashes)
            elif layers is not None:
                table.add(names, indexes, layers)

    def add_all(self, images: Images) -> None:
        """Append images whose figures were kept."""
        for rows in images.rows():
            self.add(rows.names, rows.indexes.tolist(), rows.hashes, rows.model, rows.layers)

    def finish(self, columns: Mapping[str, np.ndarray]) -> bool:
        """Put the tables in their places, and return whether there are any.

        `columns` are further figures of the images, in the order in which they came.
        """
        for table in self._tables:
            if isinstance(table, ImageTable) and columns:
                table.widen(columns)
            table.finish()
        return bool(self._tables)

    def discard(self) -> None:
        """Remove the tables that were not finished."""
        for table in self._tables:
            table.discard()
