"""The routes from Keras to ONNX, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cleanai_onnx.converters.source import Route

__all__ = ["BACKENDS", "SAVED_MODEL", "routes_of", "with_fixed"]

BACKENDS = ("tensorflow", "torch", "jax")
"""In the order in which they are tried."""

_LOADER = "cleanai_onnx.converters.keras_source:load"
_CPU = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "KERAS_TORCH_DEVICE": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""The comparison is of two computations on the CPU, whatever else is there."""

_ROUTES = {
    "tensorflow": (
        Route(
            name="TensorFlow with tf2onnx",
            load=_LOADER,
            needs=("keras", "tensorflow", "tf2onnx"),
            environment={"KERAS_BACKEND": "tensorflow", **_CPU},
        ),
    ),
    "torch": (
        Route(
            name="torch backend, dynamo exporter",
            load=_LOADER,
            needs=("keras", "torch", "onnxscript"),
            options={"exporter": "dynamo"},
            environment={"KERAS_BACKEND": "torch", **_CPU},
        ),
        Route(
            name="torch backend, TorchScript exporter",
            load=_LOADER,
            needs=("keras", "torch"),
            options={"exporter": "torchscript"},
            environment={"KERAS_BACKEND": "torch", **_CPU},
        ),
    ),
    "jax": (
        Route(
            name="JAX with jax2onnx",
            load=_LOADER,
            needs=("keras", "jax", "jax2onnx"),
            environment={"KERAS_BACKEND": "jax", **_CPU},
        ),
    ),
}
SAVED_MODEL = (
    Route(
        name="TensorFlow with tf2onnx",
        load="cleanai_onnx.converters.keras_saved_model:load",
        needs=("tensorflow", "tf2onnx"),
        environment=_CPU,
    ),
)


def routes_of(backend: str) -> tuple[Route, ...]:
    """Return the routes of a backend of Keras, in the order in which they are tried."""
    return _ROUTES.get(backend, ())


def with_fixed(routes: Sequence[Route]) -> list[Route]:
    """Return routes with a free batch size, then those that are worth trying with a fixed one."""
    fixed = [
        replace(
            route,
            name=f"{route.name}, fixed batch",
            batch="fixed",
            options={**route.options, "batch": "fixed"},
        )
        for route in routes
        if route.options.get("exporter") != "torchscript"
    ]
    return [*routes, *fixed]
