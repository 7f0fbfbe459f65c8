"""Markdown as GitHub reads it: a summary for ``$GITHUB_STEP_SUMMARY`` or a pull request.

A step's summary may have one MiB. What matters comes first; tables that would not fit are left out,
and the end of the file says how many.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from cleanai_onnx.report import figures
from cleanai_onnx.report.digest import (
    VIEWS,
    Figure,
    firing_by_layer,
    layer_numbers,
    layer_tables,
    layer_title,
    other_totals,
    verdicts,
)
from cleanai_onnx.report.gates import headline, verdict, worst_first
from cleanai_onnx.report.names import named, printable, ranges
from cleanai_onnx.report.subset import guarantee
from cleanai_onnx.report.subset import headline as subset_headline
from cleanai_onnx.result import Result, Table

__all__ = ["MOST_BYTES", "escaped", "render"]

MOST_BYTES = 1_000_000
"""Never more than this: the limit of a step's summary is 1,048,576."""
_ROOM = 400
"""Kept free for the sentence at the end."""
_LOWEST = 10
_LISTED = 20


def render(result: Result) -> bytes:
    """Return `result` as the bytes of a Markdown file of at most `MOST_BYTES`."""
    parts: list[bytes] = []
    size, left_out = 0, 0
    for part in _parts(result):
        content = part.encode("utf-8")
        if size + len(content) > MOST_BYTES - _ROOM:
            left_out += 1
            continue
        size += len(content)
        parts.append(content)
    if left_out:
        what = "One part is" if left_out == 1 else f"{left_out:,} parts are"
        parts.append(
            f"\n{what} left out here, because this summary may have 1 MB only; the JSON result "
            "has everything.\n".encode()
        )
    return b"".join(parts)


def escaped(text: str, most: int = 120) -> str:
    """Return text from outside as Markdown that shows it and does nothing else.

    Whatever could be markup, a link, a mention or the end of a cell becomes a character reference,
    which Markdown never reads as structure.
    """
    shown = printable(named(text), most)
    return re.sub(
        r"[^\w\s.,;()/%+=-]|_|^[-+=]|(?<=[wW]{3})\.", lambda found: f"&#{ord(found[0])};", shown
    )


def _code(text: str, most: int = 120) -> str:
    """Return a name from outside as code, in which GitHub looks for no mention or issue."""
    return f"<code>{escaped(text, most)}</code>"


def _parts(result: Result) -> Iterator[str]:
    """Yield the pieces of the summary, the most important first."""
    yield _opening(result)
    if result.gates:
        yield _gates(result)
    yield _metrics(result)
    for table in other_totals(result):
        yield _totals(table)
    yield _lowest(result)
    yield _silent(result)
    if result.subset is not None:
        yield f"\n{escaped(subset_headline(result.subset), 300)}. {guarantee(result.subset)}\n"
    yield _left_out(result)
    for table in result.tables:
        yield _table(result, table)


def _opening(result: Result) -> str:
    images, run = result.images, result.run
    layers = len(result.layers)
    text = (
        f"# Coverage of {_code(result.model.name)}\n\n"
        f"{images.used:,} of {images.found:,} images from {_code(images.source)}, measured in "
        f"{layers:,} {'layer' if layers == 1 else 'layers'}, {escaped(run.device)}, "
        f"{figures.duration(sum(run.seconds.values()))}. cleanai-onnx {escaped(run.tool_version)}, "
        f"model SHA-256 {_code(result.model.sha256)}.\n"
    )
    return text + "".join(
        f"\n> **Note** {escaped(note.text, 600)} ({_code(note.slug)})\n" for note in result.notes
    )


def _gates(result: Result) -> str:
    mark = "✅" if result.passed else "❌"
    rows = [
        (
            "✅" if one.passed else "❌",
            verdict(one),
            escaped(one.text, 600),
            _code(one.gate),
            escaped(one.origin),
        )
        for one in worst_first(result.gates)
    ]
    return f"\n## {mark} {headline(result.gates)}\n" + _grid(
        ("", "", "What was found", "Gate", "Where it stands"), rows
    )


def _metrics(result: Result) -> str:
    shown = verdicts(result)
    if not shown:
        return ""
    rows = [
        (
            _code(one.metric),
            escaped(one.title),
            *(text for view in VIEWS for text in _figure(one.views.get(view))),
        )
        for one in shown
    ]
    heading = ("Metric", "Name", *("units", "of", "coverage"), *("channels", "of", "coverage"))
    return "\n## Metrics\n" + _grid(heading, rows, numbers=range(2, 8))


def _figure(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return "", "", ""
    return (
        figures.count(figure.covered),
        figures.count(figure.total),
        f"**{figures.percent(figure.coverage)}**",
    )


def _totals(table: Table) -> str:
    assert table.total is not None
    said = ", ".join(
        f"{escaped(column.name)} {escaped(figures.cell_text(cell, column))}"
        for column, cell in zip(table.columns, table.total, strict=True)
        if column.kind != "text"
    )
    return f"\n{_code(table.metric)}, {table.view} view: {said}\n"


def _lowest(result: Result) -> str:
    by_metric = layer_tables(result)
    metric = "nc" if "nc" in by_metric else next(iter(by_metric), None)
    if metric is None or len(result.layers) < 2:
        return ""
    view, shares = next(iter(by_metric[metric].items()))
    known = sorted(
        (share, place)
        for place, share in enumerate(shares)
        if share is not None and math.isfinite(share)
    )
    firing = firing_by_layer(result)
    rows = [
        (
            f"{place + 1:,}",
            _code(layer_title(result.layers[place])),
            figures.percent(share),
            f"{len(firing[place].dead):,} of {len(firing[place].counts):,}",
        )
        for share, place in known[:_LOWEST]
    ]
    return "\n## Layers with the lowest coverage\n" + _grid(
        ("#", "Layer", f"{escaped(metric)}, {view}s", "channels that never fired"),
        rows,
        numbers=(0, 2, 3),
    )


def _silent(result: Result) -> str:
    firing = firing_by_layer(result)
    channels = sum(len(one.counts) for one in firing)
    silent = [one for one in firing if one.dead]
    dead = sum(len(one.dead) for one in silent)
    share = figures.percent(dead / channels) if channels else figures.NOTHING
    text = f"\n## Channels that never fired: {dead:,} of {channels:,} ({share})\n"
    if not silent:
        return text
    rows = [
        (
            f"{one.index:,}",
            _code(layer_title(one.layer)),
            f"{len(one.dead):,} of {len(one.counts):,}",
            "all" if len(one.dead) == len(one.counts) else ranges(one.dead, 120),
        )
        for one in silent
    ]
    grid = _grid(("#", "Layer", "Count", "Channels"), rows, numbers=(0, 2))
    return text + _folded(f"In {len(silent):,} of {len(firing):,} layers", grid)


def _left_out(result: Result) -> str:
    skipped, untapped = result.images.skipped, result.model.untapped
    text = ""
    if skipped:
        rows = [(_code(one.path), escaped(one.reason)) for one in skipped[:_LISTED]]
        more = len(skipped) - len(rows)
        text += f"\n## Skipped images: {len(skipped):,}\n" + _grid(("Image", "Reason"), rows)
        text += f"\nand {more:,} more\n" if more else ""
    if untapped:
        names = ", ".join(_code(one.name, 60) for one in untapped[:_LISTED])
        more = len(untapped) - _LISTED
        text += f"\nActivations that were not measured: {len(untapped):,} ({names}"
        text += f", and {more:,} more)\n" if more > 0 else ")\n"
    return text


def _table(result: Result, table: Table) -> str:
    numbers = layer_numbers(result)

    def shown(place: int, text: str) -> str:
        column = table.columns[place]
        if column.kind != "text":
            return escaped(text)
        number = numbers.get(text) if "layer" in column.name else None
        title = text if number is None else layer_title(result.layers[number - 1])
        return _code(title) if "layer" in column.name else escaped(title)

    every = [*table.rows, *([] if table.total is None else [table.total])]
    rows = [
        [
            shown(place, figures.cell_text(cell, column))
            for place, (column, cell) in enumerate(zip(table.columns, row, strict=True))
        ]
        for row in every
    ]
    kinds = [place for place, column in enumerate(table.columns) if column.kind != "text"]
    grid = _grid([escaped(column.name) for column in table.columns], rows, numbers=kinds)
    coverage = "" if table.coverage is None else f", {figures.percent(table.coverage)}"
    title = f"{_code(table.metric)} {escaped(table.title)}, {table.view} view{coverage}"
    return _folded(title, f"\n{escaped(table.definition, 600)}\n{grid}")


def _folded(title: str, text: str) -> str:
    return f"\n<details><summary>{title}</summary>\n{text}\n</details>\n"


def _grid(
    heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()
) -> str:
    rule = [("---:" if place in numbers else "---") for place in range(len(heading))]
    return "\n" + "".join(f"| {' | '.join(row)} |\n" for row in (heading, rule, *rows))
