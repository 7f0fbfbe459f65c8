"""A Keras model as a source: what it takes, what it computes, how it is exported."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx.converters.conversion import FailedAttemptError
from cleanai_onnx.converters.keras_preprocessing import told_by
from cleanai_onnx.converters.source import Array, InputSpec
from cleanai_onnx.errors import UsageError

__all__ = [
    "EXPORTERS",
    "KerasSource",
    "load",
    "reason_of",
    "source_of",
    "tensor_names",
    "versions_of",
    "with_batch",
]

EXPORTERS: Mapping[str, str] = {
    "tensorflow": "cleanai_onnx.converters.keras_tensorflow:export",
    "torch": "cleanai_onnx.converters.keras_torch:export",
    "jax": "cleanai_onnx.converters.keras_jax:export",
}
"""For each backend of Keras, the function that exports a model of it."""

Exporter = Callable[["KerasSource", Path, int | None], Sequence[str]]


@dataclass
class KerasSource:
    """A Keras model in this process.

    See `cleanai_onnx.converters.source.Source`; `output_names` are those that the ONNX model gets,
    `options` are the route's.
    """

    model: Any
    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    parameters: int
    preprocessing: Mapping[str, Any]
    remarks: tuple[str, ...]
    versions: Mapping[str, str]
    options: Mapping[str, Any]

    def predict(self, arrays: Sequence[Array]) -> Sequence[np.ndarray]:
        """Return the outputs for one batch, in the order of ``keras.tree.flatten``."""
        import keras

        outputs = self.call(*(keras.ops.convert_to_tensor(array) for array in arrays))
        return [np.array(keras.ops.convert_to_numpy(output)) for output in outputs]

    def call(self, *tensors: Any) -> list[Any]:
        """Call the model on tensors of its backend, as in use and not in training."""
        import keras

        structure = getattr(self.model, "_inputs_struct", None)
        if structure is None:
            fed = tensors[0] if len(tensors) == 1 else list(tensors)
        else:
            fed = keras.tree.pack_sequence_as(structure, list(tensors))
        return list(keras.tree.flatten(self.model(fed, training=False)))

    def export(self, path: Path, opset: int | None) -> None:
        """Write the ONNX file; what was repaired on the way is added to the remarks."""
        import keras

        module, _, name = EXPORTERS[keras.config.backend()].partition(":")
        exporter: Exporter = getattr(import_module(module), name)
        try:
            self.remarks += tuple(exporter(self, path, opset))
        except Exception as error:  # exporters raise anything
            raise FailedAttemptError(f"the exporter failed: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """Return what an exporter or a framework said, without colours and places on this machine."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)[-20_000:])
    # Where layers lie in layers, Keras repeats itself and comes to the cause at the end.
    text = text.rpartition("Exception encountered: ")[2]
    text = re.sub(r"(?:/[^\s/:'\"]+){2,}/", "", text)
    # torch and Keras go on with graphs and whole configurations.
    text = re.split(r", scope: |Full object config:|\n\n", text.strip())[0]
    return f"{type(error).__name__}: {' '.join(text.split())[:200].strip()}"


def load(request: Mapping[str, Any]) -> KerasSource:
    """Load the file that a request names, in the backend of this process."""
    from cleanai_onnx.converters.keras_loading import load_keras_model

    model = load_keras_model(
        Path(request["path"]),
        request["format"],
        weights=Path(request["weights"]) if request.get("weights") else None,
        classes=tuple(request.get("classes", ())),
        trust=bool(request.get("trust")),
    )
    return source_of(model, request)


def source_of(model: Any, request: Mapping[str, Any]) -> KerasSource:
    """Return a model of this process as a source.

    Raises
    ------
    UsageError
        If nothing says what the model takes.
    FailedAttemptError
        If it has a batch size that the route does not want.
    """
    import keras

    inputs = with_batch(_inputs(model, request.get("input_shape")), request.get("batch"))
    if not model.built or not getattr(model, "inputs", None):
        arrays = [np.zeros([size or 1 for size in spec.shape], spec.dtype) for spec in inputs]
        model(arrays[0] if len(arrays) == 1 else arrays, training=False)
    told = told_by(model)
    names = [str(name) for name in getattr(model, "output_names", None) or ()]
    backend = keras.config.backend()
    return KerasSource(
        model=model,
        inputs=inputs,
        output_names=tuple(tensor_names(names, "output")),
        parameters=int(model.count_params()),
        preprocessing=told.settings,
        remarks=told.remarks,
        versions=versions_of("keras", *_TOOLS[backend]),
        options=dict(request),
    )


_TOOLS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf2onnx"),
    "torch": ("torch", "onnxscript"),
    "jax": ("jax", "jax2onnx"),
}


def versions_of(*names: str) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _inputs(model: Any, shapes: Any) -> tuple[InputSpec, ...]:
    import keras

    tensors = list(keras.tree.flatten(getattr(model, "inputs", None) or []))
    if tensors:
        # Keras numbers inputs without a name over the whole process: that says nothing.
        names = [re.sub(r"^(keras_tensor|input_layer|input)(_\d+)?$", "input", tensor.name)
                 for tensor in tensors]  # fmt: skip
        return tuple(
            InputSpec(name, keras.backend.standardize_dtype(tensor.dtype), tuple(tensor.shape))
            for name, tensor in zip(tensor_names(names, "input"), tensors, strict=True)
        )
    if not shapes:
        raise UsageError(
            "the model does not say which shape its input has: give it without the batch, "
            "--input-shape 224,224,3 (in Python: input_shape).",
            slug="conversion-input-shape",
        )
    return tuple(
        InputSpec(name, keras.config.floatx(), (None, *shape))
        for name, shape in zip(tensor_names(["input"] * len(shapes), "input"), shapes, strict=True)
    )


def with_batch(inputs: tuple[InputSpec, ...], batch: str | None) -> tuple[InputSpec, ...]:
    """Give the inputs the batch axis that a route wants."""
    if batch == "fixed":
        return tuple(replace(spec, shape=(spec.shape[0] or 1, *spec.shape[1:])) for spec in inputs)
    for spec in inputs:
        if spec.shape[0] is not None:
            raise FailedAttemptError(f"the batch size {spec.shape[0]} is built into the model")
    return inputs


def tensor_names(names: Sequence[str], fallback: str) -> list[str]:
    """Return names that differ and that every exporter can write, in the same order."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100] or fallback
        unique, number = plain, 2
        while unique in found:
            unique, number = f"{plain}_{number}", number + 1
        found.append(unique)
    return found
