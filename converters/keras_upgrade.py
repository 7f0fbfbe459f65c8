"""Architectures of Keras 1 and 2, in the words that Keras 3 takes.

Keras 3 reads most of them by itself. What it stumbles over, in files that Keras 2 wrote:

* ``groups`` in depthwise, separable and transposed convolutions, which take no such argument;
* the initialisers of the base class (``kernel_initializer``, ...) in separable convolutions;
* ``batch_input_shape`` in the first layer of a ``Sequential`` outside of HDF5 files;
* the layers of a ``Sequential`` as a bare list (before Keras 2.2.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_old", "upgraded"]

_WITHOUT_GROUPS = frozenset({"DepthwiseConv2D", "SeparableConv2D", "SeparableConv1D",
                             "Conv2DTranspose", "Conv1DTranspose", "Conv3DTranspose"})  # fmt: skip
_WITHOUT_KERNEL = frozenset({"DepthwiseConv2D", "SeparableConv2D", "SeparableConv1D"})
_OF_KERNEL = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")
_MODELS = frozenset({"Sequential", "Model", "Functional"})


def is_old(architecture: Mapping[str, Any]) -> bool:
    """Say whether Keras 1 or 2 wrote an architecture.

    Keras 3 names the module of the class, except in HDF5 files, where its version stands beside.
    """
    version = architecture.get("keras_version")
    if isinstance(version, str) and version[:1].isdigit():
        return not version.startswith(("3", "4"))
    return "module" not in architecture


def upgraded(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return an architecture, or a layer of one, as Keras 3 takes it; the argument is kept."""
    layer = dict(architecture)
    kind, config = layer.get("class_name"), layer.get("config")
    if kind == "Sequential" and isinstance(config, list):
        config = {"name": "sequential", "layers": config}
    if not isinstance(config, Mapping):
        return layer
    config = dict(config)
    if kind in _WITHOUT_GROUPS and config.get("groups") == 1:
        del config["groups"]
    if kind in _WITHOUT_KERNEL:
        for name in _OF_KERNEL:
            config.pop(name, None)
    inner = config.get("layers")
    if kind in _MODELS and isinstance(inner, list):
        layers = [upgraded(one) if isinstance(one, Mapping) else one for one in inner]
        config["layers"] = _with_input(layers) if kind == "Sequential" else layers
    elif isinstance(config.get("layer"), Mapping):  # of a wrapper, such as TimeDistributed
        config["layer"] = upgraded(config["layer"])
    layer["config"] = config
    return layer


def _with_input(layers: list[Any]) -> list[Any]:
    """Make an input layer of the shape that the first layer of a Sequential tells."""
    first = layers[0] if layers and isinstance(layers[0], Mapping) else {}
    shape = first["config"].get("batch_input_shape") if "config" in first else None
    rest = [_without_shape(layer) for layer in layers]
    if shape is None or first.get("class_name") in ("InputLayer", *_MODELS):
        return rest
    name = f"{first['config'].get('name', 'first')}_input"
    dtype = first["config"].get("dtype", "float32")
    config = {"batch_input_shape": shape, "dtype": dtype, "name": name}
    return [{"class_name": "InputLayer", "config": config}, *rest]


def _without_shape(layer: Any) -> Any:
    if not isinstance(layer, Mapping) or layer.get("class_name") == "InputLayer":
        return layer
    config = layer.get("config")
    if not isinstance(config, Mapping) or "batch_input_shape" not in config:
        return layer
    return {**layer, "config": {k: v for k, v in config.items() if k != "batch_input_shape"}}
