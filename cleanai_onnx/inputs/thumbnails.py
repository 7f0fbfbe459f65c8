"""Small pictures of images for the report."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs.decoding import MAX_PIXELS, UnusableImageError, load_image
from cleanai_onnx.inputs.pictures import as_picture
from cleanai_onnx.inputs.suite import Suite

__all__ = ["thumbnail"]


def thumbnail(suite: Suite, index: int, size: int = 96, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return a PNG of an item, at most `size` pixels wide and high, the ratio kept.

    It is drawn anew from the pixels: nothing else that the file holds (metadata, profiles, text)
    gets into it. Items of ready arrays are mapped from their smallest and largest finite value to
    0 and 255; those that are not shaped like images are shown as a square of their values.

    Raises
    ------
    ImageError
        If the item cannot be decoded.
    """
    if suite.kind == "ready":
        if suite.array is None:
            raise TypeError("a suite that is ready has an array")
        image = Image.fromarray(as_picture(np.asarray(suite.array[suite.rows[index]])))
    else:
        try:
            image = load_image(suite, index, "RGB", max_pixels)
        except UnusableImageError as problem:
            raise ImageError(
                f"The image '{suite.name(index)}' cannot be used: {problem}."
            ) from None
    scale = min(1.0, size / max(image.size))
    target = tuple(max(1, round(side * scale)) for side in image.size)
    if target != image.size:
        image = image.resize((target[0], target[1]), Image.Resampling.BOX)
    stream = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(stream, format="PNG")
    return stream.getvalue()
