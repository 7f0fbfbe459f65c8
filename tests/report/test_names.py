from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.report.names import named, printable, ranges, shorten
from tests.report.results import HOSTILE_NAMES


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("layer1.0.relu", "layer1.0.relu"),
        ("größe/Δ/层", "größe/Δ/层"),
        ("a\x00b\x1b[0m", "a\\u{0000}b\\u{001B}[0m"),
        ("gnp.\u202eexe", "gnp.\\u{202E}exe"),
        ("zero\u200bwidth", "zero\\u{200B}width"),
        ("line\nbreak\u2028here", "line\\u{000A}break\\u{2028}here"),
        ("\udc80", "\\u{DC80}"),
        ("\ue000\U000e0001", "\\u{E000}\\u{E0001}"),
        ("e\u0301\u0302\u0303", "e\u0301\u0302\\u{0303}"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_printable_has_nothing_hidden_and_loses_nothing(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    if "\\u{" not in text:
        back = re.sub(r"\\u\{([0-9A-F]{4,6})\}", lambda m: chr(int(m[1], 16)), shown)
        assert back == text


@given(st.text(), st.integers(1, 40))
def test_printable_keeps_its_limit(text: str, limit: int) -> None:
    assert len(printable(text, limit)) <= limit


def test_what_an_encoding_lacks_is_escaped() -> None:
    assert printable("aé层", has=str.isascii) == "a\\u{00E9}\\u{5C42}"


def test_shorten_keeps_both_ends() -> None:
    assert shorten("/layer3/layer3.4/relu_2/Relu", 15) == "/laye…lu_2/Relu"
    assert shorten("short", 5) == "short"


def test_named() -> None:
    assert named("") == named(" \t") == "(no name)"
    assert named("x") == "x"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([3, 7, 8, 9, 10, 11, 12], "3, 7-12"),
        ([1, 2], "1, 2"),
        (list(range(100)), "0-99"),
    ],
)
def test_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


def test_truncated_ranges_count_the_rest_exactly() -> None:
    numbers = [*range(0, 200, 2), *range(1000, 1010)]
    text = ranges(numbers, limit=30)
    shown, rest = re.fullmatch(r"(.*), and (\d+) more", text).groups()  # type: ignore[union-attr]
    assert len(shown.split(", ")) + int(rest) == len(numbers)
    assert len(shown) <= 30


@given(st.sets(st.integers(0, 300)), st.integers(5, 80))
def test_ranges_name_every_number_or_count_it(numbers: set[int], limit: int) -> None:
    text = ranges(sorted(numbers), limit)
    counted = 0
    for piece in text.split(", "):
        if rest := re.fullmatch(r"and (\d+) more", piece):
            counted += int(rest[1])
        elif "-" in piece:
            low, high = map(int, piece.split("-"))
            counted += high - low + 1
        elif piece:
            counted += 1
    assert counted == len(numbers)


def test_hostile_names_become_one_line() -> None:
    for name in HOSTILE_NAMES:
        assert len(printable(name, 100).splitlines()) <= 1
