from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph import (
    check_memory,
    estimate_memory,
    find_image_input,
    find_taps,
    load_model,
)

node = helper.make_node
UNIT = 4 * 3 * 8 * 8  # bytes of one float32 image


def estimate(proto, batch=1, select=("activations",)):
    model = load_model(proto)
    shape = (batch, 3, 8, 8)
    taps = find_taps(model, find_image_input(model), shape, select)
    return estimate_memory(model, shape, taps)


def test_a_chain(build):
    nodes = [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["b"]), node("Abs", ["b"], ["y"])]
    found = estimate(build(nodes), batch=5)
    # The input, the tap, and two of the chain at one time.
    assert found.batch_bytes == 5 * 4 * UNIT
    assert (found.weights_bytes, found.unknown_tensors) == (0, ())


def test_it_grows_with_the_batch_and_not_the_weights(build, conv):
    nodes, weights = conv()
    nodes += [node("Relu", ["c"], ["y"])]
    one, eight = (estimate(build(nodes, weights), batch=n) for n in (1, 8))
    assert eight.batch_bytes == 8 * one.batch_bytes
    assert eight.weights_bytes == one.weights_bytes == 4 * (4 * 27 + 4)


def test_a_residual_stays_alive(build):
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Neg", ["a"], ["b"]),
        node("Exp", ["b"], ["c"]),
        node("Add", ["a", "c"], ["y"]),
    ]
    assert estimate(build(nodes)).batch_bytes == (1 + 1 + 3) * UNIT


def test_enough_and_not_enough(build):
    found = estimate(build([node("Relu", ["x"], ["y"])]))
    needed = found.weights_bytes + found.batch_bytes
    check_memory(found, needed)
    with pytest.raises(ModelError, match=r"GiB.*--batch-size"):
        check_memory(found, needed - 1)


@pytest.mark.parametrize(
    ("steps", "weights"),
    [
        ([node("ConstantOfShape", ["s"], ["k"])], {"s": [40 * 10**9]}),
        ([node("Expand", ["one", "s"], ["k"])], {"one": np.float32([1]), "s": [40 * 10**9]}),
        ([node("Tile", ["one", "s"], ["k"])], {"one": np.float32([1]), "s": [40 * 10**9]}),
        ([node("RandomNormal", [], ["k"], shape=[200_000, 200_000])], {}),
        (
            [node("Range", ["a", "b", "c"], ["k"])],
            {"a": np.float32(0), "b": np.float32(4e10), "c": np.float32(1)},
        ),
        (
            [node("OneHot", ["i", "s", "v"], ["k"])],
            {"i": [1, 2], "s": [20 * 10**9], "v": np.float32([0, 1])},
        ),
        (
            [node("Pad", ["x", "s"], ["k"])],
            {"s": [0, 0, 10**5, 10**5, 0, 0, 10**5, 10**5]},
        ),
        ([node("Resize", ["x", "", "", "s"], ["k"])], {"s": [1, 3, 10**5, 10**6]}),
        ([node("Conv", ["x", "w"], ["k"], pads=[10**6] * 4)], {"w": np.float32([[[[1]]] * 3])}),
        # The size is computed: by what onnx follows, and by what it does not.
        (
            [node("Mul", ["s", "s"], ["t"]), node("ConstantOfShape", ["t"], ["k"])],
            {"s": [200_000]},
        ),
        (
            [node("Pow", ["s", "p"], ["t"]), node("ConstantOfShape", ["t"], ["k"])],
            {"s": [10], "p": [11]},
        ),
        (
            [
                node("Exp", ["f"], ["e"]),
                node("Cast", ["e"], ["t"], to=7),
                node("ConstantOfShape", ["t"], ["k"]),
            ],
            {"f": np.float32([25.0])},
        ),
        (
            [
                node("Shape", ["x"], ["d"]),
                node("ReduceProd", ["d"], ["m"], keepdims=1),
                node("Pow", ["m", "p"], ["t"]),
                node("Expand", ["one", "t"], ["k"]),
            ],
            {"p": [5], "one": np.float32([1])},
        ),
    ],
)
def test_a_small_file_that_asks_for_160_gb(build, steps, weights):
    nodes = [node("Relu", ["x"], ["y"]), *steps]
    proto = build(nodes, {n: np.asarray(w) for n, w in weights.items()}, outputs=("y", "k"))
    assert len(proto.SerializeToString()) < 700
    found = estimate(proto)
    with pytest.raises(ModelError, match=r"GiB|before running"):
        check_memory(found, 64 * 2**30)


def test_a_size_that_cannot_be_followed_is_refused(build):
    nodes = [
        node("Relu", ["x"], ["y"]),
        node("Sin", ["s"], ["t"]),
        node("Cast", ["t"], ["u"], to=7),
        node("ConstantOfShape", ["u"], ["k"]),
    ]
    found = estimate(build(nodes, {"s": np.float32([1])}, outputs=("y", "k")))
    assert found.unsized == ("k",)
    with pytest.raises(ModelError, match=r"'k'.*before running"):
        check_memory(found, 2**60)


def test_sizes_from_values_of_the_image_are_unknown_and_allowed(build):
    nodes = [
        node("Relu", ["x"], ["y"]),
        node("NonZero", ["x"], ["nz"]),
        node("Shape", ["nz"], ["s"]),
        node("ConstantOfShape", ["s"], ["k"]),
    ]
    found = estimate(build(nodes, outputs=("y", "k")))
    assert "k" in found.unknown_tensors
    assert found.unsized == ()
    check_memory(found, 2**30)


@pytest.mark.parametrize(
    "steps",
    [
        [node("ConstantOfShape", ["s"], ["k"])],
        [node("Abs", ["s"], ["t"]), node("ConstantOfShape", ["t"], ["k"])],
        [node("Identity", ["s"], ["t"]), node("Pow", ["t", "one"], ["u"]),
         node("ConstantOfShape", ["u"], ["k"])],
    ],
)  # fmt: skip
def test_inside_a_branch(build, steps):
    big = helper.make_graph(
        steps,
        "big", [], [helper.make_tensor_value_info("k", 1, ("n",))],
    )  # fmt: skip
    nodes = [
        node("Relu", ["x"], ["y"]),
        node("If", ["flag"], ["z"], then_branch=big, else_branch=big),
    ]
    weights = {"s": np.array([40 * 10**9]), "one": np.array([1]), "flag": np.array(True)}
    proto = build(nodes, weights, outputs=("y", "z"))
    with pytest.raises(ModelError, match=r"GiB|before running"):
        check_memory(estimate(proto), 64 * 2**30)
