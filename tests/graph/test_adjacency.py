"""Successors against a search over paths, and on a residual block drawn by hand."""

from __future__ import annotations

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from cleanai_onnx.graph import find_image_input, find_taps, load_model, successors


def build(nodes: list[onnx.NodeProto], output: str) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [value(output, TensorProto.FLOAT, ["N", 3, 4, 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def pairs_of(proto: onnx.ModelProto) -> tuple[tuple[int, int], ...]:
    model = load_model(proto)
    image_input = find_image_input(model)
    return successors(model, find_taps(model, image_input, (1, 3, 4, 4)))


def layer(source: str, name: str) -> list[onnx.NodeProto]:
    """An activation of its own: without the Transpose, Relu(Relu(x)) would be one activation."""
    return [
        helper.make_node("Transpose", [source], [f"{name}_t"], perm=[0, 1, 3, 2]),
        helper.make_node("Relu", [f"{name}_t"], [name]),
    ]


def test_residual_block() -> None:
    add = helper.make_node("Add", ["b", "a"], ["s"])
    nodes = [*layer("x", "a"), *layer("a", "b"), add, *layer("s", "c")]
    # The skip connection makes the last layer a direct successor of both.
    assert pairs_of(build(nodes, "c")) == ((0, 1), (0, 2), (1, 2))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99), st.integers(0, 99)), min_size=1))
def test_random_graphs_against_paths(plan: list[tuple[bool, int, int]]) -> None:
    tensors, nodes, parents = ["x"], [], {}
    for index, (activation, left, right) in enumerate(plan[:12]):
        name = f"t{index}"
        inputs = [tensors[left % len(tensors)]]
        if activation:
            nodes += layer(inputs[0], name)
        else:
            inputs.append(tensors[right % len(tensors)])
            nodes.append(helper.make_node("Add", inputs, [name]))
        parents[name] = (activation, inputs)
        tensors.append(name)
    nodes += layer(tensors[-1], "last")
    parents["last"] = (True, [tensors[-1]])
    layers = [name for name, (activation, _) in parents.items() if activation]

    def sources(name: str) -> set[str]:
        """Return the activations that are reached going up from `name`, stopping at the first."""
        found: set[str] = set()
        for parent in parents[name][1]:
            if parent in layers:
                found.add(parent)
            elif parent != "x":
                found |= sources(parent)
        return found

    expected = sorted(
        (layers.index(source), layers.index(name)) for name in layers for source in sources(name)
    )
    assert pairs_of(build(nodes, "last")) == tuple(expected)
