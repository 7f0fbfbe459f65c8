from __future__ import annotations

from dataclasses import replace

import onnx
import pytest
from onnx import helper

from cleanai_onnx.graph import (
    find_image_input,
    find_taps,
    load_model,
    tapped_bytes,
    tapped_proto,
)

node = helper.make_node


def tapped(proto: onnx.ModelProto):
    """Return the model and its taps, the bytes of the file kept."""
    model = load_model(proto, keep_data=True)
    return model, find_taps(model, find_image_input(model, None), (1, 3, 8, 8), ("activations",))


@pytest.fixture
def nodes(conv):
    made, weights = conv()
    return [*made, node("Relu", ["c"], ["r"]), node("Tanh", ["r"], ["t"])], weights


@pytest.mark.parametrize("outputs", [("t",), ("r", "t"), ("r",)])
def test_bytes_are_those_of_the_tapped_model(build, nodes, outputs):
    model, taps = tapped(build(*nodes, outputs=outputs))
    assert model.data is not None
    data = tapped_bytes(model, taps)
    assert onnx.ModelProto.FromString(data) == tapped_proto(model, taps)
    assert data.startswith(model.data)


def test_bytes_with_further_nodes(build, conv):
    made, weights = conv(dtype="float16")
    half = onnx.TensorProto.FLOAT16
    model, taps = tapped(build([*made, node("Relu", ["c"], ["y"])], weights, dtype=half))
    assert onnx.ModelProto.FromString(tapped_bytes(model, taps)) == tapped_proto(model, taps)
    assert tapped_proto(model, taps).graph.node[-1].op_type == "Cast"


def test_what_was_sorted_is_serialised_again(build, nodes):
    made, weights = nodes
    model, taps = tapped(build(made[::-1], weights, outputs=("t",)))
    assert model.data is None
    assert onnx.ModelProto.FromString(tapped_bytes(model, taps)) == tapped_proto(model, taps)


def test_what_was_unfolded_is_serialised_again(build):
    proto = build([helper.make_node("F", ["x"], ["y"], domain="own")])
    proto.opset_import.append(helper.make_opsetid("own", 1))
    body = [node("Relu", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("own", "F", ["a"], ["b"], body, opsets))
    model, taps = tapped(proto)
    assert model.data is None
    assert onnx.ModelProto.FromString(tapped_bytes(model, taps)) == tapped_proto(model, taps)


def test_bytes_are_kept_on_demand(build, nodes):
    proto = build(*nodes)
    assert load_model(proto).data is None
    model, taps = tapped(proto)
    lean = replace(model, data=None)
    assert onnx.ModelProto.FromString(tapped_bytes(lean, taps)) == tapped_proto(model, taps)
