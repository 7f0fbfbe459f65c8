"""Preprocessing that a Keras model does itself, in its first layers.

``Rescaling`` computes ``scale * x + offset``, ``Normalization`` ``(x - mean) / sqrt(variance)``:
together an affine map of the input, for each channel ``slope * x + shift``. Its slope says which
pixels the model was made for. A network is fed values that spread over about 0.5 to 40: the 255
grey levels do so if the slope is 0.5/255 to 40/255, pixels of 0 to 1 if it is 0.5 to 40. These
ranges do not meet; between and beyond them nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Told", "told_by"]

_SPREAD = (0.5, 40.0)
_IDLE = frozenset({"InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"})
"""Layers that do nothing when a model is used; so do layers whose names begin with ``Random``."""


@dataclass(frozen=True)
class Told:
    """What a model tells of its preprocessing: settings, and sentences for the user."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def told_by(model: Any) -> Told:
    """Return what a Keras model with one image input tells of its preprocessing.

    The layout is told by layers that have a data format, the size by the input, the range of the
    pixels by the rescaling layers that come first.
    """
    shape = tuple(model.inputs[0].shape) if len(getattr(model, "inputs", None) or ()) == 1 else ()
    if len(shape) != 4:
        return Told()
    formats = {getattr(layer, "data_format", None) for layer in model._flatten_layers()} - {None}
    if formats != {"channels_last"} or shape[3] not in (1, 3, 4):
        return Told()
    settings: dict[str, Any] = {"layout": "NHWC"}
    if shape[1] is not None and shape[2] is not None:
        settings["size"] = [shape[1], shape[2]]
    names, slope, shift = _affine_start(model, shape[3])
    if not names:
        return Told(settings)
    words = " and ".join(names)
    spread = 255 * np.abs(slope)
    if np.all((spread >= _SPREAD[0]) & (spread <= _SPREAD[1])):
        pixels, scale = "0 to 255", 1.0
    elif np.all((spread / 255 >= _SPREAD[0]) & (spread / 255 <= _SPREAD[1])):
        pixels, scale = "0 to 1", 1 / 255
    else:
        return Told(
            settings,
            (
                f"The model begins with {words}, but its factor of {_figures(slope)} fits neither "
                "pixels of 0 to 255 nor of 0 to 1: say which with --scale 1 or --scale 1/255.",
            ),
        )
    settings |= {"scale": scale, "mean": [0.0], "std": [1.0]}
    low, high = shift, slope * (255.0 if scale == 1.0 else 1.0) + shift
    remark = (
        f"The model begins with {words} and so takes pixels of {pixels} ({shape[3]} channels, "
        f"NHWC), which it brings to {_figures(np.minimum(low, high).min())} to "
        f"{_figures(np.maximum(low, high).max())} itself."
    )
    return Told(settings, (remark,))


def _figures(values: Any) -> str:
    return ", ".join(f"{value:.4g}" for value in np.unique(np.atleast_1d(values)))


Channels = npt.NDArray[np.float64]


def _affine_start(model: Any, channels: int) -> tuple[list[str], Channels, Channels]:
    """Return the kinds of the affine layers at the start, and slope and shift for each channel."""
    names: list[str] = []
    slope, shift = np.ones(channels), np.zeros(channels)
    for layer in _first_layers(model):
        kind = type(layer).__name__
        if not type(layer).__module__.startswith("keras."):
            break
        if kind in _IDLE or kind.startswith("Random"):
            continue
        if kind == "Rescaling":
            factor, offset = layer.scale, layer.offset
        elif kind == "Normalization":
            found = _normalization(layer)
            if found is None:
                break
            factor, offset = found
        else:
            break
        factors, offsets = _per_channel(factor, channels), _per_channel(offset, channels)
        if factors is None or offsets is None:
            break
        slope, shift = factors * slope, factors * shift + offsets
        names.append(kind)
    return names, slope, shift


def _normalization(layer: Any) -> tuple[Channels, Channels] | None:
    """Return factor and offset of a Normalization layer, or None if it has none yet."""
    mean, variance = layer.mean, layer.variance
    if mean is None or variance is None:
        return None
    import keras

    mean, variance = (
        np.asarray(keras.ops.convert_to_numpy(value), np.float64) for value in (mean, variance)
    )
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    return (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)


def _per_channel(value: Any, channels: int) -> Channels | None:
    """Return one number for each channel; None if the value differs within a channel."""
    array = np.asarray(value, np.float64)
    if array.size == 1:
        return np.full(channels, array.reshape(()))
    return array.reshape(channels) if array.shape[-1] == channels == array.size else None


def _first_layers(model: Any) -> Iterator[Any]:
    """Yield the layers from the input on, as long as each is the only reader of the one before.

    Models inside the model are entered.
    """
    import keras

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            yield from _first_layers(layer) if isinstance(layer, keras.Sequential) else (layer,)
        return
    if not hasattr(model, "operations") or len(model.inputs) != 1:
        return
    tensor = model.inputs[0]
    for _ in range(64):
        readers = [operation for operation in model.operations if _reads(operation, tensor)]
        if len(readers) != 1:
            return
        (reader,) = readers
        if isinstance(reader, keras.Model):
            yield from _first_layers(reader)
            return
        yield reader
        if len(reader._inbound_nodes) != 1 or len(reader._inbound_nodes[0].outputs) != 1:
            return
        tensor = reader._inbound_nodes[0].outputs[0]


def _reads(operation: Any, tensor: Any) -> bool:
    return any(
        source is tensor for node in operation._inbound_nodes for source in node.input_tensors
    )
