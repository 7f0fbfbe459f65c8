"""The coverage metrics: one file for each family, their registry, and the engine that runs them.

Nothing here knows ONNX: layers are names and shapes, activations are JAX arrays.
"""

from jax import Array

from cleanai_onnx.coverage.covering import UNIONS, covered_by_each
from cleanai_onnx.coverage.engine import (
    InputFigures,
    PairEvidence,
    State,
    channel_matrix,
    channel_values,
    count_pairs,
    firing,
    following,
    init,
    merge,
    rows_of,
    update,
)
from cleanai_onnx.coverage.evidence import compute
from cleanai_onnx.coverage.featured import Extremes, Ranked
from cleanai_onnx.coverage.importance import ImportanceState, important_layers
from cleanai_onnx.coverage.kernels import STATE_BYTES
from cleanai_onnx.coverage.parameters import CLEANAI_INTERVALS, Parameters
from cleanai_onnx.coverage.profiled import (
    Items,
    Learnt,
    LearntRelevance,
    LearntTraces,
    Observed,
    ProfiledMetric,
    ProfileParameters,
)
from cleanai_onnx.coverage.registry import METRICS, PROFILED
from cleanai_onnx.coverage.scores import (
    ADDS,
    RANKED_BY,
    Scores,
    order_free,
    score_names,
    scores_of,
)
from cleanai_onnx.coverage.stored import restored, stored

__all__ = [
    "ADDS",
    "CLEANAI_INTERVALS",
    "METRICS",
    "PROFILED",
    "RANKED_BY",
    "STATE_BYTES",
    "UNIONS",
    "Array",
    "Extremes",
    "ImportanceState",
    "InputFigures",
    "Items",
    "Learnt",
    "LearntRelevance",
    "LearntTraces",
    "Observed",
    "PairEvidence",
    "Parameters",
    "ProfileParameters",
    "ProfiledMetric",
    "Ranked",
    "Scores",
    "State",
    "channel_matrix",
    "channel_values",
    "compute",
    "count_pairs",
    "covered_by_each",
    "firing",
    "following",
    "important_layers",
    "init",
    "merge",
    "order_free",
    "restored",
    "rows_of",
    "score_names",
    "scores_of",
    "stored",
    "update",
]
