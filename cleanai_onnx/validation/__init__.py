"""Validation: gates that a result must keep, and two results or two models side by side."""

from cleanai_onnx.validation.gate import Gate, gates_of, gates_of_table, gates_of_text
from cleanai_onnx.validation.judging import judge

__all__ = ["Gate", "gates_of", "gates_of_table", "gates_of_text", "judge"]
