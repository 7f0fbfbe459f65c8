"""Preprocessing: from an 8-bit image to the values that a model takes.

The geometry first (resize, then centre crop, by Pillow on 8-bit pixels), then for each value

    ((pixel * scale) - mean) / std        in float32

Where 1/scale is a whole number (255, say), the pixel is divided by it, as torchvision's
``ToTensor`` and Keras do: the result is then equal to theirs bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from cleanai_onnx.inputs.decoding import MAX_PIXELS, ColourMode, UnusableImageError
from cleanai_onnx.inputs.geometry import (
    centre_crop,
    contained_size,
    covering_size,
    shorter_side_size,
)

__all__ = [
    "CHANNEL_ORDERS",
    "INTERPOLATIONS",
    "RESIZE_MODES",
    "ChannelOrder",
    "Layout",
    "Preprocessing",
    "ResizeMode",
    "Unchanged",
    "WrongSizeError",
    "fit",
    "preprocess",
]

ResizeMode = Literal["stretch", "shorter-side", "letterbox", "none"]
RESIZE_MODES: tuple[ResizeMode, ...] = ("stretch", "shorter-side", "letterbox", "none")

ChannelOrder = Literal["RGB", "BGR", "gray", "RGBA"]
CHANNEL_ORDERS: dict[ChannelOrder, int] = {"RGB": 3, "BGR": 3, "gray": 1, "RGBA": 4}
"""Channel orders and how many channels each has."""

Layout = Literal["NCHW", "NHWC"]

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}

_MODES: dict[ChannelOrder, ColourMode] = {
    "RGB": "RGB",
    "BGR": "RGB",
    "gray": "L",
    "RGBA": "RGBA",
}


class WrongSizeError(Exception):
    """An image is not of the model's size, and nothing says how to resize it."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a model's input.

    Attributes
    ----------
    size
        (height, width) of the result.
    resize
        ``stretch`` to `resize_size` regardless of the ratio; ``shorter-side``: the ratio is kept
        and the shorter side becomes `resize_size` (without one, the image becomes as small as
        covers `size`), then what is outside `size` is cropped; ``letterbox``: the ratio is kept,
        the image becomes as large as fits into `size`, and the rest is filled with `pad`;
        ``none``: images must have the right size, or at least be cropped to it.
    resize_size
        (height, width) for ``stretch``, pixels for ``shorter-side``; None: from `size`.
    crop
        (height, width) cut from the centre after resizing, equal to `size`; None: no crop. Images
        that are smaller are padded with black, as torchvision's ``CenterCrop`` does.
    interpolation
        A key of `INTERPOLATIONS`. As always in Pillow, it is antialiased when shrinking.
    channel_order
        ``RGB``, ``BGR``, ``gray`` (one channel) or ``RGBA``.
    scale, mean, std
        As in the formula; `mean` and `std` have one number, or one for each channel in the
        model's channel order.
    layout, dtype
        ``NCHW`` or ``NHWC``; NumPy's name of the model's element type. Integers are rounded.
    pad
        The pixel value (0 to 255) around letterboxed images.
    """

    size: tuple[int, int]
    channel_order: ChannelOrder
    scale: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: ResizeMode = "stretch"
    resize_size: tuple[int, int] | int | None = None
    interpolation: str = "bilinear"
    crop: tuple[int, int] | None = None
    layout: Layout = "NCHW"
    dtype: str = "float32"
    pad: int = 0

    @property
    def channels(self) -> int:
        """How many channels the model takes."""
        return CHANNEL_ORDERS[self.channel_order]

    @property
    def mode(self) -> ColourMode:
        """The Pillow mode to decode images to."""
        return _MODES[self.channel_order]

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape of one preprocessed image, without the batch axis."""
        height, width = self.size
        if self.layout == "NCHW":
            return (self.channels, height, width)
        return (height, width, self.channels)


@dataclass(frozen=True)
class Unchanged:
    """The preprocessing of arrays that are ready: none. Values are only cast to `dtype`."""

    item_shape: tuple[int, ...]
    dtype: str


def fit(image: Image.Image, how: Preprocessing, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Bring an 8-bit image to ``how.size`` by resizing and cropping.

    Raises
    ------
    WrongSizeError
        If the image has another size and `how` does not resize.
    UnusableImageError
        If resizing would make it larger than `max_pixels` pixels on the way (an image of one by
        sixty thousand pixels, say, before its crop).
    """
    height, width = how.size
    target: tuple[int, int] | None = None  # (width, height), as Pillow has it
    match how.resize:
        case "stretch":
            wanted = how.resize_size if isinstance(how.resize_size, tuple) else how.size
            target = (wanted[1], wanted[0])
        case "shorter-side" if isinstance(how.resize_size, int):
            target = shorter_side_size(image.size, how.resize_size)
        case "shorter-side":
            target = covering_size(image.size, (width, height))
        case "letterbox":
            target = contained_size(image.size, (width, height))
    if target is not None and target != image.size:
        if target[0] * target[1] > max_pixels:
            raise UnusableImageError(
                f"resizing would make it {target[0]} x {target[1]} pixels, more than the limit of "
                f"{max_pixels:,}"
            )
        image = image.resize(target, INTERPOLATIONS[how.interpolation])
    if image.size == (width, height):
        return image
    match how.resize:
        case "letterbox":
            frame = Image.new(image.mode, (width, height), (how.pad,) * len(image.getbands()))
            frame.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
            return frame
        case "none" if how.crop is None:
            raise WrongSizeError(f"{image.width} x {image.height}")
    return centre_crop(image, (width, height))


def preprocess(
    image: Image.Image,
    how: Preprocessing,
    out: npt.NDArray[Any] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> npt.NDArray[Any]:
    """Bring an image of mode ``how.mode`` into the form that the model takes.

    Parameters
    ----------
    image
        8-bit, of any size.
    how
        The preprocessing.
    out
        Where to write: shape ``how.item_shape``, dtype ``how.dtype``; None: a new array.

    Raises
    ------
    WrongSizeError, UnusableImageError
        As `fit` does.
    """
    pixels = np.asarray(fit(image, how, max_pixels))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if how.channel_order == "BGR":
        pixels = pixels[..., ::-1]
    if how.layout == "NCHW":
        pixels = np.moveaxis(pixels, -1, 0)
    if out is None:
        out = np.empty(how.item_shape, np.dtype(how.dtype))
    direct = out.dtype == np.float32
    values = out if direct else np.empty(how.item_shape, np.float32)
    np.copyto(values, pixels)
    _normalise(values, how)
    if direct:
        return out
    if out.dtype.kind in "iu":
        np.rint(values, out=values)
    np.copyto(out, values, casting="unsafe")
    return out


def _normalise(values: npt.NDArray[np.float32], how: Preprocessing) -> None:
    divisor = round(1.0 / how.scale)
    if divisor and abs(how.scale * divisor - 1.0) < 1e-9:
        if divisor != 1:
            values /= np.float32(divisor)
    else:
        values *= np.float32(how.scale)
    if any(how.mean):
        values -= _by_channel(how.mean, how.layout)
    if any(std != 1.0 for std in how.std):
        values /= _by_channel(how.std, how.layout)


def _by_channel(numbers: tuple[float, ...], layout: Layout) -> npt.NDArray[np.float32]:
    array = np.asarray(numbers, dtype=np.float32)
    return array.reshape(-1, 1, 1) if layout == "NCHW" else array
