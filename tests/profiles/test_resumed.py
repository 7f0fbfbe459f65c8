"""Learning that was interrupted goes on from its checkpoint, to the profile of an unbroken run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx import Profile, UsageError, cli, profiles
from cleanai_onnx.container import UnfitError
from cleanai_onnx.profiles import Profiler
from cleanai_onnx.profiles.storage import content
from cleanai_onnx.states.checkpoint import FILE, Every
from tests.cli.material import build, images, node, save
from tests.states.parts import model


class StoppedError(Exception):
    """Stands for what ends a process."""


def stopping(after: int) -> Any:
    """Return a progress that stops the run once so many images are done."""

    def progress(_: int) -> Callable[[int], None]:
        def done(count: int) -> None:
            if count >= after:
                raise StoppedError

        return done

    return progress


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a net and 24 images, one of them broken, and labels for some."""
    made = tmp_path_factory.mktemp("resumed")
    (made / "net.onnx").write_bytes(model())
    images(made / "suite", 24)
    (made / "suite" / "i4.png").write_bytes(b"no image")
    lines = [f"i{number}.png,{number % 3}" for number in range(0, 24, 2)]
    (made / "labels.csv").write_text("\n".join(["image,label", *lines]))
    return made


def learn(folder: Path, net: str = "net.onnx", **options: Any) -> Profile:
    shared: dict[str, Any] = {"preset": "unit", "batch_size": 2, "layers": ("all",)}
    return cleanai_onnx.learn(folder / net, folder / "suite", **(shared | options))


def stopped(folder: Path, kept: Path, after: int = 14, **options: Any) -> None:
    every = Every(images=4)
    with pytest.raises(StoppedError):
        learn(folder, checkpoint=kept, checkpoint_every=every, progress=stopping(after), **options)
    assert (kept / FILE).exists()


def timeless(learnt: Profile) -> bytes:
    return content(replace(learnt, facts=replace(learnt.facts, started="")))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"labels": "labels.csv", "traces": 7},
        # The window of the sums of units is open where the run is stopped.
        {"view": "unit", "composite": "none"},
        {"net": "top.onnx"},
    ],
)
def test_the_next_run_goes_on(folder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    if "labels" in options:
        options = options | {"labels": folder / options["labels"]}
    if "net" in options:  # relevance cannot be had of it
        nodes = [
            node("Flatten", ["x"], ["f"]),
            node("TopK", ["f", "k"], ["v", "i"]),
            node("Relu", ["v"], ["r"]),
            node("Neg", ["r"], ["y"]),
        ]
        save(folder / "top.onnx", build(nodes, {"k": np.array([4], np.int64)}))
    kept = tmp_path / "kept"
    stopped(folder, kept, **options)
    seen: list[int] = []
    # Another pace is no other run.
    found = learn(folder, checkpoint=kept, progress=lambda _: seen.append, **options)
    assert seen[0] > 10, "it began anew"
    assert not kept.exists()
    assert timeless(found) == timeless(learn(folder, **options))
    assert found.facts.images == 23 and found.facts.skipped == 1


def test_it_may_be_stopped_again_and_again(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for after in (6, 12, 18):
        stopped(folder, kept, after, view="unit", composite="none")
    found = learn(folder, checkpoint=kept, view="unit", composite="none")
    assert timeless(found) == timeless(learn(folder, view="unit", composite="none"))


def test_another_run_is_refused(folder: Path, tmp_path: Path) -> None:
    kept, labels = tmp_path / "kept", tmp_path / "labels.csv"
    labels.write_text((folder / "labels.csv").read_text())
    stopped(folder, kept, labels=labels)
    for options, what in (
        ({"traces": 5}, "--traces"),
        ({"view": "unit"}, "--view"),
        ({"layers": ("last-hidden",)}, "--layers"),
        ({"composite": "none"}, "--relevance-rules"),
        ({"preset": "symmetric"}, "preprocessing"),
        ({"labels": "none"}, "--labels"),
    ):
        with pytest.raises(UsageError, match=f"is of another run: {what}"):
            learn(folder, **({"checkpoint": kept, "labels": labels} | options))
    labels.write_text("image,label\ni0.png,2")
    with pytest.raises(UsageError, match="is of another run: --labels"):
        learn(folder, checkpoint=kept, labels=labels)
    assert (kept / FILE).exists()
    with pytest.raises(UsageError, match="is of another run"):
        cleanai_onnx.analyze(
            folder / "net.onnx", folder / "suite", preset="unit", batch_size=2, checkpoint=kept
        )


def test_what_has_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with pytest.raises(UsageError, match="a checkpoint needs images of a folder"):
        cleanai_onnx.learn(model(), np.zeros((4, 1, 8, 8), np.float32), checkpoint=kept)
    with pytest.raises(UsageError, match="--workers does not go together with --checkpoint"):
        learn(folder, checkpoint=kept, workers=2)
    assert not kept.exists()


def test_the_command_removes_it_with_the_profile_in_place(folder: Path, tmp_path: Path) -> None:
    kept, path = tmp_path / "kept", tmp_path / "net.profile"
    fields: dict[str, Any] = {"preset": None, "preprocessing": {"scale": "1/255"}}
    stopped(folder, kept, **fields)
    command = ["profile", str(folder / "net.onnx"), str(folder / "suite"), "--scale", "1/255"]
    command += ["--batch-size", "2", "--layers", "all", "--quiet", "--checkpoint-every", "5"]
    assert cli.main([*command, "-o", str(path)]) == 2
    assert not path.exists()
    assert cli.main([*command, "-o", str(path), "--checkpoint", str(kept)]) == 0
    assert not kept.exists()
    assert timeless(profiles.load(path)) == timeless(learn(folder, **fields))


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": -1},
        {"batch size": 0},
        {"moments": None},
        {"sample": {}},
        {"sums": []},
        {"explained": np.zeros(2, np.int64)},
        {"remarks": 3},
        {"units": None},
    ],
)
@pytest.mark.parametrize("view", ["unit"])
def test_a_broken_state_is_refused(change: dict[str, Any], view: Any) -> None:
    data = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    one, other = (Profiler(model(), view=view, composite="none") for _ in range(2))
    one.update(data)
    with pytest.raises(UnfitError):
        other.resume(one.stored() | change)
        other.update(data)
