"""The folder of a checkpoint: what it accepts, what it refuses, and that the next run goes on."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx import ImageError, OutputError, Parameters, UsageError
from cleanai_onnx.inputs import Position
from cleanai_onnx.result import Result, SkippedImage
from cleanai_onnx.states.checkpoint import FILE, Checkpoint, Every
from tests.cli.material import images
from tests.states.parts import found_in, model

IDENTITY = {"the model": "a", "--top-k": "3"}
MEASURED = {"count": 3, "array": np.arange(4)}
POSITION = Position(5, 4, (SkippedImage("b\udce4d.png", "no image"),))


class StoppedError(Exception):
    """Stands for what ends a process."""


def stopping(after: int) -> Any:
    """Return a progress that stops the run once so many images are done."""

    def progress(_: int) -> Any:
        def done(count: int) -> None:
            if count >= after:
                raise StoppedError

        return done

    return progress


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    (folder / "net.onnx").write_bytes(model())
    images(folder / "suite", 12)
    (folder / "suite" / "i4.png").write_bytes(b"no image")
    return folder


def run(material: Path, suite: str = "suite", net: str = "net.onnx", **options: Any) -> Result:
    shared: dict[str, Any] = {"preset": "unit", "batch_size": 2, "relevance": False}
    return cleanai_onnx.analyze(material / net, material / suite, **(shared | options))


def stopped(material: Path, folder: Path, **options: Any) -> None:
    with pytest.raises(StoppedError):
        run(
            material,
            checkpoint=folder,
            checkpoint_every=Every(images=2),
            progress=stopping(8),
            **options,
        )
    assert (folder / FILE).exists()


def test_the_next_run_goes_on(material: Path, tmp_path: Path) -> None:
    stopped(material, tmp_path / "kept", per_layer=tmp_path / "layers.csv")
    seen: list[int] = []
    found = run(
        material,
        checkpoint=tmp_path / "kept",
        per_layer=tmp_path / "layers.csv",
        per_image=tmp_path / "images.csv",
        progress=lambda _: seen.append,
    )
    assert seen[0] > 6, "it began anew"
    whole = run(material, per_layer=tmp_path / "l.csv", per_image=tmp_path / "images2.csv")
    assert found_in(found, order_free=False) == found_in(whole, order_free=False)
    assert found.images.skipped == whole.images.skipped != ()
    assert (tmp_path / "layers.csv").read_bytes() == (tmp_path / "l.csv").read_bytes()
    assert (tmp_path / "images.csv").read_bytes() == (tmp_path / "images2.csv").read_bytes()
    assert not (tmp_path / "kept").exists()


def test_a_state_of_a_run_that_was_stopped_is_that_of_the_whole(
    material: Path, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.state", tmp_path / "other.state"
    stopped(material, tmp_path / "kept", state=one)
    run(material, checkpoint=tmp_path / "kept", state=one)
    whole = run(material, state=other)
    found = cleanai_onnx.combine([one])
    assert (
        found_in(found, order_free=False)["tables"].keys()
        == found_in(whole, order_free=False)["tables"].keys()
    )
    assert found.firing == whole.firing


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"parameters": Parameters(top_k=2)}, "--top-k was 3 there and is 2 here"),
        ({"batch_size": 3}, "--batch-size was 2 there and is 3 here"),
        ({"preset": "symmetric"}, "preprocessing: "),
        ({"limit": 3}, "the number of images was 12 there and is 3"),
        ({"seed": 3}, "--seed was 0"),
        ({"adjacency": "dataflow"}, "--adjacency was rows"),
        ({"per_layer": "layers.csv"}, "--per-image was False"),
        ({"strict": True}, "--strict was False"),
        ({"pair": ("i0.png", "i2.png")}, "--pair was None"),
        ({"subset": ["nc-suite"]}, "--subset was not set"),
        ({"net": "other.onnx"}, r"the model \(SHA-256\) was"),
        ({"suite": "copy"}, "the images"),
    ],
)
def test_another_run_is_refused(
    options: dict[str, Any], why: str, material: Path, tmp_path: Path
) -> None:
    (material / "other.onnx").write_bytes(model() + b"\x3a\x00")
    if not (material / "copy").exists():
        shutil.copytree(material / "suite", material / "copy")
        (material / "copy" / "i0.png").touch()
    stopped(material, tmp_path / "kept")
    before = (tmp_path / "kept" / FILE).read_bytes()
    with pytest.raises(UsageError, match=why):
        run(material, checkpoint=tmp_path / "kept", **options)
    assert (tmp_path / "kept" / FILE).read_bytes() == before
    # It is still good for the run that it is of.
    run(material, checkpoint=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_broken_checkpoint_is_refused(share: float, material: Path, tmp_path: Path) -> None:
    stopped(material, tmp_path / "kept")
    data = (tmp_path / "kept" / FILE).read_bytes()
    (tmp_path / "kept" / FILE).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UsageError, match="remove the folder to begin anew"):
        run(material, checkpoint=tmp_path / "kept")


@pytest.mark.parametrize("name", ["model", "covers", "cover_sizes"])
def test_columns_that_are_gone_are_noticed(name: str, material: Path, tmp_path: Path) -> None:
    stopped(material, tmp_path / "kept", subset=True)
    (tmp_path / "kept" / f"{name}.column").unlink()
    with pytest.raises(UsageError, match=f"file of {name} is too short; remove the folder"):
        run(material, checkpoint=tmp_path / "kept", subset=True)


def test_columns_with_something_else_are_noticed(material: Path, tmp_path: Path) -> None:
    stopped(material, tmp_path / "kept", subset=True)
    for name, why in (("covers", "no set of the items"), ("cover_sizes", "unknown form")):
        path = tmp_path / "kept" / f"{name}.column"
        path.write_bytes(b"\xff" * path.stat().st_size)
        with pytest.raises(UsageError, match=f"{why}.*remove the folder"):
            run(material, checkpoint=tmp_path / "kept", subset=True)


def test_what_has_no_checkpoint(material: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not batches of your own"):
        cleanai_onnx.analyze(
            material / "net.onnx", np.zeros((2, 1, 8, 8), np.float32), checkpoint=tmp_path / "kept"
        )
    with pytest.raises(ImageError):
        run(material, suite="suite/i4.png", checkpoint=tmp_path / "kept")
    assert not list(tmp_path.iterdir())


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"holds other files \(first holiday.jpg\)"):
        Checkpoint(tmp_path)
    with pytest.raises(OutputError, match="cannot write"):
        Checkpoint(tmp_path / "holiday.jpg")
    assert [one.name for one in tmp_path.iterdir()] == ["holiday.jpg"]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path / "kept")
    with pytest.raises(UsageError, match="another run is using"):
        Checkpoint(tmp_path / "kept")
    first.write(POSITION, MEASURED, IDENTITY)
    first.close()
    second = Checkpoint(tmp_path / "kept")
    found = second.load(IDENTITY)
    assert found is not None
    assert found[0] == POSITION
    assert found[1]["count"] == 3 and found[1]["array"].tolist() == [0, 1, 2, 3]
    second.remove()
    assert not (tmp_path / "kept").exists()


def test_when_one_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    by_images = Checkpoint(tmp_path / "a", Every(images=3))
    assert [by_images.is_due(Position(n, n, ())) for n in (1, 2, 3)] == [False, False, True]
    by_images.write(Position(3, 3, ()), MEASURED, IDENTITY)
    assert [by_images.is_due(Position(n, n, ())) for n in (5, 6)] == [False, True]
    by_time = Checkpoint(tmp_path / "b", Every(seconds=5))
    by_default = Checkpoint(tmp_path / "c")
    now[0] += 5
    assert by_time.is_due(POSITION) and not by_default.is_due(POSITION)
    now[0] += 25
    assert by_default.is_due(POSITION)
