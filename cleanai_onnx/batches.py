"""Batches of a user's own: arrays, and what can be read as one."""

from __future__ import annotations

from typing import Any

import numpy as np

from cleanai_onnx.errors import ImageError

__all__ = ["as_array"]


def as_array(batch: Any) -> np.ndarray:
    """Return what a user calls a batch as an array.

    Raises
    ------
    ImageError
        If it is none.
    """
    if hasattr(batch, "detach") and hasattr(batch, "cpu"):
        # A torch tensor that wants a gradient, or lies on a GPU, does not convert by itself.
        batch = batch.detach().cpu()
    try:
        data = np.asarray(batch)
    except (TypeError, ValueError) as error:
        kind = type(batch).__name__
        raise ImageError(f"a batch of the type {kind} is not an array: {error}.") from error
    if data.dtype.kind == "O":
        raise ImageError(f"a batch of the type {type(batch).__name__} is not an array of numbers.")
    return data
