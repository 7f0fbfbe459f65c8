"""Workers learn the profile that one process learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx import ImageError, Profile, UsageError, cli, profiles
from cleanai_onnx.profiles import storage
from cleanai_onnx.spread.spread_learning import _merged
from tests.cli.material import build, images, node, save
from tests.spread.here import assert_same, work_here
from tests.states.parts import model, net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a net of three classes, and as many of 24 images; two are broken."""
    made = tmp_path_factory.mktemp("learning")
    (made / "net.onnx").write_bytes(model())
    images(made / "all", 24)
    for number in range(24):
        # The classes of the second half are not those of the first.
        target = made / "suite" / "cab"[number // 8]
        target.mkdir(parents=True, exist_ok=True)
        (made / "all" / f"i{number}.png").rename(target / f"i{number}.png")
    for number in (3, 17):
        (made / "suite" / "cab"[number // 8] / f"i{number}.png").write_bytes(b"no image")
    return made


def learn(folder: Path, **options: Any) -> Profile:
    shared: dict[str, Any] = {"preset": "unit", "batch_size": 4, "layers": ("all",)}
    return cleanai_onnx.learn(folder / "net.onnx", folder / "suite", **(shared | options))


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 2},
        {"workers": 5, "labels": "none", "traces": 9},
        {"workers": 3, "view": "unit", "composite": "none"},
    ],
)
def test_workers_learn_what_one_process_learns(
    folder: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    work_here(monkeypatch)
    seen: list[int] = []
    ours = learn(folder, progress=lambda count: seen.append, **options)
    assert_same(ours, learn(folder, **(options | {"workers": None})))
    assert ours.facts.images == 22 and ours.facts.skipped == 2
    assert seen[-1] == 24
    if "labels" not in options:
        # No worker has seen all classes, and each knows their numbers.
        assert ours.facts.labels == "folder names" and ours.facts.labelled == 22


def test_processes_learn_and_the_profile_is_written(folder: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "ours.profile")
    arguments = ["--preset", "unit", "--batch-size", "4", "--layers", "all", "--workers", "2"]
    net, suite = str(folder / "net.onnx"), str(folder / "suite")
    assert cli.main(["profile", net, suite, *arguments, "-o", path, "--quiet"]) == 0
    assert_same(profiles.load(path), learn(folder))


def test_images_of_a_worker_that_was_given_up_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_here(monkeypatch, dies=lambda job: job.first == 0)
    with pytest.raises(ImageError, match="images 0 to 7 died 3 times") as caught:
        learn(folder, workers=3)
    assert caught.value.exit_code == 3
    found = learn(folder, workers=3, allow_partial=True)
    assert (found.facts.images, found.facts.skipped) == (14, 10)
    assert found.facts.remarks == (
        "8 images are missing ('a/i8.png' to 'a/i15.png'): its worker died 3 times",
    )


def test_relevance_that_one_part_lacks_is_of_none() -> None:
    (first, second) = (profile_of(seed) for seed in (0, 1))
    lacking = replace(
        first,
        relevance=None,
        facts=replace(first.facts, composite="", remarks=("relevance was not computed: why",)),
    )
    for one, other in ((lacking, second), (second, lacking)):
        merged = _merged(one, other)
        assert merged.relevance is None and merged.facts.composite == ""
        assert merged.facts.remarks == lacking.facts.remarks
        # What is stored is a whole profile.
        assert storage.content(merged)
    with pytest.raises(UsageError, match="rules of relevance"):
        profiles.merge([lacking, second])


def profile_of(seed: int) -> Profile:
    profiler = profiles.Profiler(model())
    profiler.update(np.random.default_rng(seed).normal(size=(4, 1, 8, 8)).astype(np.float32))
    return profiler.profile()


def test_a_model_in_memory_and_one_without_rules(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_here(monkeypatch)
    suite = folder / "suite"
    ours, one = (
        cleanai_onnx.learn(net(), suite, preset="unit", batch_size=4, workers=workers)
        for workers in (2, None)
    )
    assert_same(ours, one)
    # TopK has no rule of relevance.
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("TopK", ["f", "k"], ["v", "i"]),
        node("Relu", ["v"], ["r"]),
        node("Neg", ["r"], ["y"]),
    ]
    path = save(tmp_path / "top.onnx", build(nodes, {"k": np.array([4], np.int64)}))
    without = cleanai_onnx.learn(path, suite, preset="unit", labels="none", workers=2)
    assert without.relevance is None
    (remark,) = without.facts.remarks
    assert remark.startswith("relevance was not computed")


def test_what_cannot_be_spread(folder: Path) -> None:
    with pytest.raises(UsageError, match="--workers does not go together with batches"):
        cleanai_onnx.learn(model(), np.zeros((4, 1, 8, 8), np.float32), workers=2)
    with pytest.raises(UsageError, match="--ray-address needs --engine ray"):
        learn(folder, ray_address="auto")


def test_what_a_worker_says_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_here(monkeypatch)
    with pytest.raises(UsageError, match="matches no measured layer") as caught:
        learn(folder, workers=2, layers=("nope",))
    assert caught.value.slug == "learning"
    with pytest.raises(ImageError, match="cannot be used"):
        learn(folder, workers=2, strict=True)
