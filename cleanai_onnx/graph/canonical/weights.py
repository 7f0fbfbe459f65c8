"""Weights that lie in files beside the model, loaded into it."""

from __future__ import annotations

import onnx

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.tensors import is_external

__all__ = ["with_weights"]


def with_weights(model: Model) -> onnx.ModelProto:
    """Return the model's proto with all stored tensors in it; a copy if that changes it.

    Raises
    ------
    ModelError
        If a file is not there any more.
    """
    if not any(is_external(tensor) for tensor in model.proto.graph.initializer):
        return model.proto
    if model.directory is None:
        raise ModelError("the model's weights lie in files, but it was given in memory.")
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    try:
        onnx.load_external_data_for_model(proto, str(model.directory))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the weights beside the model cannot be read ({text}): check the folder."
        ) from error
    return proto
