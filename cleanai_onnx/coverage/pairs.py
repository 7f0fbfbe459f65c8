"""What happens to each neuron between two inputs: sign changes and value changes, counted by layer.

With a and b the activations of a neuron for the two inputs, in float32:

* sign change S: a·b <= 0 (CleanAI; so 0·0 is one, and so is a product that underflows to 0);
* strict sign change: the signs of a and b, in {-, 0, +}, differ;
* value change V(t): abs(a - b) > t.

These counts for each layer are all that the pair and the interaction metrics need.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["CLEANAI_VALUE_THRESHOLD", "PairCounts", "count_pair"]

CLEANAI_VALUE_THRESHOLD = 0.05
"""What CleanAI's `vv` uses for the second layer, whatever threshold was given."""


class PairCounts(NamedTuple):
    """Exact counts for one layer of `size` neurons and one pair of inputs."""

    size: int
    sign: int
    sign_strict: int
    value: int
    value_and_sign: int
    compat_value: int
    compat_value_and_sign: int

    @property
    def value_only(self) -> int:
        """Neurons that change value and keep their sign: V minus S."""
        return self.value - self.value_and_sign

    @property
    def compat_value_only(self) -> int:
        """The same at CleanAI's fixed threshold."""
        return self.compat_value - self.compat_value_and_sign


def count_pair(a: np.ndarray, b: np.ndarray, threshold: float) -> PairCounts:
    """Count what differs between two inputs.

    A pair is looked at once in a run, so this is numpy on the host: nothing to compile, and IEEE
    arithmetic to the letter (XLA flushes subnormal products to zero).

    Parameters
    ----------
    a, b : array
        ``(N,)`` float32: a layer's activations for the two inputs.
    threshold : float
        t of the value change.
    """
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        sign = a * b <= 0
        distance = np.abs(a - b)
    strict = ((a > 0) != (b > 0)) | ((a < 0) != (b < 0))
    strict &= ~(np.isnan(a) | np.isnan(b))
    value = distance > np.float32(threshold)
    compat = distance > np.float32(CLEANAI_VALUE_THRESHOLD)
    masks = (sign, strict, value, value & sign, compat, compat & sign)
    return PairCounts(a.size, *(int(np.count_nonzero(mask)) for mask in masks))
