"""Batch normalisation, constants, padding and matrix products: numbers stay, nodes go."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanai_onnx.graph.canonical.affine import fold_affine
from cleanai_onnx.graph.canonical.batchnorm_after import fold_batchnorm_after
from cleanai_onnx.graph.canonical.batchnorm_before import fold_batchnorm_before
from cleanai_onnx.graph.canonical.gemm import matmul_to_gemm
from cleanai_onnx.graph.canonical.padding import merge_padding
from tests.graph.canonical.models import applied, check_numbers, model, node, operators

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
LINEAR = ["Conv", "grouped Conv", "ConvTranspose", "grouped ConvTranspose", "Gemm", "Gemm, scaled"]


def floats(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def statistics(random: np.random.Generator, channels: int) -> dict[str, np.ndarray]:
    return {
        "gamma": floats(random, channels),
        "beta": floats(random, channels),
        "mean": floats(random, channels),
        "var": random.uniform(0.2, 2.0, channels).astype(np.float32),
    }


def linear(kind: str, random: np.random.Generator, bias: bool, source: str, output: str):
    """Return a node from 4 to 6 channels, its stored tensors and the shape of its input."""
    inputs = f"{source} w b" if bias else f"{source} w"
    groups = 2 if "grouped" in kind else 1
    if kind.startswith("Gemm"):
        transposed = bool(random.integers(2))
        w = floats(random, 6, 4) if transposed else floats(random, 4, 6)
        attributes = {"transB": int(transposed)}
        if "scaled" in kind:
            attributes |= {"alpha": 0.5, "beta": 2.0}
        shape = (3, 4)
    elif "Transpose" in kind:
        w, attributes, shape = floats(random, 4, 6 // groups, 2, 2), {"group": groups}, (2, 4, 3, 3)
    else:
        w, attributes, shape = floats(random, 6, 4 // groups, 2, 2), {"group": groups}, (2, 4, 5, 4)
    stored = {"w": w}
    if bias:
        stored["b"] = floats(random, 6)
    op = kind.removeprefix("grouped ").partition(",")[0]
    return node(op, inputs, output, **attributes), stored, shape


@pytest.mark.parametrize("kind", LINEAR)
@settings(deadline=None, max_examples=10)
@given(random=generators, bias=st.booleans())
def test_batchnorm_after(kind, random, bias) -> None:
    one, stored, shape = linear(kind, random, bias, "x", "z")
    norm = node("BatchNormalization", "z gamma beta mean var", "n", epsilon=1e-3)
    before = model([one, norm, node("Relu", "n", "y")], shape, stored | statistics(random, 6))
    after, changed = applied(fold_batchnorm_after, before)
    assert changed
    assert operators(after) == [one.op_type, "Relu"]
    check_numbers(before, after, floats(random, *shape))
    assert applied(fold_batchnorm_after, after) == (after, False)


@pytest.mark.parametrize("kind", ["Conv", "grouped Conv", "Gemm", "Gemm, scaled"])
@settings(deadline=None, max_examples=10)
@given(random=generators, bias=st.booleans())
def test_batchnorm_before(kind, random, bias) -> None:
    one, stored, shape = linear(kind, random, bias, "n", "y")
    norm = node("BatchNormalization", "x gamma beta mean var", "n")
    before = model([norm, one], shape, stored | statistics(random, 4))
    after, changed = applied(fold_batchnorm_before, before)
    assert changed
    assert operators(after) == [one.op_type]
    check_numbers(before, after, floats(random, *shape))


def test_batchnorm_before_padding_is_folded_only_without_a_shift() -> None:
    random = np.random.default_rng(0)
    nodes = [
        node("BatchNormalization", "x gamma beta mean var", "n"),
        node("Conv", "n w", "y", pads=[1, 1, 1, 1]),
    ]
    stored = {"w": floats(random, 3, 4, 3, 3)} | statistics(random, 4)
    shifting = model(nodes, (1, 4, 5, 5), stored)
    assert applied(fold_batchnorm_before, shifting) == (shifting, False)
    stored |= {"mean": np.zeros(4, np.float32), "beta": np.zeros(4, np.float32)}
    scaling = model(nodes, (1, 4, 5, 5), stored)
    after, changed = applied(fold_batchnorm_before, scaling)
    assert changed and operators(after) == ["Conv"]
    check_numbers(scaling, after, floats(random, 1, 4, 5, 5))


def test_batchnorm_whose_input_is_read_elsewhere_stays() -> None:
    random = np.random.default_rng(1)
    nodes = [
        node("Conv", "x w", "z"),
        node("BatchNormalization", "z gamma beta mean var", "n"),
        node("Add", "n z", "y"),
    ]
    before = model(nodes, (1, 4, 5, 5), {"w": floats(random, 6, 4, 2, 2)} | statistics(random, 6))
    assert applied(fold_batchnorm_after, before) == (before, False)


def test_batchnorm_whose_input_is_an_output_stays() -> None:
    random = np.random.default_rng(1)
    nodes = [
        node("Conv", "x w", "z"),
        node("BatchNormalization", "z gamma beta mean var", "y"),
    ]
    stored = {"w": floats(random, 6, 4, 2, 2)} | statistics(random, 6)
    before = model(nodes, (1, 4, 5, 5), stored, outputs=("y", "z"))
    assert applied(fold_batchnorm_after, before) == (before, False)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("kind", LINEAR)
@settings(deadline=None, max_examples=8)
@given(random=generators, bias=st.booleans(), last=st.booleans(), alone=st.booleans())
def test_affine(kind, op, random, bias, last, alone) -> None:
    """A constant for each channel, also behind a Transpose that moves the channels to the end."""
    one, stored, shape = linear(kind, random, bias, "x", "z")
    nodes, source = [one], "z"
    if len(shape) == 4 and last:
        nodes.append(node("Transpose", "z", "t", perm=[0, 2, 3, 1]))
        source = "t"
    constant = random.uniform(0.5, 2.0, 1 if alone else 6).astype(np.float32)
    if len(shape) == 4 and not last and not alone:
        constant = constant.reshape(6, 1, 1)
    nodes.append(node(op, f"{source} c", "y"))
    before = model(nodes, shape, stored | {"c": constant})
    after, changed = applied(fold_affine, before)
    assert changed
    assert operators(after) == [n.op_type for n in nodes[:-1]]
    check_numbers(before, after, floats(random, *shape))


@pytest.mark.parametrize("shape", [(1, 6, 4, 3), (4, 3), (2, 1, 1, 1)])
def test_what_is_not_one_number_for_each_channel_stays(shape) -> None:
    random = np.random.default_rng(2)
    nodes = [node("Conv", "x w", "z"), node("Add", "z c", "y")]
    stored = {"w": floats(random, 6, 4, 2, 2), "c": floats(random, *shape)}
    before = model(nodes, (2, 4, 5, 4), stored)
    assert applied(fold_affine, before) == (before, False)


@pytest.mark.parametrize("opset", [9, 17])
@settings(deadline=None, max_examples=8)
@given(random=generators, own=st.booleans())
def test_padding(opset, random, own) -> None:
    sizes = [0, 0, *random.integers(0, 3, 2), 0, 0, *random.integers(0, 3, 2)]
    sizes = [int(size) for size in sizes]
    stored = {"w": floats(random, 3, 4, 3, 3)}
    if opset == 9:
        pad = node("Pad", "x", "p", pads=sizes)
    else:
        pad = node("Pad", "x sizes", "p")
        stored["sizes"] = np.array(sizes, np.int64)
    attributes = {"pads": [1, 0, 2, 1]} if own else {}
    before = model(
        [pad, node("Conv", "p w", "y", strides=[2, 1], **attributes)],
        (2, 4, 5, 6),
        stored,
        opset=opset,
    )
    after, changed = applied(merge_padding, before)
    assert changed and operators(after) == ["Conv"]
    check_numbers(before, after, floats(random, 2, 4, 5, 6))


@pytest.mark.parametrize(
    "pad",
    [
        node("Pad", "x sizes", "p", mode="reflect"),
        node("Pad", "x sizes value", "p"),
        node("Pad", "x channels", "p"),
    ],
)
def test_padding_with_anything_but_zeros_of_space_stays(pad: onnx.NodeProto) -> None:
    stored = {
        "w": np.ones((2, 4 if "channels" not in pad.input else 5, 3, 3), np.float32),
        "sizes": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "channels": np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64),
        "value": np.array(0.5, np.float32),
    }
    before = model([pad, node("Conv", "p w", "y")], (1, 4, 5, 5), stored)
    assert applied(merge_padding, before) == (before, False)


@settings(deadline=None, max_examples=10)
@given(random=generators, first=st.booleans(), rank=st.integers(1, 2))
def test_gemm(random, first, rank) -> None:
    nodes = [node("MatMul", "x w", "z"), node("Add", "b z" if first else "z b", "y")]
    bias = floats(random, 6) if rank == 1 else floats(random, 1, 6)
    before = model(nodes, (3, 4), {"w": floats(random, 4, 6), "b": bias})
    after, changed = applied(matmul_to_gemm, before)
    assert changed and operators(after) == ["Gemm"]
    check_numbers(before, after, floats(random, 3, 4))


def test_a_product_of_tokens_stays() -> None:
    random = np.random.default_rng(4)
    nodes = [node("MatMul", "x w", "z"), node("Add", "z b", "y")]
    before = model(nodes, (2, 3, 4), {"w": floats(random, 4, 6), "b": floats(random, 6)})
    assert applied(matmul_to_gemm, before) == (before, False)
