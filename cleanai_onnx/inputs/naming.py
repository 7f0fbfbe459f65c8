"""File names: an order that does not depend on the file system, and a form safe to print."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence

__all__ = ["first_of", "natural_key", "shown", "suffix_of"]

_DIGITS = re.compile(r"([0-9]+)")
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

NaturalKey = tuple[tuple[str | tuple[int, str], ...], ...]


def natural_key(name: str) -> tuple[tuple[NaturalKey, ...], str]:
    """Return the sort key of a relative path with ``/`` between its parts.

    Paths are compared part by part, and a part by what is before its last dot first; there, runs
    of the digits 0-9 are compared as numbers and the text between them by code point, so that
    ``img.png``, ``img2.png`` and ``img10.png`` come in this order and upper case before lower
    case. Names that are equal so far (``1`` and ``01``) are compared by code point. Neither locale
    nor file system has a say.
    """
    return tuple(tuple(map(_pieces, os.path.splitext(part))) for part in name.split("/")), name


def _pieces(text: str) -> tuple[str | tuple[int, str], ...]:
    # re.split puts text at even and digits at odd places, so that like meets like.
    return tuple(
        _number_key(piece) if place % 2 else piece
        for place, piece in enumerate(_DIGITS.split(text))
    )


def _number_key(digits: str) -> tuple[int, str]:
    """Order runs of digits by value without converting them: int() refuses very long ones."""
    significant = digits.lstrip("0")
    return len(significant), significant


def shown(text: str, limit: int = 300) -> str:
    r"""Return `text` in a form that can be printed on one line.

    Control and format characters (escape sequences, new lines, bidirectional overrides) and
    bytes that are not UTF-8 become ``\x1b``-like escapes; what is longer than `limit` characters
    is cut in the middle.
    """
    safe = "".join(
        _escaped(character) if unicodedata.category(character) in _UNSAFE else character
        for character in text
    )
    if len(safe) <= limit:
        return safe
    half = (limit - 1) // 2
    return f"{safe[:half]}…{safe[-half:]}"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python smuggles a byte that is not UTF-8 through a str
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def suffix_of(path: str) -> str:
    """Return the suffix of a path in lower case, such as ``.png``."""
    return os.path.splitext(path)[1].lower()


def first_of(sources: Sequence[str]) -> str:
    """Return what users named as one printable text: three of them, and how many more."""
    text = ", ".join(shown(one) for one in sources[:3])
    return text if len(sources) <= 3 else f"{text} and {len(sources) - 3} more"
