"""What an exported program or a TorchScript file would do, looked at before it is loaded.

torch loads and runs both as the programs that they are: a ``.pt2`` names functions of the torch
package by their paths, holds expressions that sympy evaluates, and may hold pickles and machine
code; TorchScript can read and write files. Here only what a network needs is let through. That is
a filter and no sandbox: torch's own advice is to load such files only from people one trusts.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cleanai_onnx.converters.formats import TorchFormat
from cleanai_onnx.converters.isolation import one_line
from cleanai_onnx.errors import ModelError

__all__ = ["inspect"]

_MOST_JSON = 1 << 28
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchvision)\.\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|wrap_with_set_grad_enabled)"
    r"|_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pos|pow|sub"
    r"|truediv)"
    r"|torch\.sym_\w+|math\.\w+"
)
_FILE_OPERATORS = re.compile(r"(^|\.)(from_file|save|load|_save\w*|_load\w*)(\.|$)")
_EXPRESSION = re.compile(
    r"""(?:[\s+\-*/%(),=<>!&|~^]+|\d[\d.eE]*|'[suz]\d+'|[suz]\d+\b
    |\b(?:Symbol|Integer|Float|Rational|positive|negative|nonnegative|integer|real|finite|zero
    |True|False|true|false|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|ModularIndexing|Where
    |IntTrueDiv|FloatTrueDiv|FloatPow|PowByNatural|CeilToInt|FloorToInt|TruncToInt|RoundToInt
    |ToFloat|TruncToFloat|Identity|Add|Mul|Pow|Abs|Eq|Ne|Ge|Gt|Le|Lt|And|Or|Not|floor|ceiling
    |Equality|Unequality|GreaterThan|StrictGreaterThan|LessThan|StrictLessThan|oo)\b)*""",
    re.VERBOSE,
)
_SCRIPT_FILES = re.compile(r"\b(?:torch|ops\.aten)\.(?:from_file|save|load|_save\w*|_load\w*)\b")
_SCRIPT_OPERATORS = re.compile(r"\bops\.(?!aten\.|prim\.|quantized\.)(\w+)")


def inspect(path: Path, format: TorchFormat) -> None:
    """Refuse an exported program or a TorchScript file that holds more than a network.

    The other formats need none of this: they are loaded as weights only.

    Raises
    ------
    ModelError
        With one sentence that says what it holds, and that ``--trust`` loads it all the same.
    """
    try:
        if format == "exported":
            _inspect_exported(path)
        elif format == "torchscript":
            _inspect_torchscript(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, zlib.error) as error:
        raise ModelError(f"{_name(path)} is truncated or damaged: copy it again.") from error


def _inspect_exported(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            member = entry.filename.partition("/")[2] or entry.filename
            if "aotinductor" in member or member.endswith((".so", ".dll", ".dylib")):
                raise _refusal(path, "compiled machine code")
            if "custom_obj" in member or "opaque_obj" in member:
                raise _refusal(path, "a pickled object, which may run any code when it is loaded")
            if member.endswith(".json"):
                if entry.file_size > _MOST_JSON:
                    raise ModelError(f"{_name(path)} has a description of absurd size.")
                _inspect_description(path, archive.read(entry))


def _inspect_description(path: Path, data: bytes) -> None:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        raise ModelError(f"{_name(path)} is damaged: save or copy it again.") from None
    for key, value in _members(tree):
        if not isinstance(value, str):
            continue
        if key == "target" and "." in value:
            known = _TARGET.fullmatch(value) and not _FILE_OPERATORS.search(value)
            if not known:
                raise _refusal(path, f"a call of {one_line(value, 80)}, which is no operator")
        elif key == "expr_str" and not _EXPRESSION.fullmatch(value):
            raise _refusal(path, f"the expression {one_line(value, 80)}, which Python would run")


def _members(tree: Any) -> Iterator[tuple[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield from node.items()
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _inspect_torchscript(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".py"):
                continue
            if entry.file_size > _MOST_JSON:
                raise ModelError(f"{_name(path)} has code of absurd size.")
            code = archive.read(entry).decode("utf-8", "replace")
            found = _SCRIPT_FILES.search(code) or _SCRIPT_OPERATORS.search(code)
            if found:
                raise _refusal(path, f"a call of {one_line(found[0], 80)}")


def _refusal(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{_name(path)} holds {what}: it is refused; if you trust who made it, give --trust."
    )


def _name(path: Path) -> str:
    return one_line(path.name, 100)
