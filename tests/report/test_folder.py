"""Folders and archives that grow out of sight and appear whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cleanai_onnx.errors import OutputError
from cleanai_onnx.report import all_or_nothing
from cleanai_onnx.report.archive import GrowingArchive
from cleanai_onnx.report.destination import discard_unfinished
from cleanai_onnx.report.folder import GrowingFolder


def visible(folder: Path) -> set[str]:
    found = folder.rglob("*")
    return {str(one.relative_to(folder)) for one in found if not one.name.endswith(".part")}


def test_files_appear_when_it_is_finished(tmp_path: Path) -> None:
    folder = GrowingFolder(tmp_path / "new" / "maps")
    folder.write("a", b"1")
    folder.write("b", b"2")
    assert not (tmp_path / "new" / "maps").exists()
    assert folder.finish() == tmp_path / "new" / "maps"
    assert {one.name: one.read_bytes() for one in (tmp_path / "new" / "maps").iterdir()} == {
        "a": b"1",
        "b": b"2",
    }
    assert {one.name for one in (tmp_path / "new").iterdir()} == {"maps"}


def test_files_that_were_there_stay(tmp_path: Path) -> None:
    target = tmp_path / "maps"
    target.mkdir()
    (target / "mine").write_text("kept")
    (target / "a").write_text("old")
    folder = GrowingFolder(target)
    folder.write("a", b"new")
    folder.finish()
    assert (target / "mine").read_text() == "kept"
    assert (target / "a").read_text() == "new"


@pytest.mark.parametrize("end", ["discard", "signal", "forget"])
def test_what_is_not_finished_leaves_nothing(tmp_path: Path, end: str) -> None:
    folder = GrowingFolder(tmp_path / "new" / "maps")
    folder.write("a", b"1")
    if end == "discard":
        folder.discard()
    elif end == "signal":
        discard_unfinished()
    else:
        del folder
    assert list(tmp_path.iterdir()) == []


def test_all_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), all_or_nothing():
        folder = GrowingFolder(tmp_path / "maps")
        folder.write("a", b"1")
        folder.finish()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with all_or_nothing():
        folder = GrowingFolder(tmp_path / "maps")
        folder.write("a", b"1")
        folder.finish()
        assert not (tmp_path / "maps").exists()
    assert visible(tmp_path) == {"maps", "maps/a"}


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        GrowingFolder(tmp_path / "maps")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    folder = GrowingFolder(tmp_path / "maps")
    with pytest.raises(OutputError, match="too long"):
        folder.write("a" * 1000, b"")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_grows(tmp_path: Path) -> None:
    folder = GrowingFolder(tmp_path / "maps")
    archive = GrowingArchive(folder, "all.npz")
    random = np.random.default_rng(0)
    first, second = random.random((3, 2, 4)), random.random((5, 2, 4))
    archive.add({"x": first, "n": np.arange(3)})
    archive.add({"x": second, "n": np.arange(5)})
    with pytest.raises(ValueError, match="type or shape"):
        archive.add({"x": np.zeros((1, 3))})
    archive.finish()
    folder.finish()
    assert [one.name for one in (tmp_path / "maps").iterdir()] == ["all.npz"]
    arrays = np.load(tmp_path / "maps" / "all.npz", allow_pickle=False)
    np.testing.assert_array_equal(arrays["x"], np.concatenate([first, second]))
    assert arrays["n"].tolist() == [0, 1, 2, 0, 1, 2, 3, 4]


def test_an_archive_that_is_discarded(tmp_path: Path) -> None:
    folder = GrowingFolder(tmp_path / "maps")
    archive = GrowingArchive(folder, "all.npz")
    archive.add({"x": np.zeros((3, 2))})
    archive.discard()
    folder.discard()
    assert list(tmp_path.iterdir()) == []
