"""Which images to keep, in the reports."""

from __future__ import annotations

import io
from dataclasses import replace

import jsonschema
import pypdf
import pytest
from rich.console import Console

from cleanai_onnx.report import json, pdf
from cleanai_onnx.report.subset import criteria_of, guarantee, headline
from cleanai_onnx.report.terminal import summary
from cleanai_onnx.result import CriterionFacts, Result, SubsetFacts, SubsetImage
from tests.report.results import HOSTILE_NAMES, small_result
from tests.report.test_json import strict


def facts(kept: int, of: int, bound: int, names: tuple[str, ...] = ("a.png",)) -> SubsetFacts:
    return SubsetFacts(
        criteria=(
            CriterionFacts("nc-suite", "channel", 90, 100),
            CriterionFacts("idc", "channel", 4, 2**62),
            CriterionFacts("tknc-suite", "unit", 0, 0),
        ),
        of=of,
        images=tuple(
            SubsetImage(names[i % len(names)], i, kept - i, (i + 1) / kept, i % 3)
            for i in range(kept)
        ),
        lower_bound=bound,
        redundant=tuple(names[i % len(names)] for i in range(min(50, of - kept))),
        file="keep.txt",
    )


def shown(result: Result) -> tuple[str, str]:
    stream = io.StringIO()
    summary(result, Console(file=stream, width=80))
    reader = pypdf.PdfReader(io.BytesIO(pdf.render(result)))
    pages = " ".join(page.extract_text() for page in reader.pages)
    return " ".join(stream.getvalue().split()), " ".join(pages.split())


def test_words() -> None:
    proven, open_ = facts(3, 10, 3), facts(3, 10, 2)
    assert headline(proven) == "3 of 10 images keep the same coverage; written to keep.txt"
    assert headline(facts(1, 2, 1)).startswith("1 of 2 images keeps the same")
    assert criteria_of(proven) == "nc-suite, idc (channels); tknc-suite (units)"
    assert "proven" in guarantee(proven)
    assert "At least 2 images are needed" in guarantee(open_)


@pytest.mark.parametrize(
    ("kept", "of", "bound"), [(3, 10, 3), (60, 1000, 41), (0, 5, 0), (4, 4, 4)]
)
def test_reports(kept: int, of: int, bound: int) -> None:
    terminal, text = shown(replace(small_result(), subset=facts(kept, of, bound)))
    line = f"{kept} of {of:,} images keep the same coverage; written to keep.txt"
    assert line in terminal and line in text
    assert "Which images to keep" in text
    assert ("proven" in terminal) == (kept == bound)
    nothing = f"{of - kept:,} images cover nothing that the subset does not cover"
    assert (nothing in text) == (of > kept)
    assert ("The first 40 are listed here, all of them in keep.txt" in text) == (kept > 40)
    assert 'channels listed under "Channels that were not exercised"' in text


def test_names_do_no_harm() -> None:
    result = replace(small_result(), subset=facts(len(HOSTILE_NAMES), 100, 1, HOSTILE_NAMES))
    terminal, text = shown(result)
    assert "\x1b" not in terminal + text and "\u202e" not in terminal + text
    written = json.dumps(result)
    assert json.dumps(json.loads(written)) == written
    jsonschema.Draft202012Validator(json.schema()).validate(strict(written))


def test_a_result_without_one_says_nothing() -> None:
    terminal, text = shown(small_result())
    assert "same coverage" not in terminal and "Which images to keep" not in text
