"""Sources without any framework: numpy on one side, ONNX written as text on the other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser

from cleanai_onnx.converters.source import InputSpec
from cleanai_onnx.errors import ModelError

TEXT = (
    '<ir_version: 10, opset_import: ["" : {opset}]> '
    "g (float[{n}, 4] x) => (float[{n}, 4] y) {{{b}}}"
)


class Doubling:
    """y = 2 x, exported as the request says."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.body = request.get("body", "y = Add(x, x)")
        fixed = request.get("fixed")
        self.size = "N" if fixed is None else str(fixed)
        self.inputs = (InputSpec("x", "float32", (fixed, 4)),)
        self.parameters = 7
        self.preprocessing: Mapping[str, Any] = request.get("preprocessing", {})
        self.remarks: tuple[str, ...] = ("A remark",)
        self.versions: Mapping[str, str] = {"fake": "1"}

    def predict(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [2 * arrays[0]]

    def export(self, path: Path, opset: int | None) -> None:
        if self.body == "raise":
            raise RuntimeError("no way")
        if self.body == "exit":
            os._exit(3)
        if self.body != "nothing":
            text = TEXT.format(opset=opset or 20, n=self.size, b=self.body)
            onnx.save(onnx.parser.parse_model(text), str(path))


def load(request: Mapping[str, Any]) -> Doubling:
    if request.get("refuse"):
        raise ModelError("This file is damaged.")
    if request.get("broken"):
        raise KeyError("broken")
    return Doubling(request)
