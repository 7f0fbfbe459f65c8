"""Inspection: which hypotheses the neurons of a model encode.

After Sellam et al., DeepBase: Deep Inspection of Neural Networks, SIGMOD 2019: activations are
extracted once and shared by all measures and hypotheses, everything streams in one pass, and the
pass ends early where the scores are as sure as the user wants.
"""

from cleanai_onnx.inspection.concepts import read_masks, read_table
from cleanai_onnx.inspection.features import FUNCTIONS
from cleanai_onnx.inspection.hypotheses import (
    Column,
    Function,
    Hypothesis,
    Masks,
    Seen,
    folder_classes,
)
from cleanai_onnx.inspection.inspector import Inspector
from cleanai_onnx.inspection.measure import Measure, Settings
from cleanai_onnx.inspection.registry import DEFAULT, MEASURES, measures_called
from cleanai_onnx.inspection.result import COLUMNS, Inspection, ModelInspection

__all__ = [
    "COLUMNS",
    "DEFAULT",
    "FUNCTIONS",
    "MEASURES",
    "Column",
    "Function",
    "Hypothesis",
    "Inspection",
    "Inspector",
    "Masks",
    "Measure",
    "ModelInspection",
    "Seen",
    "Settings",
    "folder_classes",
    "measures_called",
    "read_masks",
    "read_table",
]
