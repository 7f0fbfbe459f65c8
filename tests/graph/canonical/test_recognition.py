"""Activations and layer normalisation in several nodes become one call with the same numbers."""

import numpy as np
import pytest

from cleanai_onnx.graph.canonical import DOMAIN, PASSES, canonicalise
from cleanai_onnx.graph.canonical.activations import recognise_activations
from cleanai_onnx.graph.canonical.constants import fold_constants
from cleanai_onnx.graph.canonical.identities import remove_identities
from cleanai_onnx.graph.canonical.layer_norm import recognise_layer_norm
from tests.graph.canonical.models import applied, check_numbers, model, node, operators

SHAPE = (2, 5, 6)


def scalar(value: float) -> np.ndarray:
    return np.array(value, np.float32)


NUMBERS = {
    "half": scalar(0.5),
    "one": scalar(1.0),
    "root": scalar(np.sqrt(2.0)),
    "three": scalar(3.0),
    "six": scalar(6.0),
    "zero": scalar(0.0),
    "cubic": scalar(0.044715),
    "slope": scalar(np.sqrt(2 / np.pi)),
}
ACTIVATIONS = {
    "SiLU": [node("Sigmoid", "h", "s"), node("Mul", "h s", "y")],
    "Gelu": [
        node("Div", "h root", "d"),
        node("Erf", "d", "e"),
        node("Add", "e one", "a"),
        node("Mul", "h a", "m"),
        node("Mul", "m half", "y"),
    ],
    "Gelu by Tanh": [
        node("Pow", "h three", "p"),
        node("Mul", "p cubic", "q"),
        node("Add", "h q", "r"),
        node("Mul", "r slope", "s"),
        node("Tanh", "s", "t"),
        node("Add", "t one", "a"),
        node("Mul", "h a", "m"),
        node("Mul", "m half", "y"),
    ],
    "HardSwish": [
        node("Add", "h three", "a"),
        node("Clip", "a zero six", "c"),
        node("Mul", "h c", "m"),
        node("Div", "m six", "y"),
    ],
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    before = model([node("Neg", "x", "h"), *ACTIVATIONS[name]], SHAPE, NUMBERS)
    after, changed = applied(recognise_activations, before)
    assert changed
    call = after.graph.node[-1]
    assert len(after.graph.node) == 2
    assert call.domain == DOMAIN
    assert call.op_type.startswith(name.partition(" ")[0])
    assert call.input[0] == "h"
    check_numbers(before, after, np.random.default_rng(0).standard_normal(SHAPE, np.float32))
    assert applied(recognise_activations, after)[1] is False


def test_an_activation_that_is_read_inside_stays() -> None:
    nodes = [*ACTIVATIONS["SiLU"][:1], node("Mul", "h s", "m"), node("Add", "m s", "y")]
    before = model([node("Neg", "x", "h"), *nodes], SHAPE, NUMBERS)
    assert applied(recognise_activations, before)[1] is False


def layer_norm(square: str, affine: bool) -> list:
    nodes = [
        node("ReduceMean", "h", "mean", axes=[-1]),
        node("Sub", "h mean", "d"),
        node("Pow", "d two", "q") if square == "Pow" else node("Mul", "d d", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v tiny", "w"),
        node("Sqrt", "w", "root"),
        node("Div", "d root", "n" if affine else "y"),
    ]
    return nodes + ([node("Mul", "n gamma", "g"), node("Add", "g beta", "y")] if affine else [])


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(square: str, affine: bool) -> None:
    random = np.random.default_rng(1)
    stored = {
        "two": scalar(2.0),
        "tiny": scalar(1e-5),
        "gamma": random.standard_normal(6, np.float32),
        "beta": random.standard_normal(6, np.float32),
    }
    before = model([node("Neg", "x", "h"), *layer_norm(square, affine)], SHAPE, stored)
    after, changed = applied(recognise_layer_norm, before)
    assert changed
    assert [one.domain for one in after.graph.node] == ["", DOMAIN]
    assert after.graph.node[1].op_type.startswith("LayerNorm")
    check_numbers(before, after, random.standard_normal(SHAPE, np.float32))


def test_a_root_that_is_no_variance_stays() -> None:
    nodes = [
        node("ReduceMean", "x", "mean", axes=[-1]),
        node("Sub", "x mean", "d"),
        node("Mul", "d x", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v tiny", "w"),
        node("Sqrt", "w", "root"),
        node("Div", "d root", "y"),
    ]
    before = model(nodes, SHAPE, {"tiny": scalar(10.0)})
    assert applied(recognise_layer_norm, before) == (before, False)


def test_constants_are_folded() -> None:
    random = np.random.default_rng(2)
    nodes = [
        node("Transpose", "w", "wt", perm=[1, 0]),
        node("Mul", "wt half", "scaled"),
        node("Identity", "scaled", "same"),
        node("MatMul", "x same", "y"),
    ]
    stored = {"w": random.standard_normal((7, 6), np.float32), "half": scalar(0.5)}
    before = model(nodes, SHAPE, stored)
    after, changed = applied(fold_constants, before)
    assert changed and operators(after) == ["MatMul"]
    assert {tensor.name for tensor in after.graph.initializer} == {"same"}
    check_numbers(before, after, random.standard_normal(SHAPE, np.float32))


def test_copies_are_removed() -> None:
    nodes = [
        node("Identity", "x", "a"),
        node("Cast", "a", "b", to=1),
        node("Dropout", "b", "c"),
        node("Relu", "c", "d"),
        node("Cast", "d", "e", to=11),
        node("Cast", "e", "f", to=1),
        node("Identity", "f", "y"),
    ]
    before = model(nodes, SHAPE, {})
    after, changed = applied(remove_identities, before)
    assert changed
    assert operators(after) == ["Relu", "Cast", "Cast", "Identity"]
    check_numbers(before, after, np.random.default_rng(3).standard_normal(SHAPE, np.float32))


def test_every_pass_says_what_it_requires_and_ensures() -> None:
    assert len({item.name for item in PASSES}) == len(PASSES)
    for item in PASSES:
        assert item.requires and item.ensures


def test_the_model_given_is_not_changed() -> None:
    before = model([node("Neg", "x", "h"), *ACTIVATIONS["SiLU"]], SHAPE, NUMBERS)
    copy = before.SerializeToString()
    _, names = canonicalise(before)
    assert names == ("recognise activations",)
    assert before.SerializeToString() == copy
