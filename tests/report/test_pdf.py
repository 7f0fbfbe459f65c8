from __future__ import annotations

import io
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pypdf
import pytest

from cleanai_onnx.report import pdf
from cleanai_onnx.report.colormap import color_of
from cleanai_onnx.report.pdf_sheet import BOTTOM, LEFT, RIGHT, Sheet
from cleanai_onnx.report.typesetting import Style
from cleanai_onnx.result import Column, Result
from tests.report.results import hostile_result, resnet50_like, small_result, tiny_result

Mark = tuple[int, float, float, float, str]


def opened(content: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(content))


def texts(result: Result) -> list[str]:
    return [page.extract_text() for page in opened(pdf.render(result)).pages]


@pytest.fixture(scope="module")
def resnet() -> bytes:
    return pdf.render(resnet50_like())


@pytest.fixture(scope="module")
def resnet_pages(resnet: bytes) -> list[str]:
    return [page.extract_text() for page in opened(resnet).pages]


def marks(result: Result, monkeypatch: pytest.MonkeyPatch) -> list[Mark]:
    """Return page, left, right, baseline and text of everything written."""
    found: list[Mark] = []
    write = Sheet.text

    def record(
        self: Sheet,
        text: str,
        x: float,
        baseline: float,
        style: Style,
        width: float,
        align: str = "left",
    ) -> float:
        taken = write(self, text, x, baseline, style, width, align)  # type: ignore[arg-type]
        if align == "right":
            x += width - taken
        elif align == "center":
            x += (width - taken) / 2
        if taken:
            found.append((self.page, x, x + taken, baseline, text))
        return taken

    monkeypatch.setattr(Sheet, "text", record)
    pdf.render(result)
    return found


@pytest.mark.parametrize("factory", [tiny_result, small_result, resnet50_like, hostile_result])
def test_texts_stay_apart_and_on_the_page(
    factory: Callable[[], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: dict[tuple[int, float], list[Mark]] = defaultdict(list)
    for mark in marks(factory(), monkeypatch):
        page, left, right, baseline, text = mark
        assert left >= LEFT - 2.1, text
        assert right <= RIGHT + 0.1, text
        assert baseline <= BOTTOM + 10, text
        lines[page, round(baseline, 2)].append(mark)
    for line in lines.values():
        ordered = sorted(line, key=lambda mark: mark[1])
        for before, after in itertools.pairwise(ordered):
            assert before[2] <= after[1] + 0.05, (before, after)


@pytest.mark.parametrize("factory", [tiny_result, small_result])
def test_the_same_result_gives_the_same_bytes(factory: Callable[[], Result]) -> None:
    assert pdf.render(factory()) == pdf.render(factory())


def test_pages_are_numbered(resnet: bytes) -> None:
    pages = opened(resnet).pages
    for number in (1, 2, len(pages)):
        assert f"Page {number} of {len(pages)}" in pages[number - 1].extract_text()


def test_metadata(resnet: bytes) -> None:
    facts = opened(resnet).metadata
    assert facts is not None
    assert facts.title == "Coverage report: resnet50"
    assert facts.author == "cleanai-onnx 0.1.0"
    assert facts.creation_date is not None
    assert facts.creation_date.isoformat() == "2026-01-31T14:25:30+00:00"


def test_contents_and_bookmarks_lead_to_the_sections(
    resnet: bytes, resnet_pages: list[str]
) -> None:
    reader = opened(resnet)
    pages = resnet_pages
    contents = pages[1]
    seen = 0

    def check(entries: list[object]) -> None:
        nonlocal seen
        for entry in entries:
            if isinstance(entry, list):
                check(entry)
                continue
            number = reader.get_destination_page_number(entry)  # type: ignore[arg-type]
            assert number is not None
            title = entry.title  # type: ignore[attr-defined]
            seen += 1
            if title in ("Summary", "Contents"):
                continue
            assert title in pages[number]
            assert title in contents
            assert f"{number + 1}" in contents

    check(reader.outline)  # type: ignore[arg-type]
    result = resnet50_like()
    assert seen == 2 + 13 + 2 + len(result.importance) + len(result.tables)
    links = [a.get_object() for a in reader.pages[1]["/Annots"]]  # type: ignore[attr-defined]
    assert len(links) == seen - 1


def test_every_number_of_a_table_is_printed(resnet_pages: list[str]) -> None:
    text = "\n".join(resnet_pages)
    for table in resnet50_like().tables:
        assert table.total is not None
        for column, cell in zip(table.columns, table.total, strict=True):
            if column.kind == "count":
                assert f"{cell:,}" in text


def test_headings_repeat_on_every_page_of_a_long_table() -> None:
    result = tiny_result()
    table = result.table("nc")
    rows = tuple((f"layer {i}", i, 1000, i / 1000) for i in range(150))
    pages = texts(replace(result, tables=(replace(table, rows=rows),)))
    long = [page for page in pages if "layer 7" in page or "layer 14" in page]
    assert len(long) == 3
    for page in long:
        assert "covered" in page
        assert "coverage" in page


def test_dead_layers_and_channels_are_named(resnet_pages: list[str]) -> None:
    page = next(t for t in resnet_pages[2:] if "Channels that were not exercised" in t)
    assert "1,586 of 22,720 channels (6.98 %) fired on none of the 64 images" in page
    assert "6 layer1.1.relu_1" in page
    assert "and 38 more" in page


def test_images_become_thumbnails() -> None:
    pages = opened(pdf.render(small_result())).pages
    assert sum(len(page.images) for page in pages) == 12  # with the heat map of each


def test_the_report_says_how_to_read_it(resnet: bytes) -> None:
    last = opened(resnet).pages[-1].extract_text().replace("\n", " ")
    for source in (
        "Is Neuron Coverage a Meaningful Measure for Testing Deep Neural Networks?",
        "Structural Coverage Criteria for Neural Networks Could Be Misleading",
        "Correlations between Deep Neural Network Model Coverage Criteria and Model Quality",
    ):
        assert source in last


def test_skipped_images_are_counted_and_the_first_listed(resnet_pages: list[str]) -> None:
    text = "\n".join(resnet_pages)
    assert "75 of 139 images were not used. The first 50 are listed here" in text
    assert "broken/00049.JPEG" in text
    assert "broken/00050.JPEG" not in text


def test_hostile_names_do_nothing() -> None:
    content = pdf.render(hostile_result())
    reader = opened(content)
    text = "\n".join(page.extract_text() for page in reader.pages)
    for shown in ("[bold red]not markup", "**bold**", "<script>", "{nb}", "\\u{0000}", "\\u{202E}"):
        assert shown in text
    for act in (b"/JavaScript", b"/Launch", b"/URI", b"/EmbeddedFile"):
        assert act not in content
    assert "\u202e" not in text


def test_fonts_are_embedded_as_subsets() -> None:
    content = pdf.render(tiny_result())
    assert len(content) < 200_000
    fonts = opened(content).pages[0]["/Resources"]["/Font"]  # type: ignore[index]
    assert fonts
    for font in fonts.values():
        assert "+" in font.get_object()["/BaseFont"]


def test_a_table_with_many_columns_is_split_into_bands() -> None:
    result = tiny_result()
    table = result.table("mnc")
    columns = (table.columns[0], *(Column(f"section {i}", "count") for i in range(40)))
    rows = tuple((layer.name, *range(1000, 1040)) for layer in result.layers)
    wide = replace(table, columns=columns, rows=rows, total=("total", *range(5000, 5040)))
    text = "\n".join(texts(replace(result, tables=(wide,))))
    for i in range(40):
        assert f"{5000 + i:,}" in text


def test_a_result_without_anything_optional() -> None:
    bare = replace(tiny_result(), tables=(), layers=(), firing=(), preprocessing=())
    text = "\n".join(texts(bare))
    assert "The batches were given ready" in text
    assert "0 of 0 channels" in text


def test_the_colour_scale_grows_lighter_evenly() -> None:
    def lightness(share: float) -> float:
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (channel / 255 for channel in color_of(share))
        )
        return float((0.2126 * red + 0.7152 * green + 0.0722 * blue) ** (1 / 3) * 116 - 16)

    values = [lightness(i / 15) for i in range(16)]
    steps = [b - a for a, b in itertools.pairwise(values)]
    assert min(steps) > 0.5 * sum(steps) / len(steps)
    assert max(steps) < 1.5 * sum(steps) / len(steps)


def test_important_neurons_and_missing_combinations_are_named() -> None:
    text = " ".join(" ".join(texts(small_result())).split())
    assert "Important neurons" in text
    assert "m = 6: the images cover 20 of 36 combinations (55.56 %); 16 are missing." in text
    assert "1 · neuron 0" in text and "20.00 % of relevance" in text
    assert "The first 2 of 16 missing combinations for m = 6" in text
    assert "3 of 3: 3.5" in text
    assert "no activations" in text
    assert "2 zeros left out" in text
