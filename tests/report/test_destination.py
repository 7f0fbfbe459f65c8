from __future__ import annotations

import errno
import gc
import os
import stat
from pathlib import Path

import pytest

from cleanai_onnx.errors import OutputError
from cleanai_onnx.report.destination import (
    GrowingFile,
    all_or_nothing,
    check_destination,
    discard_unfinished,
    replace_file,
    when_in_place,
)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_makes_the_parent_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "report.pdf"
    assert replace_file(target, b"new") == target
    assert target.read_bytes() == b"new"
    assert left_over(target.parent) == ["report.pdf"]


def test_replaces_an_existing_file(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_bytes(b"a much longer old file")
    replace_file(str(target), b"new")
    assert target.read_bytes() == b"new"


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    target = replace_file(tmp_path / "report", b"")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(real)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        KeyboardInterrupt(),
    ],
    ids=["full disk", "broken disk", "Ctrl-C"],
)
def test_nothing_half_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    target = tmp_path / "report.pdf"
    target.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError
    with pytest.raises(expected):
        replace_file(target, b"new")
    assert left_over(tmp_path) == ["report.pdf"]
    assert target.read_bytes() == b"old"


def test_a_full_disk_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"cannot write .*report: the disk is full") as caught:
        replace_file(tmp_path / "report", b"new")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_is_refused() -> None:
    with pytest.raises(OutputError, match="not a regular file"):
        replace_file("/dev/full", b"new")


@pytest.mark.parametrize("attempt", [check_destination, lambda path: replace_file(path, b"x")])
class TestRefused:
    def test_a_folder(self, tmp_path: Path, attempt) -> None:
        with pytest.raises(OutputError, match="that is a folder"):
            attempt(tmp_path)

    def test_a_file_as_parent(self, tmp_path: Path, attempt) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="part of that path is a file"):
            attempt(tmp_path / "file" / "report.pdf")
        with pytest.raises(OutputError, match="part of that path is a file"):
            attempt(tmp_path / "file" / "deeper" / "report.pdf")

    def test_a_name_with_nul(self, tmp_path: Path, attempt) -> None:
        with pytest.raises(OutputError, match=r"\\u\{0000\}"):
            attempt(f"{tmp_path}/a\0b")

    def test_a_name_too_long(self, tmp_path: Path, attempt) -> None:
        with pytest.raises(OutputError, match="too long"):
            attempt(tmp_path / ("n" * 5000))

    def test_a_loop_of_links(self, tmp_path: Path, attempt) -> None:
        (tmp_path / "a").symlink_to(tmp_path / "b")
        (tmp_path / "b").symlink_to(tmp_path / "a")
        with pytest.raises(OutputError):
            attempt(tmp_path / "a" / "report.pdf")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_permission(self, tmp_path: Path, attempt) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(OutputError, match="you may not write"):
                attempt(tmp_path / "report.pdf")
        finally:
            tmp_path.chmod(0o700)

    def test_a_read_only_file_system(
        self, tmp_path: Path, attempt, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> int:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(OutputError, match="the file system is read-only"):
            attempt(tmp_path / "report.pdf")


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_destination(tmp_path / "new" / "deep" / "report.pdf")
    assert left_over(tmp_path) == []


def test_checking_keeps_folders_that_were_there(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    check_destination(tmp_path / "old" / "new" / "report.pdf")
    assert left_over(tmp_path) == ["old"]
    assert left_over(tmp_path / "old") == []


class TestGrowingFile:
    def test_appears_when_finished(self, tmp_path: Path) -> None:
        file = GrowingFile(tmp_path / "new" / "table.csv")
        file.write("a,b\n")
        assert not (tmp_path / "new" / "table.csv").exists()
        assert file.is_open
        assert file.finish() == tmp_path / "new" / "table.csv"
        assert not file.is_open
        file.discard()
        assert (tmp_path / "new" / "table.csv").read_text() == "a,b\n"
        assert left_over(tmp_path / "new") == ["table.csv"]

    def test_discarded_leaves_neither_file_nor_folder(self, tmp_path: Path) -> None:
        file = GrowingFile(tmp_path / "new" / "table.csv")
        file.write("a,b\n")
        file.discard()
        file.discard()
        assert left_over(tmp_path) == []

    def test_forgotten_is_removed(self, tmp_path: Path) -> None:
        file = GrowingFile(tmp_path / "table.csv")
        file.write("a,b\n")
        del file
        gc.collect()
        assert left_over(tmp_path) == []

    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        file = GrowingFile(tmp_path / "new" / "table.csv")
        file.write("a,b\n")
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OutputError, match="the disk is full"):
            file.finish()
        assert not file.is_open
        assert left_over(tmp_path) == []


class TestAllOrNothing:
    def test_all_appear_at_the_end(self, tmp_path: Path) -> None:
        with all_or_nothing():
            replace_file(tmp_path / "a", b"a")
            file = GrowingFile(tmp_path / "b")
            file.write("b")
            file.finish()
            del file
            gc.collect()
            assert not (tmp_path / "a").exists()
            assert not (tmp_path / "b").exists()
        assert left_over(tmp_path) == ["a", "b"]

    @pytest.mark.parametrize("error", [OutputError("x"), KeyboardInterrupt()])
    def test_none_appears_after_an_error(self, tmp_path: Path, error: BaseException) -> None:
        (tmp_path / "a").write_bytes(b"old")

        def fail() -> None:
            with all_or_nothing():
                replace_file(tmp_path / "a", b"new")
                replace_file(tmp_path / "new" / "b", b"b")
                replace_file(tmp_path / "new" / "c", b"c")
                raise error

        with pytest.raises(type(error)):
            fail()
        assert left_over(tmp_path) == ["a"]
        assert (tmp_path / "a").read_bytes() == b"old"

    def test_a_place_that_is_taken_at_the_end(self, tmp_path: Path) -> None:
        def fail() -> None:
            with all_or_nothing():
                replace_file(tmp_path / "a", b"a")
                (tmp_path / "a").mkdir()

        with pytest.raises(OutputError, match="that is a folder"):
            fail()
        assert left_over(tmp_path) == ["a"]

    def test_files_after_it_appear_at_once(self, tmp_path: Path) -> None:
        with all_or_nothing():
            pass
        replace_file(tmp_path / "a", b"a")
        assert left_over(tmp_path) == ["a"]


class TestWhenInPlace:
    def test_after_the_files_of_a_group(self, tmp_path: Path) -> None:
        seen: list[list[str]] = []
        with all_or_nothing():
            when_in_place(lambda: seen.append(left_over(tmp_path)))
            replace_file(tmp_path / "a", b"a")
            assert seen == []
        assert seen == [["a"]]

    def test_never_where_the_group_is_not_placed(self, tmp_path: Path) -> None:
        seen: list[int] = []

        def fail() -> None:
            with all_or_nothing():
                when_in_place(lambda: seen.append(1))
                raise ValueError

        with pytest.raises(ValueError):
            fail()
        assert seen == []

    def test_at_once_outside_of_a_group(self) -> None:
        seen: list[int] = []
        when_in_place(lambda: seen.append(1))
        assert seen == [1]


def test_a_process_that_ends_without_unwinding_leaves_nothing(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "new" / "a")

    def end() -> None:
        with all_or_nothing():
            replace_file(tmp_path / "b", b"b")
            assert len(left_over(tmp_path)) == 2
            discard_unfinished()
            assert left_over(tmp_path) == []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        end()
    file.discard()
    assert left_over(tmp_path) == []
