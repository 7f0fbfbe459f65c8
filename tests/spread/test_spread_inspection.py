"""Workers give the scores that one process gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cleanai_onnx
from cleanai_onnx import ImageError, UsageError, cli
from cleanai_onnx.inspection import FUNCTIONS, MEASURES, Function, Inspection
from cleanai_onnx.spread import spreading
from tests.cli.material import images
from tests.inspection.planted import mlp
from tests.spread.here import work_here
from tests.states.parts import model, net

ROUNDED = {"pearson", "mean-difference", "cohens-d", "iou"}
"""Measures of sums; the others are of the values of single images."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a net, 40 images in two folders, two of them broken, and masks."""
    made = tmp_path_factory.mktemp("inspecting")
    (made / "net.onnx").write_bytes(model())
    images(made / "all", 40)
    random = np.random.default_rng(3)
    lines = ["image,striped,weight"]
    for number in range(40):
        name = f"{'ab'[number % 3 == 0]}/i{number}.png"
        (made / "suite" / name).parent.mkdir(parents=True, exist_ok=True)
        (made / "all" / f"i{number}.png").rename(made / "suite" / name)
        lines.append(f"{name},{number % 2},{random.normal() if number % 7 else ''}")
        if number % 4:
            mask = made / "masks" / "round" / name
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(mask)
    # Two images are the same, but for what the table says of them.
    (made / "suite" / "a" / "i38.png").write_bytes((made / "suite" / "a" / "i1.png").read_bytes())
    for name in ("a/i5.png", "b/i30.png"):
        (made / "suite" / name).write_bytes(b"no image")
    (made / "t.csv").write_text("\n".join(lines))
    return made


def look(folder: Path, **options: Any) -> Inspection:
    shared: dict[str, Any] = {
        "models": folder / "net.onnx",
        "dataset": folder / "suite",
        "hypotheses": ["folders", "brightness", folder / "t.csv"],
        "measures": list(MEASURES),
        "masks": folder / "masks",
        "preset": "unit",
        "batch_size": 4,
    }
    return cleanai_onnx.inspect_models(**(shared | options))


def assert_same(ours: Inspection, one: Inspection) -> None:
    assert (ours.names, ours.found, ours.skipped) == (one.names, one.found, one.skipped)
    assert ours.notes == one.notes
    frame, expected = ours.frame(), one.frame()
    exact = ~expected.measure.isin(ROUNDED)
    pd.testing.assert_frame_equal(frame[exact], expected[exact], check_exact=True)
    pd.testing.assert_frame_equal(frame, expected, check_exact=False, rtol=1e-9, atol=1e-12)
    for mine, other in zip(ours.models, one.models, strict=True):
        assert (mine.inputs, mine.kept, mine.layers) == (other.inputs, other.kept, other.layers)
        np.testing.assert_array_equal(mine.exciting.values, other.exciting.values)
        np.testing.assert_array_equal(mine.exciting.images, other.exciting.images)
        assert mine.featured == other.featured


@pytest.mark.parametrize(
    "options",
    [
        # All values are kept; then a sample of them, fewer than a worker has and more.
        {"workers": 2, "pictures": True},
        {"workers": 2, "keep": 13},
        {"workers": 5, "keep": 12, "seed": 1, "limit": 35, "quantile": 0.1},
        {"workers": 2, "units": "unit", "layers": ["last-hidden"], "masks": None},
        {"workers": 2, "measures": ["pearson"], "hypotheses": ["contrast"], "masks": None},
        # A worker for each image, one of which is broken.
        {"workers": 99, "measures": ["pearson", "auc"], "masks": None, "dataset": "i?.png"},
    ],
)
def test_workers_find_what_one_process_finds(
    folder: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    work_here(monkeypatch)
    if "dataset" in options:
        options = options | {"dataset": f"{folder / 'suite'}/*/{options['dataset']}"}
    ours = look(folder, **options)
    assert_same(ours, look(folder, **(options | {"workers": None})))
    (found,) = ours.models
    assert found.run.options["workers"] == options["workers"]
    assert "engine" not in found.run.options
    if "keep" in options:
        assert found.kept == options["keep"] and "sampled" in [one.slug for one in ours.notes]


def test_several_models_and_what_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_here(monkeypatch)
    told: list[list[int]] = []

    def progress(total: int) -> Callable[[int], None]:
        told.append([total])
        return told[-1].append

    options = {"models": [net(), net(1)], "measures": ["auc", "probe"], "masks": None}
    ours = look(folder, workers=2, progress=progress, **options)
    assert_same(ours, look(folder, **options))
    assert [(steps[0], steps[-1]) for steps in told] == [(40, 40), (2, 2)] * 2


def test_processes_write_the_table_that_one_writes(folder: Path, tmp_path: Path) -> None:
    arguments = ["--functions", "folders,brightness", "--measures", "auc,probe,spearman"]
    arguments += ["--preset", "unit", "--batch-size", "4", "--quiet"]
    tables = []
    for more in ([], ["--workers", "2"]):
        tables.append(tmp_path / f"{len(more)}.csv")
        command = ["inspect", str(folder / "net.onnx"), str(folder / "suite"), *arguments, *more]
        assert cli.main([*command, "-o", str(tables[-1])]) == 0
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_images_of_a_worker_that_was_given_up_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_here(monkeypatch, dies=lambda job: job.first == 0)
    with pytest.raises(ImageError, match="images 0 to 9 died 3 times") as caught:
        look(folder, workers=4)
    assert caught.value.exit_code == 3
    found = look(folder, workers=4, allow_partial=True)
    why = {one.path: one.reason for one in found.skipped}
    assert list(why.values()).count("its worker died 3 times") == 10
    assert found.models[0].inputs == 40 - len(why) == 29
    # The others have the numbers that they have in the suite.
    assert found.models[0].exciting.images.min() >= 10


def named(batch: np.ndarray) -> np.ndarray:
    """Return what a module's function may: a number for each input."""
    return batch.mean(axis=(1, 2, 3))


def test_functions_that_workers_know_and_those_that_they_cannot(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"measures": ["pearson"], "masks": None, "workers": 2}
    with pytest.raises(UsageError, match="define functions in a module") as caught:
        look(folder, hypotheses=[lambda batch: batch.mean(axis=(1, 2, 3))], **options)
    assert caught.value.slug == "workers"
    # It is known here by a name that no worker can import; one of them is enough to say so.
    monkeypatch.setattr(spreading, "shards", lambda images, _: [(0, images)])
    monkeypatch.setattr(named, "__module__", "__main__")
    monkeypatch.setattr("__main__.named", named, raising=False)
    with pytest.raises(UsageError, match="a worker cannot load what it was given"):
        look(folder, hypotheses=[Function("mean", named)], **options)


def test_what_cannot_be_spread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--workers does not go together with --error"):
        look(folder, workers=2, error=0.1)
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    with pytest.raises(UsageError, match="--workers does not go together with batches"):
        cleanai_onnx.inspect(mlp(0, 6, 10), x, FUNCTIONS["contrast"], "pearson", workers=2)
    work_here(monkeypatch)
    with pytest.raises(UsageError, match="matches no measured layer"):
        look(folder, workers=2, layers=["nope"])
