from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.graph import find_image_input, find_taps, load_model, tapped_proto

node = helper.make_node
NETS = ("mini_mlp", "convnet_small", "reused_tanh")
FILES = ("model.onnx", "model_dynbatch.onnx", "model_torchscript.onnx")


def image(*shape, dtype=np.float32):
    return np.random.default_rng(3).random(shape).astype(dtype)


# The reference nets -------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("file", FILES)
def test_last_call_gives_the_rows_of_the_reference(golden, taps_of, run_both, net, file):
    folder = golden / "cleanai" / net
    rows = json.loads((folder / "golden.json").read_text())["onnx"][file]["rows"]
    model, taps = taps_of(folder / file, ("last-call",))
    assert list(taps.tensors) == [row["onnx_output"] for row in rows]
    stored = np.load(folder / "activations.npz")
    x = np.load(folder / "inputs.npy")[:1]
    values = run_both(model, taps, {"input": x})
    for k, value in enumerate(values.values()):
        expected = stored[f"input00_row{k}"]
        np.testing.assert_allclose(value.reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("file", FILES)
def test_all_activations_of_the_reference_nets(golden, taps_of, run_both, net, file):
    model, taps = taps_of(golden / "cleanai" / net / file, batch=1)
    assert {layer.label for layer in taps.layers} > {""} or all(t.label for t in taps.layers)
    x = np.load(golden / "cleanai" / net / "inputs.npy")[:1]
    values = run_both(model, taps, {"input": x})
    assert not taps.unknown
    assert len(values) == {"mini_mlp": 5, "convnet_small": 7, "reused_tanh": 4}[net]


def test_calls_of_modules_in_real_exports(exports, taps_of):
    expected = ["stem.1", "layer1.0.relu", "layer1.1.relu", "shared.relu", "tanh_1", "act"]
    for file in sorted(exports.glob("calls_*.onnx")):
        _, taps = taps_of(file, ("last-call",))
        assert [layer.label for layer in taps.layers] == expected, file.name
        assert [(u.op, "last-call" in u.reason) for u in taps.untapped] == [("Elu", True)]
        _, every = taps_of(file)
        labels = [layer.label for layer in every.layers]
        assert len(labels) == 12
        assert labels.count("shared.relu") == 4
        names = [layer.name for layer in every.layers if layer.label == "shared.relu"]
        assert taps.layers[3].name == names[-1]


# Element types, batches, layouts ------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.FLOAT, "float32"),
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.DOUBLE, "float64"),
    ],
)
def test_taps_are_float32(build, taps_of, run_both, kind, dtype):
    weights = {"w": np.random.default_rng(0).normal(size=(8, 8)).astype(dtype)}
    nodes = [
        node("MatMul", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Tanh", ["r"], ["y"]),
    ]
    model, taps = taps_of(build(nodes, weights, dtype=kind))
    values = run_both(model, taps, {"x": image(2, 3, 8, 8, dtype=dtype)})
    assert [layer.name for layer in taps.layers] == ["r", "y"]
    assert taps.tensors == (("r", "y") if dtype == "float32" else ("r_float32", "y_float32"))
    assert values["r"].min() == 0.0


def test_fresh_names_do_not_collide(build, taps_of, run_both):
    nodes = [node("Relu", ["x"], ["r"]), node("Identity", ["r"], ["r_float32"])]
    model, taps = taps_of(build(nodes, dtype=TensorProto.DOUBLE))
    assert taps.tensors == ("r_float32_1",)
    run_both(model, taps, {"x": image(2, 3, 8, 8, dtype="float64")})


def test_uint8_input(build, conv, taps_of, run_both):
    nodes, weights = conv()
    nodes[0].input[0] = "f"
    nodes = [node("Cast", ["x"], ["f"], to=1), *nodes, node("Relu", ["c"], ["y"])]
    proto = build(nodes, weights, dtype=TensorProto.UINT8, output_dtype=TensorProto.FLOAT)
    model, taps = taps_of(proto)
    run_both(model, taps, {"x": np.full((2, 3, 8, 8), 200, np.uint8)})


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 20, 21, 22])
@pytest.mark.parametrize("how", ["initializers", "inputs", "constants"])
def test_opsets_and_where_weights_are(build, conv, taps_of, run_both, opset, how):
    nodes, weights = conv()
    if how == "constants":
        constants = [
            node("Constant", [], [n], value=numpy_helper.from_array(a)) for n, a in weights.items()
        ]
        nodes, weights = constants + nodes, {}
    nodes += [node("Relu", ["c"], ["r"]), node("GlobalAveragePool", ["r"], ["y"])]
    ir_version = 3 if how == "inputs" else 8
    proto = build(
        nodes, weights, opset=opset, ir_version=ir_version, weights_as_inputs=how == "inputs"
    )
    model, taps = taps_of(proto)
    assert taps.layers[0].shape == (4, 8, 8)
    run_both(model, taps, {"x": image(2, 3, 8, 8)})


@pytest.mark.parametrize("batch", ["N", None, -1, 1, 4])
def test_batch_axes(build, conv, taps_of, run_both, batch):
    nodes, weights = conv()
    nodes += [node("Relu", ["c"], ["y"])]
    model, taps = taps_of(build(nodes, weights, inputs={"x": (batch, 3, 8, 8)}))
    size = batch if isinstance(batch, int) and batch > 0 else 3
    assert taps.layers[0].shape == (4, 8, 8)
    if batch != -1:  # onnxruntime itself takes -1 for a size
        run_both(model, taps, {"x": image(size, 3, 8, 8)})


def test_stale_shapes_of_the_exporter_do_not_count(build, conv, taps_of):
    nodes, weights = conv()
    nodes += [node("Relu", ["c"], ["r"]), node("Tanh", ["r"], ["y"])]
    proto = build(nodes, weights)
    for name in ("c", "r"):
        proto.graph.value_info.append(helper.make_tensor_value_info(name, 1, (1, 4, 8, 8)))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, (1, 4, 8, 8)))
    _, taps = taps_of(proto, batch=5)
    assert [layer.shape for layer in taps.layers] == [(4, 8, 8)] * 2


def test_channel_axes(build, taps_of, run_both):
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(6, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(6, 5)).astype(np.float32),
        "flat": np.array([0, 6, -1]),
        "out": np.array([0, -1]),
    }
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["channels_first"]),
        node("Transpose", ["channels_first"], ["u"], perm=[0, 2, 3, 1]),
        node("Tanh", ["u"], ["channels_last"]),
        node("Reshape", ["channels_first", "flat"], ["f"]),
        node("Sigmoid", ["f"], ["sequence"]),
        node("Transpose", ["sequence"], ["g"], perm=[0, 2, 1]),
        node("Elu", ["g"], ["tokens"]),
        node("MatMul", ["tokens", "v"], ["m"]),
        node("Selu", ["m"], ["wide_tokens"]),
        node("Reshape", ["wide_tokens", "out"], ["o"]),
        node("Softplus", ["o"], ["vector"]),
        node("Identity", ["channels_last"], ["y"]),
    ]
    proto = build(nodes, weights, inputs={"x": ("N", 8, 9, 3)}, outputs=("y", "vector"))
    model, taps = taps_of(proto)
    assert {layer.name: (layer.shape, layer.channel_axis) for layer in taps.layers} == {
        "channels_first": ((6, 8, 9), 0),
        "channels_last": ((8, 9, 6), 2),
        "sequence": ((6, 72), 0),
        "tokens": ((72, 6), 1),
        "wide_tokens": ((72, 5), 1),
        "vector": ((360,), 0),
    }
    assert all(
        layer.channels == layer.shape[layer.channel_axis] and layer.units == np.prod(layer.shape)
        for layer in taps.layers
    )
    run_both(model, taps, {"x": image(2, 8, 9, 3)})


def test_one_number_for_each_input(build, taps_of, run_both):
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0),
        node("Sigmoid", ["m"], ["y"]),
    ]
    model, taps = taps_of(build(nodes))
    assert taps.layers[0].shape == (1,)
    assert (taps.layers[0].channels, taps.layers[0].units) == (1, 1)
    run_both(model, taps, {"x": image(2, 3, 8, 8)})


@pytest.mark.parametrize("batch", [1, 2])
def test_tensors_without_a_batch_axis_are_listed(build, taps_of, batch):
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[1, 0, 2, 3]),
        node("Tanh", ["t"], ["turned"]),
        node("Reshape", ["r", "windows"], ["w"]),
        node("Sigmoid", ["w"], ["merged"]),
        node("ReduceMax", ["r"], ["m"], keepdims=0),
        node("Elu", ["m"], ["scalar"]),
    ]
    proto = build(
        nodes, {"windows": np.array([-1, 3, 4, 4])}, outputs=("turned", "merged", "scalar")
    )
    _, taps = taps_of(proto, batch=batch)
    assert [layer.name for layer in taps.layers] == ["r"]
    assert {u.name: u.reason for u in taps.untapped} == {
        "turned": "its first axis (3) is not the batch (13)",
        "merged": "its first axis (52) is not the batch (13)",
        "scalar": "it is one number for the whole batch",
    }


def test_shapes_that_only_a_run_tells(build, taps_of, run_both):
    nodes = [
        node("NonZero", ["x"], ["nz"]),
        node("Shape", ["nz"], ["s"]),
        node("ConstantOfShape", ["s"], ["k"]),
        node("ReduceSum", ["k"], ["z"], keepdims=0),
        node("Cast", ["z"], ["zi"], to=7),
        node("Unsqueeze", ["zi", "first"], ["z1"]),
        node("Add", ["z1", "two"], ["end"]),
        node("Slice", ["x", "first", "end", "two"], ["e"]),
        node("Relu", ["e"], ["y"]),
    ]
    weights = {"first": np.array([0]), "two": np.array([2])}
    model, taps = taps_of(build(nodes, weights))
    assert taps.unknown == ("y",)
    with pytest.raises(ModelError, match="not known before the model has run"):
        _ = taps.layers
    run_both(model, taps, {"x": image(2, 3, 8, 8)})
    known = taps.with_shapes({"y": (2, 3, 2, 8)})
    assert not known.unknown
    assert known.layers[0].shape == (3, 2, 8)
    run_both(model, known, {"x": image(2, 3, 8, 8)})


def test_outputs_stay_first_and_are_not_declared_twice(build, taps_of, run_both):
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Tanh", ["r"], ["t"]),
        node("Neg", ["t"], ["n"]),
    ]
    model, taps = taps_of(build(nodes, outputs=("n", "r")))
    proto = tapped_proto(model, taps)
    assert [value.name for value in proto.graph.output] == ["n", "r", "t"]
    assert taps.tensors == ("r", "t")
    assert [value.name for value in model.proto.graph.output] == ["n", "r"]
    run_both(model, taps, {"x": image(2, 3, 8, 8)})


def test_several_inputs(build, run_both):
    nodes = [node("Mul", ["x", "s"], ["m"]), node("Relu", ["m"], ["r"]), node("Tanh", ["s"], ["t"])]
    proto = build(nodes, inputs={"x": ("N", 3, 8, 8), "s": (1, 1)}, outputs=("r", "t"))
    model = load_model(proto)
    taps = find_taps(model, find_image_input(model), (2, 3, 8, 8))
    assert taps.tensors == ("r",)  # t does not depend on the images
    run_both(model, taps, {"x": image(2, 3, 8, 8), "s": np.ones((1, 1), np.float32)})


# Selection ----------------------------------------------------------------------------------


@pytest.fixture
def mixed(build, conv):
    nodes, weights = conv()
    nodes += [
        node("Relu", ["c"], ["r[0]"], name="first/relu"),
        node("Tanh", ["r[0]"], ["t"], name="second/tanh"),
        node("Softmax", ["t"], ["y"], name="third/softmax", axis=1),
        node("Shape", ["y"], ["s"], name="shape"),
        node("Cast", ["s"], ["sf"], to=1),
    ]
    return build(nodes, weights, outputs=("y", "sf"))


@pytest.mark.parametrize(
    ("select", "tensors"),
    [
        (("activations",), ["r[0]", "t"]),
        (("Relu",), ["r[0]"]),
        (("Softmax",), ["y"]),
        (("Softmax", "Relu"), ["r[0]", "y"]),
        (("activations", "Softmax"), ["r[0]", "t", "y"]),
        (("r[0]",), ["r[0]"]),
        (("second/*",), ["t"]),
        (("re:^(first|third)/",), ["r[0]", "y"]),
        (("Conv",), ["c"]),
    ],
)
def test_selection(mixed, taps_of, run_both, select, tensors):
    model, taps = taps_of(mixed, select)
    assert list(taps.tensors) == tensors
    run_both(model, taps, {"x": image(2, 3, 8, 8)})


def test_selection_by_module_and_last_call_with_more(exports, taps_of):
    _, taps = taps_of(exports / "calls_torchscript_17.onnx", ("layer1.*",))
    assert {layer.label for layer in taps.layers} >= {"layer1.0.relu", "layer1.1.relu"}
    _, taps = taps_of(exports / "calls_torchscript_17.onnx", ("last-call", "Elu"))
    assert [layer.op for layer in taps.layers][-1] == "Elu"
    assert len(taps.layers) == 7


@pytest.mark.parametrize("select", [("Selu",), ("nothing*",), ("re:^$x",)])
def test_nothing_selected(mixed, taps_of, select):
    with pytest.raises(ModelError, match="--taps"):
        taps_of(mixed, select)


@pytest.mark.parametrize("select", [("re:(",), ("a" * 201,)])
def test_bad_patterns(mixed, taps_of, select):
    with pytest.raises(UsageError, match="--taps"):
        taps_of(mixed, select)


def test_last_call_without_scopes(mixed, taps_of):
    with pytest.raises(ModelError, match="--taps last-call needs the module names"):
        taps_of(mixed, ("last-call",))


def test_no_activations(build, conv, taps_of):
    with pytest.raises(ModelError, match="--taps"):
        taps_of(build(*conv()))


# Quantised models ---------------------------------------------------------------------------


def quantised(build, conv, activation, kind=np.uint8, zero=0, axis=None):
    nodes, weights = conv()
    weights |= {
        "sx": np.float32(1 / 255), "zx": np.uint8(0),
        "sy": np.float32(0.02), "zy": kind(zero),
        "qw": np.clip(np.round(weights.pop("w") / 0.02), -127, 127).astype(np.int8),
        "sw": np.float32(0.02), "zw": np.int8(0),
    }  # fmt: skip
    weights["v"] = np.random.default_rng(1).integers(-99, 99, (2, 4, 1, 1)).astype(np.int8)
    nodes[0].input[:] = ["dx", "dw", "b"]
    source = "c" if activation is None else "a"
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["qx"]),
        node("DequantizeLinear", ["qx", "sx", "zx"], ["dx"]),
        node("DequantizeLinear", ["qw", "sw", "zw"], ["dw"]),
        *nodes,
        *([node(activation, ["c"], ["a"])] if activation else []),
        node("QuantizeLinear", [source, "sy", "zy"], ["qy"]),
        node("DequantizeLinear", ["qy", "sy", "zy"], ["dy"]),
        node("DequantizeLinear", ["v", "sw", "zw"], ["dv"]),
        node("Conv", ["dy", "dv"], ["y"]),
    ]
    return build(nodes, weights, opset=13)


def test_a_quantised_activation_shows_what_the_next_layer_sees(build, conv, taps_of, run_both):
    model, taps = taps_of(quantised(build, conv, "Relu"))
    assert [(layer.name, layer.op) for layer in taps.layers] == [("a", "Relu")]
    assert taps.tensors == ("a_dequantized",)
    added = [n for n in tapped_proto(model, taps).graph.node if "a_dequantized" in n.output]
    assert [n.op_type for n in added] == ["DequantizeLinear"]
    value = run_both(model, taps, {"x": image(2, 3, 8, 8)})["a"]
    steps = value / np.float32(0.02)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    assert taps.layers[0].shape == (4, 8, 8)
    assert taps.layers[0].channel_axis == 0


@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, 0), (np.int8, -128)])
def test_a_relu_that_the_quantizer_absorbed(build, conv, taps_of, run_both, kind, zero):
    model, taps = taps_of(quantised(build, conv, None, kind, zero))
    assert [(layer.name, layer.op) for layer in taps.layers] == [("qy", "Relu (quantised)")]
    value = run_both(model, taps, {"x": image(2, 3, 8, 8)})["qy"]
    assert value.min() == 0.0
    assert value.max() > 0.0


@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, 128), (np.int8, 0)])
def test_a_zero_point_inside_the_range_is_no_relu(build, conv, taps_of, kind, zero):
    with pytest.raises(ModelError, match="--taps"):
        taps_of(quantised(build, conv, None, kind, zero))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_models_that_onnxruntime_quantised(tmp_path, build, conv, taps_of, run_both, form):
    quantization = pytest.importorskip("onnxruntime.quantization")
    nodes, weights = conv()
    nodes += [
        node("Relu", ["c"], ["r"], name="relu"),
        node("Conv", ["r", "v", "vb"], ["d"], name="conv2", pads=[1, 1, 1, 1]),
        node("Sigmoid", ["d"], ["s"], name="sigmoid"),
        node("GlobalAveragePool", ["s"], ["g"], name="pool"),
        node("Flatten", ["g"], ["y"], name="flat"),
    ]
    rng = np.random.default_rng(5)
    weights |= {
        "v": rng.normal(size=(5, 4, 3, 3)).astype(np.float32), "vb": np.zeros(5, np.float32)
    }  # fmt: skip
    proto = onnx.shape_inference.infer_shapes(build(nodes, weights))
    onnx.save(proto, tmp_path / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"x": image(2, 3, 8, 8)}, {"x": 1 - image(2, 3, 8, 8)}])

        def get_next(self):
            return next(self.batches, None)

    quantization.quantize_static(
        tmp_path / "float.onnx", tmp_path / "q.onnx", Reader(),
        quant_format=getattr(quantization.QuantFormat, form),
    )  # fmt: skip
    model, taps = taps_of(tmp_path / "q.onnx")
    ops = [layer.op for layer in taps.layers]
    assert len(ops) == 2
    assert ops[0].startswith("Relu")
    assert ops[1].startswith("Sigmoid")
    values = run_both(model, taps, {"x": image(2, 3, 8, 8)})
    assert all(value.min() >= 0 for value in values.values())
