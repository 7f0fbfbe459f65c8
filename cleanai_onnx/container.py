"""How profiles and states lie on disk: a zip of ``.npy`` arrays (an .npz to numpy) and JSON texts.

Nothing in such a file is code. Arrays are read without pickle, each is checked against what is
expected of it before it is used, nothing is compressed (so that no file needs more memory than it
is long), and a file that does not fit is refused.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import CleanAIError, UsageError, harmless

__all__ = [
    "UnfitError",
    "add",
    "add_array",
    "add_rows",
    "add_tree",
    "array_in",
    "arrays_in",
    "inside",
    "kind_of",
    "list_in",
    "opened",
    "opened_bytes",
    "read_array",
    "read_text",
    "read_tree",
    "rows_of",
    "whole_in",
]

LONGEST_TEXT = 2**28
"""Bytes of a JSON text; that of a model with thousands of layers is far shorter."""
_ARRAY = "array"
"""The key of an object that stands for an array in a stored tree."""


class UnfitError(Exception):
    """What does not fit; the text is a part of a sentence."""


# Writing.


def add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a member."""
    archive.writestr(_entry(name), content)


def _entry(name: str) -> zipfile.ZipInfo:
    # A date of its own, so that the same content gives the same bytes.
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def add_array(archive: zipfile.ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    """Add an array as ``name.npy``."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    add_rows(archive, name, array.dtype, array.shape, (array.tobytes(),))


def add_rows(
    archive: zipfile.ZipFile,
    name: str,
    dtype: npt.DTypeLike,
    shape: tuple[int, ...],
    content: Iterable[bytes],
) -> None:
    """Add an array as ``name.npy`` whose content comes in pieces."""
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    with archive.open(_entry(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for piece in content:
            member.write(piece)


def add_tree(archive: zipfile.ZipFile, name: str, tree: Mapping[str, Any]) -> None:
    """Add a tree of mappings, lists, whole numbers, texts, None and arrays: ``name.json``.

    Its arrays become members of their own, named by their place in the tree.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}

    def without_arrays(node: Any, place: str) -> Any:
        if isinstance(node, np.ndarray):
            arrays[place] = node
            return {_ARRAY: place}
        if isinstance(node, Mapping):
            return {key: without_arrays(item, f"{place}.{key}") for key, item in node.items()}
        if isinstance(node, list | tuple):
            return [without_arrays(item, f"{place}.{i}") for i, item in enumerate(node)]
        return node

    text = json.dumps(without_arrays(tree, name), allow_nan=False)
    add(archive, f"{name}.json", text.encode("utf-8"))
    for place, array in arrays.items():
        add_array(archive, place, array)


# Reading.


@contextmanager
def opened(
    path: str | Path, what: str, remedy: str, refused: Callable[[str], CleanAIError] = UsageError
) -> Iterator[zipfile.ZipFile]:
    """Open a file; whatever is wrong with it inside is explained as a broken `what`.

    Raises
    ------
    UsageError
        If the file is missing, broken, or does not fit; `remedy` says how to get a good one. It is
        made by `refused`, in the module that knows what it is about.
    """
    name = harmless(str(path))[-300:]
    try:
        with zipfile.ZipFile(path) as archive:
            _require_plain(archive, Path(path).stat().st_size)
            yield archive
    except UnfitError as unfit:
        raise refused(f"{name} is no usable {what}: {unfit}.") from None
    except OSError as error:
        raise refused(f"cannot read the {what} {name}: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError) as error:
        reason = harmless(" ".join(str(error).split()))[:120]
        raise refused(f"{name} is no {what}, or a broken one ({reason}): {remedy}.") from error


@contextmanager
def inside(content: bytes) -> Iterator[zipfile.ZipFile]:
    """Open what lies as a whole in another file, within `opened`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _require_plain(archive, len(content))
        yield archive


def _require_plain(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse what would take more memory, or tell something else, than the bytes of the file."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UnfitError("its members are compressed")
    if any(member.flag_bits & 1 for member in members):
        raise UnfitError("its members are encrypted")
    if len({member.filename for member in members}) < len(members):
        raise UnfitError("two of its members have one name")
    if sum(member.file_size for member in members) > size:
        raise UnfitError("its members are longer than the file")


def kind_of(path: str | Path) -> str | None:
    """Return the first member's name of a zip, which says what the file is; None for no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return next(iter(archive.namelist()), None)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return None


def read_text(archive: zipfile.ZipFile, name: str, longest: int = LONGEST_TEXT) -> str:
    """Return a member as text."""
    if name not in archive.namelist():
        raise UnfitError(f"it has no {name}")
    if archive.getinfo(name).file_size > longest:
        raise UnfitError(f"its {name} is too long")
    return archive.read(name).decode("utf-8")


def read_array(
    archive: zipfile.ZipFile, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return the array ``name.npy``, which must have this type and shape."""
    with archive.open(f"{name}.npy") as member:
        _require_header(member, name, np.dtype(dtype), shape)
        array = _content(member, name, np.dtype(dtype), shape)
        _require_end(member, name)
        return array


def _require_header(
    member: IO[bytes], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    found, kind = _header(member, name)
    if found != shape or kind != dtype:
        raise UnfitError(
            f"its array {harmless(name)} is {kind} {list(found)} where {dtype} {list(shape)} "
            "is wanted"
        )


def _header(member: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read what an array says of itself; nothing is made of it yet."""
    if np.lib.format.read_magic(member) != (1, 0):
        raise UnfitError(f"its array {harmless(name)} has an unknown format")
    shape, fortran, kind = np.lib.format.read_array_header_1_0(member)
    if kind.hasobject:
        raise UnfitError(f"its array {harmless(name)} is of objects, which would be code")
    if fortran or any(length < 0 for length in shape):
        raise UnfitError(f"its array {harmless(name)} is of an unknown form")
    return shape, kind


def _content(
    member: IO[bytes], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Read rows. Before memory is taken for them, they are known to be in the file."""
    data = member.read(dtype.itemsize * int(np.prod(shape, dtype=object)))
    if len(data) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise UnfitError(f"its array {harmless(name)} is cut short")
    return np.frombuffer(data, dtype).reshape(shape)


def _require_end(member: IO[bytes], name: str) -> None:
    if member.read(1):
        raise UnfitError(f"its array {harmless(name)} is longer than it says")


def rows_of(
    archive: zipfile.ZipFile,
    name: str,
    dtype: npt.DTypeLike,
    shape: tuple[int, ...],
    rows: int,
) -> Iterator[npt.NDArray[Any]]:
    """Yield so many `rows` of an array at a time, which must have this type and shape."""
    with archive.open(f"{name}.npy") as member:
        _require_header(member, name, np.dtype(dtype), shape)
        for first in range(0, shape[0], rows):
            part = (min(rows, shape[0] - first), *shape[1:])
            yield _content(member, name, np.dtype(dtype), part)
        _require_end(member, name)


@contextmanager
def opened_bytes(archive: zipfile.ZipFile, name: str, length: int) -> Iterator[IO[bytes]]:
    """Open an array of so many uint8, to be read from its first element on."""
    with archive.open(f"{name}.npy") as member:
        _require_header(member, name, np.dtype(np.uint8), (length,))
        yield member


def read_tree(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Return a tree that `add_tree` added; its arrays have the types and shapes that they claim."""
    known = set(archive.namelist())

    def with_arrays(node: Any) -> Any:
        if isinstance(node, dict):
            place = node.get(_ARRAY)
            if len(node) == 1 and isinstance(place, str):
                if f"{place}.npy" not in known:
                    raise UnfitError(f"it has no array {harmless(place)[:80]}, or has it twice")
                # Once only: many places with one large array would fill the memory.
                known.remove(f"{place}.npy")
                with archive.open(f"{place}.npy") as member:
                    shape, kind = _header(member, place)
                    array = _content(member, place, kind, shape)
                    _require_end(member, place)
                    return array
            return {key: with_arrays(item) for key, item in node.items()}
        if isinstance(node, list):
            return [with_arrays(item) for item in node]
        return node

    try:
        tree = with_arrays(json.loads(read_text(archive, f"{name}.json")))
    except RecursionError:
        raise UnfitError(f"its {name}.json is nested too deeply") from None
    if not isinstance(tree, dict):
        raise UnfitError(f"its {name}.json is no object")
    return tree


# Taking a stored tree apart, with checks.


def array_in(
    tree: Mapping[str, Any], name: str, dtype: npt.DTypeLike, *shape: int | None
) -> npt.NDArray[Any]:
    """Return an array of a tree, which must have this type and shape; None is any length."""
    array = tree.get(name)
    fits = (
        isinstance(array, np.ndarray)
        and array.dtype == np.dtype(dtype)
        and array.ndim == len(shape)
        and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    )
    if not fits:
        raise UnfitError(f"{name} is no array of {np.dtype(dtype)} {list(shape)}")
    assert isinstance(array, np.ndarray)
    # What was read is read-only, and states are updated in place.
    return array.copy()


def arrays_in(
    tree: Mapping[str, Any],
    name: str,
    dtype: npt.DTypeLike,
    shapes: Sequence[tuple[int | None, ...]],
) -> list[npt.NDArray[Any]]:
    """Return a list of arrays of a tree, which must have this type and these shapes."""
    found = {f"{name} {i}": one for i, one in enumerate(list_in(tree, name, len(shapes)))}
    return [array_in(found, each, dtype, *shape) for each, shape in zip(found, shapes, strict=True)]


def whole_in(tree: Mapping[str, Any], name: str, least: int = 0) -> int:
    """Return a whole number of a tree."""
    value = tree.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UnfitError(f"{name} is no whole number of at least {least}")
    return value


def list_in(tree: Mapping[str, Any], name: str, length: int | None = None) -> list[Any]:
    """Return a list of a tree, which must have this length."""
    value = tree.get(name)
    if not isinstance(value, list) or length not in (None, len(value)):
        raise UnfitError(f"{name} is no list" + ("" if length is None else f" of {length}"))
    return value
