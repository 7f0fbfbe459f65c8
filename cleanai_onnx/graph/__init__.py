"""Loading and checking a model, its taps, and facts about it. Knows ONNX and no metric."""

from onnx import ModelProto

from cleanai_onnx.graph.adjacency import successors
from cleanai_onnx.graph.decision import find_decision
from cleanai_onnx.graph.facts import model_facts
from cleanai_onnx.graph.image_input import ImageInput, constant_inputs, find_image_input
from cleanai_onnx.graph.linear_convolutions import without_convolution_relus
from cleanai_onnx.graph.loading import Model, load_model
from cleanai_onnx.graph.memory import MemoryEstimate, check_memory, estimate_memory
from cleanai_onnx.graph.surgery import tapped_bytes, tapped_proto
from cleanai_onnx.graph.taps import TapPoint, Taps, find_taps

__all__ = [
    "ImageInput",
    "MemoryEstimate",
    "Model",
    "ModelProto",
    "TapPoint",
    "Taps",
    "check_memory",
    "constant_inputs",
    "estimate_memory",
    "find_decision",
    "find_image_input",
    "find_taps",
    "load_model",
    "model_facts",
    "successors",
    "tapped_bytes",
    "tapped_proto",
    "without_convolution_relus",
]
