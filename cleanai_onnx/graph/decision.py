"""The decision: the output whose largest value is the class that a model predicts."""

from __future__ import annotations

import glob
from dataclasses import replace

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.image_input import ImageInput
from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.taps import Taps, find_taps

__all__ = ["find_decision"]


def find_decision(
    model: Model, image_input: ImageInput, input_shape: tuple[int, ...]
) -> Taps | None:
    """Return a tap of the model's first output, or None where that cannot be tapped.

    A softmax at the end changes no order, so it does not matter whether there is one.

    Parameters
    ----------
    model, image_input
        The model and the input that takes the images.
    input_shape
        The shape of a batch as the model takes it.
    """
    name = model.proto.graph.output[0].name
    try:
        found = find_taps(model, image_input, input_shape, (glob.escape(name),))
    except ModelError:
        return None
    keep = [i for i, point in enumerate(found.points) if point.tensor == name]
    if not keep:
        return None
    points, shapes = found.points[keep[0]], found.shapes[keep[0]]
    return replace(found, points=(points,), shapes=(shapes,), untapped=())
