"""The user's images as inputs of a source, to compare on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cleanai_onnx import inputs
from cleanai_onnx.converters.parity import Reference
from cleanai_onnx.converters.sampling import BATCH_SIZES, channel_axis
from cleanai_onnx.converters.source import Source
from cleanai_onnx.errors import UsageError
from cleanai_onnx.graph import ImageInput

__all__ = ["MOST_IMAGES", "references_from_images"]

MOST_IMAGES = 60
"""So many images are compared at most, chosen with a fixed seed."""


def references_from_images(
    source: Source, images: Sequence[str], preprocessing: Mapping[str, Any]
) -> list[Reference]:
    """Return what the source makes of images, in the batch sizes of `BATCH_SIZES`.

    Raises
    ------
    UsageError
        If the source takes no images, or the preprocessing is not known: the sentence says which
        flag to give.
    ImageError
        If there are no images that can be read.
    """
    image_input = _image_input(source)
    suite = inputs.discover(list(images), MOST_IMAGES, 0)
    how = inputs.resolve_preprocessing(
        image_input,
        given=preprocessing,
        config=None,
        preset=None,
        file=None,
        model_path=None,
        metadata={},
        suite=suite,
    ).preprocessing
    fixed = image_input.batch
    found = []
    for size in BATCH_SIZES if fixed is None else (fixed,):
        with inputs.stream(suite, how, size) as batches:
            for batch in batches:
                data = batch.data.copy() if fixed else batch.data[: batch.valid].copy()
                found.append(Reference([data], [*map(_copied, source.predict([data]))], True))
    return found


def _copied(output: Any) -> Any:
    import numpy as np

    return np.array(output)


def _image_input(source: Source) -> ImageInput:
    spec = source.inputs[0]
    axis = channel_axis(spec)
    if len(source.inputs) != 1 or axis is None:
        raise UsageError(
            "--images: the model does not have one input that takes images; convert without it."
        )
    rows = spec.shape[2:] if axis == 1 else spec.shape[1:3]
    return ImageInput(
        name=spec.name,
        dtype=spec.dtype,
        shape=spec.shape,
        batch=spec.shape[0],
        layout="NCHW" if axis == 1 else "NHWC",
        channels=spec.shape[axis],
        height=rows[0],
        width=rows[1],
    )
