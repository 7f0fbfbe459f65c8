from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cleanai_onnx.report import figures, markdown
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.result import Result
from tests.report.results import (
    GATES,
    HOSTILE_NAMES,
    hostile_result,
    resnet50_like,
    small_result,
    tiny_result,
)

OURS = {"h1", "h2", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "strong"}
OURS |= {"blockquote", "details", "summary", "em"}


def parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


def shown(result: Result) -> str:
    return parser().render(markdown.render(result).decode("utf-8"))


def tags(page: str) -> set[str]:
    return set(re.findall(r"<(\w+)", page))


@pytest.mark.parametrize("factory", [tiny_result, small_result, resnet50_like, hostile_result])
def test_only_our_own_markup(factory: object) -> None:
    page = shown(factory())  # type: ignore[operator]
    assert tags(page) <= OURS
    assert page.count("<details>") == page.count("</details>")


@given(st.one_of(st.text(), st.sampled_from(HOSTILE_NAMES)))
def test_a_name_is_shown_as_it_is_and_nothing_else(name: str) -> None:
    text = f"| a |\n| --- |\n| <code>{markdown.escaped(name)}</code> |\n"
    page = parser().render(text)
    cell = re.search(r"<td><code>(.*?)</code></td>", page, re.S)
    assert cell is not None
    found = re.sub(r"\s+", " ", html.unescape(cell[1]))
    assert found.strip() == re.sub(r"\s+", " ", printable(named(name), 120)).strip()


def test_what_github_makes_links_of_is_broken_up() -> None:
    text = "www.example.org https://example.org a@example.org @user #12 GH-1"
    for link in ("www.", "://", "@", "#1"):
        assert link not in re.sub(r"&#\d+;", "~", markdown.escaped(text))


def test_every_row_has_the_columns_of_its_heading() -> None:
    for result in (small_result(), hostile_result()):
        widths: list[int] = []
        for line in markdown.render(result).decode().split("\n"):
            if not line.startswith("|"):
                widths = []
                continue
            widths.append(len(re.findall(r"(?<!\\)\|", line)))
            assert widths[-1] == widths[0]


def test_the_verdicts_come_first_and_are_all_there() -> None:
    result = small_result()
    text = html.unescape(markdown.render(result).decode())
    assert "❌ 3 of 4 gates failed" in text
    for gate in GATES:
        assert gate.text in text
        assert gate.gate in text
    assert text.index("gates failed") < text.index("## Metrics")
    for table in result.tables:
        if table.coverage is not None:
            assert f"**{figures.percent(table.coverage)}**" in text
    passed = replace(result, gates=GATES[:1])
    assert "✅ The gate passed" in markdown.render(passed).decode()


def test_it_never_has_more_than_its_limit() -> None:
    huge = resnet50_like((30, 80, 360, 30), 20)
    content = markdown.render(huge)
    text = content.decode()
    assert len(content) <= markdown.MOST_BYTES < 1_048_576
    assert re.search(r"\d+ parts are left out here, .* the JSON result has everything\.\n$", text)
    assert "## Metrics" in text
    assert text.count("<details>") == text.count("</details>")
    assert "left out here" not in markdown.render(small_result()).decode()
