"""A float model and its int8 form (QDQ), made by onnxruntime's own quantiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.cli.material import build, node, save


def float_model(seed: int = 0) -> object:
    """Return a small network of ten classes on 1 x 8 x 8."""
    draw = np.random.default_rng(seed).normal
    weights = {
        "w": draw(0, 0.5, (4, 1, 3, 3)).astype(np.float32),
        "b": draw(0, 0.1, 4).astype(np.float32),
        "v": draw(0, 0.2, (4 * 36, 10)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"]),
        node("Relu", ["c"], ["a"]),
        node("Flatten", ["a"], ["f"]),
        node("MatMul", ["f", "v"], ["m"]),
        node("Relu", ["m"], ["r"]),
        node("Neg", ["r"], ["logits"]),
    ]
    return build(nodes, weights, dtype=TensorProto.FLOAT)


def float_and_int8(folder: Path) -> tuple[str, str]:
    """Write both models and return their paths."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    source = save(folder / "float.onnx", float_model())  # type: ignore[arg-type]
    data = np.random.default_rng(1).random((8, 1, 1, 8, 8), np.float32)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(data)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {"x": batch}

    target = str(folder / "int8.onnx")
    quantization.quantize_static(
        source,
        target,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return source, target
