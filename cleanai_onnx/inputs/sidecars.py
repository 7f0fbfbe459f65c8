"""Preprocessing that other tools leave beside a model, or in its metadata.

* ``<model>.preprocessing.json``, which the converters write: our settings, for this model alone.
* ``preprocessor_config.json`` (Hugging Face transformers): beside the model, or one folder up
  where the model lies in a folder called ``onnx``, as Optimum lays them out.
* ``config.json`` with a ``pretrained_cfg`` (timm), in the same places.
* The model's ``metadata_props``: our own key `METADATA_KEY` (a JSON object of the names in
  `settings`), else ONNX's ``Image.BitmapPixelFormat`` and ``Image.NominalPixelRange``
  (https://onnx.ai/onnx/repo-docs/MetadataProps.html).

What a file says in a way that cannot be followed exactly is left out and noted, never bent.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.settings import read_settings

__all__ = [
    "METADATA_KEY",
    "SettingsSource",
    "from_hugging_face",
    "from_metadata",
    "from_timm",
    "preprocessing_file",
    "sidecar",
    "sidecar_path",
]

METADATA_KEY = "cleanai.preprocessing"
"""The metadata property of a model that says how its images are preprocessed, in JSON."""

_MAX_BYTES = 1 << 20
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_PIXEL_FORMATS = {"gray8": "gray", "rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA"}
_PIXEL_RANGES: dict[str, dict[str, Any]] = {
    "nominalrange_0_255": {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
    "normalized_0_1": {"scale": 1 / 255, "mean": (0.0,), "std": (1.0,)},
    "normalized_1_1": {"scale": 1 / 127.5, "mean": (1.0,), "std": (1.0,)},
}


@dataclass(frozen=True)
class SettingsSource:
    """Somewhere settings come from: its name in words, the settings, and what was left out."""

    origin: str
    settings: Mapping[str, Any]
    left_out: tuple[str, ...] = field(default=())


def preprocessing_file(path: Path) -> SettingsSource:
    """Read a JSON or TOML file of settings, a Hugging Face or a timm configuration.

    Raises
    ------
    UsageError
        If the file cannot be read or has a setting that is unknown or not allowed.
    """
    origin = f"preprocessing file '{shown(path.name)}'"
    values = _read_mapping(path, origin)
    if _is_hugging_face(values):
        return from_hugging_face(values, origin)
    if _is_timm(values):
        return from_timm(values, origin)
    return SettingsSource(origin, read_settings(values, origin))


def sidecar_path(model_path: Path) -> Path:
    """Return where the settings of one model lie: ``net.onnx`` has ``net.preprocessing.json``."""
    return model_path.with_name(f"{model_path.stem}.preprocessing.json")


def sidecar(model_path: Path) -> SettingsSource | None:
    """Return what a file beside the model says of its preprocessing; None if there is no such file.

    Raises
    ------
    UsageError
        If there is a settings file of the model, or a ``preprocessor_config.json``, that cannot be
        read.
    """
    own = sidecar_path(model_path)
    if own.is_file():
        origin = f"sidecar {shown(own.name)}"
        return SettingsSource(origin, read_settings(_read_mapping(own, origin), origin))
    folders = [model_path.parent]
    if model_path.absolute().parent.name == "onnx":
        folders.append(model_path.absolute().parent.parent)
    for folder in folders:
        path = folder / "preprocessor_config.json"
        if path.is_file():
            origin = "sidecar preprocessor_config.json (Hugging Face)"
            values = _read_mapping(path, origin)
            if _is_hugging_face(values):
                return from_hugging_face(values, origin)
        path = folder / "config.json"
        if path.is_file():
            origin = "sidecar config.json (timm)"
            try:
                values = _read_mapping(path, origin)
            except UsageError:  # a name that many tools use: it need not be for us
                continue
            if _is_timm(values):
                return from_timm(values, origin)
    return None


def from_metadata(metadata: Mapping[str, str]) -> SettingsSource | None:
    """Return what a model's ``metadata_props`` say of its preprocessing; None if nothing.

    Raises
    ------
    UsageError
        If the value of `METADATA_KEY` is not a JSON object of known settings.
    """
    if METADATA_KEY in metadata:
        origin = f"model metadata ({METADATA_KEY})"
        values = _json_object(metadata[METADATA_KEY], origin)
        return SettingsSource(origin, read_settings(values, origin))
    lowered = {key.lower(): value.strip().lower() for key, value in metadata.items()}
    settings: dict[str, Any] = {}
    left_out = []
    if (pixel_format := lowered.get("image.bitmappixelformat")) is not None:
        if pixel_format in _PIXEL_FORMATS:
            settings["channel_order"] = _PIXEL_FORMATS[pixel_format]
        else:
            left_out.append(f"Image.BitmapPixelFormat {shown(pixel_format, 40)} is not supported")
    if (pixel_range := lowered.get("image.nominalpixelrange")) is not None:
        if pixel_range in _PIXEL_RANGES:
            settings.update(_PIXEL_RANGES[pixel_range])
        else:
            left_out.append(f"Image.NominalPixelRange {shown(pixel_range, 40)} is not supported")
    if not settings and not left_out:
        return None
    return SettingsSource("model metadata (ONNX Image.*)", settings, tuple(left_out))


def from_hugging_face(values: Mapping[str, Any], origin: str) -> SettingsSource:
    """Translate a Hugging Face image processor's configuration.

    Raises
    ------
    UsageError
        If one of its values is not allowed.
    """
    found: dict[str, Any] = {}
    left_out: list[str] = []
    mean = values.get("image_mean")
    if not (isinstance(mean, list) and len(mean) == 1):  # one mean: a grayscale model
        found["channel_order"] = "RGB"
    if values.get("do_flip_channel_order"):
        found["channel_order"] = "BGR"
    _hugging_face_geometry(values, found, left_out)
    resample = values.get("resample")
    if isinstance(resample, int) and resample in _RESAMPLING:
        found["interpolation"] = _RESAMPLING[resample]
    if values.get("rescale_offset") or values.get("do_offset") or values.get("include_top"):
        left_out.append("rescale_offset, do_offset or include_top is not supported")
    else:
        rescale = values.get("do_rescale", True)
        found["scale"] = values.get("rescale_factor", 1 / 255) if rescale else 1
        if not values.get("do_normalize", "image_mean" in values):
            found.update(mean=0, std=1)
        elif mean is not None and values.get("image_std") is not None:
            found.update(mean=mean, std=values["image_std"])
        else:
            del found["scale"]
            left_out.append("do_normalize is set without image_mean and image_std")
    return SettingsSource(origin, read_settings(found, origin), tuple(left_out))


def _hugging_face_geometry(
    values: Mapping[str, Any], found: dict[str, Any], left_out: list[str]
) -> None:
    size, crop_size = values.get("size"), values.get("crop_size")
    crops = bool(values.get("do_center_crop", False))
    if crops and crop_size is None:
        crop_size = size if isinstance(size, int) else None
    # Old files give one number: with a crop it is the shorter side, without one a square.
    if isinstance(size, int) and not isinstance(size, bool) and crops:
        size = {"shortest_edge": size}
    if isinstance(size, Mapping):
        keys = set(size)
        if keys == {"shortest_edge"}:
            _shortest_edge(values, size["shortest_edge"], crops, found)
        elif keys == {"height", "width"}:
            found.update(resize="stretch", size=dict(size), crop="none")
        else:
            left_out.append(f"size with {shown(', '.join(sorted(map(str, keys))), 80)}")
    elif size is not None:
        found.update(resize="stretch", size=size, crop="none")
    if not values.get("do_resize", size is not None):
        for name in ("resize", "size", "crop"):
            found.pop(name, None)
        found["resize"] = "none"
    if crops and crop_size is not None:
        found["crop"] = crop_size


def _shortest_edge(
    values: Mapping[str, Any], edge: Any, crops: bool, found: dict[str, Any]
) -> None:
    crop_pct = values.get("crop_pct")
    if isinstance(crop_pct, int | float) and crop_pct > 0 and isinstance(edge, int):
        # ConvNeXt: small images keep a border, which is cropped; large ones are warped
        if edge < 384:
            found.update(resize="shorter-side", size=int(edge / crop_pct), crop=edge)
        else:
            found.update(resize="stretch", size=edge, crop="none")
    else:
        found.update(resize="shorter-side", size=edge)
        if not crops:
            found["crop"] = edge


def from_timm(values: Mapping[str, Any], origin: str) -> SettingsSource:
    """Translate timm's ``pretrained_cfg``: resize to floor(size / crop_pct), then crop to size.

    Raises
    ------
    UsageError
        If one of its values is not allowed.
    """
    config = values.get("pretrained_cfg", values)
    found: dict[str, Any] = {"channel_order": "RGB", "scale": 1 / 255}
    left_out: list[str] = []
    for name in ("mean", "std"):
        if name in config:
            found[name] = config[name]
    interpolation = config.get("interpolation")
    if interpolation is not None and interpolation != "random":
        found["interpolation"] = interpolation
    shape = config.get("input_size")
    percentage = config.get("crop_pct") or 0.875
    if isinstance(shape, list | tuple) and len(shape) == 3 and _is_positive(percentage):
        channels, *sides = shape
        if channels == 1:
            found["channel_order"] = "gray"
        mode = config.get("crop_mode") or "center"
        whole = all(isinstance(side, int) for side in sides)
        if whole and mode == "center" and sides[0] == sides[1]:
            enlarged = math.floor(sides[0] / percentage)
            found.update(resize="shorter-side", size=enlarged, crop=sides)
        elif whole and mode == "squash":
            enlarged_sides = [math.floor(side / percentage) for side in sides]
            found.update(resize="stretch", size=enlarged_sides, crop=sides)
        else:
            left_out.append(f"crop_mode {shown(str(mode), 40)} for {shown(str(sides), 40)}")
    return SettingsSource(origin, read_settings(found, origin), tuple(left_out))


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0.01 <= value <= 100


def _is_hugging_face(values: Mapping[str, Any]) -> bool:
    return any(key.startswith(("do_", "image_")) for key in values)


def _is_timm(values: Mapping[str, Any]) -> bool:
    config = values.get("pretrained_cfg", values)
    return isinstance(config, Mapping) and "input_size" in config and "mean" in config


def _read_mapping(path: Path, origin: str) -> Mapping[str, Any]:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        why = "it does not exist" if isinstance(error, FileNotFoundError) else "it is not readable"
        raise UsageError(f"The {origin} cannot be read: {why}.") from None
    if len(content) > _MAX_BYTES:
        raise UsageError(f"The {origin} is larger than a megabyte: it is not such a file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"The {origin} is not text in UTF-8.") from None
    if path.suffix.lower() == ".toml":
        try:
            return tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError):
            raise UsageError(f"The {origin} is not valid TOML.") from None
    return _json_object(text, origin)


def _json_object(text: str, origin: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"The {origin} is not valid JSON.") from None
    if not isinstance(values, dict):
        raise UsageError(f"The {origin} is not a JSON object of preprocessing settings.")
    return values
