"""Arabic and Hebrew as they are written: letters joined, and read from the right.

A PDF shows glyphs where they are put. Names in these scripts would stand there back to front and,
in Arabic, in letters that do not join. Names are the only text here that can be of such a script.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable
from functools import cache

from fpdf.bidi import BidiParagraph
from fpdf.enums import TextDirection

__all__ = ["is_right_to_left", "joined", "visual"]

_RIGHT_TO_LEFT = frozenset({"R", "AL"})
_LAM = "\u0644"
_TATWEEL = "\u0640"


def is_right_to_left(text: str) -> bool:
    """Tell whether `text` has any letter that is written from right to left."""
    return not text.isascii() and any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text)


@cache
def _forms() -> dict[str, dict[str, str]]:
    """Return, for each Arabic letter and lam-alef, its character in each position of a word.

    Unicode keeps them as compatibility characters: U+FE8E is ``<final> 0627``.
    """
    forms: dict[str, dict[str, str]] = defaultdict(dict)
    for code in (*range(0xFB50, 0xFBB2), *range(0xFBD3, 0xFC00), *range(0xFE70, 0xFEFD)):
        tag, *codes = unicodedata.decomposition(chr(code)).split() or [""]
        letters = "".join(chr(int(c, 16)) for c in codes)
        if len(letters) == 1 or (len(letters) == 2 and letters[0] == _LAM):
            forms[letters].setdefault(tag.strip("<>"), chr(code))
    return dict(forms)


def joined(text: str, has: Callable[[str], bool]) -> str:
    """Return `text` with each Arabic letter in the form that its neighbours ask for.

    `has` says whether there is a glyph for a form; without one the letter stays as it is.
    """
    forms = _forms()
    pieces: list[str] = []
    position = 0
    while position < len(text):
        pair = text[position : position + 2]
        piece = pair if len(pair) == 2 and pair in forms else text[position]
        pieces.append(piece)
        position += len(piece)
    letters = [i for i, piece in enumerate(pieces) if not unicodedata.combining(piece[0])]
    shown = list(pieces)
    for place, index in enumerate(letters):
        own = forms.get(pieces[index])
        if own is None:
            continue
        before = pieces[letters[place - 1]] if place else ""
        after = pieces[letters[place + 1]] if place + 1 < len(letters) else ""
        to_right = _joins_onward(before) and "final" in own
        to_left = "initial" in own and (after == _TATWEEL or "final" in forms.get(after, {}))
        name = {
            (True, True): "medial",
            (True, False): "final",
            (False, True): "initial",
            (False, False): "isolated",
        }[to_right, to_left]
        form = own.get(name)
        if form is not None and has(form):
            shown[index] = form
    return "".join(shown)


def _joins_onward(letter: str) -> bool:
    return letter == _TATWEEL or "initial" in _forms().get(letter, {})


def visual(text: str) -> str:
    """Return `text` in the order in which its characters stand on the line, left to right."""
    return BidiParagraph(text, base_direction=TextDirection.LTR).get_reordered_string()
