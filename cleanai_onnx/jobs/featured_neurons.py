"""The neurons that an inspection's report shows, and the images that excite them most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cleanai_onnx import inputs
from cleanai_onnx.inspection import Inspector, ModelInspection
from cleanai_onnx.inspection.result import ExcitingImage, FeaturedNeuron
from cleanai_onnx.measuring.feeding import thumbnail_if_any

__all__ = ["MOST_CLAIMS", "with_neurons"]

MOST_CLAIMS = 40
"""Claims whose neurons are shown; the table has all of them."""
NEURONS = 3
_SIDE = 120


def with_neurons(found: ModelInspection, inspector: Inspector) -> ModelInspection:
    """Return the same with its featured neurons: the best of each claim.

    For claims about pixels, the images are run again, and the neuron's map is laid over them.

    Parameters
    ----------
    found
        What `inspector` found; it has seen images of a suite.
    inspector
    """
    suite = inspector.suite
    assert suite is not None
    chosen = [
        (claim, row)
        for claim in range(min(len(found.claims), MOST_CLAIMS))
        if (table := found.ranking(claim)) is not None
        for row in table.top(claim, NEURONS)
    ]
    spatial = {row for claim, row in chosen if found.claims[claim].kind == "mask"}
    overlays = dict(_overlays(found, inspector, sorted(spatial)))
    thumbnails: dict[int, bytes | None] = {}

    def shown(index: int) -> bytes | None:
        if index not in thumbnails:
            thumbnails[index] = thumbnail_if_any(suite, index, _SIDE)
        return thumbnails[index]

    def images(claim: int, row: int) -> Iterator[ExcitingImage]:
        for index, value in _exciting(found, row):
            over = overlays.get((row, index)) if found.claims[claim].kind == "mask" else None
            yield ExcitingImage(suite.name(index), value, shown(index), over)

    featured = (FeaturedNeuron(claim, row, tuple(images(claim, row))) for claim, row in chosen)
    return replace(found, featured=tuple(featured))


def _exciting(found: ModelInspection, row: int) -> list[tuple[int, float]]:
    images, values = found.exciting.images[row].tolist(), found.exciting.values[row].tolist()
    return [(index, value) for index, value in zip(images, values, strict=True) if index >= 0]


def _overlays(
    found: ModelInspection, inspector: Inspector, rows: Iterable[int]
) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield a PNG for each neuron (by row) and image (by index)."""
    how, suite = inspector.preprocessing, inspector.suite
    assert how is not None and suite is not None
    neurons = found.neurons
    for row in rows:
        layer, channel = neurons[row]
        indexes = [index for index, _ in _exciting(found, row)]
        with inputs.stream(suite.subset(indexes), how, inspector.batch_size) as batches:
            for batch in batches:
                data = batch.data[: batch.valid]
                maps = inspector.maps(data, layer)
                if maps is None:
                    break
                for place, image, plane in zip(batch.indexes, data, maps[:, channel], strict=True):
                    if np.isfinite(plane).all():
                        yield (row, indexes[place]), _overlay(plane, inputs.picture(image, how))


def _overlay(plane: npt.NDArray[np.float32], picture: npt.NDArray[np.uint8]) -> bytes:
    from cleanai_onnx.report.heat_maps import heat_map, small_png

    # Each activation over its cell of the picture, as it was counted.
    rows, columns = (
        np.arange(length) * cells // length
        for length, cells in zip(picture.shape[:2], plane.shape, strict=True)
    )
    enlarged = plane.astype(np.float64)[np.ix_(rows, columns)]
    return small_png(heat_map(enlarged, picture), _SIDE)
