"""Several processes find what one finds, also where workers die."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cleanai_onnx
from cleanai_onnx import ImageError, Parameters, UsageError, coverage
from cleanai_onnx.report.json import text_of
from cleanai_onnx.result import Result
from cleanai_onnx.spread import spreading
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


def run(folder: Path, tables: Path | None = None, **options: Any) -> Result:
    shared: dict[str, Any] = {"preset": "unit", "batch_size": 2, "relevance": False}
    if tables is not None:
        tables.mkdir()
        shared |= {"per_image": tables / "images.csv", "per_layer": tables / "layers.csv"}
    return cleanai_onnx.analyze(folder / "net.onnx", folder / "suite", **(shared | options))


def test_workers_find_what_one_process_finds(folder: Path, tmp_path: Path) -> None:
    """With bounds from 4 images, those of the second of three workers set some of them too."""
    options: dict[str, Any] = {"parameters": Parameters(bounds_from=4)}
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
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert seen == sorted(seen) and seen[-1] >= 6
    assert three.run.options["workers"] == 3 and "workers" in three.run.seconds
    # The state of a run that was spread is one like any other.
    assert text_of(found_in(cleanai_onnx.combine([state]))) == text_of(found_in(one))


def test_against_a_profile(folder: Path) -> None:
    options = {"train": folder / "suite", "learning": {"labels": "none"}}
    one, two = run(folder, **options), run(folder, workers=2, **options)
    assert found_in(two) == found_in(one)
    (note,) = set(two.notes) - set(one.notes)
    assert note.slug == "parts-without-order" and "adds kmnc" in note.text
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
    for options, why in (
        ({"subset": True}, "--workers does not go together with --subset"),
        ({"checkpoint": folder / "kept"}, "--workers does not go together with --checkpoint"),
        ({"ray_address": "auto"}, "--ray-address needs --engine ray"),
    ):
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
