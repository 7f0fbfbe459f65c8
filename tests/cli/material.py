"""Small models and images, and the command line run inside this process."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cleanai_onnx import cli

ROOT = Path(__file__).resolve().parents[2]
LENET = ROOT / "models" / "lenet5.onnx"
DIGITS = ROOT / "models" / "digits"

node = helper.make_node


def build(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Any] | None = None,
    *,
    inputs: Mapping[str, Sequence[int | str] | None] | None = None,
    outputs: Sequence[str] = (),
    dtype: int = TensorProto.FLOAT,
    output_dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a model whose image input is, unless given, x of (N, 1, 8, 8)."""
    values = {"x": ("N", 1, 8, 8)} if inputs is None else inputs
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in values.items()],
        [
            helper.make_tensor_value_info(name, output_dtype, None)
            for name in outputs or (nodes[-1].output[0],)
        ],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def relu(**keywords: Any) -> onnx.ModelProto:
    """Return the smallest model that has something to measure."""
    return build([node("Relu", ["x"], ["y"])], **keywords)


def save(path: str | Path, model: onnx.ModelProto) -> str:
    Path(path).write_bytes(model.SerializeToString())
    return str(path)


def images(folder: str | Path, count: int, size: tuple[int, int] = (8, 8)) -> str:
    """Fill a folder with gray noise, the same each time."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (count, size[1], size[0]), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(target / f"i{number}.png")
    return str(folder)


def strict_json(path: Path) -> Any:
    """Read JSON as the standard has it: no NaN, no Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str
    new: set[str]


class Command:
    """Runs the command line in a folder of its own, and sees what it leaves there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Outcome:
        before = everything(self.folder)
        self._capsys.readouterr()
        code = cli.main([os.fspath(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        return Outcome(code, out, err, everything(self.folder) - before)

    def done(self, *arguments: str | Path) -> Outcome:
        """Run, and expect success: nothing on standard error, nothing unfinished."""
        outcome = self(*arguments)
        assert (outcome.code, outcome.err) == (0, "")
        assert not [name for name in outcome.new if name.endswith(".part")]
        return outcome

    def refused(self, code: int, *arguments: str | Path) -> str:
        """Run, and expect one sentence, the exit code, and nothing left behind."""
        outcome = self(*arguments)
        assert outcome.code == code, outcome.err
        assert outcome.out == ""
        assert outcome.new == set()
        return sentence(outcome.err)


def sentence(err: str) -> str:
    """Return the one sentence that standard error holds, without its slug."""
    match = re.fullmatch(r"cleanai-onnx: error: (.*) \[[a-z]+(-[a-z]+)*\]\n", err, re.DOTALL)
    assert match
    text = match[1]
    assert text.isprintable()
    assert len(text) < 1000
    return text
