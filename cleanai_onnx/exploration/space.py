"""The space that is searched, and how a point of it becomes the input of a model.

Images are searched as fractions of the range from black (0) to white (1), whatever normalisation
each model wants, so that models with different preprocessing can be searched together and a step
means the same for all. Arrays that are ready are searched as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cleanai_onnx.inputs import Preprocessing, Unchanged

__all__ = ["PIXELS", "Space", "View", "pixels_of", "points", "view_of"]

Array: TypeAlias = Any
_WHITE = 255.0


@dataclass(frozen=True)
class Space:
    """Which points are valid.

    Attributes
    ----------
    low, high
        The smallest and the largest value; infinite where nothing is known of them.
    levels
        Into how many equal steps the range is divided by a file; None where values are stored as
        they are.
    """

    low: float = -np.inf
    high: float = np.inf
    levels: int | None = None

    def clipped(self, x: Array) -> Array:
        """Return the nearest point with valid values."""
        return jnp.clip(x, self.low, self.high)

    def open(self, x: Array, direction: Array) -> Array:
        """Return which values can go further in a direction and stay valid."""
        return ((x < self.high) | (direction < 0)) & ((x > self.low) | (direction > 0))

    def stored(self, x: Array) -> Array:
        """Return what is left of a point when it is written to a file and read again."""
        if self.levels is None:
            return x
        width = (self.high - self.low) / self.levels
        steps = jnp.round((self.clipped(x) - self.low) / width)
        if (self.low, self.high) == (0, 1):
            # The float32 nearest to n / 255, as decoding gives it. Looked up, because XLA makes a
            # product of a quotient by a constant.
            table = np.arange(self.levels + 1, dtype=np.float32) / np.float32(self.levels)
            return jnp.asarray(table)[steps.astype(jnp.int32)]
        return self.low + steps * width


PIXELS = Space(0.0, 1.0, 255)
"""Images of 8 bits."""


@dataclass(frozen=True)
class View:
    """How a model looks at points of the space: ``(x * factor - mean) / std``, rearranged.

    Attributes
    ----------
    factor, mean, std
        Numbers, or one for each of the model's channels.
    channels_first, reverse
        Whether points ``(B, H, W, C)`` become ``(B, C, H, W)``, and RGB becomes BGR.
    """

    factor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels_first: bool = False
    reverse: bool = False

    def __call__(self, x: Array) -> Array:
        """Return the model's input."""
        if self.reverse:
            x = x[..., ::-1]
        if self.factor != 1.0:
            x = x * np.float32(self.factor)
        if any(self.mean):
            x = x - np.asarray(self.mean, np.float32)
        if any(std != 1.0 for std in self.std):
            x = x / np.asarray(self.std, np.float32)
        return jnp.moveaxis(x, -1, 1) if self.channels_first else x


def view_of(how: Preprocessing | Unchanged, layout: Literal["NCHW", "NHWC"] | None) -> View:
    """Return how a model looks at points of the space.

    Parameters
    ----------
    how
        How it is given its images.
    layout
        Of its input, for arrays that are ready; None where these are no images.
    """
    if isinstance(how, Unchanged):
        return View(channels_first=layout == "NCHW" and len(how.item_shape) == 3)
    factor = how.scale * _WHITE
    return View(
        # 255 times the float nearest to 1/255 is 1 but for rounding.
        factor=round(factor) if abs(factor - round(factor)) < 1e-9 else factor,
        mean=how.mean,
        std=how.std,
        channels_first=how.layout == "NCHW",
        reverse=how.channel_order == "BGR",
    )


def points(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return 8-bit images as points of the space."""
    return pixels.astype(np.float32) / np.float32(_WHITE)


def pixels_of(x: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return points of the space as 8-bit images."""
    return np.rint(np.clip(x, 0, 1) * _WHITE).astype(np.uint8)
