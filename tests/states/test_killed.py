"""A run that is killed at random points and started again ends with what an unbroken run finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cleanai_onnx import cli
from tests.cli.material import ROOT, images, strict_json
from tests.states.parts import model

KILLS = 5
CALLS = 4000
"""A third, roughly, of the calls of a run while it measures."""
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return a command that measures 30 images, one of them broken, against a profile."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "net.onnx").write_bytes(model())
    images(folder / "suite", 31)
    (folder / "suite" / "i17.png").write_bytes(b"no image")
    net, suite, profile = (str(folder / one) for one in ("net.onnx", "suite", "net.profile"))
    scaled = ["--scale", "1/255", "--quiet"]
    assert cli.main(["profile", net, suite, "-o", profile, *scaled, "--labels", "none"]) == 0
    return [
        net,
        suite,
        "--profile",
        profile,
        *scaled,
        "--batch-size",
        "2",
        "--per-image",
        "--no-relevance",
    ]


def numbers(folder: Path) -> dict[str, object]:
    result = strict_json(folder / "Analysis_net.json")
    del result["run"]
    return result


@pytest.fixture(scope="module")
def unbroken(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert cli.main([*command, "--output", str(folder), "--subset", str(folder / "keep.txt")]) == 0
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_killed_and_unbroken_runs_find_the_same(
    seed: int, command: list[str], unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    out = tmp_path / "out"
    arguments = [*command, "--output", str(out), "--checkpoint", str(folder)]
    arguments += ["--subset", str(out / "keep.txt")]
    helper = [sys.executable, "-m", "tests.states.killed", str(seed), str(KILLS), str(CALLS)]
    done = subprocess.run(
        [*helper, *arguments, "--checkpoint-every", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    killed, kept = map(int, done.stdout.split())
    assert killed == KILLS
    # The later runs had something to go on from.
    assert kept >= 2
    assert numbers(tmp_path / "out") == numbers(unbroken)
    for name in ("Analysis_net.csv", "Analysis_net_layers.csv", "keep.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (unbroken / name).read_bytes()
    assert not folder.exists()
