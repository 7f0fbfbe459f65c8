"""What CleanAI (ESOGU-SRLAB/CleanAI at 44e8f16) counts on three small nets.

``golden.json`` holds the figures of CleanAI's own functions, ``activations.npz`` the tensors that
they were counted on (one row for each module that CleanAI records), ``inputs.npy`` the preprocessed
images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx.coverage import Parameters
from cleanai_onnx.result import LayerFacts, Table
from tests.coverage.suites import layer

FOLDER = Path(__file__).parents[1] / "data" / "cleanai"
NETS = ("mini_mlp", "convnet_small", "reused_tanh")
FILES = ("model.onnx", "model_dynbatch.onnx", "model_torchscript.onnx")
PRESETS = {"mini_mlp": "symmetric", "convnet_small": "imagenet", "reused_tanh": "imagenet"}

DEFAULT = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5))
ALT = ((-10.0, -0.5), (-0.5, 0.0), (0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 10.0))
CHOICES = (
    ("0", "1", "default"),
    ("0.25", "3", "alt"),
    ("0.75", "5", "default"),
    ("0.75", "50", "alt"),
)
"""Threshold, k and intervals, as golden.json names them: every one of them at least once."""


@dataclass(frozen=True)
class Net:
    name: str
    inputs: list[str]
    metrics: dict[str, Any]
    arrays: list[np.ndarray]
    """For each row of CleanAI's, the activations of all inputs ``(inputs, *shape)``."""

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def layers(self) -> tuple[LayerFacts, ...]:
        return tuple(layer(f"row{n}", a.shape[1:]) for n, a in enumerate(self.arrays))


@cache
def net(name: str) -> Net:
    golden = json.loads((FOLDER / name / "golden.json").read_text())
    stored = np.load(FOLDER / name / "activations.npz")
    inputs = range(len(golden["inputs"]))
    rows = range(len(golden["metrics"]["per_input"][0]["layers"]))
    arrays = [
        np.concatenate([stored[f"input{index:02}_row{row}"] for index in inputs]) for row in rows
    ]
    return Net(name, golden["inputs"], golden["metrics"], arrays)


def parameters(threshold: str, k: str, intervals: str) -> Parameters:
    """CleanAI divides the top-k sum by k for each layer, and uses 0.05 in the second one of vv.

    The other values are the same in all tests, because kernels are made for each choice.
    """
    return Parameters(
        value_threshold=0.25,
        bounds_from=5,
        threshold=float(threshold),
        top_k=int(k),
        intervals={"default": DEFAULT, "alt": ALT}[intervals],
        cleanai_compat=True,
    )


def covered_and_total(table: Table) -> dict[str, Any]:
    """Return a table's total as golden.json has it."""
    assert table.total is not None
    columns = {column.name: cell for column, cell in zip(table.columns, table.total, strict=True)}
    return {key: columns[key] for key in ("covered", "total", "coverage")}
