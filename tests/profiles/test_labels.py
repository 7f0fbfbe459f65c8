"""Labels from folders, from CSV files and from columns of tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx.errors import UsageError
from cleanai_onnx.profiles.labels import (
    find_labels,
    labels_from_column,
    labels_from_csv,
    labels_from_folders,
)


def test_numbers_are_classes() -> None:
    labels = labels_from_folders(["a/7/x.png", "a/3/y.png"], 10)
    assert labels.of(["a/7/x.png", "a/3/y.png", "z.png"]) == [7, 3, -1]


def test_names_are_classes_in_sorted_order() -> None:
    labels = labels_from_folders(["dog/1.png", "cat/1.png", "emu/1.png"], 3)
    assert labels.of(["dog/1.png", "cat/1.png", "emu/1.png"]) == [1, 0, 2]


@pytest.mark.parametrize(
    ("names", "classes", "why"),
    [
        (["x.png", "1/y.png"], 10, "do not lie in a folder"),
        (["cat/x.png"], 2, "have 1 different names, and the model has 2 classes"),
        (["10/x.png"], 10, "go up to 10"),
    ],
)
def test_folders_that_are_no_classes(names: list[str], classes: int, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        find_labels("folders", names, classes)
    labels, reason = find_labels("auto", names, classes)
    assert not labels.numbers and why in reason


def test_a_model_without_classes_takes_no_labels() -> None:
    labels, reason = find_labels("auto", ["1/x.png"], None)
    assert not labels.numbers and "no classes" in reason
    with pytest.raises(UsageError, match="no classes"):
        find_labels("labels.csv", [], None)
    assert not find_labels("none", ["1/x.png"], 3)[0].numbers


def test_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("note,Label,image\n,3,a.png\n,0,b/c.png\n", encoding="utf-8-sig")
    labels, why = find_labels(path, [], 4)
    assert labels.of(["a.png", "b/c.png", "d.png"]) == [3, 0, -1] and not why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("name,class\na,1\n", "must name the columns image and label"),
        ("image,label\n", "has no rows"),
        ("image,label\na.png,\n", "no label"),
        ("image,label\na.png\n", "no label"),
        ("image,label\na.png,9\n", "go up to 9"),
        ("image,label\na.png,cat\n", "have 1 different names"),
        (b"\xff\xfe\x00", "not a CSV file in UTF-8"),
    ],
)
def test_broken_csv_files(tmp_path: Path, content: str | bytes, why: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError, match=why):
        labels_from_csv(path, 4)


def test_a_missing_csv_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        labels_from_csv(tmp_path / "none.csv", 4)


@dataclass
class Columns:
    """Columns as a table of images has them."""

    of: dict[str, list[Any]]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.of)

    def values(self, column: str) -> dict[str, Any]:
        return {f"t[{row}]": value for row, value in enumerate(self.of[column])}


TABLE = Columns(
    {
        "label": [3, None, -1, 0],
        "name": ["dog", " cat ", "", "emu"],
        "loss": [2.0, float("nan"), None, 1.0],
        "half": [0.5, 1, 1, 1],
        "yes": [True, False, True, True],
        "nothing": [None, "", -1, None],
        "digits": ["3", "0", "1", "1"],
    }
)
ROWS = [f"t[{row}]" for row in range(4)]


@pytest.mark.parametrize(
    ("wanted", "classes", "numbers"),
    [
        ("auto", 4, [3, -1, -1, 0]),
        ("column:name", 3, [1, 0, -1, 2]),
        ("column:loss", 3, [2, -1, -1, 1]),
        ("column:digits", 4, [3, 0, 1, 1]),
    ],
)
def test_columns(wanted: str, classes: int, numbers: list[int]) -> None:
    labels, why = find_labels(wanted, ROWS, classes, TABLE)
    assert labels.of(ROWS) == numbers and not why
    assert labels.origin == f"column {wanted.removeprefix('column:').replace('auto', 'label')}"


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ("half", "a whole number or a text, not 0.5"),
        ("yes", "a whole number or a text, not True"),
        ("nothing", "no image has a label"),
        ("label", "go up to 3"),
        ("name", "have 3 different names"),
        ("klass", "no such column; the columns are: label, name, loss"),
    ],
)
def test_columns_that_are_no_classes(column: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        labels_from_column(TABLE, column, 2)
    assert str(caught.value).startswith(f"--labels column:{column}: ")


def test_a_column_is_taken_by_itself_only_where_it_fits() -> None:
    labels, why = find_labels("auto", ROWS, 2, TABLE)
    assert not labels.numbers and why.startswith("the labels go up to 3")
    # Without such a column the folders are looked at, as ever.
    names = ["0/t.parquet[0]", "1/t.parquet[0]"]
    assert find_labels("auto", names, 2, Columns({"x": [5]}))[0].origin == "folder names"
    assert find_labels("folders", names, 2, TABLE)[0].origin == "folder names"
    with pytest.raises(UsageError, match="not in a table"):
        find_labels("column:label", names, 2)
