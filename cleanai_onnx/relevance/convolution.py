"""Convolutions and their transposes, with channels last.

That is the layout that XLA's CPU back end is fast in. Two kinds of convolution are written in
another way there: a kernel of one element is a matrix product, and a convolution of every channel
for itself (depthwise) is a sum of shifted products, because XLA's own takes many times longer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.relevance.geometry import (
    Geometry,
    interleaved,
    overlaid,
    padded,
    strided,
    window,
)
from cleanai_onnx.relevance.linear_maps import Prepared, product

__all__ = ["Convolution"]

Array: TypeAlias = Any


@dataclass(frozen=True)
class Convolution:
    """A convolution (Conv), or the transposed one (ConvTranspose), of 1 to 3 axes.

    Attributes
    ----------
    shape
        Its geometry.
    backward
        Whether the layer is a ConvTranspose: its forward goes from the small to the large end.
    depthwise
        Whether each group has one channel at the large end.
    """

    shape: Geometry
    backward: bool = False
    depthwise: bool = False
    channels_last: ClassVar[bool] = True

    def prepare(self, weight: Array) -> Prepared:
        """Return the kernel in the forms that shrinking and growing use.

        ONNX stores ``(O, I / groups, *kernel)``, where O counts channels of the small end.
        """
        if self._pointwise:
            return (np.ascontiguousarray(weight.reshape(weight.shape[:2])),)  # (O, I), as it lies
        w = np.moveaxis(weight, (0, 1), (-1, -2))  # (*kernel, I / groups, O)
        if self.depthwise:
            return (np.ascontiguousarray(w[..., 0, :]),)
        back = self._phases(w) if self._phased else self._flipped(w)
        return np.ascontiguousarray(w), np.ascontiguousarray(back)

    def forward(self, x: Array, weight: Prepared) -> Array:
        """Return the convolution of ``(B, ..., C)``."""
        return (self._grow if self.backward else self._shrink)(x, weight)

    def transposed(self, s: Array, weight: Prepared) -> Array:
        """Return the transposed convolution of ``(B, ..., C)``."""
        return (self._shrink if self.backward else self._grow)(s, weight)

    def bias(self, bias: Array) -> Array:
        """Return the bias: a row for the channels."""
        return bias

    @property
    def _pointwise(self) -> bool:
        one = all(k == 1 for k in self.shape.kernel)
        return one and self.shape.groups == 1 and not any(self.shape.before)

    def _flipped(self, w: Array) -> Array:
        """Return the kernel of the transposed convolution: reversed, input and output exchanged."""
        axes = tuple(range(len(self.shape.kernel)))
        groups = self.shape.groups
        flipped = np.flip(w, axes)
        if groups == 1:
            return np.swapaxes(flipped, -1, -2)
        inputs, outputs = w.shape[-2:]
        grouped = flipped.reshape(*w.shape[:-2], inputs, groups, outputs // groups)
        # (*kernel, O / groups, groups · I / groups)
        return (
            np.moveaxis(grouped, -1, -3)
            .swapaxes(-1, -2)
            .reshape(*w.shape[:-2], outputs // groups, groups * inputs)
        )

    def _shrink(self, x: Array, weight: Prepared) -> Array:
        g = self.shape
        if self.depthwise:
            return self._shrink_depthwise(x, weight[0])
        if self._pointwise:
            return product(strided(x, g), weight[0].T)
        return self._lax(
            x,
            weight[0],
            g.strides,
            list(zip(g.before, g.after, strict=True)),
            (1,) * len(g.kernel),
            g.dilations,
        )

    def _grow(self, s: Array, weight: Prepared) -> Array:
        g = self.shape
        if self.depthwise:
            return self._grow_depthwise(s, weight[0])
        if self._pointwise:
            return overlaid([((0,) * len(g.kernel), product(s, weight[0]))], g)
        if self._phased:
            return self._grow_phased(s, weight[1])
        padding = []
        for k, d, before, after in zip(g.kernel, g.dilations, g.before, g.after, strict=True):
            reach = (k - 1) * d
            padding.append((reach - before, reach - after))
        return self._lax(s, weight[1], (1,) * len(g.kernel), padding, g.strides, g.dilations)

    @property
    def _phased(self) -> bool:
        """Whether the transposed convolution has a stride, and is made one without."""
        g = self.shape
        return g.groups == 1 and max(g.strides) > 1 and max(g.dilations) == 1

    def _phases(self, w: Array) -> Array:
        r"""Return the kernel that computes all phases of a strided transposed convolution at once.

        Output y = i·s + o - p (kernel element o, padding p) is of the phase (o - p) mod s: each
        phase is a convolution of the small end without a stride, with a part of the kernel. The
        phases stand beside one another as output channels: without the zeros that a stride would
        put between the elements of the small end.
        """
        g = self.shape
        spans = [_span(k, p, s) for k, p, s in zip(g.kernel, g.before, g.strides, strict=True)]
        sizes = [last - first + 1 for first, last in spans]
        inputs, outputs = w.shape[-2:]
        made = np.zeros((*sizes, outputs, *g.strides, inputs), w.dtype)
        for offset in itertools.product(*(range(k) for k in g.kernel)):
            place: list[int] = []
            phase: list[int] = []
            for o, p, s, (_, last) in zip(offset, g.before, g.strides, spans, strict=True):
                shift, remainder = divmod(o - p, s)
                place.append(last - shift)
                phase.append(remainder)
            here: Any = (*place, slice(None), *phase)
            made[here] = w[offset].T
        return made.reshape(*sizes, outputs, -1)

    def _grow_phased(self, s: Array, w: Array) -> Array:
        g = self.shape
        padding = []
        for k, p, stride, n, size in zip(
            g.kernel, g.before, g.strides, g.small, g.large, strict=True
        ):
            first, last = _span(k, p, stride)
            # Phase j reads the small end at j - shift, for shifts from first to last.
            padding.append((last, -(-size // stride) - n - first))
        one = (1,) * len(g.kernel)
        made = self._lax(s, w, one, padding, one, one)
        phases = made.reshape(*made.shape[:-1], int(np.prod(g.strides)), -1)
        return interleaved(phases, g)

    def _lax(
        self,
        x: Array,
        w: Array,
        strides: Sequence[int],
        padding: Sequence[tuple[int, int]],
        spacing: Sequence[int],
        dilations: Sequence[int],
    ) -> Array:
        spatial = "DHW"[-len(self.shape.kernel) :]
        return lax.conv_general_dilated(
            x,
            w,
            tuple(strides),
            padding,
            lhs_dilation=tuple(spacing),
            rhs_dilation=tuple(dilations),
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
            feature_group_count=self.shape.groups,
            precision=lax.Precision.HIGHEST,
        )

    def _shrink_depthwise(self, x: Array, w: Array) -> Array:
        g = self.shape
        repeats = w.shape[-1] // x.shape[-1]
        wide = padded(x, g)
        if repeats > 1:
            wide = jnp.repeat(wide, repeats, axis=-1)
        total = None
        for offset in itertools.product(*(range(k) for k in g.kernel)):
            part = window(wide, offset, g) * w[offset]
            total = part if total is None else total + part
        return total

    def _grow_depthwise(self, s: Array, w: Array) -> Array:
        g = self.shape

        def part(offset: tuple[int, ...]) -> Array:
            product = s * w[offset]
            if s.shape[-1] == g.groups:
                return product
            return product.reshape(*s.shape[:-1], g.groups, -1).sum(axis=-1)

        offsets = itertools.product(*(range(k) for k in g.kernel))
        return overlaid(((offset, part(offset)) for offset in offsets), g)


def _span(kernel: int, before: int, stride: int) -> tuple[int, int]:
    """Return the smallest and the largest shift of the elements of a kernel on one axis."""
    return -before // stride, (kernel - 1 - before) // stride
