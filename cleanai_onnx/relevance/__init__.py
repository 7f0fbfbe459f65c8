"""Relevance: layer-wise relevance propagation on any ONNX graph."""

from cleanai_onnx.relevance.attribution import attribute
from cleanai_onnx.relevance.composites import COMPOSITES, Composite, LinearLayer, composite
from cleanai_onnx.relevance.explainer import Explainer
from cleanai_onnx.relevance.result import Attribution, Conservation
from cleanai_onnx.relevance.rules import Rule, Term

__all__ = [
    "COMPOSITES",
    "Attribution",
    "Composite",
    "Conservation",
    "Explainer",
    "LinearLayer",
    "Rule",
    "Term",
    "attribute",
    "composite",
]
