"""Suites from `.npy` and `.npz` files: pixels to preprocess, or values to feed as they are.

What an array is follows from its element type, never from its values:

* **uint8** of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1, 3 or 4 holds *pixels*.
  They take the same way as decoded files: resized, scaled and normalised.
* **floats and the other integers** are *ready*: already what the model takes, of its shape, and
  nothing is done to them.

Where both readings of a uint8 shape are possible, the array is refused instead of guessed at.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.suite import PixelAxes, Suite

__all__ = ["ARRAY_KEYS", "ARRAY_SUFFIXES", "array_suite", "open_array"]

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
ARRAY_KEYS = ("images", "inputs", "x")
"""Names under which the images of an archive with several arrays are looked for, in this order."""

_CHANNELS = (1, 3, 4)
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError)


def open_array(path: Path) -> npt.NDArray[Any]:
    """Open the array of a `.npy` (memory mapped) or `.npz` file; pickled objects are refused.

    Raises
    ------
    ImageError
        If the file cannot be read as an array of numbers, if an archive has several arrays and
        none is called images, inputs or x, or if one would not fit into memory.
    """
    shown_name = shown(path.name)
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                if stream.read(6) != b"\x93NUMPY":  # np.load would take it for a pickle
                    raise ValueError
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            array = _from_archive(path)
    except MemoryError:
        raise ImageError(f"The array in {shown_name} does not fit into memory.") from None
    except _UNREADABLE as error:
        raise ImageError(f"{shown_name} cannot be read: {_array_fault(error)}.") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise ImageError(
            f"The array in {shown_name} holds {shown(str(array.dtype), 60)}, not numbers: "
            "save uint8 pixels or the floats that the model takes."
        )
    if array.ndim == 0 or array.size == 0:
        raise ImageError(f"The array in {shown_name} has shape {array.shape}: it holds no image.")
    return array


def _from_archive(path: Path) -> npt.NDArray[Any]:
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        if len(members) == 1:
            key = next(iter(members))
        else:
            key = next((name for name in ARRAY_KEYS if name in members), "")
        if not key:
            listed = ", ".join(shown(name, 40) for name in list(members)[:10]) or "nothing"
            raise ImageError(
                f"{shown(path.name)} holds {listed}: call the array of images 'images', "
                "'inputs' or 'x', or save it alone."
            )
        # A few bytes of header can ask for any amount of memory: believe it only as far as the
        # archive's own directory agrees and as the machine has room.
        promised = archive.getinfo(members[key]).file_size
        with archive.open(members[key]) as member:
            shape, _, dtype = _read_header(member)
            needed = int(np.prod([int(length) for length in shape], dtype=object)) * dtype.itemsize
            if needed > promised:
                raise ValueError("it is truncated")
            if needed > _available_memory():
                raise MemoryError
        with archive.open(members[key]) as member:
            loaded: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return loaded


def _read_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    return np.lib.format.read_array_header_2_0(member)


def _available_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _array_fault(error: Exception) -> str:
    """Put numpy's many complaints into words that do not change with its version."""
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if "pickle" in str(error).lower() or "object" in str(error).lower():
        return "it holds Python objects, which are never unpickled"
    return "it is not a NumPy file, or it is truncated"


def array_suite(path: Path) -> Suite:
    """Return the suite of the array in `path`.

    Raises
    ------
    ImageError
        As `open_array`, and if a uint8 array is not shaped like images.
    """
    array = open_array(path)
    source = shown(path.name)
    rows = range(len(array))
    if array.dtype == np.uint8:
        axes = _pixel_axes(array.shape, source)
        return Suite(source, "pixels", len(array), array=array, rows=rows, axes=axes)
    return Suite(source, "ready", len(array), os.fspath(path.parent), array=array, rows=rows)


def _pixel_axes(shape: tuple[int, ...], source: str) -> PixelAxes:
    problem = "is not shaped like images"
    if len(shape) == 3:
        if shape[2] not in _CHANNELS:
            return "NHW"
        problem = "may be one image with channels or many narrow ones without"
    elif len(shape) == 4:
        last, first = shape[3] in _CHANNELS, shape[1] in _CHANNELS
        if last != first:
            return "NHWC" if last else "NCHW"
        if last:
            problem = "may be (N, H, W, C) or (N, C, H, W)"
    raise ImageError(
        f"The uint8 array in {source} has shape {shape}, which {problem}: give (N, H, W), "
        "(N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels, or save as float32 the values "
        "that the model takes."
    )
