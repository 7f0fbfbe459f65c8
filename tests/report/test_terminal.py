from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from cleanai_onnx.report.terminal import summary
from cleanai_onnx.result import Result
from tests.report.results import hostile_result, resnet50_like, small_result, tiny_result


def printed(result: Result, *, width: int = 80, encoding: str = "utf-8", **options: object) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=width, **options)  # type: ignore[arg-type]
    summary(result, console)
    stream.flush()
    raw = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return str(raw.decode(encoding))


@pytest.mark.parametrize("factory", [tiny_result, small_result, resnet50_like])
@pytest.mark.parametrize("width", [80, 100])
def test_lines_keep_the_width(factory: Callable[[], Result], width: int) -> None:
    for line in printed(factory(), width=width).splitlines():
        assert cell_len(line) <= width


def test_totals_in_both_views() -> None:
    result = resnet50_like()
    text = printed(result)
    for metric in ("nc", "nc-suite-scaled-abs", "vv"):
        line = next(line for line in text.splitlines() if line.startswith(metric + " "))
        for view in ("unit", "channel"):
            coverage = result.table(metric, view).coverage  # type: ignore[arg-type]
            assert coverage is not None
            assert f"{coverage:.2%}".replace("%", " %") in line


def test_what_was_left_out_is_said() -> None:
    text = printed(resnet50_like())
    assert "Channels that never fired: 1,586 of 22,720 (6.98 %), in 11 of 49 layers" in text
    assert "all of layer 6, layer1.1.relu_1" in text
    assert "Skipped images: 75" in text
    assert "and 72 more" in text
    assert "[pair-default]" in text


def test_plain_when_not_a_terminal() -> None:
    text = printed(resnet50_like())
    assert "\x1b" not in text
    assert not any(0x2500 <= ord(character) <= 0x257F for character in text)


def test_colours_on_a_terminal_and_none_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    asleep = resnet50_like()
    assert "31m" in printed(asleep, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in printed(asleep, force_terminal=True)


def test_hostile_names_are_harmless() -> None:
    text = printed(hostile_result())
    hidden = {"Cc", "Cf", "Cs", "Co"}
    assert not [c for c in text if c != "\n" and unicodedata.category(c) in hidden]
    assert "[bold red]not markup[/bold red]" in text
    assert "\\u{202E}" in text


def test_an_encoding_without_the_characters() -> None:
    text = printed(hostile_result(), encoding="ascii")
    assert text.isascii()
    assert "\\u{5377}" in printed(only_layer("卷"), encoding="ascii")
    assert "卷" in printed(only_layer("卷"))


def only_layer(name: str) -> Result:
    result = tiny_result()
    first, second = result.layers
    return replace(
        result,
        layers=(replace(first, label=name), second),
        firing=((0,) * first.channels, result.firing[1]),
    )
