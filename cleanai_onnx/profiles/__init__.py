"""Profiles: what the training images taught, learnt in one pass, stored, merged and checked."""

from cleanai_onnx.profiles.learning import LAST_HIDDEN, TRACES, Profiler
from cleanai_onnx.profiles.profile import (
    Profile,
    learnt_from,
    merge,
    require_same,
    require_same_preprocessing,
)
from cleanai_onnx.profiles.storage import load, save

__all__ = [
    "LAST_HIDDEN",
    "TRACES",
    "Profile",
    "Profiler",
    "learnt_from",
    "load",
    "merge",
    "require_same",
    "require_same_preprocessing",
    "save",
]
