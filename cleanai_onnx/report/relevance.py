"""The heat maps of featured images in words: how they were made, and what each leaves out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cleanai_onnx.report import figures
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.result import FeaturedImage, ImageRelevance, RelevanceFacts

__all__ = ["key_of", "shares_of"]


def key_of(facts: RelevanceFacts, featured: Sequence[FeaturedImage]) -> str:
    """Say how the heat maps were made and how they are read."""
    rules = ", ".join(f"{rule} at {count:,}" for rule, count in facts.rules.items())
    parameters = ", ".join(
        f"{name} {figures.parameter(value)}" for name, value in facts.parameters.items()
    )
    residuals = [
        abs(image.relevance.residual / image.relevance.value)
        for image in featured
        if image.relevance is not None and image.relevance.value
    ]
    largest = max((r for r in residuals if math.isfinite(r)), default=None)
    residual = figures.NOTHING if largest is None else figures.value(float(f"{largest:.2g}"))
    return (
        "Heat maps: layer-wise relevance propagation over what the model sees, by the composite "
        f"{printable(facts.composite, 60)} ({printable(parameters, 120)}; nodes by rule: "
        f"{printable(rules, 300)}). Explained is f(x), the value of "
        f"{printable(facts.target, 60)}, at the tensor {named(facts.start)}. Red pixels speak for "
        "it, blue ones against it; full colour differs from image to image. Below each: which "
        "part of f(x) arrived at the pixels, what biases and other constants took, and the "
        f"residual, which neither accounts for (at most {residual} of f(x)). It shows what moved "
        "the model under these rules, not causes."
    )


def shares_of(relevance: ImageRelevance | None) -> list[tuple[str, str]]:
    """Return what was explained, and where the relevance went, in words."""
    if relevance is None:
        return []
    what = "output" if relevance.target is None else f"class {relevance.target:,}"
    parts = [("to pixels", relevance.arrived), ("to biases", relevance.biases)]
    if relevance.others:
        parts.append(("elsewhere", relevance.others))
    parts.append(("residual", relevance.residual))
    return [
        (what, figures.value(float(f"{relevance.value:.4g}"))),
        *((name, figures.share(part, relevance.value)) for name, part in parts),
    ]
