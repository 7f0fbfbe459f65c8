"""Where the channels of an array stand: second, as ONNX has them, or last, as XLA is fast with.

XLA's CPU back end convolves arrays with channels last, and it does not carry that layout from one
operator to the next by itself. Arrays on the way back therefore know their layout and are turned
only where an operator needs the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

__all__ = ["Laid", "channels_last_shape", "has_spatial_axes"]

Array: TypeAlias = Any


def has_spatial_axes(shape: Sequence[int]) -> bool:
    """Say whether a tensor is an image or a volume, whose layout is worth to be turned."""
    return len(shape) in (4, 5)


def channels_last_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape with channels last, of tensors that have spatial axes."""
    if not has_spatial_axes(shape):
        return tuple(shape)
    return (shape[0], *shape[2:], shape[1])


@dataclass(frozen=True)
class Laid:
    """An array and its layout; arrays without spatial axes have only one."""

    array: Array
    last: bool = False

    @property
    def onnx(self) -> Array:
        """The array in ONNX's layout."""
        if not self.last or not has_spatial_axes(self.array.shape):
            return self.array
        return _namespace(self.array).moveaxis(self.array, -1, 1)

    @property
    def channels_last(self) -> Array:
        """The array with channels last."""
        if self.last or not has_spatial_axes(self.array.shape):
            return self.array
        return _namespace(self.array).moveaxis(self.array, 1, -1)

    def seen(self, last: bool) -> Array:
        """Return the array in one layout or the other."""
        return self.channels_last if last else self.onnx

    def plus(self, other: Laid) -> Laid:
        """Return the sum, in the layout of the first."""
        return Laid(self.array + other.seen(self.last), self.last)


def _namespace(x: Array) -> Any:
    return np if isinstance(x, np.ndarray) else jnp
