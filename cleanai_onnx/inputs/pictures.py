"""A model's input shown as a picture: what the model sees, after the preprocessing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inputs.preprocessing import Preprocessing, Unchanged

__all__ = ["as_picture", "as_plane", "picture", "pictures", "value_range"]

_CHANNELS = (1, 3, 4)


def picture(values: npt.NDArray[Any], how: Preprocessing | Unchanged) -> npt.NDArray[np.uint8]:
    """Return one input of a model as (height, width) or (height, width, 3).

    The normalisation is undone, so that the pixels are those after resizing and cropping. Arrays
    that were ready are shown by `as_picture`.

    Parameters
    ----------
    values
        ``how.item_shape``.
    how
        How the input was made.
    """
    if isinstance(how, Unchanged):
        return as_picture(values)
    last = _channels_last(values.astype(np.float64), how)
    pixels = (last * np.asarray(how.std) + np.asarray(how.mean)) / how.scale
    if how.channel_order == "BGR":
        pixels = pixels[..., ::-1]
    shown: npt.NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(pixels), 0, 255)).astype(np.uint8)
    return shown[..., 0] if how.channels == 1 else shown[..., :3]


def pictures(values: npt.NDArray[Any], how: Preprocessing | Unchanged) -> npt.NDArray[np.float32]:
    """Return a batch of inputs as (B, height, width, channels), colours in the order RGB.

    The normalisation is undone, so that black is 0 and white 1. Arrays that were ready keep their
    values; what is not shaped like an image becomes a picture of one row.

    Parameters
    ----------
    values
        (B, ...), each of ``how.item_shape``.
    how
        How the inputs were made.
    """
    batch = values.astype(np.float32)
    if isinstance(how, Unchanged):
        if batch.ndim == 4:
            return np.moveaxis(batch, 1, -1) if batch.shape[1] in _CHANNELS else batch
        return batch[..., None] if batch.ndim == 3 else batch.reshape(len(batch), 1, -1, 1)
    if how.layout == "NCHW":
        batch = np.moveaxis(batch, 1, -1)
    mean, std = np.asarray(how.mean, np.float32), np.asarray(how.std, np.float32)
    batch = (batch * std + mean) / np.float32(255 * how.scale)
    return batch[..., ::-1] if how.channel_order == "BGR" else batch


def as_plane(values: npt.NDArray[Any], how: Preprocessing | Unchanged) -> npt.NDArray[np.float64]:
    """Return one input's relevance as (height, width), summed over the channels.

    The elements lie where `picture` has those of the input.
    """
    values = values.astype(np.float64)
    last = _arranged(values, 0.0) if isinstance(how, Unchanged) else _channels_last(values, how)
    return last if last.ndim == 2 else last.sum(axis=-1)


def value_range(how: Preprocessing) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what black and white pixels become: ``(C, 1, 1)``, or ``(C,)`` if channels are last.

    The smaller value comes first, for each channel.
    """
    ends = np.outer([0.0, 255.0], np.full(how.channels, how.scale))
    ends = (ends - np.asarray(how.mean)) / np.asarray(how.std)
    shape = (-1, 1, 1) if how.layout == "NCHW" else (-1,)
    low, high = ends.min(axis=0), ends.max(axis=0)
    return low.astype(np.float32).reshape(shape), high.astype(np.float32).reshape(shape)


def as_picture(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return values of any shape as (height, width) or (height, width, 3), smallest to largest.

    The smallest and largest finite value become 0 and 255. What is not shaped like an image is
    shown as a square of its values.
    """
    arranged = _arranged(values.astype(np.float64), np.nan)
    shown = arranged[..., :3] if arranged.ndim == 3 else arranged
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    span = (high - low) or 1.0
    mapped = np.nan_to_num((shown - low) / span, nan=0.0, posinf=1.0, neginf=0.0)
    return np.rint(mapped * 255).astype(np.uint8)


def _channels_last(values: npt.NDArray[Any], how: Preprocessing) -> npt.NDArray[Any]:
    return np.moveaxis(values, 0, -1) if how.layout == "NCHW" else values


def _arranged(values: npt.NDArray[Any], filling: float) -> npt.NDArray[Any]:
    """Return values of any shape as (height, width) or (height, width, 3 or 4)."""
    if values.ndim == 3 and values.shape[0] in _CHANNELS:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[-1] in _CHANNELS:
        return values[..., 0] if values.shape[-1] == 1 else values
    if values.ndim == 2:
        return values
    side = math.isqrt(max(values.size, 1) - 1) + 1
    square = np.full(side * side, filling)
    square[: values.size] = values.ravel()
    return square.reshape(side, side)
