"""What is kept of single images while the suite streams by: ranks, a pair, and tables on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import coverage
from cleanai_onnx.container import UnfitError, array_in, list_in, whole_in
from cleanai_onnx.measuring.image_tables import ImageTables
from cleanai_onnx.result import FeaturedImage
from cleanai_onnx.states.images import ImageRecord, Opener, Shape
from cleanai_onnx.states.part import PairImage
from cleanai_onnx.states.storage import restored_pair, stored_pair

if TYPE_CHECKING:
    from cleanai_onnx.coverage import Array

__all__ = ["FEATURED", "Individuals"]

FEATURED = 5
"""Images with the lowest coverage that the report shows, and as many with the highest."""


class Individuals:
    """Follows the images of one run. What it keeps in memory does not grow with their number.

    Parameters
    ----------
    state : coverage.State
        Of the run, for its layers and parameters.
    pair : (int or None, int or None), optional
        Positions of the two images to compare, None for one that is not in this suite; by default
        the first two that come.
    per_image, per_layer : path, optional
        Where to write a row for each image, and for each image and layer.
    further : sequence of str, optional
        Names of scores that come with each image, besides those of the metrics' figures.
    keep : callable, optional
        Opens files in which the figures of all images are kept (`record`), so that they can be
        read again; the tables are then made of them in the end.

    Raises
    ------
    OutputError
        If a table cannot be written, now or later.
    """

    def __init__(
        self,
        state: coverage.State,
        pair: tuple[int | None, int | None] | None = None,
        per_image: str | Path | None = None,
        per_layer: str | Path | None = None,
        further: Sequence[str] = (),
        keep: Opener | None = None,
    ) -> None:
        self._layers, self._parameters = state.layers, state.parameters
        self._layer_names = coverage.score_names(state.parameters)
        self._names = (*self._layer_names, *further)
        self._extremes = coverage.Extremes(self._names, FEATURED)
        self._wanted = pair
        self._pair: dict[int | None, tuple[str, list[Array]]] = {}
        self._paths = per_image, per_layer
        self._tables = ImageTables(())
        self.record: ImageRecord | None = None
        if keep is None:
            self._tables = self._open_tables()
        else:
            layers = None if per_layer is None else (len(state.layers), len(self._layer_names))
            self.record = ImageRecord(keep, Shape(len(self._names), layers))

    def _open_tables(self) -> ImageTables:
        layers = [layer.name for layer in self._layers]
        return ImageTables.opened(*self._paths, self._names, self._layer_names, layers)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scores of each image."""
        return self._names

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the scores of each image and layer; none where they are not kept."""
        return () if self._paths[1] is None else self._layer_names

    def look(
        self,
        state: coverage.State,
        figures: coverage.InputFigures,
        activations: Sequence[Array],
        names: Sequence[str],
        indexes: Sequence[int],
    ) -> coverage.Scores:
        """Return the scores of the images of a batch that `state` has just measured, for `add`."""
        for row, index in enumerate(indexes):
            if len(self._pair) == 2:
                break
            if self._wanted is None or index in self._wanted:
                # Copies, because the next run overwrites the activations.
                self._pair[index] = (names[row], coverage.rows_of(state, activations, row))
        before = state.before + state.inputs - len(names)
        return coverage.scores_of(figures, self._layers, self._parameters, before)

    def add(
        self,
        scores: coverage.Scores,
        names: Sequence[str],
        indexes: Sequence[int],
        further: np.ndarray,
        hashes: Sequence[str],
    ) -> None:
        """Follow the images of a batch: in the order in which they came, later than `look` or not.

        `further` is ``(images, scores)`` float64, in the order of the names that were given;
        `hashes` are the images' SHA-256, or empty.
        """
        scores = replace(scores, model=np.concatenate([scores.model, further], axis=1))
        self._extremes.add(names, indexes, scores)
        if self.record is not None:
            self.record.add(names, indexes, hashes, scores.model, scores.layers)
        self._tables.add(names, indexes, hashes, scores.model, scores.layers)

    @property
    def pair_is_missing(self) -> bool:
        """Whether an image of the pair that was asked for did not come."""
        return self._wanted is not None and any(i not in self._pair for i in self._wanted)

    def pair_evidence(self, state: coverage.State) -> coverage.PairEvidence | None:
        """Compare the two images; None if they did not both come."""
        wanted = self._wanted or tuple(self._pair)
        found = [self._pair[index] for index in wanted if index in self._pair]
        if len(found) < 2:
            return None
        (first, a), (second, b) = found
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
        if self.record is not None:
            self._tables = self._open_tables()
            self._tables.add_all(self.record)
        return self._tables.finish(columns)

    def discard(self) -> None:
        """Remove the tables that were not finished, and the record."""
        self._tables.discard()
        if self.record is not None:
            self.record.close()

    @property
    def pair(self) -> tuple[PairImage, ...]:
        """The images of the pair that came."""
        return tuple(
            PairImage(index, name, None if self._wanted is None else self._wanted.index(index), a)
            for index, (name, a) in self._pair.items()
            if index is not None
        )

    def stored(self) -> dict[str, Any]:
        """Return what is known of single images, besides the record, as a tree."""
        return {
            "extremes": [
                {
                    "score": np.array([image.score]),
                    "index": image.index,
                    "name": image.name,
                    "model": image.model,
                    "layers": image.layers,
                }
                for image in self._extremes.kept
            ],
            "pair": stored_pair(self.pair),
            "record": [] if self.record is None else list(self.record.lengths),
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Take up what `stored` returned; nothing has been added yet.

        Raises
        ------
        UnfitError
            If the tree does not fit.
        """
        shape = len(self._layers), len(self._layer_names)
        for one in list_in(tree, "extremes"):
            if not isinstance(one, dict) or not isinstance(one.get("name"), str):
                raise UnfitError("an image has no name")
            score = float(array_in(one, "score", np.float64, 1)[0])
            model = array_in(one, "model", np.float64, len(self._names))
            layers = array_in(one, "layers", np.float64, *shape)
            index = whole_in(one, "index")
            self._extremes.offer(coverage.Ranked(score, index, one["name"], model, layers))
        for image in restored_pair(tree, self._layers):
            self._pair[image.index] = (image.name, list(image.activations))
        if self.record is not None:
            count, name_bytes = list_in(tree, "record", 2)
            self.record.truncate(
                whole_in({"record": count}, "record"), whole_in({"record": name_bytes}, "record")
            )
