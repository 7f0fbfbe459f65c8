"""Parameters of the metrics, with CleanAI's defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cleanai_onnx.errors import UsageError

__all__ = ["CLEANAI_INTERVALS", "Parameters"]

CLEANAI_INTERVALS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5))


@dataclass(frozen=True)
class Parameters:
    """What the user may choose. Hashable, so that compiled kernels are kept for each choice.

    Attributes
    ----------
    threshold : float
        t of `tc` and of the variants of `nc-suite`.
    value_threshold : float
        t of `vc`, `vc-suite`, and of the value changes in `sv`, `vs` and `vv`.
    top_k : int
        k of `tknc` and `tknc-suite`.
    intervals : tuple of (float, float)
        Closed intervals of `mnc`.
    bounds_from : int
        How many of the first images set the bounds of `nbc`; the others are counted.
    cleanai_compat : bool
        Follow CleanAI where it departs from the definition: `vv` uses 0.05 for the second layer
        whatever t is, and `tknc` divides by k for each layer even where a layer has fewer units.

    Raises
    ------
    UsageError
        If a value cannot be used; the sentence names the flag.
    """

    threshold: float = 0.75
    value_threshold: float = 0.75
    top_k: int = 3
    intervals: tuple[tuple[float, float], ...] = CLEANAI_INTERVALS
    bounds_from: int = 10
    cleanai_compat: bool = False

    def __post_init__(self) -> None:
        """Refuse values that have no meaning, and bring intervals into their hashable form."""
        try:
            intervals = tuple((float(low), float(high)) for low, high in self.intervals)
        except (TypeError, ValueError):
            raise UsageError(
                "--intervals must be pairs of numbers such as 0:0.1,0.1:0.2."
            ) from None
        object.__setattr__(self, "intervals", intervals)
        for flag, value in (
            ("--threshold", self.threshold),
            ("--value-threshold", self.value_threshold),
        ):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UsageError(f"{flag} must be a finite number, not {value}.")
        if self.value_threshold < 0:
            raise UsageError(
                "--value-threshold must not be negative: it is compared with a distance."
            )
        for flag, count in (("--top-k", self.top_k), ("--bounds-from", self.bounds_from)):
            if not isinstance(count, int) or not 1 <= count < 2**31:
                raise UsageError(f"{flag} must be a whole number of at least 1, not {count!r}.")
        if not self.intervals:
            raise UsageError("--intervals needs at least one interval such as 0:0.1.")
        for low, high in self.intervals:
            if math.isnan(low) or math.isnan(high) or low > high:
                raise UsageError(f"--intervals: {low}:{high} is not an interval; write LOW:HIGH.")
