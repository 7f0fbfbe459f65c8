"""Suites for the tests of the metrics: layers of all forms, and activations that layers show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cleanai_onnx.result import LayerFacts

STEP = 1 / 64
"""Values are multiples of this, so that their sums are exact in float32 whatever the order."""


def layer(name: str, shape: tuple[int, ...], channel_axis: int = 0) -> LayerFacts:
    return LayerFacts(
        name, f"module.{name}", "Relu", shape, channel_axis, math.prod(shape), shape[channel_axis]
    )


# Kernels are compiled for each length, so that the layers of a suite share lengths.
TINY = (
    layer("one", (1,)),
    layer("vector", (18,)),
    layer("nchw", (2, 3, 3)),
    layer("nhwc", (3, 3, 2), 2),
    layer("tokens", (9, 2), 1),
)
PACKED = (
    layer("nchw", (6, 23, 35)),
    layer("nhwc", (23, 35, 6), 2),
    layer("tokens", (805, 6), 1),
    layer("vector", (4830,)),
)
"""More than 4,096 units, no multiple of 8 or 16: sweeps of packed counters, top-k by blocks."""
LARGE = (layer("nchw", (6, 121, 121)), layer("nhwc", (121, 121, 6), 2))
"""More than 2**18 elements in a batch of three."""


def thorough(examples: int, shrink: bool = True) -> settings:
    """Return settings for tests that compile; suites made from a seed need not shrink."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        phases=[phase for phase in Phase if shrink or phase is not Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


NUMBERS = tuple(
    n * STEP for n in (0, 0, 0, 1, 6, 16, 32, 33, 47, 48, 49, 64, 100, -1, -16, -32, -48)
)
"""With many ties, and values at, just below and just above the thresholds."""


def small_suites(
    layers: Sequence[LayerFacts] = TINY,
    least: int = 1,
    most: int = 9,
    nan: bool = True,
    elements: Sequence[float] = NUMBERS,
) -> st.SearchStrategy[list[np.ndarray]]:
    """Activations ``(inputs, *shape)`` of each layer, element by element."""
    values = st.sampled_from([*elements, math.nan] if nan else list(elements))

    def suite(inputs: int) -> st.SearchStrategy[list[np.ndarray]]:
        forms = [(inputs, *of.shape) for of in layers]
        return st.tuples(
            *(hnp.arrays(np.float32, form, elements=values, fill=values) for form in forms)
        ).map(list)

    return st.integers(least, most).flatmap(suite)


KINDS = ("any", "ties", "zeros", "constant", "rectified", "with NaN", "all NaN", "saturated")


def activations(
    generator: np.random.Generator, shape: tuple[int, ...], kind: str, inputs: int
) -> np.ndarray:
    """Return ``(inputs, *shape)`` multiples of `STEP` from -2 to 2 of a kind that layers show."""
    a = (generator.integers(-128, 129, (inputs, *shape)) * STEP).astype(np.float32)
    if kind == "ties":
        a = np.round(a).astype(np.float32)
    elif kind == "zeros":
        a[:] = 0
    elif kind == "constant":
        a[:] = a.reshape(inputs, -1)[:, :1].reshape(inputs, *(1 for _ in shape))
    elif kind == "rectified":
        a = np.maximum(a, 0)
    elif kind == "with NaN":
        a[generator.random(a.shape) < 0.001] = math.nan
        a.reshape(inputs, -1)[0, -1] = math.nan
    elif kind == "all NaN":
        a[0] = math.nan
    elif kind == "saturated":
        a = np.clip(a, 0, 0.75).astype(np.float32)
    return a


def large_suites(
    layers: Sequence[LayerFacts], most: int
) -> st.SearchStrategy[tuple[list[np.ndarray], list[str]]]:
    """Activations of large layers, from a seed and a kind for each layer."""

    def suite(seed: int, kinds: Sequence[str], inputs: int) -> tuple[list[np.ndarray], list[str]]:
        generator = np.random.default_rng(seed)
        return (
            [
                activations(generator, of.shape, kind, inputs)
                for of, kind in zip(layers, kinds, strict=True)
            ],
            list(kinds),
        )

    kinds = st.tuples(*(st.sampled_from(KINDS) for _ in layers))
    return st.builds(suite, st.integers(0, 2**32 - 1), kinds, st.integers(1, most))


GARBAGE = st.sampled_from([1e9, -1e9, math.nan, math.inf])
