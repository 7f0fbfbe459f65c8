"""JSON: the one serialised form of a result, complete and read back without loss.

The text is RFC 8259: UTF-8, no bare ``NaN`` or ``Infinity``. What JSON has no literal for:

- a float that is not finite is the string ``"NaN"``, ``"Infinity"`` or ``"-Infinity"`` where the
  schema has a number (cells of columns that are not text, scores, seconds), and the object
  ``{"number": "NaN"}`` in the free-form values of parameters and options, where a string may be
  meant as one;
- bytes (thumbnails) are base64;
- tuples are arrays; arrays are read back as tuples.

The layout follows the dataclasses of `cleanai_onnx.result` field by field; the schema,
``result.schema.json``, describes it. Unknown members are ignored, so that a file may gain some
without a new format version.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cleanai_onnx.errors import UsageError
from cleanai_onnx.report.names import printable
from cleanai_onnx.result import FORMAT_VERSION, Cell, Column, Result, Table

__all__ = ["canonical", "dumps", "loads", "read", "record_from", "render", "schema", "text_of"]

Record = TypeVar("Record")

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LINE = 96
"""Arrays and objects that fit in this many characters stand on one line."""


def dumps(result: Result) -> str:
    """Return `result` as JSON text that `loads` turns into an equal result."""
    return text_of(result) + "\n"


def text_of(tree: object, indent: str = "") -> str:
    """Return records, mappings, sequences, numbers and text as JSON, laid out to be read."""
    text = "\n".join(_laid_out(_encode(tree), indent))
    # Lone surrogates (file names that are not UTF-8) have no UTF-8 form, but an escape.
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def canonical(tree: object) -> bytes:
    """Return records, mappings and so on as the one JSON text to hash.

    It has sorted keys, no spaces and nothing but ASCII; of a part of a stored result it can be made
    again with any JSON library that prints numbers as Python does.
    """
    return json.dumps(
        _encode(tree, free=True), sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode("ascii")


def loads(text: str) -> Result:
    """Return the result that `dumps` wrote.

    Raises
    ------
    UsageError
        If the text is not JSON, not a result, or of a newer format version.
    """
    tree = _versioned(text, FORMAT_VERSION, "result")
    try:
        result = cast(Result, _decode(Result, tree, "result"))
        result = replace(result, tables=tuple(_with_numbers(table) for table in result.tables))
        _check_shapes(result)
    except _UnfitError as unfit:
        raise UsageError(f"this stored result is broken: {printable(str(unfit), 300)}") from None
    except RecursionError:
        raise UsageError("this stored result is broken: it is nested too deeply") from None
    return result


def record_from(kind: type[Record], text: str, version: int) -> Record:
    """Return the record of the dataclass `kind` that `text_of` wrote.

    `version` is the newest format version that is known.

    Raises
    ------
    UsageError
        If the text is not JSON, not such a record, or of a newer format version.
    """
    tree = _versioned(text, version, "record")
    try:
        return cast(Record, _decode(kind, tree, "record"))
    except _UnfitError as unfit:
        raise UsageError(f"this stored record is broken: {printable(str(unfit), 300)}") from None
    except RecursionError:
        raise UsageError("this stored record is broken: it is nested too deeply") from None


def _versioned(text: str, newest: int, what: str) -> dict[str, Any]:
    """Return the members of a stored object that has a format version we know."""
    try:
        tree = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise UsageError(f"this is not a stored {what}: its JSON is nested too deeply") from None
    except ValueError as error:
        raise UsageError(
            f"this is not a stored {what}: it is not valid JSON ({printable(str(error), 120)})"
        ) from error
    if not isinstance(tree, dict) or "format_version" not in tree:
        raise UsageError(f"this is not a stored {what}: it has no format_version")
    version = tree["format_version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UsageError(f"this is not a stored {what}: its format_version is not a number from 1")
    if version > newest:
        raise UsageError(
            f"this {what} has format version {version}, newer than version {newest} that "
            "this program reads: upgrade cleanai-onnx"
        )
    return tree


def read(path: str | Path) -> Result:
    """Return the result stored in the file `path`.

    Raises
    ------
    UsageError
        If the file cannot be read, or `loads` refuses its text.
    """
    shown = printable(str(path), 300)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not a stored result: it is not UTF-8 text") from error
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UsageError(f"cannot read the stored result {shown}: {reason}") from error
    try:
        return loads(text)
    except UsageError as error:
        raise UsageError(f"{shown}: {error}") from error


def render(result: Result) -> bytes:
    """Return `result` as the bytes of a JSON file."""
    return dumps(result).encode("utf-8")


def schema(of: Literal["result", "comparison", "exploration"] = "result") -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a stored form.

    ``comparison`` is what the commands ``diff`` and ``compare`` write, ``exploration`` what
    ``explore`` does.
    """
    text = files("cleanai_onnx.report").joinpath(f"{of}.schema.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


# Writing


def _encode(node: object, free: bool = False) -> object:
    """Return `node` in terms of JSON. `free` says that it is inside parameters or options."""
    if isinstance(node, str | bool) or node is None:
        return str(node) if isinstance(node, str) else node
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float):
        return _encode_float(float(node), free)
    if isinstance(node, bytes):
        return base64.b64encode(node).decode("ascii")
    if is_dataclass(node):
        return {
            field.name: _encode(
                getattr(node, field.name), free=field.name in _free_fields(cast(Any, type(node)))
            )
            for field in fields(node)
        }
    if isinstance(node, Mapping):
        return {str(key): _encode(item, free) for key, item in node.items()}
    if isinstance(node, list | tuple | set | frozenset):
        items = sorted(node, key=str) if isinstance(node, set | frozenset) else node
        return [_encode(item, free) for item in items]
    if callable(getattr(node, "tolist", None)):  # a scalar or an array of numpy
        return _encode(cast(Any, node).tolist(), free)
    return str(node)


def _encode_float(number: float, free: bool) -> object:
    if math.isfinite(number):
        return number
    name = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return {"number": name} if free else name


def _laid_out(tree: object, indent: str, opening: str = "") -> list[str]:
    """Return `tree` as lines: short arrays and objects on one line, others indented.

    Rows of numbers, however long, are one line: a table then reads as a table.
    """
    if not isinstance(tree, dict | list) or len(tree) <= 6 or not _nests(tree):
        line = json.dumps(tree, ensure_ascii=False, allow_nan=False)
        numbers = isinstance(tree, list) and not _nests(tree)
        if len(line) <= _LINE or numbers or not isinstance(tree, dict | list):
            return [indent + opening + line]
    inner = indent + " "
    lines = []
    if isinstance(tree, dict):
        brackets = "{}"
        parts = [(json.dumps(key, ensure_ascii=False) + ": ", item) for key, item in tree.items()]
    else:
        brackets = "[]"
        parts = [("", item) for item in tree]
    lines.append(indent + opening + brackets[0])
    for number, (start, item) in enumerate(parts, 1):
        block = _laid_out(item, inner, start)
        if number < len(parts):
            block[-1] += ","
        lines += block
    lines.append(indent + brackets[1])
    return lines


def _nests(tree: dict[str, Any] | list[Any]) -> bool:
    items = tree.values() if isinstance(tree, dict) else tree
    return any(isinstance(item, dict | list) for item in items)


# Reading


class _UnfitError(Exception):
    """A value that does not fit its place; the text says where and what was expected."""


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _free_fields(kind: type) -> frozenset[str]:
    return frozenset(
        name
        for name, hint in _hints(kind).items()
        if get_origin(hint) is not None and get_args(hint)[-1] is Any
    )


def _decode(hint: Any, node: object, where: str) -> Any:
    """Return `node` as a value of the type `hint`, or raise `_UnfitError`."""
    origin = get_origin(hint)
    if hint is Any:
        return _decode_free(node)
    if is_dataclass(hint):
        return _decode_record(cast(type, hint), node, where)
    if origin is tuple:
        items = _expected(node, list, "an array", where)
        return tuple(
            _decode(get_args(hint)[0], item, f"{where}[{i}]") for i, item in enumerate(items)
        )
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        members = _expected(node, dict, "an object", where)
        kind = get_args(hint)[1]
        return {key: _decode(kind, item, f"{where}.{key}") for key, item in members.items()}
    if origin is Literal:
        if node in get_args(hint):
            return node
        raise _UnfitError(f"{where} is not one of {', '.join(map(str, get_args(hint)))}")
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(hint), node, where)
    if hint is bytes:
        try:
            return base64.b64decode(_expected(node, str, "base64 text", where), validate=True)
        except (binascii.Error, ValueError):
            raise _UnfitError(f"{where} is not base64 text") from None
    if hint is float:
        if isinstance(node, str) and node in _NOT_FINITE:
            return _NOT_FINITE[node]
        return _expected(node, (int, float), "a number", where)
    if hint is bool:
        if isinstance(node, bool):
            return node
        raise _UnfitError(f"{where} is not true or false")
    if hint is int:
        return _expected(node, int, "a whole number", where)
    if hint is bool:
        if isinstance(node, bool):
            return node
        raise _UnfitError(f"{where} is not true or false")
    return _expected(node, str, "text", where)


def _decode_record(kind: type, node: object, where: str) -> Any:
    members = _expected(node, dict, "an object", where)
    values = {}
    for field in fields(kind):
        if field.name in members:
            hint = _hints(kind)[field.name]
            values[field.name] = _decode(hint, members[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise _UnfitError(f"{where}.{field.name} is missing")
    return kind(**values)


def _decode_union(kinds: tuple[Any, ...], node: object, where: str) -> Any:
    if node is None and type(None) in kinds:
        return None
    reasons = []
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _decode(kind, node, where)
        except _UnfitError as unfit:
            reasons.append(str(unfit))
    raise _UnfitError(reasons[0])


def _decode_free(node: object) -> object:
    if isinstance(node, list):
        return tuple(_decode_free(item) for item in node)
    if isinstance(node, dict):
        name = node.get("number")
        if len(node) == 1 and isinstance(name, str) and name in _NOT_FINITE:
            return _NOT_FINITE[name]
        return {key: _decode_free(item) for key, item in node.items()}
    return node


def _expected(node: object, kind: Any, name: str, where: str) -> Any:
    if not isinstance(node, kind) or isinstance(node, bool):
        raise _UnfitError(f"{where} is not {name}")
    return node


def _with_numbers(table: Table) -> Table:
    """Turn the strings that stand for floats that are not finite back into floats."""

    def restored(row: tuple[Cell, ...]) -> tuple[Cell, ...]:
        if len(row) != len(table.columns):
            raise _UnfitError(
                f"a row of table {table.metric}/{table.view} has {len(row)} cells for "
                f"{len(table.columns)} columns"
            )
        return tuple(map(_restored, row, table.columns))

    total = None if table.total is None else restored(table.total)
    return replace(table, rows=tuple(map(restored, table.rows)), total=total)


def _restored(cell: Cell, column: Column) -> Cell:
    if isinstance(cell, str) and column.kind != "text":
        return _NOT_FINITE.get(cell, cell)
    return cell


def _check_shapes(result: Result) -> None:
    """Refuse a result whose firing counts do not belong to its layers."""
    if len(result.firing) != len(result.layers):
        raise _UnfitError(f"firing has {len(result.firing)} rows for {len(result.layers)} layers")
    for layer, counts in zip(result.layers, result.firing, strict=True):
        if len(counts) != layer.channels:
            raise _UnfitError(
                f"layer {printable(layer.name, 80)} has {layer.channels} channels but "
                f"{len(counts)} firing counts"
            )
