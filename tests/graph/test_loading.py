from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph import load_model

node = helper.make_node


def test_a_file_is_hashed_as_it_lies_on_disk(tmp_path, build):
    path = tmp_path / "net.v1.onnx"
    path.write_bytes(build([node("Relu", ["x"], ["y"])]).SerializeToString())
    model = load_model(str(path))
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.size_bytes == path.stat().st_size
    assert (model.name, model.file, model.directory) == ("net.v1", str(path), tmp_path)
    assert model.inputs[0].shape == ("N", 3, 8, 8)
    assert load_model(path.read_bytes()).sha256 == model.sha256


def test_a_proto_is_copied(build):
    proto = build([node("Relu", ["x"], ["y"])])
    model = load_model(proto)
    proto.graph.node[0].op_type = "Tanh"
    assert model.proto.graph.node[0].op_type == "Relu"


@pytest.mark.parametrize("ir_version", [3, 8])
def test_weights_among_the_inputs_are_not_inputs(build, conv, ir_version):
    nodes, weights = conv()
    model = load_model(build(nodes, weights, weights_as_inputs=True, ir_version=ir_version))
    assert [facts.name for facts in model.inputs] == ["x"]


@pytest.mark.parametrize(("batch", "seen"), [("N", "N"), (-1, "?"), (0, "?"), (None, "?"), (4, 4)])
def test_the_batch_axis_as_given(build, batch, seen):
    model = load_model(build([node("Relu", ["x"], ["y"])], inputs={"x": (batch, 3, 8, 8)}))
    assert model.inputs[0].shape[0] == seen


def test_nodes_are_sorted(build):
    nodes = [node("Tanh", ["a"], ["y"]), node("Relu", ["x"], ["a"])]
    model = load_model(build(nodes, outputs=("y",)))
    assert [n.op_type for n in model.proto.graph.node] == ["Relu", "Tanh"]


def test_functions_are_unfolded(build):
    function = helper.make_function(
        "local", "act", ["a"], ["b"],
        [node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    proto = build([node("act", ["x"], ["y"], domain="local")])
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    model = load_model(proto)
    assert sorted(n.op_type for n in model.proto.graph.node) == ["Mul", "Sigmoid"]


REFUSED = {
    "cycle": ([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])], "cycle"),
    "nothing makes it": ([node("Relu", ["nowhere"], ["y"])], "'nowhere'"),
    "unknown operator": ([node("Frobnicate", ["x"], ["y"], name="n1")], "Frobnicate node 'n1'"),
    "custom domain": ([node("Op", ["x"], ["y"], domain="evil.corp")], "'evil.corp'"),
    "made twice": ([node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["y"])], "made twice"),
    "bad arity": ([node("Relu", ["x", "x", "x"], ["y"])], "not valid ONNX"),
    "stride zero": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[0, 1])],
        "strides",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_graphs(build, case):
    nodes, words = REFUSED[case]
    with pytest.raises(ModelError, match=words) as caught:
        load_model(build(nodes))
    assert "\n" not in str(caught.value)


def test_microsoft_operators_are_left_to_the_runtime(build):
    proto = build([node("QuickGelu", ["x"], ["y"], domain="com.microsoft")], microsoft=True)
    assert load_model(proto).proto.graph.node[0].domain == "com.microsoft"


@pytest.mark.parametrize("opset", [1, 6])
def test_old_opsets(build, opset):
    with pytest.raises(ModelError, match=f"opset {opset}"):
        load_model(build([node("Relu", ["x"], ["y"])], opset=opset))


def test_opset_of_the_future(build):
    with pytest.raises(ModelError, match="update"):
        load_model(build([node("Relu", ["x"], ["y"])], opset=999))


def test_empty_graph(build):
    proto = build([node("Relu", ["x"], ["y"])])
    del proto.graph.node[:]
    with pytest.raises(ModelError, match="empty"):
        load_model(proto)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n....", "PNG image"),
        (b"PK\x03\x04zipzip", "ZIP archive"),
        (b"hello world, this is text", "not an ONNX file"),
        (b"\x08\x08", "no graph"),
        (bytes(range(256)), "not an ONNX file"),
    ],
)
def test_other_files(data, words):
    with pytest.raises(ModelError, match=words):
        load_model(data)


def test_truncated(build, conv):
    data = build(*conv()).SerializeToString()
    for length in (5, len(data) // 2, len(data) - 1):
        with pytest.raises(ModelError, match=r"truncated|damaged|not an ONNX|no graph"):
            load_model(data[:length])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_damage_gets_through_as_another_error(build, conv, data):
    proto = bytearray(build(*conv()).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        proto[data.draw(st.integers(0, len(proto) - 1))] = data.draw(st.integers(0, 255))
    try:
        load_model(bytes(proto))
    except ModelError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 600


def test_paths(tmp_path):
    with pytest.raises(ModelError, match="no model file"):
        load_model(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="folder"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match=r"cannot be read|no model file"):
        load_model("a\0b.onnx")


def test_names_from_the_file_are_harmless_in_messages(build):
    evil = "\x1b[31m\n<script>" + "a" * 10_000
    with pytest.raises(ModelError) as caught:
        load_model(build([node(evil, ["x"], ["y"])]))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_weights_that_promise_more_than_they_hold(build, conv):
    nodes, weights = conv()
    proto = build(nodes, weights)
    proto.graph.initializer[1].dims[0] = 10**11
    with pytest.raises(ModelError, match="promises 400,000,000,000 bytes"):
        load_model(proto)


@pytest.mark.parametrize("field", ["float_data", "int32_data", "int64_data"])
def test_typed_fields_are_checked_too(build, field):
    kind = {"float_data": 1, "int32_data": 10, "int64_data": 7}[field]
    tensor = TensorProto(name="w", data_type=kind, dims=[3])
    getattr(tensor, field).extend([1, 2, 3])
    proto = build([node("Relu", ["x"], ["y"])])
    proto.graph.initializer.append(tensor)
    load_model(proto)
    proto.graph.initializer[0].dims[0] = 4
    with pytest.raises(ModelError, match="promises 4 entries"):
        load_model(proto)


# External data -----------------------------------------------------------------------------


def external(proto: onnx.ModelProto, location: str, offset: str = "", length: str = "") -> bytes:
    tensor = proto.graph.initializer[0]
    data = bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value:
            tensor.external_data.add(key=key, value=value)
    return data


def write(folder: Path, proto: onnx.ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_stays_in_its_file_and_is_hashed(tmp_path, build, conv):
    proto = build(*conv())
    data = external(proto, "weights/w.bin", offset="4")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"....." + data[1:])
    path = write(tmp_path, proto)
    with pytest.raises(ModelError, match="given as bytes"):
        load_model(path.read_bytes())
    (tmp_path / "weights" / "w.bin").write_bytes(b"...." + data)
    model = load_model(path)
    assert not model.proto.graph.initializer[0].raw_data
    held = b"...." + data
    expected = path.read_bytes() + b"w.bin\0" + struct.pack("<Q", len(held)) + held
    assert model.sha256 == hashlib.sha256(expected).hexdigest()
    assert model.size_bytes == path.stat().st_size + len(held)
    assert model.data_files == ("w.bin",)


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "/etc/passwd", "a/../../w.bin", "..\\w.bin", "C:\\w.bin", "\\\\host\\w.bin"],
)
def test_external_data_outside_the_folder(tmp_path, build, conv, location):
    (tmp_path / "w.bin").write_bytes(b"0" * 10_000)
    folder = tmp_path / "model"
    folder.mkdir()
    proto = build(*conv())
    external(proto, location)
    with pytest.raises(ModelError, match="outside the folder"):
        load_model(write(folder, proto))


def test_external_data_behind_a_link_that_leads_out(tmp_path, build, conv):
    folder = tmp_path / "model"
    folder.mkdir()
    proto = build(*conv())
    data = external(proto, "w.bin")
    (tmp_path / "secret").write_bytes(data)
    (folder / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="outside the folder"):
        load_model(write(folder, proto))
    (folder / "w.bin").unlink()
    (folder / "real.bin").write_bytes(data)
    (folder / "w.bin").symlink_to("real.bin")
    assert load_model(write(folder, proto)).size_bytes > len(data)


@pytest.mark.parametrize(
    ("kept", "offset", "length", "words"),
    [
        (-1, "", "", "truncated"),
        (None, "", "", "not in the folder"),
        (0, "8", "", "truncated"),
        (0, "", "7", "has 7"),
        (0, "-1", "", "whole number"),
        (0, "9" * 40, "", "whole number"),
    ],
)
def test_external_data_that_does_not_fit(tmp_path, build, conv, kept, offset, length, words):
    proto = build(*conv())
    data = external(proto, "w.bin", offset, length)
    if kept is not None:
        (tmp_path / "w.bin").write_bytes(data[: len(data) + kept])
    with pytest.raises(ModelError, match=words):
        load_model(write(tmp_path, proto))


@pytest.mark.parametrize("depth", [30, 200])
def test_functions_that_unfold_without_end(build, depth):
    proto = build([node("f0", ["x"], ["y"], domain="l")])
    proto.opset_import.append(helper.make_opsetid("l", 1))
    for level in range(depth):
        inner = [node(f"f{level + 1}", ["a"], [f"b{i}"], domain="l") for i in range(10)]
        if level == depth - 1:
            inner = [node("Relu", ["a"], ["b0"])]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("l", 1)]
        proto.functions.append(helper.make_function("l", f"f{level}", ["a"], ["b0"], inner, opsets))
    with pytest.raises(ModelError, match=r"unfold|calls itself"):
        load_model(proto)


def test_functions_that_call_themselves(build):
    proto = build([node("f", ["x"], ["y"], domain="l")])
    proto.opset_import.append(helper.make_opsetid("l", 1))
    inner = [node("f", ["a"], ["b"], domain="l")]
    proto.functions.append(
        helper.make_function("l", "f", ["a"], ["b"], inner, [helper.make_opsetid("l", 1)])
    )
    with pytest.raises(ModelError, match="calls itself"):
        load_model(proto)


def test_constants_are_not_read_from_outside_either(tmp_path, build):
    value = onnx.numpy_helper.from_array(np.ones(4, np.float32), "v")
    constant = node("Constant", [], ["k"], value=value)
    tensor = constant.attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    proto = build([constant, node("Relu", ["x"], ["y"])])
    with pytest.raises(ModelError, match="outside the folder"):
        load_model(write(tmp_path, proto))
