"""A profile in words: what it was learnt from, for the terminal and the PDF."""

from __future__ import annotations

from cleanai_onnx.report.figures import percent
from cleanai_onnx.report.names import named
from cleanai_onnx.result import ProfileFacts

__all__ = ["describe"]

_MOST = 5


def describe(facts: ProfileFacts) -> list[tuple[str, str]]:
    """Return what a reader wants to know of a profile, as (name, value)."""
    sources = [named(source) for source in facts.sources[:_MOST]]
    if len(facts.sources) > _MOST:
        sources.append(f"{len(facts.sources) - _MOST:,} more")
    images = f"{facts.images:,}"
    if facts.skipped:
        images += f", {facts.skipped:,} skipped"
    rows = [
        ("Model", f"{named(facts.model)}, SHA-256 {facts.model_sha256[:16]}..."),
        ("Images", f"{images}, from {'; '.join(sources)}"),
    ]
    if facts.labelled:
        share = percent(facts.correct / facts.labelled)
        rows.append(
            (
                "Labels",
                f"{facts.labels}; {facts.correct:,} of {facts.labelled:,} classified as labelled "
                f"({share})",
            )
        )
    else:
        rows.append(("Labels", "none"))
    neurons = sum(layer.size(facts.view) for layer in facts.layers)
    rows.append(("Ranges", f"{neurons:,} {facts.view}s in {len(facts.layers):,} layers"))
    kept = min(facts.images, facts.traces)
    kind = "all images" if kept == facts.images else f"{kept:,} images, a uniform sample,"
    traced = ", ".join(named(name) for name in facts.traced[:_MOST])
    if len(facts.traced) > _MOST:
        traced += f" and {len(facts.traced) - _MOST:,} more"
    rows.append(("Traces", f"{kind} in {traced}"))
    if facts.composite:
        which = "images classified as labelled" if facts.relevance_of == "correct" else "all images"
        rows.append(("Relevance", f"{facts.composite}, summed over {which}"))
    rows += [("Remark", named(remark)) for remark in facts.remarks]
    return rows
