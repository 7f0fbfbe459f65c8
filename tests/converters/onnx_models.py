"""Small ONNX models, written as text."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser


def save(folder: Path, body: str, batch: str = "N", name: str = "m.onnx") -> Path:
    """Write ``<body>`` of a graph from x (batch, 4) to y and return the path."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> '
        f"g (float[{batch}, 4] x) => (float[{batch}, M] y) {{ {body} }}"
    )
    path = folder / name
    onnx.save(model, str(path))
    return path
