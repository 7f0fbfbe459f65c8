"""Tasks of Ray find what one process finds, also where they die."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import cleanai_onnx
from cleanai_onnx import ImageError, UsageError
from cleanai_onnx.result import Result
from cleanai_onnx.spread import ray_cluster, ray_tasks
from cleanai_onnx.states.checkpoint import Every
from tests.cli.material import images
from tests.spread.here import assert_same
from tests.states.parts import found_in, model
from tests.states.ray_head import Head, free_port

ray = pytest.importorskip("ray", reason="needs the extra `ray`")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a net and seven images, the last of them broken."""
    made = tmp_path_factory.mktemp("ray")
    (made / "net.onnx").write_bytes(model())
    images(made / "suite", 7)
    (made / "suite" / "i6.png").write_bytes(b"no image")
    return made


@pytest.fixture(scope="class")
def cluster() -> Iterator[None]:
    """Start Ray once: this takes seconds."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def run(folder: Path, **options: Any) -> Result:
    shared: dict[str, Any] = {"preset": "unit", "batch_size": 2, "relevance": False}
    return cleanai_onnx.analyze(folder / "net.onnx", folder / "suite", **(shared | options))


@pytest.mark.usefixtures("cluster")
class TestOfACluster:
    def test_tasks_find_what_one_process_finds(self, folder: Path, tmp_path: Path) -> None:
        options: dict[str, Any] = {"train": folder / "suite", "learning": {"labels": "none"}}
        options["subset"] = True
        one = run(folder, per_image=tmp_path / "1.csv", **options)
        seen: list[int] = []
        ours = run(
            folder,
            engine="ray",
            per_image=tmp_path / "2.csv",
            progress=lambda count: seen.append,
            **options,
        )
        assert found_in(ours) == found_in(one)
        assert ours.images == cleanai_onnx.result.replace(one.images, per_image_table="2.csv")
        assert ours.run.options["workers"] == 2 and ours.run.options["engine"] == "ray"
        assert seen[-1] == 7
        assert ours.subset == one.subset is not None
        assert ray.is_initialized()  # it was not ours to end

    def test_tasks_learn_what_one_process_learns(self, folder: Path) -> None:
        options: dict[str, Any] = {"preset": "unit", "batch_size": 2, "labels": "none"}
        net, suite = folder / "net.onnx", folder / "suite"
        ours = cleanai_onnx.learn(net, suite, engine="ray", **options)
        assert_same(ours, cleanai_onnx.learn(net, suite, **options))

    def test_tasks_inspect_as_one_process_does(self, folder: Path) -> None:
        def first(batch: Any) -> Any:  # which only Ray can give to a worker
            return batch[:, 0, 0, 0]

        options: dict[str, Any] = {"preset": "unit", "batch_size": 2}
        net, suite = folder / "net.onnx", folder / "suite"
        ours, one = (
            cleanai_onnx.inspect(net, suite, ["contrast", first], "spearman", **options, **more)
            for more in ({"engine": "ray"}, {})
        )
        pd.testing.assert_frame_equal(ours, one, check_exact=True)

    def test_a_task_that_dies_is_done_again(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured, marks = ray_tasks._done, tmp_path

        def fragile(job: Any, profile: Any) -> Any:
            try:
                (marks / str(job.first)).mkdir()
            except FileExistsError:
                return measured(job, profile)
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(ray_tasks, "_done", fragile)
        assert found_in(run(folder, engine="ray", workers=2)) == found_in(run(folder))
        assert {path.name for path in marks.iterdir()} == {"0", "3"}

    def test_one_that_dies_again_and_again_is_given_up(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured = ray_tasks._done

        def fragile(job: Any, profile: Any) -> Any:
            if job.first == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return measured(job, profile)

        monkeypatch.setattr(ray_tasks, "_done", fragile)
        with pytest.raises(ImageError, match="images 0 to 2 died 3 times") as caught:
            run(folder, engine="ray", workers=2)
        assert caught.value.exit_code == 3
        found = run(folder, engine="ray", workers=2, allow_partial=True)
        assert [one.path for one in found.images.skipped] == [
            "i0.png",
            "i1.png",
            "i2.png",
            "i6.png",
        ]

    def test_what_a_task_says_is_said(self, folder: Path) -> None:
        with pytest.raises(ImageError, match=r"The image 'i6.png' cannot be used"):
            run(folder, engine="ray", workers=2, strict=True)

    def test_a_bug_in_a_task_is_one_here(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def wrong(job: Any, profile: Any) -> Any:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(ray_tasks, "_done", wrong)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            run(folder, engine="ray", workers=2)


def test_ray_is_started_for_one_call_and_ended(folder: Path) -> None:
    assert not ray.is_initialized()
    assert found_in(run(folder, engine="ray", workers=2)) == found_in(run(folder))
    assert not ray.is_initialized()


def test_a_cluster_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be joined"):
        run(folder, engine="ray", ray_address="127.0.0.1:1")


def test_a_head_that_goes_away(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is restarted while a task runs; the next time it is not, and the run after goes on."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    measured, mark = ray_tasks._done, tmp_path / "mark"

    def slow(job: Any, profile: Any) -> Any:
        if job.first == 1 and not mark.exists():
            mark.touch()
            time.sleep(60)
        return measured(job, profile)

    monkeypatch.setattr(ray_tasks, "_done", slow)
    # The paths of its sockets must be short.
    files, port = tempfile.mkdtemp(prefix="ray-"), free_port()
    heads = [Head(port, files)]

    def go_away(*, back: bool) -> None:
        while not mark.exists():
            time.sleep(0.05)
        heads[-1].kill()
        if back:
            heads.append(Head(port, files))

    kept = tmp_path / "kept"
    shards: dict[str, Any] = {"checkpoint": kept, "checkpoint_every": Every(images=2)}
    on_ray = {**shards, "engine": "ray", "ray_address": f"127.0.0.1:{port}", "workers": 1}
    try:
        with ThreadPoolExecutor() as pool:
            away = pool.submit(go_away, back=True)
            found = run(folder, **on_ray)
            away.result()
            assert found_in(found, order_free=False) == found_in(run(folder), order_free=False)
            assert not kept.exists()

            mark.unlink()
            monkeypatch.setattr(ray_cluster, "BACK_WITHIN", 0)
            away = pool.submit(go_away, back=False)
            with pytest.raises(UsageError, match="the Ray cluster went away and did not come back"):
                run(folder, **on_ray)
            away.result()
        assert not ray.is_initialized()
        assert (kept / "0.shard").exists() and not (kept / "1.shard").exists()
        # Processes are as good as tasks to go on with.
        seen: list[int] = []
        again = run(folder, **shards, workers=2, progress=lambda count: seen.append)
        assert found_in(again) == found_in(found)
        assert seen[0] == 1 and not kept.exists()
    finally:
        heads[-1].kill()
        shutil.rmtree(files, ignore_errors=True)
