"""The colours of a share: cividis.

Nuñez, Anderton, Renslow, PLOS ONE 2018: perceptually uniform, and read alike with and without
colour vision deficiency.
"""

from __future__ import annotations

__all__ = ["color_of"]

_CIVIDIS = (
    "00224e002e6c1e3a6f35456c47516c575d6d666970757575"
    "848279948e77a59c74b7a96ec8b866dbc75aeed649fee838"
)
"""Sixteen stops, six digits each."""


def color_of(share: float) -> tuple[int, int, int]:
    """Return the colour of a share in 0..1 as red, green and blue."""
    stops = [tuple(bytes.fromhex(_CIVIDIS[i : i + 6])) for i in range(0, len(_CIVIDIS), 6)]
    position = min(1.0, max(0.0, share)) * (len(stops) - 1)
    low = min(int(position), len(stops) - 2)
    part = position - low
    red, green, blue = (
        round(a + (b - a) * part) for a, b in zip(stops[low], stops[low + 1], strict=True)
    )
    return red, green, blue
