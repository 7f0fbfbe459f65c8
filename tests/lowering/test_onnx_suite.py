"""ONNX's own test suite judges the lowering; see docs/operators.md."""

from __future__ import annotations

import runpy
from pathlib import Path

import onnx
import pytest

from tests.lowering.onnx_suite import (
    FAILED,
    PASSED,
    UNSUPPORTED,
    Outcome,
    run_data_cases,
    run_node_cases,
    tabulated,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"

# Float operators that exporters (torch, Keras, Paddle, tf2onnx) write for image classifiers,
# detection backbones, segmentation nets and vision transformers, and the arithmetic on shapes
# around them.
FOR_IMAGES = frozenset(
    {"Abs", "Add", "And", "ArgMax", "ArgMin", "Atan", "AveragePool", "BatchNormalization",
     "Cast", "Ceil", "Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv",
     "ConvTranspose", "Cos", "CumSum", "DeformConv", "DepthToSpace", "DequantizeLinear",
     "Div", "Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike",
     "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm",
     "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample",
     "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "If",
     "InstanceNormalization", "LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Less",
     "LessOrEqual", "Log", "LogSoftmax", "Loop", "LpNormalization", "LpPool", "MatMul",
     "Max", "MaxPool", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "NonZero", "Not",
     "OneHot", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal",
     "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
     "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "RoiAlign",
     "Round", "Scan", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid",
     "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth",
     "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Tile",
     "TopK", "Transpose", "Trilu", "Unsqueeze", "Upsample", "Where", "Xor"}
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [*run_node_cases(0, 1), *run_data_cases()]


@pytest.mark.slow
def test_nothing_fails(outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    table = tabulated(outcomes)
    with capsys.disabled():
        print(f"\n{'operator':45}{PASSED:>8}{UNSUPPORTED:>15}{FAILED:>8}")
        for name, counts in table.items():
            print(f"{name:45}{counts[PASSED]:8}{counts[UNSUPPORTED]:15}{counts[FAILED]:8}")
    assert [outcome for outcome in outcomes if outcome.outcome == FAILED] == []


@pytest.mark.slow
def test_more_than_120_operators_are_supported(outcomes: list[Outcome]) -> None:
    passed = {
        (o.domain, o.op) for o in outcomes if o.outcome == PASSED and not o.op.startswith("(")
    }
    assert len(passed) > 120


@pytest.mark.slow
def test_operators_of_image_models_pass_wherever_they_are_supported(
    outcomes: list[Outcome],
) -> None:
    passed = {outcome.op for outcome in outcomes if outcome.outcome == PASSED}
    assert sorted(FOR_IMAGES - passed) == []


@pytest.mark.slow
def test_what_is_not_supported_says_which_node_and_why(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.outcome == UNSUPPORTED:
            assert "node '" in outcome.reason or "sequences, optional values" in outcome.reason


@pytest.mark.slow
def test_page_is_current(outcomes: list[Outcome]) -> None:
    written = (DOCS / "operators.md").read_text(encoding="utf-8")
    if f"(onnx {onnx.__version__})" not in written:
        pytest.skip("docs/operators.md was written with another onnx, whose suite differs")
    script = runpy.run_path(str(DOCS / "make_operators.py"))
    assert written == script["page"](tabulated(outcomes)), "run python docs/make_operators.py"
