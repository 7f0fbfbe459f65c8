"""Small networks with the batch as the last axis, against the same networks without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cleanai_onnx.lowering import Lowered, lower
from cleanai_onnx.lowering.layout import with_batch_last
from cleanai_onnx.lowering.operators.batch_last import BATCH_LAST, convolve, maximum_of_tiles
from tests.cli.material import build, node

RANDOM = np.random.default_rng(4)
CASES = [
    ((1, 9, 8, 3), (4, 1, 5, 5), ((2, 2), (2, 2))),
    ((4, 7, 6, 2), (3, 4, 3, 2), ((0, 1), (2, 0))),
    ((2, 6, 5, 1), (2, 2, 2, 3), ((0, 0), (3, 4))),
]


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def network() -> Lowered:
    """Return one with nodes that care where the batch is among those that do not."""
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[2, 2, 2, 2]),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Mul", ["c2", "half"], ["h2"]),
        node("Add", ["h2", "p1"], ["a2"]),
        node("Add", ["a2", "each"], ["e2"]),
        node("Tanh", ["e2"], ["t2"]),
        node("MaxPool", ["t2"], ["p2"], kernel_shape=[3, 3], strides=[2, 2]),
        node("Conv", ["p2", "w2"], ["c3"], pads=[1, 1, 1, 1]),
        node("Reshape", ["c3", "shape"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["g"], transB=1, alpha=0.5),
        node("Relu", ["g"], ["r3"]),
        node("MatMul", ["r3", "w4"], ["y"]),
    ]
    stored = {
        "w1": normal(4, 1, 5, 5), "b1": normal(4), "w2": normal(4, 4, 3, 3) / 3,
        "half": np.float32([0.5]), "each": normal(1, 4, 1, 1), "shape": np.array([-1, 24]),
        "w3": normal(8, 24) / 4, "b3": normal(8), "w4": normal(8, 3),
    }  # fmt: skip
    proto = build(nodes, stored, inputs={"x": ("N", 1, 11, 14)})
    return lower(proto, input_shapes={"x": (3, 1, 11, 14)})


@pytest.mark.parametrize(("shape", "filters", "pads"), CASES)
def test_convolution_and_its_gradients(
    shape: tuple[int, ...], filters: tuple[int, ...], pads: tuple[tuple[int, int], ...]
) -> None:
    def own(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        order = ("CHWN", "OIHW", "CHWN")
        y = lax.conv_general_dilated(
            x, w, (1, 1), pads, dimension_numbers=order, precision="highest"
        )
        return y + b[:, None, None, None]

    at = normal(*shape), normal(*filters), normal(filters[0])
    arriving = normal(*jax.eval_shape(own, *at).shape)

    def with_gradients(function: Callable[..., Any]) -> list[jax.Array]:
        value, back = jax.vjp(function, *at)
        return [value, *back(arriving)]

    wanted = jax.jit(lambda: with_gradients(own))()
    found = jax.jit(lambda: with_gradients(lambda *at: convolve(*at, pads)))()
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_equal_windows_have_equal_values() -> None:
    x, w, b = np.full((2, 12, 12, 3), 0.7, np.float32), normal(4, 2, 5, 5), normal(4)
    found = np.asarray(jax.jit(convolve, static_argnums=3)(x, w, b, ((0, 0), (0, 0))))
    assert (found == found[:, :1, :1, :1]).all()


def test_maxima_of_tiles_and_their_gradient() -> None:
    x = RANDOM.integers(0, 3, (2, 5, 7, 3)).astype(np.float32)
    x[0, 0, 0, 0] = np.nan

    @jax.jit
    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, back = jax.vjp(lambda x: maximum_of_tiles(x, (2, 3)), x)
        return value, back(jnp.ones_like(value))[0]

    found, gradient = both(x)
    wanted = np.zeros_like(x)
    for c, i, j, n in np.ndindex(2, 2, 2, 3):
        tile = x[c, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3, n]
        np.testing.assert_equal(np.asarray(found)[c, i, j, n], tile.max())
        place = np.unravel_index(tile.argmax(), tile.shape)
        wanted[c, 2 * i + place[0], 3 * j + place[1], n] = 1
    np.testing.assert_array_equal(gradient, wanted)


def test_a_network_gives_the_same_with_the_batch_last() -> None:
    plain = network()
    turned = with_batch_last(plain)
    of_last = [one.op for one in turned.needed(["y"]) if one.domain == BATCH_LAST]
    assert of_last == ["Conv", "MaxPool", "Conv", "Conv", "Flatten", "Gemm", "Gemm"]
    x, names = normal(3, 1, 11, 14), [name for one in plain.nodes for name in one.outputs]

    def evaluated(model: Lowered) -> dict[str, jax.Array]:
        def score(x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            every = model(model.parameters, x, names)
            return (every["y"][:, 1] ** 2).sum(), every

        gradient, every = jax.jit(jax.grad(score, has_aux=True))(x)
        return {"gradient": gradient, **every}

    wanted, found = evaluated(plain), evaluated(turned)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
