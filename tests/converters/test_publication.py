from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from cleanai_onnx import graph
from cleanai_onnx.converters import cleaning, conversion, publication
from cleanai_onnx.converters.conversion import METADATA_KEY
from cleanai_onnx.converters.parity import OnnxModel
from cleanai_onnx.converters.publication import digest_of, publish, writable_settings
from cleanai_onnx.errors import OutputError
from cleanai_onnx.inputs.settings import NO_CROP, read_settings
from cleanai_onnx.inputs.sidecars import from_metadata, sidecar
from tests.converters.test_conversion import RECORD

SETTINGS = {"scale": 1 / 255, "mean": (0.5,), "std": (0.25,), "crop": NO_CROP, "size": (28, 28)}


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """A model with a weight and with all that exporters leave behind."""
    folder = tmp_path / "work"
    folder.mkdir()
    weight = np.arange(8, dtype=np.float32).reshape(4, 2)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="n", doc_string="/home/me/a.py")
    for key in ("pkg.torch.onnx.stack_trace", *sorted(cleaning.KEPT)):
        node.metadata_props.add(key=key, value=f"/home/me/{key}")
    value = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [node],
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["N", 4])],
        [value("y", onnx.TensorProto.FLOAT, ["N", 2])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    body.doc_string = "/home/me/b.py"
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model.ir_version = 10
    model.metadata_props.add(key="path", value="/home/me")
    onnx.save(model, str(folder / "model.onnx"))
    return folder / "model.onnx"


def test_cleaning_keeps_the_scopes_and_nothing_else(draft: Path) -> None:
    cleaning.clean_file(draft)
    model = onnx.load(str(draft))
    (node,) = model.graph.node
    assert {entry.key for entry in node.metadata_props} == cleaning.KEPT
    assert node.doc_string == model.graph.doc_string == ""
    assert not model.metadata_props
    assert node.name == "n"


def test_what_is_published(draft: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "net.onnx"
    record = publish(draft, output, RECORD, SETTINGS)
    model = graph.load_model(output)
    assert record.model == str(output)
    assert record.model_sha256 == model.sha256 == hashlib.sha256(output.read_bytes()).hexdigest()
    claimed, _ = conversion.claim(model.metadata)
    assert claimed == replace(RECORD, model="", model_sha256="", sidecar="")
    assert RECORD.source_sha256 in model.proto.doc_string
    names = {path.name for path in output.parent.iterdir()}
    assert names == {"net.onnx", "net.preprocessing.json"}
    beside, inside = sidecar(output), from_metadata(model.metadata)
    assert beside is not None
    assert inside is not None
    assert beside.settings == inside.settings == SETTINGS


def test_settings_survive_json() -> None:
    text = json.dumps(writable_settings(SETTINGS))
    assert read_settings(json.loads(text), "test") == SETTINGS


def test_without_settings_there_is_no_file_of_them(draft: Path, tmp_path: Path) -> None:
    record = publish(draft, tmp_path / "net.onnx", RECORD, {})
    assert record.sidecar == ""
    assert not (tmp_path / "net.preprocessing.json").exists()
    assert set(graph.load_model(tmp_path / "net.onnx").metadata) == {METADATA_KEY}


def test_an_older_file_of_settings_is_mentioned(draft: Path, tmp_path: Path) -> None:
    (tmp_path / "net.preprocessing.json").write_text("{}")
    record = publish(draft, tmp_path / "net.onnx", RECORD, {})
    assert "net.preprocessing.json" in record.remarks[-1]


def test_a_large_model_keeps_its_weights_beside_it(
    draft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_MOST_BYTES", 10)
    monkeypatch.setattr(publication, "_LEAST_EXTERNAL", 0)
    output = tmp_path / "net.onnx"
    record = publish(draft, output, RECORD, {})
    assert (tmp_path / "net.onnx.data").stat().st_size >= 32
    model = graph.load_model(output)
    assert model.sha256 == record.model_sha256
    x = np.ones((1, 4), np.float32)
    (y,) = OnnxModel(output).predict([x])
    assert y.tolist() == [[12.0, 16.0]]


def test_nothing_is_left_where_it_cannot_be_written(draft: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.onnx"
    (tmp_path / "net.preprocessing.json").mkdir()
    with pytest.raises(OutputError):
        publish(draft, output, RECORD, SETTINGS)
    assert not output.exists()


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "b").write_bytes(b"x")
    (folder / "sub" / "c").write_bytes(b"yz")
    expected = hashlib.sha256(
        b"b\0" + (1).to_bytes(8, "little") + b"x" + b"sub/c\0" + (2).to_bytes(8, "little") + b"yz"
    )
    assert digest_of(folder) == expected.hexdigest()
