"""Validation: gates that a result must keep, and two results or two models side by side."""

from cleanai_onnx.validation.gate import Gate, gates_of, gates_of_table, gates_of_text
from cleanai_onnx.validation.judging import judge
from cleanai_onnx.validation.side_by_side import diff

__all__ = ["Gate", "diff", "gates_of", "gates_of_table", "gates_of_text", "judge"]
