"""Table bodies that several metrics share."""

from __future__ import annotations

from cleanai_onnx.coverage.metric import Evidence, TableBody, ratio
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.result import Column

__all__ = ["COVERAGE_COLUMNS", "per_input_coverage", "suite_coverage"]

COVERAGE_COLUMNS = (
    Column("layer", "text"),
    Column("covered", "count"),
    Column("total", "count"),
    Column("coverage", "ratio"),
)


def per_input_coverage(evidence: Evidence, _: Parameters) -> TableBody:
    """Sum the metric's one counter over the inputs: covered / (inputs x size)."""
    rows = [
        (layer.name, layer.counted[0], layer.size * evidence.inputs) for layer in evidence.layers
    ]
    return coverage_body(rows)


def suite_coverage(evidence: Evidence, _: Parameters) -> TableBody:
    """Count the units that are covered by the suite as a whole: covered / size."""
    return coverage_body([(layer.name, layer.covered, layer.size) for layer in evidence.layers])


def coverage_body(rows: list[tuple[str, int, int]], notes: tuple[str, ...] = ()) -> TableBody:
    """Return rows of (name, covered, total) with their ratios and their sum."""
    covered = sum(row[1] for row in rows)
    total = sum(row[2] for row in rows)
    return TableBody(
        COVERAGE_COLUMNS,
        tuple((name, part, whole, ratio(part, whole)) for name, part, whole in rows),
        ("all layers", covered, total, ratio(covered, total)),
        notes,
    )
