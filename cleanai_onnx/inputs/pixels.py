"""Pixels of the size that a model takes: stored as files, read again, and preprocessed."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cleanai_onnx.inputs.preprocessing import Preprocessing, fit, preprocess

__all__ = ["as_png", "from_png", "keeps_size", "normalised"]

Pixels = npt.NDArray[np.uint8]


def as_png(pixels: Pixels) -> bytes:
    """Return (height, width, channels) as the content of a PNG file."""
    stream = io.BytesIO()
    _image(pixels).save(stream, format="PNG")
    return stream.getvalue()


def from_png(path: Path, shape: tuple[int, ...]) -> Pixels:
    """Return the pixels that `as_png` stored.

    Raises
    ------
    OSError, ValueError
        If the file is not such.
    """
    with Image.open(path, formats=("PNG",)) as image:
        return np.asarray(image, np.uint8).reshape(shape)


def normalised(pixels: Pixels, how: Preprocessing) -> npt.NDArray[Any]:
    """Return (N, height, width, channels), of the model's size, as the model takes them."""
    plain = replace(how, resize="none", resize_size=None, crop=None)
    return np.stack([preprocess(_image(one), plain) for one in pixels])


def keeps_size(how: Preprocessing) -> bool:
    """Return whether the preprocessing leaves an image of the model's size as it is."""
    noise = np.random.default_rng(0).integers(0, 256, (*how.size, how.channels), np.uint8)
    return np.array_equal(np.asarray(fit(_image(noise), how)).reshape(noise.shape), noise)


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
