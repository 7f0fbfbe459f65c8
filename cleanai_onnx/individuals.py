"""What is kept of single images while the suite streams by: ranks, a pair, and tables on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cleanai_onnx import coverage
from cleanai_onnx.report.per_image import ImageTable, LayerTable
from cleanai_onnx.result import FeaturedImage

if TYPE_CHECKING:
    from cleanai_onnx.coverage import Array

__all__ = ["Individuals"]

FEATURED = 5
"""Images with the lowest coverage that the report shows, and as many with the highest."""


class Individuals:
    """Follows the images of one run. What it keeps in memory does not grow with their number.

    Parameters
    ----------
    state : coverage.State
        Of the run, for its layers and parameters.
    pair : (int, int), optional
        Positions of the two images to compare; by default the first two that come.
    per_image, per_layer : path, optional
        Where to write a row for each image, and for each image and layer.
    further : sequence of str, optional
        Names of scores that come with each image, besides those of the metrics' figures.

    Raises
    ------
    OutputError
        If a table cannot be written, now or later.
    """

    def __init__(
        self,
        state: coverage.State,
        pair: tuple[int, int] | None = None,
        per_image: str | Path | None = None,
        per_layer: str | Path | None = None,
        further: Sequence[str] = (),
    ) -> None:
        self._layers, self._parameters = state.layers, state.parameters
        self._layer_names = coverage.score_names(state.parameters)
        self._names = (*self._layer_names, *further)
        self._extremes = coverage.Extremes(self._names, FEATURED)
        self._wanted = pair
        self._pair: dict[int, tuple[str, list[Array]]] = {}
        self._tables: list[ImageTable | LayerTable] = []
        self._image_table = self._layer_table = None
        try:
            if per_image is not None:
                self._image_table = ImageTable(per_image, self._names, hashed=True)
                self._tables.append(self._image_table)
            if per_layer is not None:
                layers = [layer.name for layer in state.layers]
                self._layer_table = LayerTable(per_layer, self._layer_names, layers)
                self._tables.append(self._layer_table)
        except BaseException:
            self.discard()
            raise

    def add(
        self,
        state: coverage.State,
        figures: coverage.InputFigures,
        activations: Sequence[Array],
        names: Sequence[str],
        indexes: Sequence[int],
        further: np.ndarray,
        hashes: Sequence[str],
    ) -> None:
        """Follow the images of a batch that `state` has just measured.

        `further` is ``(images, scores)`` float64, in the order of the names that were given.
        """
        before = state.inputs - len(names)
        scores = coverage.scores_of(figures, self._layers, self._parameters, before)
        scores = replace(scores, model=np.concatenate([scores.model, further], axis=1))
        self._extremes.add(names, indexes, scores)
        if self._image_table is not None:
            self._image_table.add(names, indexes, scores.model, hashes)
        if self._layer_table is not None:
            self._layer_table.add(names, indexes, scores.layers)
        for row, index in enumerate(indexes):
            if len(self._pair) == 2:
                break
            if self._wanted is None or index in self._wanted:
                # Copies, because the next run overwrites the activations.
                self._pair[index] = (names[row], coverage.rows_of(state, activations, row))

    @property
    def pair_is_missing(self) -> bool:
        """Whether an image of the pair that was asked for did not come."""
        return self._wanted is not None and any(i not in self._pair for i in self._wanted)

    def pair_evidence(self, state: coverage.State) -> coverage.PairEvidence | None:
        """Compare the two images; None if they did not both come."""
        wanted = self._wanted or tuple(self._pair)
        if len(wanted) < 2 or any(index not in self._pair for index in wanted):
            return None
        (first, a), (second, b) = (self._pair[index] for index in wanted)
        return coverage.count_pairs(state, (first, second), a, b)

    def featured(self, thumbnail: Callable[[int], bytes | None]) -> tuple[FeaturedImage, ...]:
        """Return the images with the lowest and the highest coverage."""
        return tuple(
            FeaturedImage(
                path=image.name,
                index=image.index,
                role=role,
                scores={
                    name: float(value)
                    for name, value in zip(self._names, image.model, strict=True)
                    if not np.isnan(value)
                },
                layers={
                    name: tuple(values.tolist())
                    for name, values in zip(self._layer_names, image.layers.T, strict=True)
                    if not np.isnan(values).any()
                },
                thumbnail=thumbnail(image.index),
            )
            for role, image in self._extremes.ranked()
        )

    def finish(self, columns: Mapping[str, np.ndarray]) -> bool:
        """Put the tables in their places, and return whether there are any.

        `columns` are further figures of the images, in the order in which they came.
        """
        if self._image_table is not None and columns:
            self._image_table.widen(columns)
        for table in self._tables:
            table.finish()
        return bool(self._tables)

    def discard(self) -> None:
        """Remove the tables that were not finished."""
        for table in self._tables:
            table.discard()
