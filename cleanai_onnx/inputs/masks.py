"""Masks: images that say which pixels of other images show a concept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs.decoding import UnusableImageError, decode_file, load_image
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.preprocessing import Preprocessing, WrongSizeError, fit
from cleanai_onnx.inputs.suite import Suite

__all__ = ["load_mask"]

_CONCEPT_FROM = 128
"""Pixels at least this bright show the concept."""


def load_mask(path: str, suite: Suite, index: int, how: Preprocessing) -> npt.NDArray[np.float32]:
    """Return the mask of an item of a suite as the model would see it, 1 where the concept is.

    Parameters
    ----------
    path
        Of the mask: as large as its image, bright where the concept is.
    suite, index
        The image.
    how
        The image's preprocessing. The mask undergoes its geometry; pixels between others are not
        mixed but taken from the nearest one.

    Returns
    -------
    array
        (height, width) float32, 0 or 1.

    Raises
    ------
    ImageError
        If the mask cannot be read, or has another size than its image.
    """
    try:
        mask = decode_file(path, "L")
        size = load_image(suite, index, "L").size
        if mask.size != size:
            raise UnusableImageError(
                f"it is {mask.width} x {mask.height} pixels and its image "
                f"'{suite.name(index)}' {size[0]} x {size[1]}"
            )
        geometry = replace(how, channel_order="gray", interpolation="nearest", pad=0)
        pixels = np.asarray(fit(mask, geometry))
    except (UnusableImageError, WrongSizeError) as problem:
        raise ImageError(f"The mask '{shown(path)}' cannot be used: {problem}.") from None
    return (pixels >= _CONCEPT_FROM).astype(np.float32)
