"""Labels: the true class of an image, from the folder it lies in or from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.profiles.sample import UNLABELLED

__all__ = ["Labels", "find_labels", "labels_from_csv", "labels_from_folders"]


@dataclass(frozen=True)
class Labels:
    """The class number of each image by its name; `origin` says where they came from."""

    numbers: Mapping[str, int]
    origin: str

    def of(self, names: Iterable[str]) -> list[int]:
        """Return the label of each image, `UNLABELLED` for those that have none."""
        return [self.numbers.get(name, UNLABELLED) for name in names]


NONE = Labels({}, "none")


def find_labels(
    wanted: str | Path, names: Iterable[str], classes: int | None
) -> tuple[Labels, str]:
    """Return the labels of images, and why there are none (empty if there are).

    Parameters
    ----------
    wanted
        ``"auto"``: folder names where they can be classes; ``"folders"``: folder names, or an
        error; ``"none"``; or the path of a CSV file (see `labels_from_csv`).
    names
        The names of the images, as reports print them.
    classes
        How many classes the model has; None where it has none.

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
        return labels_from_csv(Path(wanted), classes), ""
    try:
        if classes is None:
            raise UsageError("--labels folders: the model's output has no classes.")
        return labels_from_folders(names, classes), ""
    except UsageError as error:
        if str(wanted) == "folders":
            raise
        return NONE, str(error).removeprefix("--labels folders: ").rstrip(".")


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
