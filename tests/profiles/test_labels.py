"""Labels from folders and from CSV files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cleanai_onnx.errors import UsageError
from cleanai_onnx.profiles.labels import find_labels, labels_from_csv, labels_from_folders


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
