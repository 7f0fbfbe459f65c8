"""Labels: the true class of an image, from its folder, a CSV file, or a column beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.profiles.sample import UNLABELLED

__all__ = [
    "Labels",
    "Table",
    "find_labels",
    "labels_from_column",
    "labels_from_csv",
    "labels_from_folders",
]

COLUMN = "label"
"""The column that is taken where none was asked for."""
_PREFIX = "column:"


@dataclass(frozen=True)
class Labels:
    """The class number of each image by its name; `origin` says where they came from."""

    numbers: Mapping[str, int]
    origin: str

    def of(self, names: Iterable[str]) -> list[int]:
        """Return the label of each image, `UNLABELLED` for those that have none."""
        return [self.numbers.get(name, UNLABELLED) for name in names]


NONE = Labels({}, "none")


class Table(Protocol):
    """A table that has images in its rows, as `cleanai_onnx.inputs.tables.TableStore`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""

    def values(self, column: str) -> Mapping[str, Any]:
        """Return what is in a column, by the name of the image."""


def find_labels(
    wanted: str | Path, names: Iterable[str], classes: int | None, table: Table | None = None
) -> tuple[Labels, str]:
    """Return the labels of images, and why there are none (empty if there are).

    Parameters
    ----------
    wanted
        ``"auto"``: the column ``label`` of images in a table, else folder names, where they can be
        classes; ``"folders"``: folder names, or an error; ``"column:NAME"``: a column of the table
        that the images are in (see `labels_from_column`); ``"none"``; or the path of a CSV file
        (see `labels_from_csv`).
    names
        The names of the images, as reports print them.
    classes
        How many classes the model has; None where it has none.
    table
        What the images are in, if they are rows of a table.

    Raises
    ------
    UsageError
        If labels were asked for and cannot be had.
    """
    if str(wanted) == "none":
        return NONE, "labels were not wanted"
    if str(wanted) not in ("auto", "folders"):
        if classes is None:
            raise UsageError("--labels: the model's output has no classes: leave it out.")
        if str(wanted).startswith(_PREFIX):
            return labels_from_column(table, str(wanted).removeprefix(_PREFIX), classes), ""
        return labels_from_csv(Path(wanted), classes), ""
    by_column = str(wanted) == "auto" and table is not None and COLUMN in table.columns
    what = f"--labels {_PREFIX}{COLUMN}" if by_column else "--labels folders"
    try:
        if classes is None:
            raise UsageError(f"{what}: the model's output has no classes.")
        if by_column:
            return labels_from_column(table, COLUMN, classes), ""
        return labels_from_folders(names, classes), ""
    except UsageError as error:
        if str(wanted) == "folders":
            raise
        return NONE, str(error).removeprefix(f"{what}: ").rstrip(".")


def labels_from_folders(names: Iterable[str], classes: int) -> Labels:
    """Take the name of the folder that an image lies in as its class.

    Whole numbers are class numbers. Other names are classes in sorted order, as in torchvision's
    ImageFolder, and there must be as many as the model has.

    Raises
    ------
    UsageError
        If the names of the folders cannot be the classes.
    """
    folders = {name: PurePosixPath(name).parent.name for name in names}
    if not all(folders.values()):
        raise UsageError("--labels folders: some images do not lie in a folder of their class.")
    numbers = _numbers(set(folders.values()), classes, "--labels folders: the folders")
    return Labels({name: numbers[folder] for name, folder in folders.items()}, "folder names")


def labels_from_column(table: Table | None, column: str, classes: int) -> Labels:
    """Take what stands in a column beside each image as its class.

    Whole numbers are class numbers; images with none, or with a negative one, have no label. Texts
    are taken as in `labels_from_csv`; empty ones are none.

    Raises
    ------
    UsageError
        If the images are in no table, or the column is missing or cannot be the classes.
    """
    what = f"--labels {_PREFIX}{shown(column, 40)}"
    if table is None:
        raise UsageError(f"{what}: the images are not in a table of their own (Parquet or Arrow).")
    if column not in table.columns:
        others = ", ".join(shown(name, 40) for name in table.columns[:10])
        raise UsageError(f"{what}: there is no such column; the columns are: {others}.")
    found = {name: _as_text(value, what) for name, value in table.values(column).items()}
    found = {name: text for name, text in found.items() if text}
    if not found:
        raise UsageError(f"{what}: no image has a label.")
    numbers = _numbers(set(found.values()), classes, f"{what}: the labels")
    return Labels(
        {shown(name): numbers[text] for name, text in found.items()},
        f"column {shown(column, 40)}",
    )


def _as_text(value: Any, what: str) -> str:
    """Return a value of a column as a CSV file would have it; empty for no label."""
    if isinstance(value, str):
        return value.strip()
    # A column of whole numbers some of which are missing is often written as one of fractions.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value != value or (isinstance(value, int) and value < 0):
        return ""
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{what}: a label must be a whole number or a text, not {value!r:.40}.")
    return str(value)


def labels_from_csv(path: Path, classes: int) -> Labels:
    """Read labels from a CSV file with the columns ``image`` and ``label``.

    An image is named as in the reports: its path relative to the folder that was given, or
    ``digits.npy[12]``. A label is a class number, or, where there is a label that is none, a name;
    names are classes in sorted order, and there must be as many as the model has.

    Raises
    ------
    UsageError
        If the file cannot be read or used.
    """
    name = shown(str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = {(column or "").strip().lower(): column for column in reader.fieldnames or ()}
            if "image" not in columns or "label" not in columns:
                raise UsageError(
                    f"--labels {name}: the first line must name the columns image and label."
                )
            rows = [(row[columns["image"]], row[columns["label"]]) for row in reader]
    except OSError as error:
        raise UsageError(f"--labels: cannot read {name}: {error.strerror}.") from error
    except (ValueError, csv.Error) as error:
        raise UsageError(f"--labels {name} is not a CSV file in UTF-8: {error}.") from error
    if not rows:
        raise UsageError(f"--labels {name} has no rows.")
    if any(not image or not label for image, label in rows):
        raise UsageError(f"--labels {name}: a row has no image or no label.")
    numbers = _numbers(
        {label.strip() for _, label in rows}, classes, f"--labels {name}: the labels"
    )
    return Labels({image: numbers[label.strip()] for image, label in rows}, f"file {path.name}")


def _numbers(found: set[str], classes: int, what: str) -> dict[str, int]:
    if all(name.isascii() and name.isdecimal() and len(name) < 10 for name in found):
        numbers = {name: int(name) for name in found}
        largest = max(numbers.values())
        if largest >= classes:
            raise UsageError(
                f"{what} go up to {largest}, and the model's classes from 0 to {classes - 1}."
            )
        return numbers
    if len(found) != classes:
        raise UsageError(
            f"{what} have {len(found)} different names, and the model has {classes} classes."
        )
    return {name: number for number, name in enumerate(sorted(found))}
