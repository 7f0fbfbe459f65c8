"""The ledger: what arrives, what constants take and what is lost add up to f(x), in float64."""

from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import NodeProto

from cleanai_onnx.relevance import Explainer
from cleanai_onnx.relevance.redistribution import REDISTRIBUTIONS
from tests.graph.canonical.models import model, node
from tests.relevance.test_redistribution import divided, visited

EXACT = 1e-12
numbers = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def per_image(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1).sum(axis=1)


# One node, with all of its numbers drawn.

BROADCASTS = [((2, 3, 4), (4,)), ((2, 3, 4), (3, 1)), ((2, 1, 4), (1, 3, 1)), ((2, 3), ())]


@pytest.mark.parametrize("first", [True, False], ids=["x first", "constant first"])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@settings(deadline=None, max_examples=10)
@given(random=numbers, equal=st.booleans())
def test_a_constant_and_the_images(random, equal, shapes, op, first) -> None:
    """A constant that is added takes c / (z + ε); a factor takes nothing; a divided one all."""
    x, c = (np.asarray(random.standard_normal(shape)) for shape in shapes)
    if equal:  # z is zero in places
        x[0], c = np.round(x[0]), np.round(c) + (op in ("Mul", "Div"))
        c = np.where(c == 0, 1.0, c)
    x = np.where(x == 0, 0.5, x) if op == "Div" else x
    operands = (x, c) if first else (c, x)
    ufunc = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op]
    z = ufunc(*operands)
    r = random.standard_normal(z.shape)
    data = 0 if first else 1
    made = visited(REDISTRIBUTIONS["", op], op, (*operands, z), (data,), r)
    parts = [made.biases, made.stabilisers, made.others]
    total = per_image(made.inputs[data]) + sum(part for part in parts if part is not None)
    scale = np.abs(made.inputs[data]).sum() + np.abs(r).sum()
    np.testing.assert_allclose(total, per_image(r), atol=EXACT * scale)
    if op in ("Add", "Sub"):
        share = (-c if op == "Sub" and first else c) * divided(r, z)
        np.testing.assert_allclose(made.biases, per_image(share), atol=EXACT * scale)
    elif op == "Div" and not first:
        np.testing.assert_allclose(made.others, per_image(r), atol=EXACT * scale)
    else:
        assert made.biases is None and made.others is None


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@settings(deadline=None, max_examples=10)
@given(random=numbers)
def test_padding_keeps_what_it_added(random, mode) -> None:
    x = random.standard_normal((2, 3, 4))
    before, after = random.integers(0, 3, 2)
    widths = ((0, 0), (0, 0), (int(before), int(after)))
    values = {"constant_values": 0.7} if mode == "constant" else {}
    z = np.pad(x, widths, mode=mode, **values)
    pads = np.array([0, 0, before, 0, 0, after])
    r = random.standard_normal(z.shape)
    made = visited(REDISTRIBUTIONS["", "Pad"], "Pad", (x, pads, np.array(0.7), z), (0,), r,
                   mode=mode)  # fmt: skip
    assert made.biases is not None
    np.testing.assert_allclose(per_image(made.inputs[0]) + made.biases, per_image(r), atol=1e-13)
    inside = r[..., before : before + 4]
    outside = per_image(r) - per_image(inside) if mode == "constant" else np.zeros(2)
    np.testing.assert_allclose(made.biases, outside, atol=1e-13)


# Whole models: what their nodes add up to.

FIXED = np.random.default_rng(3)
MEAN = FIXED.standard_normal((3, 1, 1)).astype(np.float32)
DEVIATION = FIXED.uniform(0.5, 2, (3, 1, 1)).astype(np.float32)
STATISTICS = dict(
    zip(
        ("gamma", "beta", "mu", "var"),
        FIXED.uniform(0.5, 2, (4, 3)).astype(np.float32),
        strict=True,
    )
)
BEFORE: dict[str, tuple[list[NodeProto], dict[str, np.ndarray]]] = {
    "mean subtracted, scaled": (
        [node("Sub", "x m", "s"), node("Div", "s d", "c")],
        {"m": MEAN, "d": DEVIATION},
    ),
    "scaled, shifted": (
        [node("Mul", "x d", "s"), node("Add", "m s", "c")],
        {"m": MEAN, "d": DEVIATION},
    ),
    "from one": ([node("Sub", "m x", "c")], {"m": MEAN}),
    "an image added": ([node("Add", "x m", "c")], {"m": np.broadcast_to(MEAN, (1, 3, 5, 5))}),
    "batch normalisation before padding": (
        [node("BatchNormalization", "x gamma beta mu var", "c")],
        STATISTICS,
    ),
    "padded with a value": (
        [node("Pad", "x p value", "c")],
        {"p": np.array([0, 0, 1, 0, 0, 0, 0, 1]), "value": np.array(0.7, np.float32)},
    ),
    "own mean subtracted": (
        [node("ReduceMean", "x", "a", axes=[2, 3], keepdims=1), node("Sub", "x a", "c")],
        {},
    ),
    "one over the image": (
        [node("Abs", "x", "a"), node("Add", "a m", "e"), node("Div", "m e", "c")],
        {"m": np.float32(1)},
    ),
}


@cache
def explainer(kind: str, composite: str) -> Explainer:
    nodes, stored = BEFORE[kind]
    random = np.random.default_rng(4)

    def weights(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    rest = [
        node("Conv", "c w b", "z", pads=[1, 1, 1, 1]),
        node("Relu", "z", "r"),
        node("BatchNormalization", "r gamma4 beta4 mu4 var4", "n"),
        node("Add", "n r", "t"),
        node("GlobalAveragePool", "t", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f v u", "y"),
    ]
    stored = {**stored, "w": weights(4, 3, 3, 3), "b": weights(4), "v": weights(4, 5),
              "u": weights(5), "gamma4": weights(4), "beta4": weights(4), "mu4": weights(4),
              "var4": weights(4) ** 2}  # fmt: skip
    proto = model([*nodes, *rest], ["n", 3, 5, 5], stored)
    return Explainer(
        proto, composite=composite, precision="float64", fallback="gradient", batch_size=2,
        account_stabilisers=True,
    )  # fmt: skip


@pytest.mark.parametrize("composite", ["epsilon", "epsilon-alpha2-beta1"])
@pytest.mark.parametrize("kind", BEFORE)
@settings(deadline=None, max_examples=15)
@given(random=numbers, at_the_mean=st.booleans(), zeros=st.booleans())
@example(random=np.random.default_rng(0), at_the_mean=True, zeros=True)
def test_everything_is_accounted_for(kind, composite, random, at_the_mean, zeros) -> None:
    images = random.standard_normal((2, 3, 5, 5))
    if at_the_mean:
        images[0, :, :2] = MEAN[..., 0:1]
    if zeros:
        images[:, 1] = 0
    explained = explainer(kind, composite).explain(images)
    books = explained.conservation
    scale = np.abs(books.started) + np.abs(explained.relevance).sum(axis=(1, 2, 3))
    assert np.all(np.abs(books.residual) <= EXACT * scale)
    parts = books.arrived + books.biases + books.stabilisers + books.others
    np.testing.assert_allclose(parts, books.started, atol=EXACT * scale.max())
    assert bool(np.any(books.others)) == (kind == "one over the image")
