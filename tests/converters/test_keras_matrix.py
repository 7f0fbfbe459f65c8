"""Every route on every case, and the table of the documentation that says so."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.converters.keras_cases import CASES
from tests.converters.required import require

require("keras", "tensorflow", "tf2onnx", "torch", "onnxscript", "jax2onnx")

pytestmark = pytest.mark.keras

ROOT = Path(__file__).resolve().parents[2]
FAILS = {
    ("torch backend, TorchScript exporter", "gelu"): "Failed to export",
    ("torch backend, TorchScript exporter", "attention"): "Failed to export",
    ("JAX with jax2onnx", "upsampling"): "InconclusiveDimensionOperation",
}
"""What is known not to work, and why. A route that learns it must be noticed here too."""
REPAIRED = {
    ("TensorFlow with tf2onnx", "gelu"),
    ("TensorFlow with tf2onnx", "attention"),
    ("JAX with jax2onnx", "same_pooling"),
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "docs/make_converter_matrix.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up.
    import sys

    sys.modules["matrix"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def matrix(script, tmp_path_factory):
    return script.measure(tmp_path_factory.mktemp("matrix"))


def test_every_route_was_tried_on_every_case(matrix) -> None:
    assert len(matrix) == 4
    assert all(set(cases) == set(CASES) for cases in matrix.values())


@pytest.mark.parametrize("name", CASES)
def test_case(matrix, name: str) -> None:
    for route, cases in matrix.items():
        outcome = cases[name]
        expected = FAILS.get((route, name), "")
        assert expected in outcome.reason if expected else not outcome.reason, (route, outcome)
        if not expected:
            assert outcome.magnitude > 1e-3
            assert outcome.maximum <= 1e-5 * max(1.0, outcome.magnitude)
            assert outcome.repaired == ((route, name) in REPAIRED)


def test_every_case_has_a_route_that_works(matrix) -> None:
    for name in CASES:
        assert not matrix["TensorFlow with tf2onnx"][name].reason
        assert not matrix["torch backend, dynamo exporter"][name].reason


def test_the_page_has_the_table_of_these_outcomes(matrix, script) -> None:
    page = (ROOT / "docs" / "converters.md").read_text(encoding="utf-8")
    kept = page.partition(script.BEGIN)[2].partition(script.END)[0]
    rows = script.table(matrix, {}).splitlines()[: 2 + len(CASES)]

    def outcomes(lines: list[str]) -> list[list[str]]:
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return [[cell if "<" not in cell else cell.partition(",")[2] for cell in row]
                for row in cells]  # fmt: skip

    assert outcomes(kept.strip().splitlines()[: len(rows)]) == outcomes(rows)
