"""Models made to mislead: each is refused with one sentence, and nothing else comes through."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from cleanai_onnx.errors import CleanAIError, ModelError
from cleanai_onnx.graph import (
    check_memory,
    estimate_memory,
    find_image_input,
    find_taps,
    load_model,
    model_facts,
    tapped_proto,
)

node = helper.make_node
HUGE = 1 << 40
LARGEST = (1 << 63) - 1


def model(nodes, shape=(1, 3, 8, 8), opset=17, **weights) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(
        [node("Relu", ["x"], ["r"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("a",))],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def prepare(source: str | Path | bytes | onnx.ModelProto) -> None:
    """All that is done with a model before a runtime sees it."""
    loaded = load_model(source)
    image = find_image_input(loaded)
    shape = tuple(size or 1 for size in image.shape)
    taps = find_taps(loaded, image, shape)
    model_facts(loaded, taps)
    check_memory(estimate_memory(loaded, shape, taps), 4 << 30)
    tapped_proto(loaded, taps)


def filter_weight() -> np.ndarray:
    return np.zeros((4, 3, 3, 3), np.float32)


REFUSED: dict[str, Callable[[], onnx.ModelProto]] = {
    "stride 0": lambda: model([node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2], strides=[0, 0])]),
    "group 0": lambda: model([node("Conv", ["r", "w"], ["y"], group=0)], w=filter_weight()),
    "dilation": lambda: model(
        [node("Conv", ["r", "w"], ["y"], dilations=[LARGEST, LARGEST])], w=filter_weight()
    ),
    "pads": lambda: model([node("Conv", ["r", "w"], ["y"], pads=[LARGEST] * 4)], w=filter_weight()),
    "large pads": lambda: model(
        [node("Conv", ["r", "w"], ["y"], pads=[10**6] * 4)], w=filter_weight()
    ),
    "block size 0": lambda: model([node("DepthToSpace", ["r"], ["y"], blocksize=0)]),
    "division by zero": lambda: model(
        [node("Shape", ["r"], ["s"]), node("Div", ["s", "z"], ["t"]),
         node("ConstantOfShape", ["t"], ["y"])],
        z=np.zeros(4, np.int64),
    ),
    "quotient runs over": lambda: model(
        [node("Div", ["m", "z"], ["t"]), node("ConstantOfShape", ["t"], ["y"])],
        m=np.array([-LARGEST - 1]), z=np.array([-1]),
    ),
    "split by zero": lambda: model([node("SplitToSequence", ["r", "z"], ["y"])], z=np.array(0)),
    "constant of shape": lambda: model([node("ConstantOfShape", ["s"], ["y"])], s=[HUGE, LARGEST]),
    "tile": lambda: model([node("Tile", ["r", "s"], ["y"])], s=[1, LARGEST, LARGEST, 1]),
    "expand": lambda: model([node("Expand", ["r", "s"], ["y"])], s=[LARGEST, 3, 8, 8]),
    "resize": lambda: model(
        [node("Resize", ["r", "", "s"], ["y"])], s=np.float32([1, 1, 1e20, 1e20])
    ),
    "resize by nan": lambda: model(
        [node("Resize", ["r", "", "s"], ["y"])], s=np.float32([1, 1, np.nan, np.inf])
    ),
    "range": lambda: model(
        [node("Range", ["a", "b", "c"], ["y"])],
        a=np.float32(0), b=np.float32(1e30), c=np.float32(1e-30),
    ),
    "window": lambda: model([node("HannWindow", ["s"], ["y"])], s=np.array(LARGEST)),
    "random": lambda: model([node("RandomNormal", [], ["y"], shape=[LARGEST, LARGEST])]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    with pytest.raises(ModelError) as caught:
        prepare(REFUSED[case]())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


SURVIVED: dict[str, Callable[[], onnx.ModelProto]] = {
    "slice step": lambda: model(
        [node("Slice", ["r", "a", "b", "c", "d"], ["y"])],
        a=[0], b=[LARGEST], c=[-100], d=[-LARGEST - 1],
    ),
    "gather": lambda: model([node("Gather", ["r", "i"], ["y"], axis=99)], i=[1]),
    "transpose": lambda: model([node("Transpose", ["r"], ["y"], perm=[9, 9, -5, LARGEST])]),
    "concat": lambda: model([node("Concat", ["r", "r"], ["y"], axis=77)]),
    "flatten": lambda: model([node("Flatten", ["r"], ["y"], axis=99)]),
    "squeeze": lambda: model([node("Squeeze", ["r", "s"], ["y"])], s=[77, -99]),
    "unsqueeze": lambda: model([node("Unsqueeze", ["r", "s"], ["y"])], s=[LARGEST, -LARGEST]),
    "reduce": lambda: model([node("ReduceMean", ["r"], ["y"], axes=[99, -99])]),
    "einsum": lambda: model([node("Einsum", ["r"], ["y"], equation="->->...((")]),
    "shape": lambda: model(
        [node("Shape", ["r"], ["s"], start=LARGEST, end=-LARGEST),
         node("ConstantOfShape", ["s"], ["y"])]
    ),
    "power": lambda: model(
        [node("Pow", ["s", "s"], ["t"]), node("Relu", ["t"], ["y"])], s=np.float32([1e30])
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SURVIVED)
def test_a_runtime_may_decide_but_nothing_crashes(case):
    try:
        prepare(SURVIVED[case]())
    except CleanAIError as error:
        assert str(error).isprintable()


def test_nested_graphs_to_any_depth():
    graph = helper.make_graph(
        [node("Identity", ["x"], ["y0"])], "g", [], [helper.make_tensor_value_info("y0", 1, None)]
    )
    for depth in range(1, 10):
        inner = node("If", ["flag"], [f"y{depth}"], then_branch=graph, else_branch=graph)
        outer = helper.make_tensor_value_info(f"y{depth}", 1, None)
        if depth == 9:
            break
        graph = helper.make_graph([inner], "g", [], [outer])
    proto = model([inner, node("Identity", [inner.output[0]], ["y"])], flag=np.array(True))
    try:
        prepare(proto)
    except ModelError as error:
        assert str(error).isprintable()


def test_a_deep_message_is_no_model():
    # Length-delimited fields nested deeper than protobuf reads.
    data = b""
    for _ in range(300):
        data = b"\x32" + varint(len(data)) + data
    with pytest.raises(ModelError):
        load_model(b"\x08\x08\x3a" + varint(len(data)) + data)


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def test_a_long_chain_is_quick_enough():
    nodes = [node("Sigmoid", [f"t{i}" if i else "r"], [f"t{i + 1}"]) for i in range(1000)]
    prepare(model([*nodes, node("Identity", ["t1000"], ["y"])]))


def test_a_wide_fan_out_is_quick_enough():
    nodes = [node("Sigmoid", ["r"], [f"s{i}"]) for i in range(1500)]
    nodes += [node("Mul", ["r", f"s{i}"], [f"m{i}"]) for i in range(1500)]
    prepare(model([*nodes, node("Sum", [f"m{i}" for i in range(1500)], ["y"])]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_model_file(tmp_path):
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="not a file"):
        load_model(tmp_path / "m.onnx")


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200))
def test_bytes_of_any_kind(data):
    with pytest.raises(ModelError):
        load_model(data)


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
def test_damaged_models(changes):
    weights = {"w": filter_weight(), "low": np.float32(0), "high": np.float32(6)}
    nodes = [node("Conv", ["r", "w"], ["c"]), node("Clip", ["c", "low", "high"], ["y"])]
    data = bytearray(model(nodes, **weights).SerializeToString())
    for position, value in changes:
        data[position % len(data)] = value
    try:
        prepare(bytes(data))
    except CleanAIError as error:
        assert str(error).isprintable()
