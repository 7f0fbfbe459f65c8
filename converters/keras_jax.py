"""Route 3: a Keras model of the JAX backend through jax2onnx."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx.converters.keras_naming import name_tensors
from cleanai_onnx.converters.keras_repairs import repair_pooling
from cleanai_onnx.converters.keras_source import KerasSource

__all__ = ["export"]


def export(source: KerasSource, path: Path, opset: int | None) -> Sequence[str]:
    """Write the model; return remarks on what was repaired."""
    import jax
    import jax2onnx

    def called(*arrays: Any) -> Any:
        outputs = source.call(*arrays)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    specs = [
        jax.ShapeDtypeStruct(
            tuple(
                ("batch" if axis == 0 else f"size_{number}_{axis}") if size is None else size
                for axis, size in enumerate(spec.shape)
            ),
            np.dtype(spec.dtype),
        )
        for number, spec in enumerate(source.inputs)
    ]
    chosen = {} if opset is None else {"opset": opset}
    jax2onnx.to_onnx(
        called,
        inputs=specs,
        input_names=[spec.name for spec in source.inputs],
        return_mode="file",
        output_path=str(path),
        **chosen,
    )
    name_tensors(path, source.output_names)
    repaired = repair_pooling(path)
    if not repaired:
        return ()
    return (
        f"jax2onnx wrote {repaired} pooling operator{'s' if repaired > 1 else ''} over four axes, "
        "which onnxruntime refuses; they were rewritten over height and width, and the parity "
        "above includes them.",
    )
