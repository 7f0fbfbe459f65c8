"""Batches of a user's own: arrays, and what can be read as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx.errors import ImageError, UsageError

__all__ = ["are_paths", "as_array", "limited"]


def are_paths(images: Any) -> bool:
    """Return whether `images` names files and folders, and is no data."""
    if isinstance(images, str | Path):
        return True
    return (
        isinstance(images, Sequence)
        and len(images) > 0
        and all(isinstance(item, str | Path) for item in images)
    )


def _as_batches(images: Any) -> Iterable[Any]:
    """Return an iterable of batches: an array is one.

    Raises
    ------
    UsageError
        If `images` can be none.
    """
    if hasattr(images, "__array__"):
        return [images]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise UsageError(
            "images must be a folder, a file, a pattern, an array or an iterable of batches, not "
            f"{type(images).__name__}."
        )
    return images


def limited(
    images: Any, limit: int | None, preprocessing: Iterable[object]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Return the inputs and labels of batches, the first `limit` inputs of them.

    `preprocessing` are the settings that were given; batches take none.

    Raises
    ------
    ImageError
        While iterating: if a batch is no array.
    UsageError
        If `images` can be no batches, or if a setting cannot be used.
    """
    if any(preprocessing):
        raise UsageError(
            "preset and preprocessing are for images of a folder; batches of your own are fed "
            "as they are."
        )
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, not {limit}.", slug="option-value")
    return _limited(_as_batches(images), limit)


def _limited(
    batches: Iterable[Any], limit: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    left = limit
    for batch in batches:
        data, labels = _inputs_and_labels(batch)
        if left is None:
            yield data, labels
            continue
        yield data[:left], None if labels is None else labels[:left]
        left -= len(data)
        if left <= 0:
            return


def _inputs_and_labels(batch: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the inputs of a batch, and the class numbers that a data loader yields with them.

    Raises
    ------
    ImageError
        If the inputs are no array.
    """
    if not (isinstance(batch, tuple | list) and len(batch) > 0):
        return as_array(batch), None
    data = as_array(batch[0])
    if len(batch) < 2 or not hasattr(batch[1], "__array__"):
        return data, None
    labels = as_array(batch[1])
    return data, labels if labels.dtype.kind in "iu" and labels.shape == data.shape[:1] else None


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
