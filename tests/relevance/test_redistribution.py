"""Sums, pooling, moves, products and attention against slow twins in numpy."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanai_onnx.lowering import Node
from cleanai_onnx.relevance.attention import matrix_product, softmax
from cleanai_onnx.relevance.geometry import geometry
from cleanai_onnx.relevance.pooling import max_pool, winner
from cleanai_onnx.relevance.redistribution import REDISTRIBUTIONS
from cleanai_onnx.relevance.visit import Redistributed, Visit

E = 1e-6
numbers = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def visited(redistribute, op, values, data, relevance, gates=(), opset=17, **attributes):
    """Redistribute at one node in float64; values are its inputs, then its output."""
    inputs = tuple(f"i{k}" for k in range(len(values) - 1))
    node = Node(op, inputs, ("o",), attributes, opset)
    named = dict(zip((*inputs, "o"), values, strict=True))
    with jax.enable_x64(True):
        visit = Visit(
            node=node,
            data=data,
            gates=gates,
            relevance=(jnp.asarray(relevance),),
            value=lambda name: (
                jnp.asarray(named[name]) if name == "o" or int(name[1:]) in data else named[name]
            ),
            shape=lambda name: np.shape(named[name]),
            stabiliser=E,
            accounts=True,
        )
        made = redistribute(visit)
        return Redistributed(
            {key: np.asarray(x) for key, x in made.inputs.items()},
            *(
                None if x is None else np.asarray(x)
                for x in (made.biases, made.stabilisers, made.others)
            ),
        )


def divided(relevance, z):
    return relevance / (z + np.where(z < 0, -E, E))


@cache
def pooled(g):
    """Return `max_pool` compiled whole, once for each geometry."""
    return jax.jit(lambda relevance, x: max_pool(relevance, x, g))


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilations"),
    [
        ((2, 2), (2, 2), (1, 1)),
        ((3, 3), (2, 2), (1, 1)),
        ((3, 2), (1, 3), (1, 1)),
        ((2, 2), (1, 2), (2, 1)),
    ],
)
@settings(deadline=None, max_examples=8)
@given(random=numbers, ties=st.booleans())
def test_max_pool(random, ties, before, kernel, strides, dilations) -> None:
    x = random.standard_normal((1, 7, 6, 2))
    if ties:
        x = np.maximum(np.round(x), 0)
    large = x.shape[1:3]
    small = tuple(
        (n + before - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(large, kernel, dilations, strides, strict=True)
    )
    pads = (before, before, 0, 0)
    node = Node(
        "MaxPool", ("x",), ("y",), {"pads": pads, "strides": strides, "dilations": dilations}
    )
    relevance = random.standard_normal((1, *small, 2))
    wanted = np.zeros_like(x)
    for i in range(small[0]):
        for j in range(small[1]):
            for c in range(2):
                best, at = -np.inf, None
                for u in range(kernel[0]):
                    for v in range(kernel[1]):
                        y = i * strides[0] + u * dilations[0] - before
                        w = j * strides[1] + v * dilations[1] - before
                        if 0 <= y < large[0] and 0 <= w < large[1] and x[0, y, w, c] > best:
                            best, at = x[0, y, w, c], (y, w)
                wanted[(0, *at, c)] += relevance[0, i, j, c]
    with jax.enable_x64(True):
        given = pooled(geometry(node, kernel, large, small))(relevance, x)
    np.testing.assert_allclose(given, wanted, atol=1e-12)


def test_the_maximum_of_whole_axes() -> None:
    x = np.array([[[1.0, 3.0, 3.0], [3.0, 0.0, 1.0]]])
    given = winner(jnp.array([[[2.0], [5.0]]]), jnp.asarray(x), (2,))
    np.testing.assert_array_equal(given, [[[0, 2, 0], [5, 0, 0]]])
    given = winner(jnp.array([[[7.0]]]), jnp.asarray(x), (1, 2))
    np.testing.assert_array_equal(given, [[[0, 7, 0], [0, 0, 0]]])


@settings(deadline=None, max_examples=20)
@given(random=numbers, sign=st.sampled_from(["Add", "Sub"]))
def test_sums_in_proportion(random, sign) -> None:
    a, b, r = (random.standard_normal((2, 3)) for _ in range(3))
    b = b[:, :1]
    z = a + b if sign == "Add" else a - b
    made = visited(REDISTRIBUTIONS["", sign], sign, (a, b, z), (0, 1), r)
    np.testing.assert_allclose(made.inputs[0], a * divided(r, z), rtol=1e-10)
    factor = 1 if sign == "Add" else -1
    wanted = (factor * b * divided(r, z)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(made.inputs[1], wanted, rtol=1e-9, atol=1e-12)


def test_a_constant_takes_its_share() -> None:
    random = np.random.default_rng(2)
    a, c, r = (
        random.standard_normal((2, 3)),
        random.standard_normal(3),
        random.standard_normal((2, 3)),
    )
    made = visited(REDISTRIBUTIONS["", "Add"], "Add", (a, c, a + c), (0,), r)
    np.testing.assert_allclose(made.biases, (c * divided(r, a + c)).sum(axis=1), rtol=1e-10)
    total = made.inputs[0].sum(axis=1) + made.biases + made.stabilisers
    np.testing.assert_allclose(total, r.sum(axis=1), rtol=1e-12)


def test_averages_in_proportion() -> None:
    random = np.random.default_rng(3)
    x, r = random.standard_normal((2, 3, 4, 5)), random.standard_normal((2, 3, 1, 1))
    z = x.mean(axis=(2, 3), keepdims=True)
    made = visited(REDISTRIBUTIONS["", "GlobalAveragePool"], "GlobalAveragePool", (x, z), (0,), r)
    np.testing.assert_allclose(made.inputs[0], x / 20 * divided(r, z), rtol=1e-9)


def test_moves() -> None:
    random = np.random.default_rng(4)
    a, b, r = (random.standard_normal((2, n)) for n in (3, 2, 5))
    concat = visited(
        REDISTRIBUTIONS["", "Concat"], "Concat", (a, b, np.hstack([a, b])), (0, 1), r, axis=1
    )
    np.testing.assert_array_equal(concat.inputs[0], r[:, :3])
    np.testing.assert_array_equal(concat.inputs[1], r[:, 3:])
    turned = visited(
        REDISTRIBUTIONS["", "Transpose"], "Transpose", (a, a.T), (0,), r[:, :3].T, perm=(1, 0)
    )
    np.testing.assert_array_equal(turned.inputs[0], r[:, :3])
    token = visited(
        REDISTRIBUTIONS["", "Concat"], "Concat", (b, a, np.hstack([b, a])), (1,), r, axis=1
    )
    np.testing.assert_allclose(token.biases, r[:, :2].sum(axis=1), rtol=1e-12)


def test_products() -> None:
    random = np.random.default_rng(5)
    a, b, r = (random.standard_normal((2, 3)) for _ in range(3))
    multiply = REDISTRIBUTIONS["", "Mul"]
    gate = visited(multiply, "Mul", (a, b, a * b), (0, 1), r, gates=(1,))
    np.testing.assert_array_equal(gate.inputs[0], r)
    np.testing.assert_array_equal(gate.inputs[1], 0 * r)
    halves = visited(multiply, "Mul", (a, b, a * b), (0, 1), r)
    np.testing.assert_array_equal(halves.inputs[0], r / 2)
    np.testing.assert_array_equal(halves.inputs[1], r / 2)
    ratio = visited(REDISTRIBUTIONS["", "Div"], "Div", (a, b, a / b), (0, 1), r)
    np.testing.assert_array_equal(ratio.inputs[0], r)
    np.testing.assert_array_equal(ratio.inputs[1], 0 * r)


@settings(deadline=None, max_examples=20)
@given(random=numbers)
def test_softmax(random) -> None:
    x, r = random.standard_normal((2, 4)), random.standard_normal((2, 4))
    s = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    made = visited(softmax, "Softmax", (x, s), (0,), r, axis=-1)
    wanted = np.zeros_like(x)
    for n in range(2):
        for i in range(4):
            wanted[n, i] = x[n, i] * (r[n, i] - s[n, i] * sum(r[n, j] for j in range(4)))
    np.testing.assert_allclose(made.inputs[0], wanted, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(random=numbers)
def test_matrix_product(random) -> None:
    a, v, r = (random.standard_normal(shape) for shape in ((1, 2, 3), (1, 3, 4), (1, 2, 4)))
    made = visited(matrix_product, "MatMul", (a, v, a @ v), (0, 1), r)
    o = a @ v
    left, right = np.zeros_like(a), np.zeros_like(v)
    for j in range(2):
        for i in range(3):
            for p in range(4):
                part = a[0, j, i] * v[0, i, p] * divided(r[0, j, p], 2 * o[0, j, p])
                left[0, j, i] += part
                right[0, i, p] += part
    np.testing.assert_allclose(made.inputs[0], left, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(made.inputs[1], right, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Tanh", "LayerNormalization"])
def test_activations_hand_relevance_through(op: str) -> None:
    r = np.random.default_rng(6).standard_normal((2, 3))
    values = (r, r) if op != "LayerNormalization" else (r, np.ones(3), r)
    made = visited(REDISTRIBUTIONS["", op], op, values, (0,), r)
    np.testing.assert_array_equal(made.inputs[0], r)
