"""Gradients where activations have kinks: those of torch."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cleanai_onnx.lowering import lower
from tests.lowering.graphs import model, node


def gradient(nodes, weights, x) -> np.ndarray:
    lowered = lower(model(nodes, weights, x=np.shape(x)))
    return np.asarray(
        jax.grad(lambda v: lowered(lowered.parameters, v)["y"].sum())(np.asarray(x, np.float32))
    )


def test_relu_has_no_gradient_at_zero() -> None:
    np.testing.assert_array_equal(gradient([node("Relu", "x", "y")], {}, [-1, 0, 1]), [0, 0, 1])


def test_clip_has_a_gradient_at_its_bounds() -> None:
    bounds = {"low": np.float32(0), "high": np.float32(6)}
    found = gradient([node("Clip", "x low high", "y")], bounds, [-1, 0, 3, 6, 7])
    np.testing.assert_array_equal(found, [0, 1, 1, 1, 0])


def test_max_pooling_gives_ties_to_the_first() -> None:
    x = np.zeros((1, 1, 2, 2))
    found = gradient([node("MaxPool", "x", "y", kernel_shape=[2, 2])], {}, x)
    np.testing.assert_array_equal(found[0, 0], [[1, 0], [0, 0]])


@pytest.mark.parametrize("op", ["Elu", "Selu", "Celu", "Softplus", "Mish"])
def test_gradients_stay_finite_for_large_inputs(op: str) -> None:
    found = gradient([node(op, "x", "y")], {}, [-1e4, 1e4])
    assert np.isfinite(found).all()


def test_softmax_of_large_logits_sums_to_one() -> None:
    x = np.full((1, 4, 3, 3), 1e10, np.float32)
    x[:, :, 0] = 3e10 / 7
    nodes = [node("GlobalAveragePool", "x", "p"), node("Softmax", "p", "y", axis=1)]
    lowered = lower(model(nodes, x=x.shape))
    np.testing.assert_allclose(jax.jit(lowered)({}, x)["y"].reshape(-1), np.full(4, 0.25))
