"""Where a kernel meets its input: sizes, windows, and putting parts back where they came from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import lax

from cleanai_onnx.lowering.node import Node

__all__ = ["Geometry", "geometry", "interleaved", "overlaid", "padded", "strided", "window"]

Array: TypeAlias = Any


@dataclass(frozen=True)
class Geometry:
    """Sizes of a convolution with n spatial axes.

    `large` and `small` are the spatial shapes at its two ends (input and output of a Conv, output
    and input of a ConvTranspose), `before` the padding in front of each axis of the large end.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    large: tuple[int, ...]
    small: tuple[int, ...]
    groups: int

    @property
    def after(self) -> tuple[int, ...]:
        """The padding behind each axis; negative where the last elements are never read."""
        return tuple(
            (n - 1) * stride + (k - 1) * d + 1 - size - pad
            for n, stride, k, d, size, pad in zip(
                self.small,
                self.strides,
                self.kernel,
                self.dilations,
                self.large,
                self.before,
                strict=True,
            )
        )


def geometry(
    node: Node, kernel: Sequence[int], large: Sequence[int], small: Sequence[int], groups: int = 1
) -> Geometry:
    """Return the geometry of a convolution or pooling node whose shapes at both ends are known."""
    axes = len(kernel)
    strides = tuple(node.attributes.get("strides", (1,) * axes))
    dilations = tuple(node.attributes.get("dilations", (1,) * axes))
    kind = node.attributes.get("auto_pad", "NOTSET") or "NOTSET"
    if node.op == "ConvTranspose" and "output_shape" in node.attributes:
        kind = "SAME_UPPER" if kind == "SAME_UPPER" else "SAME_LOWER"
    if kind == "NOTSET":
        before = tuple(node.attributes.get("pads", (0,) * (2 * axes)))[:axes]
    elif kind == "VALID":
        before = (0,) * axes
    else:
        sizes = zip(small, strides, kernel, dilations, large, strict=True)
        totals = [max((n - 1) * s + (k - 1) * d + 1 - size, 0) for n, s, k, d, size in sizes]
        before = tuple(t // 2 if kind == "SAME_UPPER" else t - t // 2 for t in totals)
    return Geometry(tuple(kernel), strides, dilations, before, tuple(large), tuple(small), groups)


def padded(x: Array, g: Geometry) -> Array:
    """Return ``(B, ..., C)`` padded with zeros as a convolution reads it."""
    pads = zip(g.before, g.after, strict=True)
    zero = jnp.zeros((), x.dtype)
    return lax.pad(x, zero, [(0, 0, 0), *((b, a, 0) for b, a in pads), (0, 0, 0)])


def window(x: Array, offset: Sequence[int], g: Geometry) -> Array:
    """Return what one element of the kernel meets, ``(B, *small, C)``."""
    starts = [o * d for o, d in zip(offset, g.dilations, strict=True)]
    ends = [
        start + (n - 1) * stride + 1
        for start, n, stride in zip(starts, g.small, g.strides, strict=True)
    ]
    return lax.slice(
        x,
        (0, *starts, 0),
        (x.shape[0], *ends, x.shape[-1]),
        (1, *g.strides, 1),
    )


def strided(x: Array, g: Geometry) -> Array:
    """Return what a kernel of one element meets, ``(B, *small, C)``."""
    if all(stride == 1 for stride in g.strides) and g.large == g.small:
        return x
    return window(padded(x, g), (0,) * len(g.kernel), g)


def overlaid(parts: Iterable[tuple[Sequence[int], Array]], g: Geometry) -> Array:
    """Return the sum of parts, each put where one element of the kernel met it.

    Parameters
    ----------
    parts
        Pairs of an offset within the kernel and ``(B, *small, C)``.

    Returns
    -------
    Array
        ``(B, *large, C)``.

    Notes
    -----
    With a stride s, the elements of the large end fall into s phases on each axis. Each phase is
    summed by itself at the size of the small end; then they are interleaved.
    """
    lengths = [-(-size // stride) for size, stride in zip(g.large, g.strides, strict=True)]
    phases: dict[tuple[int, ...], Array] = {}
    for offset, part in parts:
        pads, phase = [(0, 0, 0)], []
        for o, d, before, stride, n, length in zip(
            offset, g.dilations, g.before, g.strides, g.small, lengths, strict=True
        ):
            shift, remainder = divmod(o * d - before, stride)
            pads.append((shift, length - n - shift, 0))
            phase.append(remainder)
        placed = lax.pad(part, jnp.zeros((), part.dtype), [*pads, (0, 0, 0)])
        key = tuple(phase)
        phases[key] = placed if key not in phases else phases[key] + placed
    shape = next(iter(phases.values())).shape
    dtype = next(iter(phases.values())).dtype
    every = itertools.product(*(range(stride) for stride in g.strides))
    ordered = [phases[key] if key in phases else jnp.zeros(shape, dtype) for key in every]
    return interleaved(jnp.stack(ordered, axis=-2), g)


def interleaved(phases: Array, g: Geometry) -> Array:
    """Return ``(B, *lengths, phases, C)`` with the phases put between one another."""
    axes = len(g.kernel)
    lengths, channels = phases.shape[1 : axes + 1], phases.shape[-1]
    if all(stride == 1 for stride in g.strides):
        return phases.reshape(phases.shape[0], *lengths, channels)
    split = phases.reshape(phases.shape[0], *lengths, *g.strides, channels)
    order = [0]
    for axis in range(axes):
        order += [1 + axis, 1 + axes + axis]
    joined = jnp.transpose(split, (*order, 2 * axes + 1)).reshape(
        phases.shape[0],
        *(n * stride for n, stride in zip(lengths, g.strides, strict=True)),
        channels,
    )
    return joined[(slice(None), *(slice(size) for size in g.large))]
