"""The charts of the HTML report as the outlines of SVG paths: few bytes, whatever the model's size.

Lengths are in the units of each drawing's own ``viewBox``; y grows downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cleanai_onnx.report.colormap import color_of
from cleanai_onnx.report.digest import LayerFiring
from cleanai_onnx.result import ImportantNeuronFacts

__all__ = ["Histogram", "bars", "firing_runs", "histogram", "scale", "steps", "width"]

_LEVELS = 24
_GAP = 0.18
"""Of the room of a bar: what stays free beside it."""


def bars(shares: Sequence[float | None], width: float, height: float) -> str:
    """Return bars from the bottom up, one for each share in 0..1, as one outline."""
    step = width / max(1, len(shares))
    # Where bars are hair-thin, gaps between them would only flicker.
    gap = step * _GAP if step > 3 else 0.0
    parts = []
    for number, share in enumerate(shares):
        tall = _clipped(share) * height
        if tall > 0:
            left, wide = _short(number * step + gap / 2), _short(step - gap)
            parts.append(f"M{left} {_short(height)}v-{_short(tall)}h{wide}v{_short(tall)}z")
    return "".join(parts)


def steps(shares: Sequence[float | None], width: float, height: float) -> str:
    """Return a line that runs level over each share in 0..1; it breaks where there is none."""
    step = width / max(1, len(shares))
    parts = []
    pen_down = False
    for number, share in enumerate(shares):
        if share is None or not math.isfinite(share):
            pen_down = False
            continue
        y = _short(height - _clipped(share) * height)
        parts.append(f"V{y}" if pen_down else f"M{_short(number * step)} {y}")
        parts.append(f"H{_short((number + 1) * step)}")
        pen_down = True
    return "".join(parts)


def firing_runs(layer: LayerFiring, width: float) -> Iterator[tuple[str | None, str]]:
    """Yield colour and outline of runs of channels that fire alike, the rarest first.

    Channels are sorted by how often they fired and share the width equally. The colour is None
    where they never fired. The drawing is one unit high.
    """
    count = len(layer.counts)
    for level, start, size in layer.runs(_LEVELS):
        left, wide = _short(width * start / count), _short(width * size / count)
        yield None if level is None else _color(level), f"M{left} 0h{wide}v1h-{wide}z"


def scale() -> list[str]:
    """Return the colours of `firing_runs`, from no image to all of them."""
    return [_color(level) for level in range(_LEVELS)]


def _color(level: int) -> str:
    red, green, blue = color_of(level / (_LEVELS - 1))
    return f"#{red:02x}{green:02x}{blue:02x}"


@dataclass(frozen=True)
class Histogram:
    """The activations of an important neuron in training, drawn.

    Attributes
    ----------
    bars
        The outline of the bars, scaled to the largest.
    centroids, borders
        Where the clusters have their means, and where they meet.
    """

    bars: str
    centroids: tuple[float, ...]
    borders: tuple[float, ...]


def histogram(neuron: ImportantNeuronFacts, width: float, height: float) -> Histogram | None:
    """Return the histogram of a neuron; None where there is nothing to draw."""
    low, high, counts = neuron.low, neuron.high, neuron.histogram
    if low is None or high is None or not math.isfinite(high - low) or not counts:
        return None
    most = max(*counts, 1)
    # What is there at all is seen.
    shares = [max(0.02, count / most) if count > 0 else 0.0 for count in counts]

    def at(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5 / len(counts)
        return round(width * min(1.0, max(0.0, share)), 1) if math.isfinite(share) else 0.0

    return Histogram(
        bars(shares, width, height),
        tuple(map(at, neuron.centroids)),
        tuple(map(at, neuron.borders)),
    )


def width(share: float | None) -> str:
    """Return a share in 0..1 as the width of a meter."""
    return f"{_short(100 * _clipped(share))}%"


def _clipped(share: float | None) -> float:
    return 0.0 if share is None or not math.isfinite(share) else min(1.0, max(0.0, share))


def _short(number: float) -> str:
    """Return a length with two decimals at most."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
