"""Several processes find what one finds, also where workers die."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cleanai_onnx
from cleanai_onnx import ImageError, Parameters, UsageError, coverage
from cleanai_onnx.report.json import text_of
from cleanai_onnx.result import Result
from cleanai_onnx.spread import spreading
from cleanai_onnx.spread.keeping import KeptShards, shards_to_keep
from cleanai_onnx.states.checkpoint import Checkpoint, Every
from tests.cli.material import images
from tests.coverage.measuring import PARAMETERS, measured
from tests.coverage.suites import TINY, small_suites, thorough
from tests.states.parts import found_in, model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a net and nine images, the last three of them broken."""
    made = tmp_path_factory.mktemp("spread")
    (made / "net.onnx").write_bytes(model())
    images(made / "suite", 9)
    for number in (6, 7, 8):
        (made / "suite" / f"i{number}.png").write_bytes(b"no image")
    return made


SIX = "i[0-5].png"


def run(
    folder: Path, tables: Path | None = None, images: str | None = None, **options: Any
) -> Result:
    suite = folder / "suite" if images is None else str(folder / "suite" / images)
    shared: dict[str, Any] = {"preset": "unit", "batch_size": 2, "relevance": False}
    if tables is not None:
        tables.mkdir()
        shared |= {"per_image": tables / "images.csv", "per_layer": tables / "layers.csv"}
    return cleanai_onnx.analyze(folder / "net.onnx", suite, **(shared | options))


def test_workers_find_what_one_process_finds(folder: Path, tmp_path: Path) -> None:
    """With bounds from 4 images, those of the second of three workers set some of them too."""
    options: dict[str, Any] = {"parameters": Parameters(bounds_from=4), "subset": True}
    options |= {"pair": ("i5.png", "i0.png"), "relevance": True}
    one = run(folder, tmp_path / "one", **options)
    seen: list[int] = []
    state = tmp_path / "spread.state"
    three = run(
        folder,
        tmp_path / "three",
        workers=3,
        state=state,
        progress=lambda count: seen.append,
        **options,
    )
    assert found_in(three, order_free=False) == found_in(one, order_free=False)
    assert (three.featured, three.images, three.notes) == (one.featured, one.images, one.notes)
    for name in ("images.csv", "layers.csv"):
        # The figures of the subset among them, and what each image adds.
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert three.subset == one.subset is not None
    assert seen == sorted(seen) and seen[-1] >= 6
    assert three.run.options["workers"] == 3 and "workers" in three.run.seconds
    # The state of a run that was spread is one like any other.
    again = cleanai_onnx.combine([state])
    assert text_of(found_in(again)) == text_of(found_in(one)) and again.subset == one.subset


def test_against_a_profile(folder: Path) -> None:
    options: dict[str, Any] = {"train": folder / "suite", "learning": {"labels": "none"}}
    options |= {"subset": ["kmnc", "idc"]}
    one, two = run(folder, **options), run(folder, workers=2, **options)
    assert found_in(two) == found_in(one) and two.subset == one.subset
    (note,) = set(two.notes) - set(one.notes)
    # What an image adds to the subset's criteria is known of all.
    assert note.slug == "parts-without-order" and "adds nbc-suite" in note.text
    assert "adds kmnc" not in note.text
    assert "nbc/unit" not in note.text


@thorough(15)
@given(small_suites(least=2), st.data())
def test_parts_that_follow_make_one_sequence(arrays: list, data: st.DataObject) -> None:
    """Whatever is before a part, its first images set bounds where not enough have."""
    count = len(arrays[0])
    cuts = sorted({0, count, *data.draw(st.lists(st.integers(1, count - 1), max_size=3))})
    head, merged = coverage.init(TINY, PARAMETERS), None
    for first, last in pairwise(cuts):
        if first:
            head, _ = measured(TINY, [a[:first] for a in arrays])
        part, _ = measured(TINY, [a[first:last] for a in arrays], state=coverage.following(head))
        assert part.before == first
        merged = part if merged is None else coverage.merge(merged, part)
    whole, _ = measured(TINY, arrays)
    assert merged is not None and merged.one_sequence
    assert repr(coverage.compute(merged)) == repr(coverage.compute(whole))


# Shards that are kept.


def test_shards_that_are_done_are_not_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, asked = spreading.Processes.attempt, list[int]()

    def counted(self: spreading.Processes, job: Any, report: Any) -> Any:
        asked.append(job.first)
        return attempt(self, job, report)

    def failing(self: spreading.Processes, job: Any, report: Any) -> Any:
        return counted(self, job, report) if job.first == 0 else "signal 9"

    kept = tmp_path / "kept"
    options: dict[str, Any] = {"checkpoint_every": Every(images=2), "subset": True}
    shards = {**options, "workers": 2, "checkpoint": kept}
    monkeypatch.setattr(spreading.Processes, "attempt", failing)
    with pytest.raises(ImageError, match="images 2 to 3 died 3 times"):
        run(folder, **shards, images=SIX)
    left = {path.name for path in kept.iterdir()}
    assert {"checkpoint.npz", "0.shard"} <= left <= {"checkpoint.npz", "0.shard", "lock"}

    # Another run, or other shards, are refused, and what is kept is still good.
    for further, why in (
        ({"batch_size": 1}, "--batch-size was 2"),
        ({"checkpoint_every": Every(images=3)}, "the number of shards .* was 3 there and is 2"),
        ({"workers": None}, "the number of shards .* was 3 there and is not set here"),
        ({"subset": ["nc-suite"]}, "--subset was all criteria"),
        ({"checkpoint_every": Every(seconds=3)}, "give --checkpoint-every a number of images"),
    ):
        with pytest.raises(UsageError, match=why):
            run(folder, **(shards | further), images=SIX)

    asked.clear()
    monkeypatch.setattr(spreading.Processes, "attempt", counted)
    seen: list[int] = []
    found = run(folder, **shards, images=SIX, progress=lambda count: seen.append)
    assert sorted(asked) == [2, 4]
    whole = run(folder, images=SIX, subset=True)
    assert found_in(found, order_free=False) == found_in(whole, order_free=False)
    assert found.subset == whole.subset is not None
    assert seen[0] == 2 and not kept.exists()


def test_a_shard_that_is_broken_is_refused(folder: Path, tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "kept")
    shards = KeptShards(kept, {"a": "b"}, 2)
    assert shards.outcome(0) is None
    state = tmp_path / "one.state"
    run(folder, images="i[5-7].png", state=state)
    shards.keep(1, SimpleNamespace(product=state, running={"batch_size": 4}))  # type: ignore
    found = shards.outcome(1)
    assert found is not None and [one.path for one in found.skipped] == ["i6.png", "i7.png"]
    kept.shard(1).write_bytes(state.read_bytes()[:-100])
    kept.close()
    again = KeptShards(Checkpoint(tmp_path / "kept"), {"a": "b"}, 2)
    assert again.batch_size == 4 and again.outcome(0) is None
    with pytest.raises(UsageError, match=r"1\.shard is no state.*remove the folder"):
        again.outcome(1)


def test_shards_of_a_run_that_was_done_are_forgotten(folder: Path, tmp_path: Path) -> None:
    """A kill while the folder is removed leaves shards without what says of which run they are."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "0.shard").write_bytes(b"of another run")
    checkpoint = Checkpoint(tmp_path / "kept")
    assert KeptShards(checkpoint, {}, 1).outcome(0) is None
    assert not checkpoint.shard(0).exists()


def test_how_many_shards_are_kept() -> None:
    assert shards_to_keep(10, 2, Every()) == 2
    assert shards_to_keep(1, 2, Every()) == 1
    assert shards_to_keep(1_000, 2, Every()) == 3
    assert shards_to_keep(10**6, 4, Every()) == 32
    assert shards_to_keep(1_001, 4, Every(images=100)) == 11
    assert shards_to_keep(100, 4, Every(images=100)) == 4


# Workers that die.


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function after which the first so many workers kill themselves."""
    counted, script = tmp_path / "counted", tmp_path / "python"

    def set_up(count: int) -> None:
        script.write_text(
            f"#!/bin/sh\nif mkdir {counted} 2>/dev/null; then :; fi\n"
            f"for n in $(seq {count}); do\n"
            f'  if mkdir {counted}/$n 2>/dev/null; then echo "out of luck" >&2; kill -9 $$; fi\n'
            f'done\nexec {sys.executable} "$@"\n'
        )
        script.chmod(0o755)
        monkeypatch.setattr(spreading.sys, "executable", str(script))

    return set_up


def test_a_worker_that_dies_is_replaced(folder: Path, dying: Any) -> None:
    dying(2)
    assert found_in(run(folder, workers=2)) == found_in(run(folder))


def test_one_that_dies_again_and_again_is_given_up(folder: Path, dying: Any) -> None:
    dying(100)
    with pytest.raises(ImageError, match=r"died 3 times \(signal 9: out of luck\)") as caught:
        run(folder, workers=2)
    assert caught.value.exit_code == 3
    with pytest.raises(ImageError, match="workers died"):
        run(folder, workers=2, allow_partial=True)


def test_the_images_of_one_that_was_given_up_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = spreading.Processes.attempt

    def fragile(self: spreading.Processes, job: Any, report: Any) -> Any:
        return "signal 9" if job.first == 0 else attempt(self, job, report)

    monkeypatch.setattr(spreading.Processes, "attempt", fragile)
    found = run(folder, workers=3, allow_partial=True)
    assert found.images.used == 3
    names = [one.path for one in found.images.skipped]
    assert names == [f"i{number}.png" for number in (0, 1, 2, 6, 7, 8)]
    assert found.images.skipped[0].reason == "its worker died 3 times"
    # The bounds of nbc are known all the same, but not of one sequence.
    assert all(table.metric != "nbc" or table.total for table in found.tables)


def test_what_a_worker_says_is_said(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"The image 'i6.png' cannot be used"):
        run(folder, workers=2, strict=True)
    for options, why in (({"ray_address": "auto"}, "--ray-address needs --engine ray"),):
        with pytest.raises(UsageError, match=why):
            run(folder, workers=2, **options)


def test_a_suite_of_which_no_image_can_be_used(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"None of the 3 images can be used; 'i6\.png'"):
        cleanai_onnx.analyze(
            folder / "net.onnx", str(folder / "suite" / "i[678].png"), preset="unit", workers=2
        )


def test_a_worker_ends_with_its_parent() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from cleanai_onnx.spread import shard; import time, threading\n"
         "threading.Thread(target=shard._end_with_parent).start(); time.sleep(100)"],
        stdin=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 1


def test_shards() -> None:
    assert spreading.shards(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert spreading.shards(2, 5) == [(0, 1), (1, 2)]
    assert spreading.shards(1, 1) == [(0, 1)]
    assert spreading.threads_of_each(10**6) == 1
