"""Which preprocessing a model needs: every setting with its value and where it came from.

A setting is taken from the first of these that gives it: command line, preprocessing file,
configuration file, sidecar, model metadata, evidence in the graph, named preset. What none of them
gives and what the result depends on (the scaling, the size, the layout) is refused with the flag
to give; the few conventions that remain (RGB, bilinear) are marked as defaults in the report.
Fixed facts of the graph, such as its input size, are never overruled: what contradicts them is
refused, wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx.errors import ImageError, ModelError, UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.normalisation import normalisation_of
from cleanai_onnx.inputs.precedence import DEFAULT, Finding, Precedence
from cleanai_onnx.inputs.preprocessing import CHANNEL_ORDERS, Preprocessing, Unchanged
from cleanai_onnx.inputs.presets import PRESETS
from cleanai_onnx.inputs.settings import read_settings
from cleanai_onnx.inputs.sidecars import (
    SettingsSource,
    from_metadata,
    preprocessing_file,
    sidecar,
)
from cleanai_onnx.inputs.sizing import sizing_of
from cleanai_onnx.inputs.suite import Suite
from cleanai_onnx.result import Note, PreprocessingField

if TYPE_CHECKING:
    from cleanai_onnx.graph.image_input import ImageInput

__all__ = ["ResolvedPreprocessing", "resolve_preprocessing"]

_IMAGE_CHANNELS = frozenset(CHANNEL_ORDERS.values())
_PIXEL_INTEGERS = frozenset({"uint8", "uint16", "int16", "uint32", "int32", "uint64", "int64"})
"""Integer types that hold 0 to 255: such an input takes pixels as they are."""


@dataclass(frozen=True)
class ResolvedPreprocessing:
    """The preprocessing to apply, each of its settings with its origin, and what to tell of it."""

    preprocessing: Preprocessing | Unchanged
    fields: tuple[PreprocessingField, ...]
    notes: tuple[Note, ...] = ()


def resolve_preprocessing(
    image_input: ImageInput,
    *,
    given: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    file: Path | None = None,
    model_path: Path | None = None,
    metadata: Mapping[str, str] | None = None,
    suite: Suite | None = None,
) -> ResolvedPreprocessing:
    """Find out how images become the model's input, guessing nothing silently.

    Parameters
    ----------
    image_input
        The model's image input.
    given, config
        Settings (the names in `settings`) from the command line and the configuration file, as
        text or typed; None means not given.
    preset
        The name of a preset. It comes last: it fills in what nothing more specific gives, and the
        notes say where something else that it would have set comes first.
    file
        A preprocessing file (JSON or TOML).
    model_path
        The model, beside which sidecars are looked for.
    metadata
        The model's ``metadata_props``.
    suite
        The images. If they are arrays that are ready to be fed, the preprocessing is `Unchanged`.

    Raises
    ------
    UsageError
        If a setting is unknown, missing, not allowed, or does not fit the model.
    ModelError
        If the model's input cannot take images.
    ImageError
        If `suite` is ready and its arrays do not have the shape or the type that the model takes.
    """
    if suite is not None and suite.kind == "ready":
        return _unchanged(image_input, suite)
    sources = _sources(image_input, given, config, file, model_path, metadata)
    precedence = _with_preset(sources, preset)
    layout, channels, height, width = _axes(image_input, precedence)
    order = _channel_order(image_input, precedence, channels)
    dtype = _dtype(image_input, precedence)
    norm = normalisation_of(precedence, CHANNEL_ORDERS[order.value], image_input)
    sizing = sizing_of(precedence, (height, width), image_input.name)
    preprocessing = Preprocessing(
        size=sizing.size,
        resize=sizing.resize,
        resize_size=sizing.resize_size,
        interpolation=sizing.interpolation,
        crop=sizing.crop,
        pad=sizing.pad,
        channel_order=order.value,
        scale=norm.scale,
        mean=norm.mean,
        std=norm.std,
        layout=layout.value,
        dtype=image_input.dtype,
    )
    fields = (
        *sizing.fields,
        PreprocessingField("channel order", order.value, order.origin),
        *norm.fields,
        PreprocessingField("layout", layout.value, layout.origin),
        PreprocessingField("dtype", image_input.dtype, dtype),
    )
    notes = (*sizing.notes, *precedence.left_out_notes(), *precedence.overruled_preset_notes())
    return ResolvedPreprocessing(preprocessing, fields, notes)


def _sources(
    image_input: ImageInput,
    given: Mapping[str, Any],
    config: Mapping[str, Any] | None,
    file: Path | None,
    model_path: Path | None,
    metadata: Mapping[str, str] | None,
) -> list[SettingsSource]:
    found = [
        SettingsSource("command line", read_settings(given, "command line")),
        preprocessing_file(file) if file is not None else None,
        SettingsSource("configuration file", read_settings(config or {}, "configuration file")),
        sidecar(model_path) if model_path is not None else None,
        from_metadata(metadata) if metadata else None,
        _graph_evidence(image_input),
    ]
    return [source for source in found if source is not None]


def _graph_evidence(image_input: ImageInput) -> SettingsSource:
    settings: dict[str, Any] = {}
    if image_input.layout is not None:
        settings["layout"] = image_input.layout
    if image_input.channels == 1:
        settings["channel_order"] = "gray"
    if image_input.dtype in _PIXEL_INTEGERS:
        settings.update(scale=1.0, mean=(0.0,), std=(1.0,))
    return SettingsSource(f"graph (input '{shown(image_input.name, 60)}')", settings)


def _with_preset(sources: Sequence[SettingsSource], preset: str | None) -> Precedence:
    named_by = ""
    if preset is not None:
        preset = read_settings({"preset": preset}, "command line")["preset"]
    else:
        for source in sources:
            if "preset" in source.settings:
                preset, named_by = source.settings["preset"], f" (named by the {source.origin})"
                break
    if preset is None:
        return Precedence(tuple(sources))
    last = SettingsSource(f"preset '{preset}'{named_by}", PRESETS[preset])
    return Precedence((*sources, last), preset)


def _axes(
    image_input: ImageInput, precedence: Precedence
) -> tuple[Finding, int | None, int | None, int | None]:
    """Return the layout and the model's channels, height and width, None where not fixed."""
    name, shape = shown(image_input.name, 60), image_input.shape
    shape_words = f"({', '.join('?' if size is None else str(size) for size in shape)})"
    if len(shape) != 4:
        raise ModelError(
            f"The input '{name}' has shape {shape_words}, which is not a batch of images: give "
            "arrays of that shape in a .npy file."
        )
    layout = precedence.find("layout")
    if layout is None:
        raise UsageError(
            f"The shape {shape_words} of input '{name}' does not tell where the channels are: "
            "give --layout NCHW or --layout NHWC.",
            slug="preprocessing-unknown",
        )
    if layout.value == "NCHW":
        channels, height, width = shape[1], shape[2], shape[3]
    else:
        height, width, channels = shape[1], shape[2], shape[3]
    if channels is not None and channels not in _IMAGE_CHANNELS:
        problem = (
            f"The input '{name}' of shape {shape_words} takes {channels} channels as "
            f"{layout.value} ({layout.origin}), but images have 1, 3 or 4"
        )
        if image_input.layout == layout.value:
            raise ModelError(f"{problem}: give arrays of that shape in a .npy file.")
        raise UsageError(f"{problem}: give another --layout.")
    return layout, channels, height, width


def _channel_order(
    image_input: ImageInput, precedence: Precedence, channels: int | None
) -> Finding:
    name = shown(image_input.name, 60)
    order = precedence.find("channel_order")
    if order is None:
        if channels is None:
            raise UsageError(
                f"Nothing says how many channels the input '{name}' takes: give --channel-order "
                "RGB, BGR, gray or RGBA.",
                slug="preprocessing-unknown",
            )
        by_count = {1: "gray", 3: "RGB", 4: "RGBA"}
        return Finding(by_count[channels], f"{DEFAULT} ({channels} channels)", precedence.last)
    count = CHANNEL_ORDERS[order.value]
    if channels is not None and count != channels:
        raise UsageError(
            f"The {order.source} does not fit: {order.value} has {count} "
            f"channel{'s' if count > 1 else ''}, but the input '{name}' takes {channels} "
            "(--channel-order)."
        )
    return order


def _dtype(image_input: ImageInput, precedence: Precedence) -> str:
    wanted = precedence.find("dtype")
    name = shown(image_input.name, 60)
    if np.dtype(image_input.dtype).kind not in "fiu":
        raise ModelError(f"The input '{name}' takes {image_input.dtype}, which images cannot be.")
    if wanted is None:
        return f"graph (input '{name}')"
    if wanted.value != image_input.dtype:
        raise UsageError(
            f"The {wanted.source} does not fit: it says dtype {wanted.value}, but the input "
            f"'{name}' takes {image_input.dtype}."
        )
    return wanted.origin


def _unchanged(image_input: ImageInput, suite: Suite) -> ResolvedPreprocessing:
    """Check that ready arrays are what the model takes."""
    if suite.array is None:
        raise TypeError("a suite that is ready has an array")
    name, array = shown(image_input.name, 60), suite.array
    wanted = image_input.shape[1:]
    fits = array.ndim == len(image_input.shape) and all(
        size is None or size == have for size, have in zip(wanted, array.shape[1:], strict=True)
    )
    if not fits:
        shape = ", ".join(["N", *("?" if size is None else str(size) for size in wanted)])
        hint = " (one input needs a batch axis too)" if array.ndim == len(wanted) else ""
        raise ImageError(
            f"The array in {suite.source} has shape {array.shape}, but the input '{name}' takes "
            f"({shape}){hint}: save uint8 pixels to have them preprocessed, or that shape.",
            slug="arrays",
        )
    dtype = np.dtype(image_input.dtype)
    if array.dtype.kind != dtype.kind and not {array.dtype.kind, dtype.kind} <= {"i", "u"}:
        raise ImageError(
            f"The array in {suite.source} holds {array.dtype}, but the input '{name}' takes "
            f"{dtype}: save it as {dtype}, or as uint8 pixels to have them preprocessed.",
            slug="arrays",
        )
    if dtype.kind in "iu" and not np.can_cast(array.dtype, dtype, "safe"):
        raise ImageError(
            f"The array in {suite.source} holds {array.dtype}, which does not fit into the {dtype} "
            f"of the input '{name}': save it as {dtype}.",
            slug="arrays",
        )
    item_shape = tuple(int(size) for size in array.shape[1:])
    origin = f"ready arrays ({suite.source})"
    cast = "as they are" if array.dtype == dtype else f"{array.dtype} cast to {dtype}"
    fields = (
        PreprocessingField("values", f"{cast}, without preprocessing", origin),
        PreprocessingField("shape", " x ".join(str(size) for size in item_shape), origin),
        PreprocessingField("dtype", str(dtype), f"graph (input '{name}')"),
    )
    return ResolvedPreprocessing(Unchanged(item_shape, str(dtype)), fields)
