from __future__ import annotations

import unicodedata

import pytest

from cleanai_onnx.report.scripts import is_right_to_left, joined, visual


def always(character: str) -> bool:
    return True


def test_which_text_is_right_to_left() -> None:
    assert is_right_to_left("layer/שכבה")
    assert is_right_to_left("طبقة")
    assert not is_right_to_left("größe/层")


@pytest.mark.parametrize("word", ["طبقة", "التفعيل", "سلام", "ابجد", "a/طبقة/b", "plain"])
def test_joined_letters_are_the_same_letters(word: str) -> None:
    assert unicodedata.normalize("NFKC", joined(word, always)) == word


def test_letters_join_as_in_writing() -> None:
    beh_beh_beh = joined("\u0628\u0628\u0628", always)
    names = [unicodedata.name(character).split()[-2] for character in beh_beh_beh]
    assert names == ["INITIAL", "MEDIAL", "FINAL"]
    assert joined("\u0627\u0628", always) == "\ufe8d\ufe8f"  # alef never joins what follows
    assert joined("\u0644\u0627", always) == "\ufefb"  # lam and alef are one sign


def test_without_glyphs_letters_stay() -> None:
    assert joined("طبقة", lambda character: False) == "طبقة"


def test_visual_order() -> None:
    assert visual("abc") == "abc"
    assert visual("אבג") == "גבא"
    assert visual("relu/אבג/1") == "relu/1/גבא"
