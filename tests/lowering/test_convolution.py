from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from cleanai_onnx.errors import ModelError
from cleanai_onnx.lowering import lower
from cleanai_onnx.lowering.operators.convolution import depthwise
from tests.lowering.graphs import model, node


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 2),
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2)),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 100),
)
def test_shifted_multiply_adds_are_the_depthwise_convolution(multiplier, axes, seed) -> None:
    random = np.random.default_rng(seed)
    kernel, strides, dilations, pads = (tuple(values) for values in zip(*axes, strict=True))
    x = random.standard_normal((2, 3, *(6,) * len(axes))).astype(np.float32)
    w = random.standard_normal((3 * multiplier, 1, *kernel)).astype(np.float32)
    both = tuple((pad, pad + 1) for pad in pads)
    expected = lax.conv_general_dilated(
        x, w, strides, both, rhs_dilation=dilations, feature_group_count=3,
        precision=lax.Precision.HIGHEST,
    )  # fmt: skip
    found = depthwise(x, w, strides, both, dilations)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_depthwise_convolutions_are_not_left_to_xla() -> None:
    def program(groups: int) -> str:
        weights = {"w": np.ones((8, 8 // groups, 3, 3), np.float32)}
        lowered = lower(model([node("Conv", "x w", "y", group=groups)], weights, x=(1, 8, 6, 6)))
        return str(jax.make_jaxpr(lowered)(dict(lowered.parameters), np.ones((1, 8, 6, 6), "f")))

    assert "conv_general_dilated" not in program(8)
    assert "conv_general_dilated" in program(4)


@pytest.mark.parametrize("shape", [(4, 2, 3, 3), (4, 3, 3, 3, 3)])
def test_filters_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    lowered = lower(model([node("Conv", "x w", "y")], {"w": np.ones(shape, np.float32)}))
    with pytest.raises(ModelError, match="Conv node 'the_Conv' cannot be computed"):
        lowered(lowered.parameters, np.ones((2, 3, 8, 8), np.float32))
