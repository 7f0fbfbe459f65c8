"""The coverage metrics: one file for each family, their registry, and the engine that runs them.

Nothing here knows ONNX: layers are names and shapes, activations are JAX arrays.
"""

from jax import Array

from cleanai_onnx.coverage.engine import (
    InputFigures,
    PairEvidence,
    State,
    channel_matrix,
    channel_values,
    count_pairs,
    firing,
    init,
    merge,
    rows_of,
    update,
)
from cleanai_onnx.coverage.evidence import compute
from cleanai_onnx.coverage.featured import Extremes
from cleanai_onnx.coverage.importance import ImportanceState, important_layers
from cleanai_onnx.coverage.kernels import STATE_BYTES
from cleanai_onnx.coverage.parameters import CLEANAI_INTERVALS, Parameters
from cleanai_onnx.coverage.profiled import Learnt, LearntRelevance, Observed, ProfileParameters
from cleanai_onnx.coverage.registry import METRICS, PROFILED
from cleanai_onnx.coverage.scores import Scores, score_names, scores_of

__all__ = [
    "CLEANAI_INTERVALS",
    "METRICS",
    "PROFILED",
    "STATE_BYTES",
    "Array",
    "Extremes",
    "ImportanceState",
    "InputFigures",
    "Learnt",
    "LearntRelevance",
    "Observed",
    "PairEvidence",
    "Parameters",
    "ProfileParameters",
    "Scores",
    "State",
    "channel_matrix",
    "channel_values",
    "compute",
    "count_pairs",
    "firing",
    "important_layers",
    "init",
    "merge",
    "rows_of",
    "score_names",
    "scores_of",
    "update",
]
