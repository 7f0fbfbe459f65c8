from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from cleanai_onnx.converters.formats import framework_of, torch_format
from cleanai_onnx.errors import ModelError

SAFETENSORS = (2).to_bytes(8, "little") + b"{}"


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as stream:
        for name in names:
            stream.writestr(name, b"x")
    return path


@pytest.mark.parametrize(
    ("names", "format"),
    [
        (["m/data.pkl", "m/data/0", "m/version"], "checkpoint"),
        (["m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"], "torchscript"),
        (["m/archive_format", "m/models/model.json"], "exported"),
        (["serialized_exported_program.json", "version"], "exported"),
    ],
)
def test_archives_of_torch(tmp_path: Path, names: list[str], format: str) -> None:
    path = archive(tmp_path / "m.whatever", *names)
    assert torch_format(path) == format
    assert framework_of(path) == "pytorch"


@pytest.mark.parametrize(
    ("name", "content", "framework"),
    [
        ("a.pth", b"\x80\x02x", "pytorch"),
        ("a.bin", SAFETENSORS, "pytorch"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "keras"),
        ("a.weird", b"\x89HDF\r\n\x1a\n", "keras"),
        ("a.json", b'{"a": 1}', "keras"),
        ("a.pt", b"", "pytorch"),
    ],
)
def test_frameworks(tmp_path: Path, name: str, content: bytes, framework: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert framework_of(tmp_path / name) == framework


def test_keras_archives_and_folders(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.zip", "config.json", "metadata.json", "model.weights.h5")
    assert framework_of(path) == "keras"
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    assert framework_of(tmp_path / "saved") == "keras"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.onnx", b"\x08\x07", "ONNX model already"),
        ("a.txt", b"hello", "no model that can be converted"),
        ("a.pt", b"PK\x03\x04broken", "truncated or damaged"),
    ],
)
def test_what_is_no_source(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        framework_of(tmp_path / name)


def test_missing_folders_and_other_archives(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        framework_of(tmp_path / "nowhere.pt")
    with pytest.raises(ModelError, match="is a folder"):
        framework_of(tmp_path)
    with pytest.raises(ModelError, match="not one that PyTorch wrote"):
        torch_format(archive(tmp_path / "x.pt", "readme.txt"))
    (tmp_path / "e.pt").write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        torch_format(tmp_path / "e.pt")
