"""Hostile and broken PyTorch files: refused with one sentence, nothing run, no file left."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx.converters.conversion import ConversionError
from cleanai_onnx.converters.pytorch import to_onnx
from cleanai_onnx.errors import CleanAIError, ModelError, UsageError
from tests.converters.required import require

require("torch", "onnxscript", "safetensors")

import torch  # noqa: E402

from tests.converters import torch_nets as nets  # noqa: E402

pytestmark = pytest.mark.torch
HERE = Path(__file__).parent


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture(autouse=True)
def in_the_folder_of_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


def refused(source: Path, kind: type[CleanAIError], words: str, **options: Any) -> str:
    output = source.with_name("out.onnx")
    with pytest.raises(kind, match=words) as caught:
        to_onnx(source, output=output, **{"input_shape": (4,), "timeout": 120, **options})
    assert not output.exists()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000
    return str(caught.value)


def test_the_bomb_would_go_off(tmp_path: Path, mark: Path) -> None:
    torch.save({"w": Bomb(mark)}, tmp_path / "bomb.pth")
    torch.load(tmp_path / "bomb.pth", weights_only=False)
    assert mark.is_dir()


@pytest.mark.parametrize("how", ["zip", "old", "raw"])
@pytest.mark.parametrize("variable", [None, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"])
def test_a_pickle_that_would_run_code_does_not(
    tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch, how: str, variable: str | None
) -> None:
    source = tmp_path / "bomb.pth"
    content = {"layer.weight": torch.zeros(3, 4), "x": Bomb(mark)}
    if how == "raw":
        source.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, source, _use_new_zipfile_serialization=how == "zip")
    if variable is not None:
        monkeypatch.setenv(variable, "1")
    refused(source, ModelError, r"can run any code.*--trust", class_name="torch_nets:Tiny")
    assert not mark.exists()


def test_a_whole_module_is_refused_with_the_reason(tmp_path: Path) -> None:
    torch.save(nets.Tiny(), tmp_path / "whole.pt")
    text = refused(tmp_path / "whole.pt", ModelError, "torch_nets.Tiny")
    assert "--trust" in text
    assert "state_dict" in text


def rewritten(source: Path, change: Callable[[str, bytes], bytes], **more: bytes) -> None:
    """Write a ZIP archive again with other contents, and more of them."""
    with zipfile.ZipFile(source) as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    root = next(iter(content)).partition("/")[0]
    with zipfile.ZipFile(source, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(name, change(name, data))
        for name, data in more.items():
            archive.writestr(f"{root}/{name}", data)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "p.pt2"
    axes = ({0: torch.export.Dim("batch")},)
    module = nets.Tiny().eval()
    exported = torch.export.export(module, (torch.zeros(2, 4),), dynamic_shapes=axes)
    torch.export.save(exported, path)
    return path


def test_a_program_that_evaluates_python_is_refused(program: Path, mark: Path) -> None:
    code = f"__import__('os').mkdir({str(mark)!r})"
    rewritten(
        program,
        lambda name, data: data.replace(
            json.dumps("Symbol('s77', positive=True, integer=True)").encode(),
            json.dumps(code).encode(),
        ),
    )
    with zipfile.ZipFile(program) as archive:
        assert any(b"__import__" in archive.read(name) for name in archive.namelist())
    refused(program, ModelError, r"the expression.*--trust")
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    ["torch.hub.load", "torch.ops.load_library", "torch.ops.aten.from_file.default",
     "torch.ops.aten._save_x.default", "_operator.methodcaller", "torch.classes.load_library",
     "torch._C._load_for_lite_interpreter", "os.system"],
)  # fmt: skip
def test_a_program_that_calls_more_than_operators_is_refused(program: Path, target: str) -> None:
    rewritten(
        program, lambda _, data: data.replace(b"torch.ops.aten.relu.default", target.encode())
    )
    refused(program, ModelError, r"a call of .*--trust")


def test_a_program_with_pickled_weights_runs_nothing(program: Path, mark: Path) -> None:
    import io

    buffer = io.BytesIO()
    torch.save(Bomb(mark), buffer)

    def change(name: str, data: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        return buffer.getvalue() if "weights/weight_" in name else data

    rewritten(program, change)
    refused(program, ModelError, "cannot be loaded")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["data/aotinductor/model/x.so", "data/constants/custom_obj_0"])
def test_a_program_with_machine_code_or_objects_is_refused(program: Path, name: str) -> None:
    rewritten(program, lambda _, data: data, **{name: b"x"})
    refused(program, ModelError, r"--trust")


class Writer(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file("leak", size=4)


def test_torchscript_that_reads_files_is_refused(tmp_path: Path) -> None:
    torch.jit.script(Writer()).save(str(tmp_path / "w.pt"))
    refused(tmp_path / "w.pt", ModelError, r"from_file.*--trust")


@pytest.mark.parametrize("kind", ["pth", "script.pt", "pt2", "safetensors", "old.pth"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.97])
def test_truncated_files(tmp_path: Path, kind: str, part: float) -> None:
    from tests.converters.test_pytorch import saved

    source, options = saved(kind, tmp_path)
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * part)])
    refused(source, ModelError, r"empty|truncated|damaged|not a file of PyTorch", **options)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3}, "no state dict"),
        ([1, 2], "no state dict"),
        (torch.zeros(3), "no state dict"),
    ],
)
def test_files_without_weights(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", ModelError, words, class_name="torch_nets:Tiny")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--class"),
        ({"class_name": "torch_nets"}, "module:Class"),
        ({"class_name": "nowhere:Tiny"}, "cannot be imported"),
        ({"class_name": "torch_nets:Nothing"}, "no attribute"),
        ({"class_name": "torch_nets:not_a_module"}, r"no torch\.nn\.Module"),
        ({"class_name": "torch_nets:Tiny", "class_args": [1, 2, 3]}, "--class-args"),
        ({"class_name": "torch_nets:Tiny", "class_args": {"width": 7}}, "do not fit"),
        ({"class_name": "torch_nets:Digits"}, "do not fit"),
        ({"class_name": "torch_nets:Tiny", "class_args": [object()]}, "JSON"),
        ({"class_name": "torch_nets:Tiny", "input_shape": (9,)}, "--input-shape"),
        ({"class_name": "torch_nets:Tiny", "input_shape": None}, "--input-shape"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    torch.save(nets.Tiny().state_dict(), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", UsageError, words, **options)


@pytest.mark.parametrize(
    ("how", "words"),
    [("exit", r"exit code 7"), ("segfault", "SIGSEGV"), ("hang", "longer than 15 s")],
)
def test_an_exporter_that_crashes_or_hangs(tmp_path: Path, how: str, words: str) -> None:
    torch.save(nets.Exporting(how).state_dict(), tmp_path / "x.pth")
    with pytest.raises(ConversionError) as caught:
        to_onnx(
            tmp_path / "x.pth", input_shape=(4,), class_name="torch_nets:Exporting",
            class_args=[how], timeout=15, exporters=["torchscript"],
        )  # fmt: skip
    import re

    assert [attempt.outcome for attempt in caught.value.attempts] == ["failed", "failed"]
    assert all(re.search(words, attempt.reason) for attempt in caught.value.attempts)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]
