from __future__ import annotations

import base64
import hashlib
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.report import figures, html
from cleanai_onnx.report.colormap import color_of
from cleanai_onnx.report.digest import LayerFiring
from cleanai_onnx.report.html_charts import bars, firing_runs, histogram, steps, width
from cleanai_onnx.report.names import printable
from cleanai_onnx.result import LayerFacts, Result
from tests.report.browser import needs_chromium, opened
from tests.report.results import (
    HOSTILE_NAMES,
    hostile_result,
    resnet50_like,
    small_result,
    tiny_result,
)

VOID = {"meta", "input", "img", "br"}
FACTORIES = [tiny_result, small_result, resnet50_like, hostile_result]


class Page(HTMLParser):
    """Reads a page strictly: every element that is opened is closed, in order."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.text: list[str] = []
        self.bodies: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self.feed(content.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.bodies:
            self.bodies[self.open[-1]].append(data)
        else:
            self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def attributes(self, name: str) -> list[str]:
        return [found[name] or "" for _, found in self.elements if name in found]


@cache
def page_of(factory: object) -> Page:
    return Page(html.render(factory()))  # type: ignore[operator]


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_page_is_well_formed_and_asks_for_nothing(factory: object) -> None:
    page = page_of(factory)
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    links = page.attributes("href")
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert all(source.startswith("data:image/png;base64,") for source in page.attributes("src"))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "iframe", "object", "embed", "form", "base", "foreignobject"}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    for style in page.bodies["style"]:
        assert "url(" not in style
        assert "@import" not in style


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_policy_allows_our_script_and_style_and_nothing_else(factory: object) -> None:
    page = page_of(factory)
    scripts = [found for tag, found in page.elements if tag == "script"]
    assert [one.get("type") for one in scripts] == ["application/json", None]
    (policy,) = (
        found["content"]
        for tag, found in page.elements
        if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy"
    )
    allowed = dict(part.strip().split(" ", 1) for part in (policy or "").split(";"))

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert allowed == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": source(page.bodies["style"][0]),
        "script-src": source(page.bodies["script"][1]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.parametrize("factory", FACTORIES)
def test_every_number_of_every_table_is_there(factory: object) -> None:
    result: Result = factory()  # type: ignore[operator]
    page = page_of(factory)
    cells, keys = set(page.cells), set(page.attributes("data-key"))
    for table in result.tables:
        for row in (*table.rows, *([table.total] if table.total else [])):
            for column, cell in zip(table.columns, row, strict=True):
                if column.kind != "text":
                    assert printable(figures.cell_text(cell, column), 1500) in cells
                if column.kind == "ratio" and isinstance(cell, float):
                    assert repr(cell) in keys
    text = "".join(page.text)
    for gate in result.gates:
        assert printable(gate.text, 1500) in text
    for image in result.images.skipped:
        assert printable(image.reason, 1500) in text
    for fact in (result.model.sha256, result.run.configuration_sha256, result.run.id):
        assert printable(fact, 1500) in text


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_shown_and_harmless(name: str) -> None:
    page = page_of(hostile_result)
    assert printable(name or "(no name)", 1500) in "".join(page.text)
    everything = "".join((*page.text, *page.bodies["script"], *page.bodies["title"]))
    assert not any(
        (ord(character) < 32 and character not in "\n") or 0x202A <= ord(character) <= 0x202E
        for character in everything
    )


def test_a_large_model_stays_small_enough_to_open() -> None:
    assert len(html.render(resnet50_like((3, 8, 36, 3), 500))) < 3_000_000


def test_a_page_without_anything_to_show() -> None:
    result = tiny_result()
    bare = replace(result, tables=(), layers=(), firing=(), importance=(), preprocessing=())
    assert "never" in "".join(Page(html.render(bare)).text).lower()


SHARES = st.lists(
    st.one_of(st.none(), st.floats(-0.5, 1.5), st.sampled_from([math.nan, math.inf, 0.0, 1.0])),
    max_size=40,
)


@given(SHARES)
def test_bars_are_as_tall_as_their_shares(shares: list[float | None]) -> None:
    drawn = re.findall(r"M([\d.]+) 100v-([\d.]+)h([\d.]+)v([\d.]+)z", bars(shares, 600, 100))
    kept = [
        (place, min(1.0, share))
        for place, share in enumerate(shares)
        if share is not None and math.isfinite(share) and share > 0
    ]
    assert len(drawn) == len(kept)
    for (left, tall, wide, back), (place, share) in zip(drawn, kept, strict=True):
        assert float(tall) == float(back) == pytest.approx(100 * share, abs=0.006)
        middle = float(left) + float(wide) / 2
        assert middle == pytest.approx(600 * (place + 0.5) / len(shares), abs=0.02)


@given(SHARES)
def test_steps_run_level_over_every_share_that_is_a_number(shares: list[float | None]) -> None:
    drawn = re.findall(r"(?:M([\d.]+) |V)([\d.]+)H([\d.]+)", steps(shares, 600, 100))
    kept = [
        (place, min(1.0, max(0.0, share)))
        for place, share in enumerate(shares)
        if share is not None and math.isfinite(share)
    ]
    assert len(drawn) == len(kept)
    for (_, y, right), (place, share) in zip(drawn, kept, strict=True):
        assert float(y) == pytest.approx(100 * (1 - share), abs=0.006)
        assert float(right) == pytest.approx(600 * (place + 1) / len(shares), abs=0.006)
    pens = [place for place, (left, _, _) in enumerate(drawn) if left]
    gaps = [
        number
        for number, (place, _) in enumerate(kept)
        if not number or kept[number - 1][0] < place - 1
    ]
    assert pens == gaps


@given(st.lists(st.integers(0, 50), min_size=1, max_size=300), st.integers(1, 50))
def test_strips_share_the_width_among_the_channels(counts: list[int], used: int) -> None:
    layer = LayerFacts("x", "", "Relu", (len(counts),), 0, len(counts), len(counts))
    runs = list(firing_runs(LayerFiring(1, layer, tuple(counts), used), 1000))
    widths = [float(re.fullmatch(r"M[\d.]+ 0h([\d.]+)v1h-[\d.]+z", d)[1]) for _, d in runs]  # type: ignore[index]
    assert sum(widths) == pytest.approx(1000, abs=0.006 * len(runs))
    dead = sum(wide for (color, _), wide in zip(runs, widths, strict=True) if color is None)
    assert dead == pytest.approx(1000 * counts.count(0) / len(counts), abs=0.006)
    most = "#{:02x}{:02x}{:02x}".format(*color_of(1.0))
    always = sum(wide for (color, _), wide in zip(runs, widths, strict=True) if color == most)
    assert always >= 1000 * sum(one >= used for one in counts) / len(counts) - 0.006


def test_a_histogram_shows_whatever_is_there_at_all() -> None:
    neuron = small_result().importance[0].neurons[0]
    neuron = replace(
        neuron, low=0.0, high=10.0, histogram=(1, 0, 1000, 5), centroids=(5.0,), borders=(2.5,)
    )
    drawn = histogram(neuron, 200, 50)
    assert drawn is not None
    assert drawn.bars.count("M") == 3
    assert (drawn.centroids, drawn.borders) == ((100.0,), (50.0,))
    assert histogram(replace(neuron, high=math.nan), 200, 50) is None


def test_a_meter_has_no_width_beyond_its_ends() -> None:
    assert [width(share) for share in (None, math.nan, -1.0, 0.5, 2.0)] == [
        "0%",
        "0%",
        "0%",
        "50%",
        "100%",
    ]


# In a browser

SORT = """
const table = document.querySelector("#metrics table");
const column = [...table.tHead.rows[0].cells].findIndex((one) => one.textContent === "coverage");
const read = () => [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.key).join(" ");
table.tHead.rows[0].cells[column].click();
const first = read();
table.tHead.rows[0].cells[column].click();
document.body.dataset.found = first + "|" + read();
"""

HOVER = """
const panel = document.querySelector(".panel");
const box = panel.querySelector("svg").getBoundingClientRect();
panel.dispatchEvent(new PointerEvent("pointermove", {
  clientX: box.left + box.width * 0.9, clientY: box.top + 5, bubbles: true }));
document.body.dataset.found = document.querySelector(".tip").innerText.replaceAll("\\n", "|");
"""

CONTROLS = """
const found = {};
const all = (selector) => [...document.querySelectorAll(selector)];
const press = (text) => all("button").find((one) => one.textContent === text).click();
const visible = () => all(".tab").map((one) => one.hidden ? 0 : 1).join("");
found.tabs = visible();
press("channel view");
found.then = visible();
const box = document.querySelector("#matrix .filter");
box.value = "FC1";
box.dispatchEvent(new Event("input"));
found.rows = all("#matrix .tab:not([hidden]) tbody tr").filter((one) => !one.hidden).length;
found.closed = all("#tables details[open]").length;
press("Open all");
found.open = all("#tables details:not([open])").length;
document.querySelector(".theme").click();
found.theme = document.documentElement.dataset.theme;
document.body.dataset.found = JSON.stringify(found);
"""


def found_in(document: str) -> str:
    page = Page(b"")
    page.handle_endtag = lambda tag: None  # type: ignore[method-assign]
    page.feed(document)
    return next(found["data-found"] or "" for tag, found in page.elements if tag == "body")


@needs_chromium
def test_the_browser_sorts_by_the_exact_number(tmp_path: Path) -> None:
    after = opened(html.render(small_result()), tmp_path, SORT)
    assert after.console == []
    down, up = ([*map(float, part.split())] for part in found_in(after.document).split("|"))
    assert len(down) == 16
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert len(set(down)) > 10


@needs_chromium
def test_the_browser_says_what_is_under_the_pointer(tmp_path: Path) -> None:
    result = small_result()
    after = opened(html.render(result), tmp_path, HOVER)
    assert after.console == []
    nc = {view: result.table("nc", view).rows[3] for view in ("unit", "channel")}  # type: ignore[arg-type]
    expected = ["4 · fc2.relu"] + [
        f"{view}s {figures.percent(row[3])}"  # type: ignore[arg-type]
        for view, row in nc.items()
    ]
    assert found_in(after.document).split("|") == expected


@needs_chromium
def test_the_controls_of_the_page(tmp_path: Path) -> None:
    after = opened(html.render(small_result()), tmp_path, CONTROLS)
    assert after.console == []
    assert found_in(after.document) == (
        '{"tabs":"10","then":"01","rows":1,"closed":0,"open":0,"theme":"dark"}'
    )


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """Serve HTTP on a port of this machine, and keep what is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@needs_chromium
def test_a_hostile_name_neither_runs_nor_calls_home(tmp_path: Path) -> None:
    with listening() as (address, asked):
        evil = [
            f"</script><img src={address}/a onerror=\"document.title='pwned'\">",
            f"'\"><svg onload=fetch('{address}/b')>",
            f"</title></style><script src={address}/c></script>",
            f"{{{{ 7 * 7 }}}}<link rel=stylesheet href={address}/d>\u202e\x07",
        ]
        result = hostile_result()
        layers = tuple(
            replace(layer, name=name, label=name)
            for layer, name in zip(result.layers, evil * 5, strict=False)
        )
        result = replace(
            result,
            layers=layers,
            model=replace(result.model, name=evil[0], file=evil[1], producer=evil[2]),
            images=replace(result.images, source=evil[3]),
            featured=tuple(replace(image, path=evil[1], role=evil[0]) for image in result.featured),
        )
        after = opened(html.render(result), tmp_path)
        # What would be seen if one of them had worked.
        worked = opened(f"<img src={address}/control><script>oops()</script>".encode(), tmp_path)
        assert asked == ["/control"]
    assert len(worked.console) == 1
    assert after.console == []
    title = re.search(r"<title>(.*?)</title>", after.document, re.S)
    assert title is not None
    assert "Coverage report" in title[1]
    assert "7 * 7" in after.document
