"""Concepts from files: the columns of a table, and folders of masks."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs import IMAGE_SUFFIXES
from cleanai_onnx.inputs.naming import natural_key, shown
from cleanai_onnx.inspection.hypotheses import Column, Kind, Masks, categorical

__all__ = ["read_masks", "read_table"]

_YES = {"1": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "false": 0.0, "no": 0.0}
_UNKNOWN = frozenset({"", "na", "n/a", "nan", "null", "none"})
_KINDS = frozenset(get_args(Kind)) - {"mask"}


def read_table(path: str | Path) -> tuple[Column, ...]:
    """Read hypotheses from a CSV or Parquet file: a column each, besides the column ``image``.

    An image is named as in the reports: its path relative to the folder that was given, or
    ``digits.npy[12]``. A column of nothing but 0 and 1 (or true and false, yes and no) is binary,
    one of numbers numeric, any other categorical; a heading such as ``digit:categorical`` says so
    itself. Empty cells are values that are not known.

    Raises
    ------
    UsageError
        If the file cannot be read or used; the sentence says which line or column.
    """
    path = Path(path)
    name = shown(str(path))
    headings, rows = _rows_of(path, name)
    places = [place for place, heading in enumerate(headings) if heading.lower() == "image"]
    if len(places) != 1:
        raise UsageError(f"--hypotheses {name}: exactly one column must be called image.")
    if len(headings) < 2 or not rows:
        raise UsageError(f"--hypotheses {name}: there is nothing besides the names of images.")
    images = [row[places[0]] for row in rows]
    if not all(images) or len(set(images)) < len(images):
        raise UsageError(f"--hypotheses {name}: each row must name another image.")
    found = tuple(
        _column(heading, dict(zip(images, (row[place] for row in rows), strict=True)), name)
        for place, heading in enumerate(headings)
        if place != places[0]
    )
    twice = {one.name for one in found if sum(other.name == one.name for other in found) > 1}
    if twice:
        raise UsageError(f"--hypotheses {name}: two columns are called {shown(min(twice))}.")
    return found


def read_masks(folder: str | Path, names: Sequence[str]) -> tuple[Masks, ...]:
    """Find the masks of images: a folder for each concept, in it a mask for each image.

    A mask has the path of its image, whatever the ending: ``striped/cats/tom.png`` is the mask of
    the concept ``striped`` for ``cats/tom.jpg``. A folder that holds masks itself is one concept.

    Raises
    ------
    UsageError
        If there is no such folder, or no mask in it belongs to an image.
    """
    folder = Path(folder)
    title = shown(str(folder))
    if not folder.is_dir():
        raise UsageError(f"--masks {title}: there is no such folder.")
    stems = {os.path.splitext(name)[0]: name for name in names}
    own = _masks_below(folder, stems)
    if own:
        return (Masks(shown(folder.name, 80), own),)
    below = sorted((one for one in folder.iterdir() if one.is_dir()), key=lambda p: p.name)
    found = tuple(
        Masks(shown(one.name, 80), files) for one in below if (files := _masks_below(one, stems))
    )
    if not found:
        raise UsageError(
            f"--masks {title}: no mask is called like an image; a mask has the path of its image "
            "below the folder of its concept."
        )
    return found


def _masks_below(folder: Path, stems: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).as_posix()
        stem, ending = os.path.splitext(relative)
        if ending.lower() in IMAGE_SUFFIXES and stem in stems:
            found[stems[stem]] = str(path)
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def _rows_of(path: Path, name: str) -> tuple[list[str], list[list[str]]]:
    if path.suffix.lower() in (".parquet", ".pq"):
        return _from_parquet(path, name)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except OSError as error:
        raise UsageError(f"--hypotheses: cannot read {name}: {error.strerror}.") from error
    except (ValueError, csv.Error) as error:
        raise UsageError(f"--hypotheses {name} is not a CSV file in UTF-8: {error}.") from error
    if not lines:
        raise UsageError(f"--hypotheses {name} is empty.")
    headings, *rows = lines
    for number, row in enumerate(rows):
        if len(row) != len(headings):
            raise UsageError(
                f"--hypotheses {name}: row {number + 1} has {len(row)} cells and the first line "
                f"{len(headings)}."
            )
    return headings, rows


def _from_parquet(path: Path, name: str) -> tuple[list[str], list[list[str]]]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "--hypotheses: reading Parquet needs pyarrow; install 'cleanai-onnx[inspect]' or give "
            "a CSV file.",
            slug="package-missing",
        ) from error
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"--hypotheses: cannot read {name}: {shown(reason)}.") from error
    columns = [map(_cell, table.column(place).to_pylist()) for place in range(table.num_columns)]
    return [str(one).strip() for one in table.column_names], [
        list(row) for row in zip(*columns, strict=True)
    ]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()


def _column(heading: str, cells: Mapping[str, str], table: str) -> Column:
    name, colon, kind = heading.rpartition(":")
    if not colon or kind not in _KINDS:
        name, kind = heading, ""
    if not name:
        raise UsageError(f"--hypotheses {table}: a column has no name.")
    known = {image: cell for image, cell in cells.items() if cell.lower() not in _UNKNOWN}
    where = f"--hypotheses {table}: the column {shown(name, 60)}"
    if not known:
        raise UsageError(f"{where} has no values.")
    if kind in ("", "binary"):
        yes = {image: _YES.get(cell.lower()) for image, cell in known.items()}
        if None not in yes.values():
            return Column(name, "binary", {i: v for i, v in yes.items() if v is not None})
        if kind:
            raise UsageError(f"{where} is binary and must hold 0 or 1.")
    if kind in ("", "numeric"):
        numbers = dict(_numbers(known))
        if len(numbers) == len(known):
            return Column(name, "numeric", numbers)
        if kind:
            raise UsageError(f"{where} is numeric and must hold finite numbers.")
    categories = tuple(sorted(set(known.values()), key=natural_key))
    return categorical(name, known, categories)


def _numbers(cells: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for image, cell in cells.items():
        try:
            number = float(cell)
        except ValueError:
            return
        if not math.isfinite(number):
            return
        yield image, number
