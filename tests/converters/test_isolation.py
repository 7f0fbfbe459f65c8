from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx.converters import isolation
from cleanai_onnx.converters.conversion import FailedAttemptError
from cleanai_onnx.errors import ImageError, UsageError


@pytest.fixture(autouse=True)
def jobs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def run(job: str, folder: Path, timeout: float = 60, **arguments: Any) -> Any:
    return isolation.run(f"jobs:{job}", arguments, folder, timeout=timeout)


def test_a_value_comes_back(tmp_path: Path) -> None:
    assert run("echo", tmp_path, a=[1, "ü"], b=None) == {"a": [1, "ü"], "b": None}


@pytest.mark.parametrize(("kind", "error"), [("usage", UsageError), ("image", ImageError)])
def test_a_refusal_comes_back_as_it_is(tmp_path: Path, kind: str, error: type) -> None:
    with pytest.raises(error, match=r"^Do this\.$"):
        run("raises", tmp_path, kind=kind, text="Do this.")


def test_another_exception_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(FailedAttemptError) as caught:
        run("raises", tmp_path, kind="value", text="a\nb\x1b[31m" + "x" * 1000)
    text = str(caught.value)
    assert text.startswith("ValueError: a b?[31m")
    assert text.isprintable()
    assert len(text) <= 300


def test_an_exit_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(FailedAttemptError, match=r"without an answer \(exit code 7\): last words"):
        run("exits", tmp_path, code=7)


def test_an_exit_that_looks_like_success_is_none(tmp_path: Path) -> None:
    with pytest.raises(FailedAttemptError, match="without an answer"):
        run("exits", tmp_path, code=0)


def test_an_old_answer_does_not_count(tmp_path: Path) -> None:
    run("echo", tmp_path, a=1)
    with pytest.raises(FailedAttemptError):
        run("exits", tmp_path, code=0)


def test_a_crash_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(FailedAttemptError, match=r"^the process crashed \(SIGSEGV\)$"):
        run("crashes", tmp_path)


def test_an_answer_that_json_cannot_hold_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(FailedAttemptError, match="without an answer"):
        run("unspeakable", tmp_path)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids: list[int]) -> bool:
    for _ in range(200):
        if not any(map(is_alive, pids)):
            return True
        time.sleep(0.05)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@needs_proc
def test_a_hang_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(FailedAttemptError, match=r"longer than 5 s and was ended \(--timeout\)"):
        run("hangs", tmp_path, timeout=5, pids=str(pids))
    assert gone([int(pid) for pid in pids.read_text().split()])


@needs_proc
def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "from pathlib import Path; from cleanai_onnx.converters import isolation\n"
        f"isolation.run('jobs:hangs', {{'pids': {str(pids)!r}}}, Path({str(tmp_path)!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(600):
        if pids.is_file() and pids.read_text().count(" "):
            break
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    child, grandchild = (int(pid) for pid in pids.read_text().split())
    assert gone([child])
    os.kill(grandchild, signal.SIGKILL)


def test_the_current_folder_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "torch", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    found = run("environment", tmp_path)
    assert str(tmp_path) not in found["path"]
    assert "" not in found["path"]


def test_nothing_loosens_what_may_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    variables = run("environment", tmp_path)["variables"]
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in variables
    assert variables["ORT_DISABLE_TELEMETRY"] == "1"


def test_unfinished_work_is_discarded() -> None:
    with isolation.working_folder() as folder:
        (folder / "x").write_text("x")
        isolation.discard_unfinished()
        assert not folder.exists()
