"""Inputs to compare a source and its ONNX model on: seeded, and shaped like what the model takes.

White noise is a poor probe of an image model: pooling and normalisation average it to almost the
same features for every sample. So images are smooth random fields with an edge and a little
noise, in the range of values that the model expects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cleanai_onnx.converters.source import Array, InputSpec

__all__ = ["BATCH_SIZES", "channel_axis", "seeded_batches"]

BATCH_SIZES = (1, 3)
DRAWS = 4
"""Batches of each size."""

IMAGE_CHANNELS = (1, 3, 4)
_UNKNOWN_SIDE = 96
_UNKNOWN_SIZE = 8
_WAVES = 6
_SMALL_INTEGERS = 10
"""Integers are drawn below this: they are often indices, into a vocabulary of unknown size."""


def seeded_batches(
    specs: Sequence[InputSpec], preprocessing: Mapping[str, Any], seed: int
) -> Iterator[list[Array]]:
    """Yield batches of inputs, the same for the same seed.

    Parameters
    ----------
    specs
        The model's inputs. A batch size that is fixed is kept, otherwise it is each of
        `BATCH_SIZES` in turn.
    preprocessing
        ``scale``, ``mean`` and ``std``, if known: then images are pixels of 0 to 255 brought into
        the model's range. Otherwise half of the batches lie in 0 to 1 and half around zero with
        a standard deviation of about one.
    """
    fixed = next((spec.shape[0] for spec in specs if spec.shape and spec.shape[0]), None)
    sizes = BATCH_SIZES if fixed is None else (fixed,)
    for size in sizes:
        for draw in range(DRAWS):
            generator = np.random.default_rng((seed, size, draw))
            yield [_sample(spec, size, draw, preprocessing, generator) for spec in specs]


def channel_axis(spec: InputSpec) -> int | None:
    """Return the axis of the channels if the input looks like images, else None."""
    if len(spec.shape) != 4:
        return None
    if spec.shape[1] in IMAGE_CHANNELS:
        return 1
    return 3 if spec.shape[3] in IMAGE_CHANNELS else None


def _sample(
    spec: InputSpec,
    batch: int,
    draw: int,
    preprocessing: Mapping[str, Any],
    generator: np.random.Generator,
) -> Array:
    dtype = np.dtype(spec.dtype)
    axis = channel_axis(spec)
    unknown = _UNKNOWN_SIZE if axis is None else _UNKNOWN_SIDE
    shape = tuple(unknown if size is None else size for size in spec.shape[1:])
    if dtype.kind == "b":
        return generator.random((batch, *shape)) < 0.5
    if axis is None:
        if dtype.kind in "iu":
            return generator.integers(0, _SMALL_INTEGERS, (batch, *shape)).astype(dtype)
        return generator.standard_normal((batch, *shape)).astype(dtype)
    channels = shape[axis - 1]
    height, width = shape[1:] if axis == 1 else shape[:2]
    images = np.stack([_image(height, width, channels, generator) for _ in range(batch)])
    if dtype.kind in "iu":
        values = np.rint(images * 255)
    elif "scale" in preprocessing:
        values = images * 255 * float(preprocessing["scale"])
        values -= np.asarray(preprocessing.get("mean", 0.0), np.float64)
        values /= np.asarray(preprocessing.get("std", 1.0), np.float64)
    else:
        values = images if draw % 2 == 0 else (images - 0.5) / 0.25
    if axis == 1:
        values = np.moveaxis(values, -1, 1)
    return np.ascontiguousarray(values.astype(dtype))


def _image(height: int, width: int, channels: int, generator: np.random.Generator) -> Array:
    """Return one image (height, width, channels) in 0 to 1."""
    rows = np.linspace(0, 1, height)[:, None, None]
    columns = np.linspace(0, 1, width)[None, :, None]
    field = np.zeros((height, width, channels))
    for _ in range(_WAVES):
        down_waves, across_waves = generator.uniform(-4, 4, (2, channels))
        phase = generator.uniform(0, 2 * np.pi, channels)
        amplitude = generator.uniform(0.3, 1, channels)
        field += amplitude * np.sin(
            2 * np.pi * (down_waves * rows + across_waves * columns) + phase
        )
    field = (field - field.min()) / (np.ptp(field) + 1e-12)
    top = generator.integers(0, max(1, height // 2))
    left = generator.integers(0, max(1, width // 2))
    down, across = slice(top, top + height // 3 + 1), slice(left, left + width // 3 + 1)
    field[down, across] = generator.random(channels)
    field += generator.normal(0, 0.03, field.shape)
    return np.clip(field, 0, 1)
