"""The measures: adding one is adding its file and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inspection.correlation import PEARSON, SPEARMAN
from cleanai_onnx.inspection.difference import COHENS_D, MEAN_DIFFERENCE
from cleanai_onnx.inspection.discrimination import AUC, JACCARD
from cleanai_onnx.inspection.information import MUTUAL_INFORMATION
from cleanai_onnx.inspection.measure import MapMeasure, Measure
from cleanai_onnx.inspection.overlap import intersection_over_union
from cleanai_onnx.inspection.probes import LOGISTIC_L1, PROBE

__all__ = ["DEFAULT", "IOU", "MEASURES", "measures_called"]

IOU = MapMeasure(
    "iou",
    "intersection over union of map and mask",
    frozenset({"mask"}),
    "pixels where the concept and a top activation are, over pixels where either is, over all "
    "images (Bau et al. 2017); top is above the top quantile of the channel (by default the share "
    "that the concept has), rounded up to the edge of one of 769 bins; Wilson's interval with as "
    "many trials as images show the concept, no test.",
    signed=False,
    of=intersection_over_union,
)

MEASURES: dict[str, Measure] = {
    one.id: one
    for one in (
        PEARSON,
        SPEARMAN,
        MEAN_DIFFERENCE,
        COHENS_D,
        AUC,
        JACCARD,
        MUTUAL_INFORMATION,
        IOU,
        LOGISTIC_L1,
        PROBE,
    )
}
DEFAULT = ("pearson", "spearman", "auc", "iou")
"""What is measured unless the user says otherwise; those that suit no hypothesis are left out."""


def measures_called(names: Sequence[str]) -> tuple[Measure, ...]:
    """Return measures by their ids, each once.

    Raises
    ------
    UsageError
        If one is not known.
    """
    for name in names:
        if name not in MEASURES:
            raise UsageError(
                f"--measures {shown(name, 40)} is no measure: choose from {', '.join(MEASURES)}."
            )
    return tuple(MEASURES[name] for name in dict.fromkeys(names))
