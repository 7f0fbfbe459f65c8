from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import helper

from cleanai_onnx.graph import model_facts
from cleanai_onnx.graph.facts import count_parameters

node = helper.make_node


@pytest.mark.parametrize("net", ["mini_mlp", "convnet_small", "reused_tanh"])
def test_parameters_of_the_reference_nets(golden, taps_of, net):
    folder = golden / "cleanai" / net
    total = json.loads((folder / "golden.json").read_text())["model_info"]["total_params"]
    for file in sorted(folder.glob("*.onnx")):
        model, taps = taps_of(file, batch=1)
        assert model_facts(model, taps).parameters == total, file.name


def test_facts(build, conv, taps_of, tmp_path):
    nodes, weights = conv()
    nodes += [node("Relu", ["c"], ["r"]), node("Relu", ["r"], ["y"])]
    proto = build(nodes, weights, microsoft=True)
    proto.producer_name, proto.producer_version = "tool", "1.2"
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    model, taps = taps_of(path)
    facts = model_facts(model, taps)
    assert (facts.name, facts.producer, facts.ir_version) == ("m", "tool 1.2", 8)
    assert facts.opsets == {"ai.onnx": 17, "com.microsoft": 1}
    assert facts.operators == {"Conv": 1, "Relu": 2}
    assert facts.parameters == 4 * 3 * 9 + 4
    assert facts.inputs[0].name == "x"
    assert facts.outputs[0].name == "y"
    assert facts.size_bytes == path.stat().st_size


def test_what_counts_as_a_parameter(build):
    weights = {
        "scale": np.ones(3, np.float32), "shift": np.ones(3, np.float32),
        "mean": np.ones(3, np.float32), "var": np.ones(3, np.float32),
        "half": np.float32(0.5), "low": np.float32(0), "high": np.float32(6),
        "shape": np.array([0, -1]), "slope": np.ones(1, np.float32),
        "q": np.ones((5, 192), np.int8), "qs": np.ones(5, np.float32), "qz": np.zeros(5, np.int8),
        "unused": np.ones(1000, np.float32), "bias": np.ones(1, np.float32),
        "shift1": np.ones(1, np.float32),
    }  # fmt: skip
    nodes = [
        node("BatchNormalization", ["x", "scale", "shift", "mean", "var"], ["n"]),  # 6
        node("Mul", ["n", "half"], ["h"]),
        node("Clip", ["h", "low", "high"], ["c"]),
        node("PRelu", ["c", "slope"], ["p"]),  # 1
        node("Reshape", ["p", "shape"], ["f"]),
        node("DequantizeLinear", ["q", "qs", "qz"], ["d"], axis=0),  # 960
        node("Gemm", ["f", "d", "bias"], ["g"], transB=1),  # 1
        node("Div", ["g", "shift1"], ["y"]),
    ]
    assert count_parameters(build(nodes, weights)) == 6 + 1 + 960 + 1


def test_a_shared_weight_counts_once(build):
    weights = {"w": np.ones((8, 8), np.float32)}
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    assert count_parameters(build(nodes, weights)) == 64
