"""Finding, decoding and preprocessing images, and where each preprocessing setting came from."""

from cleanai_onnx.inputs.decoding import MAX_PIXELS
from cleanai_onnx.inputs.discovery import IMAGE_SUFFIXES, discover
from cleanai_onnx.inputs.manifest import Manifest
from cleanai_onnx.inputs.masks import load_mask
from cleanai_onnx.inputs.pictures import as_plane, picture, value_range
from cleanai_onnx.inputs.preprocessing import (
    INTERPOLATIONS,
    RESIZE_MODES,
    Preprocessing,
    Unchanged,
)
from cleanai_onnx.inputs.presets import PRESETS
from cleanai_onnx.inputs.resolution import ResolvedPreprocessing, resolve_preprocessing
from cleanai_onnx.inputs.sidecars import METADATA_KEY
from cleanai_onnx.inputs.streaming import (
    Batch,
    BatchStream,
    NoneUsableError,
    Position,
    aligned_empty,
    stream,
)
from cleanai_onnx.inputs.suite import Suite
from cleanai_onnx.inputs.thumbnails import thumbnail

__all__ = [
    "IMAGE_SUFFIXES",
    "INTERPOLATIONS",
    "MAX_PIXELS",
    "METADATA_KEY",
    "PRESETS",
    "RESIZE_MODES",
    "Batch",
    "BatchStream",
    "Manifest",
    "NoneUsableError",
    "Position",
    "Preprocessing",
    "ResolvedPreprocessing",
    "Suite",
    "Unchanged",
    "aligned_empty",
    "as_plane",
    "discover",
    "load_mask",
    "picture",
    "resolve_preprocessing",
    "stream",
    "thumbnail",
    "value_range",
]
