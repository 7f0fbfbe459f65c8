"""Seeds of an exploration: from a suite to points of the space, and from points to files again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx import graph, inputs
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.exploration.space import PIXELS, Space, View, pixels_of, points, view_of
from cleanai_onnx.inputs import Preprocessing, Unchanged
from cleanai_onnx.inputs.pixels import as_png, from_png, keeps_size, normalised
from cleanai_onnx.result import Note

__all__ = ["SeedImages", "array_file", "notes_on", "seed_images"]

Points = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SeedImages:
    """How the images of a suite become points, and points files and inputs of the models.

    Attributes
    ----------
    how
        The preprocessing of each model.
    shown
        That of points: the same geometry, 8-bit pixels with channels last; arrays as they are.
    space
        Which points are valid.
    views
        How each model looks at points.
    """

    how: tuple[Preprocessing | Unchanged, ...]
    shown: Preprocessing | Unchanged
    space: Space
    views: tuple[View, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one point: (height, width, channels) for images."""
        shape = self.shown.item_shape
        if isinstance(self.shown, Unchanged) and self.views[0].channels_first:
            return (*shape[1:], shape[0])
        return shape

    @property
    def suffix(self) -> str:
        """Of the files that points are stored in."""
        return ".npy" if isinstance(self.shown, Unchanged) else ".png"

    def points(self, data: npt.NDArray[Any]) -> Points:
        """Return a batch of the stream of `shown` as points."""
        if not isinstance(self.shown, Unchanged):
            return points(data)
        values = data.astype(np.float32)
        return np.moveaxis(values, 1, -1) if self.views[0].channels_first else values

    def stored(self, x: Points) -> Points:
        """Return what is left of points when they are written and read again."""
        return x if isinstance(self.shown, Unchanged) else points(pixels_of(x))

    def inputs(self, x: Points, model: int) -> npt.NDArray[Any]:
        """Return stored points as a model is given them by its preprocessing, bit for bit."""
        how = self.how[model]
        if isinstance(how, Unchanged):
            return self.looked_at(x, model)
        return normalised(pixels_of(x), how)

    def looked_at(self, x: Points, model: int) -> npt.NDArray[Any]:
        """Return any points, also such that no file can hold, as inputs of a model."""
        found = np.asarray(self.views[model](x))
        return np.ascontiguousarray(found, np.dtype(self.how[model].dtype))

    def encoded(self, x: Points) -> bytes:
        """Return one point as the content of a file."""
        if isinstance(self.shown, Unchanged):
            return array_file(self._as_given(x)[None])
        return as_png(pixels_of(x))

    def _as_given(self, x: Points) -> Points:
        """Return a point of arrays that are ready as the model takes it."""
        return np.moveaxis(x, -1, 0) if self.views[0].channels_first else x

    def decoded(self, path: Path) -> Points:
        """Return the point that a file holds.

        Raises
        ------
        ImageError
            If it is not as it was written.
        """
        try:
            if path.suffix == ".png":
                return points(from_png(path, self.shape))
            values = np.load(path, allow_pickle=False)
            if isinstance(self.shown, Unchanged):
                values = self.points(values)[0]
            if values.shape != self.shape:
                raise ValueError
            return np.asarray(values, np.float32)
        except (OSError, ValueError) as error:
            raise ImageError(
                f"the image {path} of the exploration so far cannot be read: put it back, or "
                "remove the folder and start again."
            ) from error

    def picture(self, x: Points) -> npt.NDArray[np.uint8]:
        """Return one point as (height, width) or (height, width, 3), for people."""
        if isinstance(self.shown, Unchanged):
            return inputs.picture(self._as_given(x), self.shown)
        return inputs.picture(pixels_of(x), self.shown)


def array_file(values: npt.NDArray[Any]) -> bytes:
    """Return an array as the content of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def seed_images(
    how: Sequence[Preprocessing | Unchanged],
    image_inputs: Sequence[graph.ImageInput],
    input_range: tuple[float, float] | None,
) -> SeedImages:
    """Say how the images of a suite become points that all models can look at.

    Parameters
    ----------
    how, image_inputs
        The preprocessing and the image input of each model.
    input_range
        The smallest and the largest valid value of arrays that are ready.

    Raises
    ------
    UsageError
        If the models see different parts of an image, or nothing tells which values are valid.
    """
    first = how[0]
    layouts = [one.layout for one in image_inputs]
    views = tuple(view_of(one, layout) for one, layout in zip(how, layouts, strict=True))
    if isinstance(first, Unchanged):
        if any(one != first for one in how[1:]):
            raise UsageError("arrays that are ready must fit all models alike: give image files.")
        if input_range is None:
            raise UsageError(
                "nothing says which values of these arrays are valid: give --input-range LOW HIGH."
            )
        return SeedImages(tuple(how), first, Space(*input_range), views)
    if input_range is not None:
        raise UsageError("--input-range is for arrays that are ready: images are 0 to 255.")
    shown = _shown(first)
    for one in how[1:]:
        if isinstance(one, Unchanged) or _shown(one) != shown:
            raise UsageError(
                "the models take images of different sizes, colours or crops, so no image is the "
                "same for all: give the same --size, --resize and --channel-order, or models that "
                "agree."
            )
    return SeedImages(tuple(how), shown, PIXELS, views)


def _shown(how: Preprocessing | Unchanged) -> Preprocessing:
    assert isinstance(how, Preprocessing)
    order = "RGB" if how.channel_order == "BGR" else how.channel_order
    return replace(
        how, scale=1.0, mean=(0.0,), std=(1.0,), layout="NHWC", dtype="uint8", channel_order=order
    )


def notes_on(images: SeedImages) -> tuple[Note, ...]:
    """Return what is to be said of analysing the files that were found."""
    how = images.how[0]
    if isinstance(how, Unchanged) or keeps_size(how):
        return ()
    return (
        Note(
            "explore-resized",
            "Found images have the size that the model takes; analyse them with --resize none, "
            "because the preprocessing of the seeds would resize them again.",
        ),
    )
