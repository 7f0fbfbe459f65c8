"""The option --subset: which images to keep, in a file that can be given as images."""

from __future__ import annotations

from pathlib import Path

from cleanai_onnx.errors import OutputError
from tests.cli.material import Command, images, relu, save, strict_json


def test_the_list_can_be_given_as_images(command: Command) -> None:
    model = save("m.onnx", relu())
    images("i", 12)
    done = command.done(model, "i", "--preset", "unit", "--subset", "keep.txt")
    assert "keep the same coverage; written to keep.txt" in done.out.replace("keeps", "keep")
    assert "keep.txt" in done.new
    lines = Path("keep.txt").read_text().splitlines()
    assert all(line.startswith("i/i") for line in lines)
    result = strict_json(Path("Analysis_m.json"))
    assert result["subset"]["file"] == "keep.txt"
    assert [f"i/{image['path']}" for image in result["subset"]["images"]] == lines
    assert command("report", "Analysis_m.json").out.count("keep.txt") == 1
    command.done(model, "keep.txt", "--preset", "unit")
    assert strict_json(Path("Analysis_m.json"))["images"]["used"] == len(lines)


def test_refused(command: Command) -> None:
    model = save("m.onnx", relu())
    images("i", 2)
    Path("folder.txt").mkdir()
    given = (model, "i", "--preset", "unit", "--subset")
    assert "a .txt file" in command.refused(2, *given, "keep.png")
    assert "that is a folder" in command.refused(OutputError.exit_code, *given, "folder.txt")
    Path("file").touch()
    said = command.refused(OutputError.exit_code, *given, "file/keep.txt")
    assert "choose another folder with --subset" in said
    said = command.refused(2, *given[:4], "--subset-metrics", "nc-suite")
    assert said.startswith("--subset-metrics needs --subset")
    said = command.refused(2, *given, "keep.txt", "--subset-metrics", "nope")
    assert "nope: no such criterion" in said
