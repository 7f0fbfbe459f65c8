"""Fourier transforms; complex numbers are pairs in the last axis."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cleanai_onnx.lowering.arrays import Array, Static, working_type
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []


def _transformed(x: Array, length: int | None, axis: int, inverse: int, onesided: int) -> Array:
    axis %= x.ndim
    kind = x.dtype
    if not inverse:
        # Sums of many terms that cancel: in double precision where JAX has it.
        x = jnp.asarray(x).astype(working_type(np.float64))
    signal = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]
    if inverse and onesided:
        size = 2 * (x.shape[axis] - 1) if length is None else length
        return jnp.fft.irfft(signal, n=size, axis=axis)[..., None].astype(kind)
    size = x.shape[axis] if length is None else length
    if inverse:
        y = jnp.fft.ifft(signal, n=size, axis=axis)
    else:
        y = jnp.fft.fft(signal, n=size, axis=axis)
        if onesided:
            y = jnp.take(y, np.arange(size // 2 + 1), axis=axis)
    return jnp.stack([y.real, y.imag], axis=-1).astype(kind)


@operator("DFT", 17, static=("length",))
def dft_by_attribute(
    node: Node,
    x: Array,
    length: Static | None = None,
    *,
    axis: int = 1,
    inverse: int = 0,
    onesided: int = 0,
) -> Array:
    """Discrete Fourier transform along an axis."""
    size = None if length is None else int(length.reshape(()))
    return _transformed(x, size, axis, inverse, onesided)


@operator("DFT", 20, static=("length", "axis"))
def dft(
    node: Node,
    x: Array,
    length: Static | None = None,
    axis: Static | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Array:
    """Discrete Fourier transform along an axis."""
    size = None if length is None else int(length.reshape(()))
    return _transformed(x, size, -2 if axis is None else int(axis.reshape(())), inverse, onesided)


@operator("STFT", 17, static=("step", "length"))
def stft(
    node: Node,
    x: Array,
    step: Static,
    window: Array | None = None,
    length: Static | None = None,
    *,
    onesided: int = 1,
) -> Array:
    """Fourier transforms of frames along the second axis."""
    hop = int(step.reshape(()))
    if length is not None:
        size = int(length.reshape(()))
    else:
        size = x.shape[1] if window is None else window.shape[0]
    count = 1 + (x.shape[1] - size) // hop
    places = np.arange(count)[:, None] * hop + np.arange(size)
    frames = jnp.take(x, places, axis=1)
    if window is not None:
        frames = frames * window.reshape(1, 1, -1, 1)
    return _transformed(frames, size, 2, 0, onesided)
