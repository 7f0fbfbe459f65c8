"""Coverage for neural networks: how much of an ONNX model your test images exercise.

>>> import cleanai_onnx
>>> result = cleanai_onnx.analyze("model.onnx", "images/")
>>> result.summary()
>>> result.to_pdf("report.pdf")

The names below are the public API. They are imported when first used, so that importing the package
costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cleanai_onnx._version import __version__

if TYPE_CHECKING:
    from cleanai_onnx.coverage import Parameters, ProfileParameters
    from cleanai_onnx.errors import (
        CleanAIError,
        ImageError,
        ModelError,
        OutputError,
        UsageError,
    )
    from cleanai_onnx.exploration.record import Exploration
    from cleanai_onnx.jobs.analysis import analyze
    from cleanai_onnx.jobs.asserting import assert_coverage
    from cleanai_onnx.jobs.combining import combine
    from cleanai_onnx.jobs.comparing import compare
    from cleanai_onnx.jobs.exploration_options import ExplorationOptions
    from cleanai_onnx.jobs.exploring import explore
    from cleanai_onnx.jobs.inspecting import inspect, inspect_models
    from cleanai_onnx.jobs.profiling import learn
    from cleanai_onnx.measuring.analyzer import Analyzer
    from cleanai_onnx.profiles import Profile
    from cleanai_onnx.profiles import load as load_profile
    from cleanai_onnx.profiles import merge as merge_profiles
    from cleanai_onnx.profiles import save as save_profile
    from cleanai_onnx.relevance import Attribution, Explainer, attribute
    from cleanai_onnx.report import read as load_result
    from cleanai_onnx.result import Result
    from cleanai_onnx.tracking import log_to_mlflow
    from cleanai_onnx.validation import diff

__all__ = [
    "Analyzer",
    "Attribution",
    "CleanAIError",
    "Explainer",
    "Exploration",
    "ExplorationOptions",
    "ImageError",
    "ModelError",
    "OutputError",
    "Parameters",
    "Profile",
    "ProfileParameters",
    "Result",
    "UsageError",
    "__version__",
    "analyze",
    "assert_coverage",
    "attribute",
    "combine",
    "compare",
    "diff",
    "explore",
    "inspect",
    "inspect_models",
    "learn",
    "load_profile",
    "load_result",
    "log_to_mlflow",
    "merge_profiles",
    "save_profile",
]

_HOMES = {
    "Analyzer": ("cleanai_onnx.measuring.analyzer", "Analyzer"),
    "analyze": ("cleanai_onnx.jobs.analysis", "analyze"),
    "combine": ("cleanai_onnx.jobs.combining", "combine"),
    "assert_coverage": ("cleanai_onnx.jobs.asserting", "assert_coverage"),
    "Parameters": ("cleanai_onnx.coverage", "Parameters"),
    "ProfileParameters": ("cleanai_onnx.coverage", "ProfileParameters"),
    "Profile": ("cleanai_onnx.profiles", "Profile"),
    "inspect": ("cleanai_onnx.jobs.inspecting", "inspect"),
    "inspect_models": ("cleanai_onnx.jobs.inspecting", "inspect_models"),
    "learn": ("cleanai_onnx.jobs.profiling", "learn"),
    "load_profile": ("cleanai_onnx.profiles", "load"),
    "merge_profiles": ("cleanai_onnx.profiles", "merge"),
    "save_profile": ("cleanai_onnx.profiles", "save"),
    "Exploration": ("cleanai_onnx.exploration.record", "Exploration"),
    "ExplorationOptions": ("cleanai_onnx.jobs.exploration_options", "ExplorationOptions"),
    "explore": ("cleanai_onnx.jobs.exploring", "explore"),
    "compare": ("cleanai_onnx.jobs.comparing", "compare"),
    "diff": ("cleanai_onnx.validation", "diff"),
    "Result": ("cleanai_onnx.result", "Result"),
    "log_to_mlflow": ("cleanai_onnx.tracking", "log_to_mlflow"),
    "load_result": ("cleanai_onnx.report", "read"),
    **{
        name: ("cleanai_onnx.relevance", name) for name in ("Attribution", "Explainer", "attribute")
    },
    **{
        name: ("cleanai_onnx.errors", name)
        for name in ("CleanAIError", "ImageError", "ModelError", "OutputError", "UsageError")
    },
}


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
