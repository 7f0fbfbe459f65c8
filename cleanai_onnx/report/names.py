r"""Names from outside made harmless: what a model or a file system calls things.

A layer may be called ``[bold red]``, hold a bidirectional override or be 4 kB long. Here such a
name becomes text that is safe to show: nothing in it is lost, nothing in it acts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "ELLIPSIS",
    "escape",
    "file_stem",
    "named",
    "printable",
    "ranges",
    "shorten",
    "spreadsheet_cell",
]

ELLIPSIS = "…"

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, format characters (bidirectional overrides, zero width), surrogates, private use,
unassigned code points and line separators."""

_MARKS = frozenset({"Mn", "Me"})
_MARKS_IN_A_ROW = 2
"""More marks than this on one letter climb out of the line."""


def escape(character: str) -> str:
    r"""Return the code point of `character` in words: ``\u{202E}``."""
    return f"\\u{{{ord(character):04X}}}"


def printable(
    text: str, limit: int | None = None, *, has: Callable[[str], bool] | None = None
) -> str:
    r"""Return `text` with every character that would not show as itself written as ``\u{XXXX}``.

    Parameters
    ----------
    text
        Any string, lone surrogates and controls included.
    limit
        Longest result in characters; a longer one is shortened in the middle.
    has
        Says whether a character can be shown (by a font, by an encoding); default: all can.
    """
    if limit is not None and len(text) > 2 * limit:
        # The middle would be cut out anyway: never walk through megabytes of a hostile name.
        text = text[:limit] + text[-limit:]
    if text.isascii() and text.isprintable() and has is None:
        clean = text
    else:
        clean = "".join(_shown(text, has))
    return clean if limit is None else shorten(clean, limit)


def named(text: str) -> str:
    """Return `text`, or words that say that it is empty or blank."""
    return text if text.strip() else "(no name)"


def _shown(text: str, has: Callable[[str], bool] | None) -> Iterable[str]:
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in _MARKS else 0
        if category in _HIDDEN or marks > _MARKS_IN_A_ROW or (has and not has(character)):
            yield escape(character)
        else:
            yield character


def shorten(text: str, limit: int, ellipsis: str = ELLIPSIS) -> str:
    """Return `text` in at most `limit` characters, its middle replaced by an ellipsis.

    The end keeps the larger half: in ``/layer3/layer3.4/relu_2/Relu`` it tells layers apart.
    """
    if len(text) <= limit:
        return text
    kept = max(0, limit - len(ellipsis))
    head = kept * 2 // 5
    return text[:head] + ellipsis + text[len(text) - (kept - head) :]


def ranges(numbers: Sequence[int], limit: int = 60, dash: str = "-") -> str:
    """Return ascending `numbers` as ranges, such as ``3, 7-12``, in about `limit` characters.

    What does not fit is counted: ``3, 7-12, and 41 more``; the count is exact.
    """
    shown: list[str] = []
    length = 0
    position = 0
    while position < len(numbers):
        end = position
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        first, last = numbers[position], numbers[end]
        if first == last:
            piece = str(first)
        elif last == first + 1:
            piece = f"{first}, {last}"
        else:
            piece = f"{first}{dash}{last}"
        length += len(piece) + 2
        if shown and length > limit:
            return f"{', '.join(shown)}, and {len(numbers) - position:,} more"
        shown.append(piece)
        position = end + 1
    return ", ".join(shown)


def file_stem(name: str) -> str:
    """Return `name` as a part of a file name on any system: letters, digits, ``-``, ``_``, ``.``.

    Other letters of any script are kept; what remains becomes ``_``, and the length is bounded.
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return kept.strip(".")[:100] or "model"


def spreadsheet_cell(name: str) -> str:
    """Return a name that a spreadsheet does not take for a formula."""
    text = printable(name)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
