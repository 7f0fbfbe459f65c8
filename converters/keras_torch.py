"""Route 2: a Keras model of the torch backend, which is a torch module, through torch's exporters.

Keras's own export uses torch's older exporter as soon as the batch size is free, and that one
stumbles over shapes that Keras computes (LayerNormalization). The dynamo exporter takes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cleanai_onnx.converters.keras_source import KerasSource
from cleanai_onnx.converters.pytorch import OPSET

__all__ = ["export"]

_TRACED_BATCH = 2
"""A batch of one would be taken for a constant."""
_MOST_INSIDE = 1 << 28
_TRACED_SIDE = 64


def export(source: KerasSource, path: Path, opset: int | None) -> Sequence[str]:
    """Write the model; return no remarks."""
    import torch

    class Called(torch.nn.Module):
        """The model as in use, with tensors in and a flat tuple out."""

        def __init__(self) -> None:
            super().__init__()
            self.model = source.model

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            return tuple(source.call(*tensors))

    example = tuple(
        torch.zeros(
            [spec.shape[0] or _TRACED_BATCH, *(size or _TRACED_SIDE for size in spec.shape[1:])],
            dtype=getattr(torch, spec.dtype),
        )
        for spec in source.inputs
    )
    free = [
        {axis: "batch" if axis == 0 else f"size_{number}_{axis}"
         for axis, size in enumerate(spec.shape) if size is None}
        for number, spec in enumerate(source.inputs)
    ]  # fmt: skip
    names = [spec.name for spec in source.inputs]
    arguments: dict[str, Any] = {
        "input_names": names,
        "opset_version": opset or OPSET,
        "verbose": False,
    }
    with torch.no_grad():
        count = len(source.call(*example))
    if count == len(source.output_names):
        arguments["output_names"] = list(source.output_names)
    dynamo = source.options.get("exporter") != "torchscript"
    if dynamo:
        arguments |= {
            "dynamo": True,
            "external_data": source.parameters > _MOST_INSIDE,
            "dynamic_shapes": (tuple(free),),
        }
    else:
        outputs = arguments.setdefault("output_names", [f"output_{n + 1}" for n in range(count)])
        axes = dict(zip(names, free, strict=True))
        if all(0 in free_axes for free_axes in free):
            axes |= {name: {0: "batch"} for name in outputs}
        arguments |= {"dynamo": False, "dynamic_axes": axes}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(Called().eval(), example, str(path), **arguments)
    return ()
