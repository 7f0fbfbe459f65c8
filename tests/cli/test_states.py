"""States of parts and checkpoints on the command line."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.material import Command, images, save, strict_json
from tests.states.parts import net

SCALE = ("--scale", "1/255")


@pytest.fixture
def suite(command: Command) -> Path:
    """Return a folder with a net, and images in three folders of which one has a broken one."""
    folder = command.folder
    save(folder / "net.onnx", net())
    images(folder / "all", 9)
    for number in range(9):
        part = folder / "all" / f"p{number // 3}"
        part.mkdir(exist_ok=True)
        shutil.move(folder / "all" / f"i{number}.png", part / f"i{number}.png")
    (folder / "all" / "p1" / "i4.png").write_bytes(b"no image")
    return folder


def found(path: Path) -> dict[str, Any]:
    """Return what a result says of the images, without what only one run can know."""
    result = strict_json(path)
    tables = [table for table in result["tables"] if table["metric"] != "nbc"]
    featured = [
        {key: image[key] for key in ("path", "index", "role", "thumbnail", "relevance")}
        for image in result["featured"]
    ]
    keys = ("layers", "firing", "preprocessing", "relevance", "importance")
    return {
        **{key: result[key] for key in keys},
        "tables": tables,
        "featured": featured,
        "skipped": result["images"]["skipped"],
        "used": result["images"]["used"],
        "manifest": result["images"]["manifest_sha256"],
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("pair", [(), ("--pair", "i7.png", "p0/i1.png")])
def test_combined_parts_are_one_run(command: Command, suite: Path, pair: tuple[str, ...]) -> None:
    shared = (*SCALE, *pair, "--per-image")
    command.done("net.onnx", "all", *shared, "--output", "whole")
    states = []
    for part in ("p0", "p1", "p2"):
        states.append(f"{part}.state")
        command.done("net.onnx", f"all/{part}", *shared, "--output", part, "--state", states[-1])
    outcome = command.done("combine", *states, "-o", "both", "--state", "both.state")
    assert "8 of 9 images" in outcome.out and "parts-without-bounds" in outcome.out
    assert outcome.new == {
        "both.state",
        "both",
        *(f"both/Analysis_net{end}" for end in (".pdf", ".json", ".csv", "_layers.csv")),
    }
    assert found(suite / "both" / "Analysis_net.json") == found(
        suite / "whole" / "Analysis_net.json"
    )
    for name in ("Analysis_net.csv", "Analysis_net_layers.csv"):
        both, whole = rows(suite / "both" / name), rows(suite / "whole" / name)
        assert both == [
            {key: value for key, value in row.items() if not key.startswith("nbc/")}
            for row in whole
        ]
    # What was merged is a state again.
    command.done("combine", "both.state", "-o", "again", "--quiet")
    assert found(suite / "again" / "Analysis_net.json") == found(
        suite / "both" / "Analysis_net.json"
    )


def test_the_subset_of_combined_parts_is_that_of_one_run(command: Command, suite: Path) -> None:
    shared = (*SCALE, "--no-relevance", "--quiet")
    command.done("net.onnx", "all", *shared, "--output", "whole", "--subset", "whole.txt")
    states = []
    for part in ("p0", "p1", "p2"):
        states.append(f"{part}.state")
        each = ("--output", part, "--state", states[-1], "--subset", f"{part}.txt")
        command.done("net.onnx", f"all/{part}", *shared, *each)
    command.done("combine", *states, "-o", "both", "--subset", "both.txt", "--quiet")
    both, whole = (strict_json(suite / one / "Analysis_net.json") for one in ("both", "whole"))
    assert both["subset"].pop("file") == "both.txt" and whole["subset"].pop("file") == "whole.txt"
    assert both["subset"] == whole["subset"]
    lines = (suite / "both.txt").read_text().splitlines()
    assert lines == (suite / "whole.txt").read_text().splitlines()
    assert lines[0].startswith("all/p")
    assert rows(suite / "both" / "Analysis_net.csv") == [
        {key: value for key, value in row.items() if not key.startswith("nbc/")}
        for row in rows(suite / "whole" / "Analysis_net.csv")
    ]
    # What was recorded of the parts is in the result also where no list of it is wanted.
    command.done("combine", *states, "-o", "other", "--quiet")
    assert strict_json(suite / "other" / "Analysis_net.json")["subset"]["file"] is None


def test_what_cannot_be_combined(command: Command, suite: Path) -> None:
    quiet = ("--quiet", "--no-relevance", *SCALE)
    for part, further in (("p0", ()), ("p1", ("--top-k", "2"))):
        command.done("net.onnx", f"all/{part}", *quiet, *further, "--state", f"{part}.state")
    command.done("profile", "net.onnx", "all", *SCALE, "--quiet", "--labels", "none")
    for arguments, why in (
        (("p0.state", "p1.state"), "p1.state cannot be combined with p0.state: --top-k is 2"),
        (("p0.state", "net.profile"), "net.profile is a profile and other files are states"),
        (("net.profile", "p0.state"), "net.profile is a profile and other files are states"),
        (("p0.state", "net.onnx"), "net.onnx is no state"),
        (("p0.state", "gone.state"), "No such file"),
        (("gone.state", "-o", "x", "--fail-under", "nc=3%"), "No such file"),
        (("net.onnx",), "net.onnx is no profile"),
        (("net.profile",), "-o must name the profile"),
        (("net.profile", "-o", "x", "--state", "y"), "--state is for states of parts"),
        (("net.profile", "-o", "x", "--fail-under", "nc=3%"), "--fail-under is for states"),
        (("p0.state", "-o", "x", "--subset", "k.txt"), "do not have what each image covers"),
        (("p0.state", "-o", "x", "--subset", "k.csv"), "--subset must name a .txt file"),
        (("p0.state", "-o", "x", "--state", "p0.state"), "p0.state is read"),
        (("p0.state", "--fail-under", "nc=30"), "--fail-under nc must be a share"),
    ):
        assert why in command.refused(2, "combine", *arguments)


def test_what_does_not_go_together(command: Command, suite: Path) -> None:
    for arguments, why in (
        (("--checkpoint-every", "5"), "--checkpoint-every needs --checkpoint"),
        (("--checkpoint", "c", "--checkpoint-every", "soon"), "--checkpoint-every must be"),
        (
            (
                "--checkpoint",
                "all",
            ),
            "holds other files (first p0)",
        ),
        (("--state", "all"), "that is a folder"),
    ):
        assert why in command.refused(2, "net.onnx", "all", *SCALE, *arguments)


def test_a_checkpoint_is_gone_after_the_run(command: Command, suite: Path) -> None:
    outcome = command.done(
        *("net.onnx", "all", *SCALE, "--quiet", "--no-relevance", "--output", "out"),
        *("--checkpoint", "kept", "--checkpoint-every", "2", "--batch-size", "1"),
    )
    assert outcome.new == {"out", *(f"out/Analysis_net.{end}" for end in ("pdf", "json", "csv"))}
    seconds = strict_json(suite / "out" / "Analysis_net.json")["run"]["seconds"]
    assert seconds["checkpoint"] > 0


def test_a_checkpoint_stays_where_the_reports_cannot_be_written(
    command: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cleanai_onnx import report
    from cleanai_onnx.errors import OutputError

    def fail(*_: Any) -> None:
        raise OutputError("the disk is full")

    arguments = ("net.onnx", "all", *SCALE, "--quiet", "--no-relevance", "--output", "out")
    kept = ("--checkpoint", "kept", "--checkpoint-every", "2", "--batch-size", "1")
    with monkeypatch.context() as patched:
        patched.setattr(report, "write", fail)
        outcome = command(*arguments, *kept)
    assert outcome.code == 2 and "disk is full" in outcome.err
    assert "kept/checkpoint.npz" in outcome.new and not (suite / "out").exists()
    command.done(*arguments, *kept)
    assert not (suite / "kept").exists()
