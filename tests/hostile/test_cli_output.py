"""Places that cannot be written to: one sentence, and what was there before is untouched."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from cleanai_onnx.report import destination
from tests.cli.material import Command, everything, images

RUN = ("m.onnx", "im", "--preset", "unit", "--quiet", "--output")
NAMES = ("Analysis_m.csv", "Analysis_m.json", "Analysis_m.pdf")


def test_a_file_where_a_folder_should_be(command: Command) -> None:
    Path("file").write_text("keep")
    for output in ("file", "file/deeper/still"):
        assert "a part of that path is a file" in command.refused(2, *RUN, output)
    assert Path("file").read_text() == "keep"


@pytest.mark.parametrize("name", [*NAMES, "Analysis_m_layers.csv"])
def test_a_folder_where_a_file_should_be(command: Command, name: str) -> None:
    (Path("o") / name).mkdir(parents=True)
    text = command.refused(2, *RUN, "o", "--per-image")
    assert text.startswith(f"cannot write o/{name}: that is a folder")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("name", NAMES)
def test_a_link_to_a_device(command: Command, name: str) -> None:
    Path("o").mkdir()
    (Path("o") / name).symlink_to("/dev/full")
    assert "not a regular file" in command.refused(2, *RUN, "o")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.parametrize(
    ("output", "what"),
    [
        ("/proc/nowhere", "cannot be made"),
        ("a\0b", "null byte"),
        ("n" * 5000, "name is too long"),
        ("/dev/full", "a part of that path is a file"),
        ("/dev/null/x", "a part of that path is a file"),
    ],
)
def test_a_path_that_is_none(command: Command, output: str, what: str) -> None:
    assert what in command.refused(2, *RUN, output)


def test_output_of_odd_names(command: Command) -> None:
    for output in ("ü 😀", "new\nline", "-o", os.fsdecode(b"\xff")):
        command.done("m.onnx", "im", "--preset", "unit", "--quiet", f"--output={output}")
        assert sorted(os.listdir(output)) == list(NAMES)


def test_absolute_paths_from_anywhere(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    model, folder, output = (str(tmp_path / name) for name in ("m.onnx", "im", "o"))
    command.done(model, folder, "--preset", "unit", "--quiet", "--output", output)
    assert list(elsewhere.iterdir()) == []
    assert sorted(os.listdir(output)) == list(NAMES)


def test_a_link_to_a_report_stays_one(command: Command) -> None:
    Path("o").mkdir()
    Path("real.pdf").write_text("old")
    Path("o/Analysis_m.pdf").symlink_to("../real.pdf")
    command.done(*RUN, "o")
    assert Path("o/Analysis_m.pdf").is_symlink()
    assert Path("real.pdf").read_bytes().startswith(b"%PDF-")


FULL = OSError(errno.ENOSPC, "No space left on device")


class TestFullDisk:
    """The n-th flush to the disk fails: of the table, of the layers' table, of JSON, of PDF."""

    @pytest.fixture(params=[1, 2, 3, 4])
    def full(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = iter(range(1, 100))
        fsync = os.fsync

        def fail(descriptor: int) -> None:
            if next(calls) == request.param:
                raise FULL
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fail)

    @pytest.mark.usefixtures("full")
    def test_leaves_nothing(self, command: Command) -> None:
        text = command.refused(2, *RUN, "new/o", "--per-image")
        assert "the disk is full" in text
        assert "--output" in text

    @pytest.mark.usefixtures("full")
    def test_leaves_the_old_reports(self, command: Command) -> None:
        for name in (*NAMES, "Analysis_m_layers.csv"):
            Path(name).write_text("old")
        command.refused(2, *RUN, ".", "--per-image")
        assert {Path(name).read_text() for name in NAMES} == {"old"}


def test_a_disk_that_fills_while_images_stream(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("im", 12)
    opened: list[destination.GrowingFile] = []
    write = destination.GrowingFile.write

    class Full:
        def write(self, text: str) -> int:
            raise FULL

        def close(self) -> None:
            raise FULL

    def fail(file: destination.GrowingFile, text: str) -> int:
        opened.append(file)
        if len(opened) == 5:
            file._stream.close()
            monkeypatch.setattr(file, "_stream", Full())
        return write(file, text)

    monkeypatch.setattr(destination.GrowingFile, "write", fail)
    text = command.refused(2, *RUN, "o")
    assert text.startswith("cannot write o/Analysis_m.csv: the disk is full")
    assert len(opened) == 5


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_a_folder_that_takes_no_files(
    command: Command, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    opened = os.open

    def refuse(path, flags, *rest, **keywords):
        if os.fspath(path).endswith(".part"):
            raise OSError(code, os.strerror(code))
        return opened(path, flags, *rest, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    assert "--output" in command.refused(2, *RUN, "o")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(command: Command) -> None:
    Path("o").mkdir(mode=0o500)
    assert "you may not write" in command.refused(2, *RUN, "o")


@pytest.mark.parametrize(
    "place", ["cleanai_onnx.report.json.render", "cleanai_onnx.report.pdf.render"]
)
def test_a_bug_while_rendering_leaves_nothing(
    command: Command, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fail(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(place, fail)
    outcome = command(*RUN, "o")
    assert (outcome.code, outcome.new) == (4, set())
    assert "internal error: ZeroDivisionError" in outcome.err


@pytest.mark.parametrize(
    "place",
    [
        "cleanai_onnx.graph.load_model",
        "cleanai_onnx.runtime.Session.__init__",
        "cleanai_onnx.runtime.Session.run",
        "cleanai_onnx.coverage.update",
        "cleanai_onnx.coverage.compute",
        "cleanai_onnx.inputs.thumbnail",
        "cleanai_onnx.report.json.render",
        "cleanai_onnx.report.pdf.render",
        "os.fsync",
    ],
)
def test_interrupted_anywhere(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    outcome = command(*RUN, "o", "--per-image")
    assert (outcome.code, outcome.err, outcome.new) == (130, "cleanai-onnx: interrupted.\n", set())
    monkeypatch.undo()
    assert not [name for name in everything(tmp_path) if name.endswith(".part")]
