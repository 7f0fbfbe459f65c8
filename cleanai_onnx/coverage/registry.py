"""The metrics, in the order of the reports. Adding one is adding its file and one line here."""

from __future__ import annotations

from cleanai_onnx.coverage import activation, boundary, change, interaction, intervals, top
from cleanai_onnx.coverage.corners import CORNERS
from cleanai_onnx.coverage.importance import IMPORTANCE
from cleanai_onnx.coverage.metric import Metric
from cleanai_onnx.coverage.profiled import ProfiledMetric
from cleanai_onnx.coverage.sections import SECTIONS
from cleanai_onnx.coverage.surprise import SURPRISE

__all__ = ["METRICS", "PROFILED"]

_FAMILIES = (activation, top, intervals, boundary, change, interaction)

METRICS: dict[str, Metric] = {
    metric.id: metric
    for metric in sorted(
        (metric for family in _FAMILIES for metric in family.METRICS),
        # First what is counted in each input, then pairs, then the suite as a whole.
        key=lambda metric: ("input", "pair", "suite").index(metric.card.scope),
    )
}

PROFILED: tuple[ProfiledMetric, ...] = (CORNERS, SECTIONS, IMPORTANCE, SURPRISE)
"""The metrics that need a profile, family by family."""
