"""Built-in hypotheses: what can be computed from the pixels of any image.

Each takes pictures ``(B, height, width, channels)`` from 0 to 1 and gives ``(B,)``. Luma is that of
ITU-R BT.601 (0.299 R + 0.587 G + 0.114 B).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.hypotheses import Function

__all__ = ["FUNCTIONS", "HUES"]

Pictures: TypeAlias = npt.NDArray[np.float32]

HUES = ("red", "yellow", "green", "cyan", "blue", "magenta", "gray")
"""Sixths of the colour circle, each centred on its colour, and what has no colour."""
_GRAY_BELOW = 0.1
"""Pixels whose chroma is below count as gray."""


def luma(pictures: Pictures) -> Pictures:
    """Return the luma of each pixel, ``(B, height, width)``."""
    if pictures.shape[-1] < 3:
        return pictures[..., 0]
    red, green, blue = (pictures[..., channel] for channel in range(3))
    return np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue


def brightness(pictures: Pictures) -> npt.NDArray[np.float64]:
    """Return the mean luma."""
    return luma(pictures).mean(axis=(1, 2), dtype=np.float64)


def contrast(pictures: Pictures) -> npt.NDArray[np.float64]:
    """Return the standard deviation of the luma (RMS contrast)."""
    return luma(pictures).std(axis=(1, 2), dtype=np.float64)


def edge_density(pictures: Pictures) -> npt.NDArray[np.float64]:
    """Return the mean length of the gradient of the luma by central differences, per pixel."""
    y = luma(pictures).astype(np.float64)
    if min(y.shape[1:]) < 3:
        return np.zeros(len(y))
    down = (y[:, 2:, 1:-1] - y[:, :-2, 1:-1]) / 2
    across = (y[:, 1:-1, 2:] - y[:, 1:-1, :-2]) / 2
    return np.hypot(down, across).mean(axis=(1, 2))


def saturation(pictures: Pictures) -> npt.NDArray[np.float64]:
    """Return the mean chroma: the largest minus the smallest of red, green and blue."""
    return _chroma(pictures).mean(axis=(1, 2), dtype=np.float64)


def dominant_hue(pictures: Pictures) -> npt.NDArray[np.str_]:
    """Return the entry of `HUES` that most pixels have."""
    names = np.array(HUES)
    chroma = _chroma(pictures)
    if pictures.shape[-1] < 3:
        return np.full(len(pictures), HUES[-1])
    red, green, blue = (pictures[..., channel].astype(np.float64) for channel in range(3))
    # The angle in the hexagon of HSV, in sixths of the circle.
    divisor = np.where(chroma > 0, chroma, 1)
    largest = np.maximum(np.maximum(red, green), blue)
    sixth = np.select(
        [largest == red, largest == green],
        [(green - blue) / divisor, (blue - red) / divisor + 2],
        (red - green) / divisor + 4,
    )
    kind = np.where(chroma < _GRAY_BELOW, 6, np.rint(sixth).astype(np.int64) % 6)
    counts = np.stack([(kind == number).sum(axis=(1, 2)) for number in range(7)], axis=1)
    return names[counts.argmax(axis=1)]


def high_frequency(pictures: Pictures) -> npt.NDArray[np.float64]:
    """Return which share of the luma's power, the mean apart, lies above half of Nyquist."""
    y = luma(pictures).astype(np.float64)
    height, width = y.shape[1:]
    power = np.abs(np.fft.rfft2(y - y.mean(axis=(1, 2), keepdims=True))) ** 2
    # rfft2 leaves out the mirror image of all columns but the first and, if even, the last.
    weight = np.full(width // 2 + 1, 2.0)
    weight[0] = 1
    if width % 2 == 0:
        weight[-1] = 1
    power = power * weight
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    total = power.sum(axis=(1, 2))
    high = (power * (radius > 0.25)).sum(axis=(1, 2))
    # A picture of one colour has no power but what rounding leaves.
    return np.where(total > 1e-9 * height * width, high / np.where(total > 0, total, 1), 0.0)


def _chroma(pictures: Pictures) -> Pictures:
    if pictures.shape[-1] < 3:
        return np.zeros(pictures.shape[:-1], np.float32)
    colours = pictures[..., :3]
    chroma: Pictures = colours.max(axis=-1) - colours.min(axis=-1)
    return chroma


def _numeric(name: str, call: Callable[[Pictures], npt.NDArray[np.float64]]) -> Function:
    return Function(name, call, of="pictures")


FUNCTIONS = {
    one.name: one
    for one in (
        _numeric("brightness", brightness),
        _numeric("contrast", contrast),
        _numeric("edge-density", edge_density),
        _numeric("saturation", saturation),
        _numeric("high-frequency", high_frequency),
        Function("dominant-hue", dominant_hue, "categorical", HUES, of="pictures"),
    )
}
"""The built-in hypotheses by name."""
