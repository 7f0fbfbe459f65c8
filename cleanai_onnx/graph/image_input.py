"""Which input takes the images, how they lie in it, and values for all other inputs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx

from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.names import shown
from cleanai_onnx.graph.topology import Topology, attribute
from cleanai_onnx.result import TensorFacts

__all__ = ["ImageInput", "constant_inputs", "find_image_input"]

Layout = Literal["NCHW", "NHWC"]

IMAGE_CHANNELS = frozenset({1, 3, 4})
_IMAGE_TYPES = frozenset(
    {"float16", "float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64"}
)
_MOST_CONSTANT_BYTES = 1 << 30

# What may stand between the input and the first layer without moving an axis.
_KEEPS_AXES = frozenset(
    {"Add", "Cast", "Clip", "DequantizeLinear", "Div", "Identity", "Mul", "Pad", "QuantizeLinear",
     "Resize", "Sub", "Dropout"}
)  # fmt: skip
_CHANNELS_FIRST = frozenset(
    {"AveragePool", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "FusedConv",
     "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN",
     "MaxPool", "QLinearConv", "SpaceToDepth"}
)  # fmt: skip
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "FusedConv": 1, "QLinearConv": 3}
"""Convolutions by the position of their weight among the inputs."""


@dataclass(frozen=True)
class ImageInput:
    """The input that takes the images.

    Attributes
    ----------
    name
        The graph input's name.
    dtype
        Name of its numpy dtype.
    shape
        As the model gives it, batch included; None for a size that is not fixed.
    batch
        The fixed batch size, or None where any will do.
    layout
        ``"NCHW"`` or ``"NHWC"``, or None: then the suite must be arrays of the shape as given.
    channels, height, width
        Sizes of one image; None where not fixed or without a layout.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    batch: int | None
    layout: Layout | None
    channels: int | None
    height: int | None
    width: int | None


def find_image_input(model: Model, name: str | None = None) -> ImageInput:
    """Find the input that takes the images, by its shape or by its name.

    Without a name it is the only input of rank 4 with 1, 3 or 4 channels, or the only input.

    Raises
    ------
    ModelError
        If there is none, if several would do (the message says to use ``--input``), or if the one
        that was named cannot take images.
    """
    if not model.inputs:
        raise ModelError("the model has no inputs, so there is nothing to give it images through.")
    topology = Topology.of(model.proto.graph)
    if name is not None:
        facts = next((facts for facts in model.inputs if facts.name == name), None)
        if facts is None:
            raise ModelError(
                f"the model has no input {shown(name)}: its inputs are {_list(model)}."
            )
        return _image_input(facts, topology)
    if len(model.inputs) == 1:
        return _image_input(model.inputs[0], topology)
    found = [
        candidate
        for facts in model.inputs
        if facts.dtype in _IMAGE_TYPES and len(facts.shape) == 4
        for candidate in [_image_input(facts, topology)]
        if candidate.layout is not None and candidate.channels in IMAGE_CHANNELS
    ]
    if len(found) == 1:
        return found[0]
    problem = "several inputs that could take images" if found else "no input shaped like images"
    raise ModelError(
        f"the model has {problem}: say which with --input NAME, its inputs are {_list(model)}."
    )


def _list(model: Model) -> str:
    parts = [
        f"{shown(facts.name)} ({facts.dtype}, {'x'.join(str(s)[:20] for s in facts.shape)})"
        for facts in model.inputs[:10]
    ]
    more = len(model.inputs) - len(parts)
    return ", ".join(parts) + (f" and {more} more" if more else "")


def _image_input(facts: TensorFacts, topology: Topology) -> ImageInput:
    if facts.dtype not in _IMAGE_TYPES:
        raise ModelError(
            f"the input {shown(facts.name)} has the element type {facts.dtype}, which images "
            "cannot have: name another with --input NAME."
        )
    evidence, channels_seen = _graph_evidence(facts.name, topology)
    shape: tuple[int | None, ...] = tuple(s if isinstance(s, int) else None for s in facts.shape)
    if facts.shape == ("…",):
        if evidence is None:
            raise ModelError(
                f"the input {shown(facts.name)} has no shape: export the model with input shapes."
            )
        shape = (None,) * 4
    if len(shape) < 2:
        raise ModelError(
            f"the input {shown(facts.name)} has {len(shape)} axes, images need at least a batch "
            "axis and one more: name another with --input NAME."
        )
    layout = _layout(shape, evidence) if len(shape) == 4 else None
    if layout is None:
        return ImageInput(facts.name, facts.dtype, shape, shape[0], None, None, None, None)
    axes = (1, 2, 3) if layout == "NCHW" else (3, 1, 2)
    channels, height, width = (shape[axis] for axis in axes)
    if channels is None and evidence == layout:
        channels = channels_seen
    return ImageInput(facts.name, facts.dtype, shape, shape[0], layout, channels, height, width)


def _layout(shape: tuple[int | None, ...], evidence: Layout | None) -> Layout | None:
    first, last = shape[1] in IMAGE_CHANNELS, shape[3] in IMAGE_CHANNELS
    if first != last:
        return "NCHW" if first else "NHWC"
    if evidence is not None:
        return evidence
    if first:
        return "NCHW"
    if None in shape[1:]:
        return None
    sizes = [size for size in shape[1:] if size is not None]
    if sizes[0] < min(sizes[1:]):
        return "NCHW"
    return "NHWC" if sizes[2] < min(sizes[:2]) else None


def _graph_evidence(name: str, topology: Topology) -> tuple[Layout | None, int | None]:
    """Return the layout that the first layers ask for, and the first convolution's channels."""
    tensor = name
    layout: Layout | None = None
    for _ in range(16):
        readers = [topology.graph.node[index] for index in topology.readers.get(tensor, ())]
        for node in readers:
            if node.op_type in _CHANNELS_FIRST and node.input[0] == tensor:
                return layout or "NCHW", _convolved_channels(node, topology)
        step = next((n for n in readers if n.op_type in (*_KEEPS_AXES, "Transpose")), None)
        if step is None:
            return layout, None
        if step.op_type == "Transpose":
            perm = attribute(step, "perm")
            if layout is not None or perm is None or list(perm.ints) != [0, 3, 1, 2]:
                return layout, None
            layout = "NHWC"
        tensor = step.output[0]
    return layout, None


def _convolved_channels(node: onnx.NodeProto, topology: Topology) -> int | None:
    position = _CONVOLUTIONS.get(node.op_type)
    if position is None or len(node.input) <= position:
        return None
    weight = topology.initializers.get(node.input[position])
    if weight is None or len(weight.dims) != 4:
        return None
    group = attribute(node, "group")
    return int(weight.dims[1]) * (group.i if group is not None else 1)


def constant_inputs(
    model: Model, image_input: ImageInput, given: Mapping[str, str], batch: int = 1
) -> dict[str, npt.NDArray[np.generic]]:
    """Return a value for each input that does not take images.

    Parameters
    ----------
    model, image_input
        The model and the input that needs no value.
    given
        The text after ``--input-value NAME=``: a number, ``true`` or ``false``, which fills the
        input, or a JSON list with its elements.
    batch
        Size of an input's first axis where that has the symbol of the images' batch axis. All
        other sizes that are not fixed are 1 when a number fills the input.

    Raises
    ------
    UsageError
        If a value names no such input, or is not a number or list that fits it.
    ModelError
        If an input has no value, or cannot have one.
    """
    others = [facts for facts in model.inputs if facts.name != image_input.name]
    known = {facts.name for facts in others}
    for name in given:
        if name not in known:
            raise UsageError(
                f"--input-value names {shown(name)}, which is not another input of the model: "
                f"its inputs are {_list(model)}, and images go to {shown(image_input.name)}."
            )
    symbol = next(facts.shape[0] for facts in model.inputs if facts.name == image_input.name)
    values: dict[str, npt.NDArray[np.generic]] = {}
    for facts in others:
        if facts.name not in given:
            raise ModelError(
                f"the model has another input {shown(facts.name)} ({facts.dtype}, "
                f"{'x'.join(str(s)[:20] for s in facts.shape)}): give it a value with "
                f"--input-value {shown(facts.name)[1:-1]}=VALUE."
            )
        shape = tuple(
            batch if axis == 0 and size == symbol and size != "?" else size
            for axis, size in enumerate(facts.shape)
        )
        values[facts.name] = _constant(facts, shape, given[facts.name])
    return values


def _constant(
    facts: TensorFacts, shape: tuple[int | str, ...], text: str
) -> npt.NDArray[np.generic]:
    title = f"--input-value for {shown(facts.name)}"
    try:
        dtype = np.dtype(facts.dtype)
    except TypeError as error:
        raise ModelError(
            f"the input {shown(facts.name)} has the element type {facts.dtype}, which cannot be "
            "given a value: export the model without it."
        ) from error
    try:
        parsed = json.loads(text, parse_constant=float)
        value = np.asarray(parsed)
        if value.dtype.kind not in "biuf":
            raise ValueError("not a number")
        if dtype.kind in "iu" and not (
            np.all(np.mod(value, 1) == 0)
            and np.all((value >= np.iinfo(dtype).min) & (value <= np.iinfo(dtype).max))
        ):
            raise ValueError(f"does not fit {facts.dtype}")
        value = value.astype(dtype)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{title} is {shown(text)}, which is neither a number nor a JSON list of numbers "
            f"for the element type {facts.dtype}."
        ) from error
    if value.ndim == 0:
        sizes = () if shape == ("…",) else tuple(s if isinstance(s, int) else 1 for s in shape)
        if math.prod(sizes) * dtype.itemsize > _MOST_CONSTANT_BYTES:
            raise ModelError(
                f"the input {shown(facts.name)} asks for "
                f"{math.prod(sizes) * dtype.itemsize / 2**30:,.1f} GiB, which is more than an "
                "input may have besides the images."
            )
        return np.full(sizes, value, dtype=dtype)
    fixed = [size for size in shape if isinstance(size, int)]
    if shape != ("…",) and (
        value.ndim != len(shape)
        or any(isinstance(s, int) and s != v for s, v in zip(shape, value.shape, strict=True))
    ):
        if len(fixed) == len(shape) and value.size == math.prod(fixed):
            return value.reshape(fixed)
        raise UsageError(
            f"{title} has the shape {value.shape}, but the input takes "
            f"{'x'.join(str(s)[:20] for s in shape) or 'one number'}."
        )
    return value
