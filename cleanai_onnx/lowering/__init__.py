"""ONNX models lowered to functions of JAX. Knows ONNX and JAX, and no metric or rule."""

from cleanai_onnx.lowering import operators
from cleanai_onnx.lowering.dependence import reads
from cleanai_onnx.lowering.evaluation import evaluate_node
from cleanai_onnx.lowering.lowered import Lowered, TensorType, lower
from cleanai_onnx.lowering.node import Graph, Node
from cleanai_onnx.lowering.registry import OPERATORS, find_operator

__all__ = [
    "OPERATORS",
    "Graph",
    "Lowered",
    "Node",
    "TensorType",
    "evaluate_node",
    "find_operator",
    "lower",
    "operators",
    "reads",
]
