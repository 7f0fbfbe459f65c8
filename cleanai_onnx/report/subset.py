"""Which images to keep, in words: what the terminal and the PDF both say."""

from __future__ import annotations

from cleanai_onnx.report.names import printable
from cleanai_onnx.result import SubsetFacts

__all__ = ["criteria_of", "guarantee", "headline"]


def headline(subset: SubsetFacts) -> str:
    """Say how many images suffice, and where they are listed."""
    kept = len(subset.images)
    said = f"{kept:,} of {subset.of:,} images {'keeps' if kept == 1 else 'keep'} the same coverage"
    return said + (f"; written to {printable(subset.file, 120)}" if subset.file else "")


def criteria_of(subset: SubsetFacts) -> str:
    """Name the coverages that the subset keeps."""
    names: dict[str, list[str]] = {}
    for one in subset.criteria:
        names.setdefault(one.view, []).append(one.metric)
    return "; ".join(f"{', '.join(metrics)} ({view}s)" for view, metrics in names.items())


def guarantee(subset: SubsetFacts) -> str:
    """Say how near the subset is to the smallest one."""
    if subset.proven:
        return "No smaller subset exists: this is proven."
    return (
        f"At least {subset.lower_bound:,} images are needed; whether as few as that suffice is not "
        "known. The greedy rule is never more than 1 + 1/2 + … + 1/d times above the smallest "
        "subset, where d is the number of items that one image covers at most."
    )
