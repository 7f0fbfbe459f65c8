"""What happens to each neuron between two inputs: sign changes and value changes, counted by layer.

With a and b the activations of a neuron for the two inputs, in float32:

* sign change S: a·b <= 0 (CleanAI; so 0·0 is one, and so is a product that underflows to 0);
* strict sign change: the signs of a and b, in {-, 0, +}, differ;
* value change V(t): abs(a - b) > t.

These counts for each layer are all that the pair and the interaction metrics need.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from cleanai_onnx.coverage.sweeps import count_rows

__all__ = ["CLEANAI_VALUE_THRESHOLD", "PairCounts", "count_pair"]

CLEANAI_VALUE_THRESHOLD = 0.05
"""What CleanAI's `vv` uses for the second layer, whatever threshold was given."""

_SCALE = 2.0**75


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


def sign_changes(a: Array, b: Array) -> Array:
    """Return where a·b <= 0, as IEEE float32 would say without flushing subnormal products.

    XLA flushes subnormal numbers to zero on some devices. Scaled by 2**75 each, a product that
    rounds to zero (at most 2**-150) is at most 1.
    """
    opposite = ((a <= 0) & (b >= 0)) | ((a >= 0) & (b <= 0))
    return opposite | ((a * _SCALE) * (b * _SCALE) <= 1)


def count_pair(a: Array, b: Array, threshold: float) -> Array:
    """Count what differs between two inputs.

    Parameters
    ----------
    a, b : Array
        ``(N,)`` float32: a layer's activations for the two inputs.
    threshold : float
        t of the value change.

    Returns
    -------
    Array
        ``(6,)`` int32: the fields of `PairCounts` after `size`.
    """

    def value(t: float) -> Array:
        return jnp.float32(t)

    t, compat = value(threshold), value(CLEANAI_VALUE_THRESHOLD)
    predicates = (
        sign_changes,
        lambda a, b: ((a > 0) != (b > 0)) | ((a < 0) != (b < 0)),
        lambda a, b: jnp.abs(a - b) > t,
        lambda a, b: (jnp.abs(a - b) > t) & sign_changes(a, b),
        lambda a, b: jnp.abs(a - b) > compat,
        lambda a, b: (jnp.abs(a - b) > compat) & sign_changes(a, b),
    )
    return count_rows((a[None], b[None]), predicates, jnp.int32(1))[0]
