from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.inputs.naming import natural_key, shown


def test_numbers_in_names_are_compared_as_numbers() -> None:
    names = [
        "b/1.png",
        "a/img10.png",
        "a/img2.png",
        "a10/x.png",
        "a2/x.png",
        "B/1.png",
        "a/img.png",
    ]
    assert sorted(names, key=natural_key) == [
        "B/1.png", "a/img.png", "a/img2.png", "a/img10.png", "a2/x.png", "a10/x.png", "b/1.png",
    ]  # fmt: skip


def test_numbers_of_any_length_are_compared() -> None:
    assert natural_key("9" * 6000) < natural_key("1" + "0" * 6000)
    assert natural_key("٣.png") > natural_key("10.png")  # other scripts' digits are text


@given(st.lists(st.text(alphabet="a1209/.B é", max_size=8), unique=True))
def test_the_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.text())
def test_shown_has_nothing_that_moves_the_cursor(text: str) -> None:
    result = shown(text)
    assert len(result) <= 300
    assert not {unicodedata.category(c) for c in result} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    result.encode("utf-8")


def test_shown_keeps_plain_names_and_escapes_the_rest() -> None:
    assert shown("größe 数字.png") == "größe 数字.png"
    assert shown("a\x1b[31m\n\u202e.png") == r"a\x1b[31m\x0a\u202e.png"
    assert shown(b"bad\xff.png".decode("utf-8", "surrogateescape")) == r"bad\xff.png"
    assert shown("x" * 5000, 11) == "xxxxx…xxxxx"
