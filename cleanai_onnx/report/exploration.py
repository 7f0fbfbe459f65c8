"""Explorations written down: a journal that grows seed by seed, then a table, JSON, a summary.

The journal has a line of JSON for each seed and is flushed with each, so that an exploration that
was ended in any way goes on where it was. Everything else is made from it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx.errors import UsageError
from cleanai_onnx.exploration.record import Exploration, SeedOutcome
from cleanai_onnx.report import figures
from cleanai_onnx.report.destination import GrowingFile, explained
from cleanai_onnx.report.json import text_of
from cleanai_onnx.report.lines import Lines
from cleanai_onnx.report.names import named, printable, spreadsheet_cell

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Journal", "headline", "model_rows", "show", "write_json", "write_table"]

NAME = "exploration.jsonl"
_WHAT = {
    "version": "the version of cleanai-onnx",
    "models": "the model (SHA-256)",
    "images": "the images (a hash of their contents and names)",
    "images_found": "the number of images",
    "profile": "what --profile has learnt (SHA-256)",
    "input_name": "--input",
    "input_values": "--input-value",
}
"""What a user calls a setting; the others are options of the same name."""


class Journal:
    """A file with a line for each seed, after a first one with what the search depends on.

    Parameters
    ----------
    folder
        Where it lies.
    settings
        What the search depends on, but for the images. A journal that is there with the same goes
        on.

    Raises
    ------
    UsageError
        If there is one of another exploration; the sentence names the difference.
    OutputError
        If it cannot be written, now or later.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.path = folder / NAME
        # As it is read again: tuples are lists there.
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._kept = self._head() if self.path.exists() else None
            if self._kept is not None:
                self._require_same(self._kept["exploration"], self._settings)
            self._stream = self.path.open("a", encoding="utf-8", newline="\n")
        except (OSError, ValueError) as error:
            raise explained(self.path, error) from error

    def start(self, images: str) -> None:
        """Say of which images it is, by a hash, before the first seed.

        Raises
        ------
        UsageError
            If it is of other images.
        """
        if self._kept is not None:
            self._require_same({"images": self._kept["images"]}, {"images": images})
            return
        self._kept = {"exploration": self._settings, "images": images}
        try:
            self._line(json.dumps(self._kept, sort_keys=True))
        except OSError as error:
            raise explained(self.path, error) from error

    def _head(self) -> dict[str, Any] | None:
        """Return what the first line says, after cutting off a line that was not finished."""
        whole = 0
        with self.path.open("rb") as stream:
            first = stream.readline()
            stream.seek(0)
            for line in stream:
                whole += len(line) if line.endswith(b"\n") else 0
        if not whole:
            head = None
        else:
            try:
                head = json.loads(first)
                if not isinstance(head["exploration"], dict) or not isinstance(head["images"], str):
                    raise TypeError
            except (ValueError, TypeError, KeyError, RecursionError):
                raise UsageError(
                    f"{printable(str(self.path), 300)} does not begin as the journal of an "
                    "exploration of this version: choose another folder with --output, or remove "
                    "that file and start again."
                ) from None
        with self.path.open("r+b") as stream:
            stream.truncate(whole)
        return head

    def _require_same(self, kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        before, here = dict(_named(kept)), dict(_named(now))
        for what in {**before, **here}:
            old, new = before.get(what, "not set"), here.get(what, "not set")
            if old != new:
                raise UsageError(
                    f"the exploration in {printable(str(self.path.parent), 300)} cannot go on: "
                    f"{what} is {printable(old, 80)} there and {printable(new, 80)} here; choose "
                    "another folder with --output, or remove that one."
                )

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def add(self, outcome: SeedOutcome) -> None:
        """Append a seed."""
        try:
            self._line(json.dumps(asdict(outcome)))
        except OSError as error:
            raise explained(self.path, error) from error

    def __iter__(self) -> Iterator[SeedOutcome]:
        """Yield the seeds that were written, in the order in which they were.

        Raises
        ------
        UsageError
            If a line is no seed.
        """
        names = {field.name for field in fields(SeedOutcome)}
        with self.path.open(encoding="utf-8") as stream:
            next(stream)
            for number, line in enumerate(stream, 2):
                try:
                    read = json.loads(line)
                    lists = {key: tuple(v) for key, v in read.items() if isinstance(v, list)}
                    outcome = SeedOutcome(**{**read, **lists})
                    if set(read) != names or not isinstance(outcome.index, int):
                        raise ValueError
                except (ValueError, TypeError, AttributeError, RecursionError):
                    raise UsageError(
                        f"line {number} of {printable(str(self.path), 300)} is broken: remove the "
                        "file, and start again."
                    ) from None
                yield outcome

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _named(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a user calls each setting, and its value as text."""
    for key, value in settings.items():
        if key == "preprocessing":
            for number, each in enumerate(value, 1):
                of = f" of model {number}" if len(value) > 1 else ""
                for name, text in each.items():
                    yield f"preprocessing: {name}{of}", text
            continue
        what = _WHAT.get(key, "--" + key.replace("_", "-"))
        if key == "models":
            yield "the number of models", str(len(value))
            for number, text in enumerate(value, 1):
                yield (f"{what} {number}" if len(value) > 1 else what), text
        elif isinstance(value, list):
            yield what, ", ".join(map(str, value))
        else:
            yield what, "not set" if value is None else str(value)


def write_table(path: Path, exploration: Exploration, journal: Journal) -> None:
    """Write a CSV file with a row for each seed."""
    models = [model.name for model in exploration.models]
    numbers = range(1, len(models) + 1)
    header = ["index", "image", "became", "steps", "set apart"]
    header += [f"{lead} {number}" for lead in ("seed class", "class") for number in numbers]
    header += ["l2", "linf", f"adds {exploration.metric}", "file", "stays in 8 bits"]
    file = GrowingFile(path)
    try:
        writer = csv.writer(file)
        writer.writerow(header)
        for one in journal:
            writer.writerow(
                [
                    one.index,
                    spreadsheet_cell(one.image),
                    one.became,
                    one.steps,
                    "" if one.apart is None else one.apart,
                    *one.before,
                    *one.classes,
                    *("" if norm is None else f"{norm:.6g}" for norm in (one.l2, one.linf)),
                    one.adds,
                    spreadsheet_cell(one.file or ""),
                    "" if one.stays is None else str(one.stays).lower(),
                ]
            )
        file.finish()
    finally:
        file.discard()


def write_json(path: Path, exploration: Exploration, journal: Journal) -> None:
    """Write everything that is known, with a member ``seeds`` that has every seed."""
    file = GrowingFile(path)
    try:
        text = text_of(exploration).rstrip()
        assert text.endswith("}")
        file.write(text[:-1].rstrip() + ',\n "seeds": [')
        separator = "\n"
        for one in journal:
            file.write(separator + text_of(one, "  "))
            separator = ",\n"
        file.write("\n ]\n}\n")
        file.finish()
    finally:
        file.discard()


def model_rows(exploration: Exploration) -> list[list[str]]:
    """Return for each model: its name, the items, what the suite covers, with found ones, new."""
    return [
        [
            named(model.name),
            f"{model.items:,}",
            figures.percent(model.covered_before / model.items if model.items else None),
            figures.percent(model.covered / model.items if model.items else None),
            f"{model.covered - model.covered_before:,}",
        ]
        for model in exploration.models
    ]


def headline(exploration: Exploration) -> str:
    """Return in one sentence what was found."""
    if exploration.settings.get("perturb"):
        return f"{exploration.found:,} images perturbed ({exploration.settings['perturb']})."
    one = len(exploration.models) == 1
    what = "images that reach what the suite lacks" if one else "images on which the models differ"
    already = f"; they already differ on {exploration.already:,}" if exploration.already else ""
    return (
        f"{exploration.found:,} {what}, from {exploration.searched:,} seeds"
        f"{'' if one else already}."
    )


def show(exploration: Exploration, console: Console) -> None:
    """Print the summary."""
    lines = Lines(console)
    lines.line(headline(exploration), "bold")
    seconds = figures.duration(exploration.seconds)
    steps, how = exploration.mean_steps, ""
    if not exploration.settings.get("perturb"):
        how = f"{exploration.objective} by {exploration.settings['constraint']}, "
        seconds += "" if steps is None else f", {steps:.1f} steps on average"
    lines.line(f"{how}{named(exploration.source)}, {seconds}", "dim")
    lines.blank()
    rows = model_rows(exploration)
    heading = ["Model", f"{exploration.metric} items", "suite", "with found", "new"]
    lines.columns(heading, rows, flexible=0, strong=(3,))
    if exploration.lost:
        lines.wrapped(
            f"{exploration.lost:,} more did not hold in onnxruntime, or cover nothing new beside "
            "those found before.",
            "yellow",
        )
    if exploration.interrupted:
        left = exploration.suite - exploration.searched
        lines.wrapped(
            f"Interrupted with {left:,} seeds left: the same command goes on from here.", "yellow"
        )
    for image in exploration.skipped[:3]:
        lines.wrapped(f"Skipped {named(image.path)}: {image.reason}", "yellow", most=2)
    for note in exploration.notes:
        lines.wrapped(f"Note: {note.text}", most=4)
