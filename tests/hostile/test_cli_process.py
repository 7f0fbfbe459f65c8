"""What only a process of its own shows: streams that are closed, signals, a poor environment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from cleanai_onnx import cli
from tests.cli.material import Command, everything, images, relu, save, sentence

RUN = ("m.onnx", "im", "--preset", "unit", "--output", "o")
REPORTS = {"o", "o/Analysis_m.csv", "o/Analysis_m.json", "o/Analysis_m.pdf"}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="shells and signals as in POSIX")


def environment(**changes: str | None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CLEANAI_ONNX_")}
    kept["CLEANAI_ONNX_CACHE"] = os.environ["CLEANAI_ONNX_CACHE"]
    merged = kept | changes
    return {name: value for name, value in merged.items() if value is not None}


def program(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cleanai_onnx", *arguments],
        capture_output=True,
        text=True,
        env=environment(**changes),
    )


def shell(script: str, arguments: tuple[str, ...] = RUN) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which ``$RUN`` is the program with its arguments."""
    line = " ".join([sys.executable, "-m", "cleanai_onnx", *arguments])
    return subprocess.run(
        ["bash", "-c", script.replace("$RUN", line)],
        capture_output=True,
        text=True,
        env=environment(),
    )


@pytest.fixture
def files(command: Command, tmp_path: Path):
    before = everything(tmp_path)
    return lambda: everything(tmp_path) - before


class TestEnd:
    """The process ends at once, but not before what others leave for its end was done."""

    SCRIPT = """
import atexit, sys, threading, time
from cleanai_onnx import cli
def work():
    time.sleep(0.2)
    print("thread", end=" ")
class Kept:
    def __del__(self):
        print("taken apart", end=" ")
def main():
    global kept
    kept = Kept()
    atexit.register(print, "registered", end=" ")
    threading.Thread(target=work).start()
    print("main", end=" ")
    {end}
cli.main = main
sys.exit(cli.run())
"""

    def ended(self, end: str) -> subprocess.CompletedProcess[str]:
        script = self.SCRIPT.format(end=end)
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    def test_threads_and_exit_handlers_come_first(self) -> None:
        process = self.ended("return 3")
        assert (process.returncode, process.stderr) == (3, "")
        assert process.stdout == "main thread registered "

    def test_without_an_exit_code_python_ends_as_ever(self) -> None:
        process = self.ended("sys.exit('said')")
        assert (process.returncode, process.stderr) == (1, "said\n")
        assert process.stdout == "main thread registered taken apart "

    def test_output_that_cannot_be_flushed(self) -> None:
        script = self.SCRIPT.format(end="sys.stdout = open('/dev/full', 'w'); print(1); return 0")
        process = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment()
        )
        assert process.returncode == 120  # Python's own for this
        assert "No space left on device" in process.stderr


class TestStreams:
    """The command that renders again prints the same summary, and is quicker."""

    AGAIN = ("report", "r.json", "--output", "o")
    WRITTEN: ClassVar = {"o", "o/r.pdf"}

    @pytest.fixture(scope="class")
    @staticmethod
    def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("stored")
        model, suite = save(folder / "m.onnx", relu()), images(folder / "im", 3)
        assert cli.main([model, suite, "--preset", "unit", "--quiet", "--output", str(folder)]) == 0
        return folder / "Analysis_m.json"

    @pytest.fixture(autouse=True)
    def result(self, command: Command, stored: Path) -> None:
        shutil.copy(stored, "r.json")

    def test_a_reader_that_leaves(self, files) -> None:
        run = shell("$RUN | head -1; exit ${PIPESTATUS[0]}", self.AGAIN)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.startswith("m: coverage of")
        assert files() == self.WRITTEN

    def test_no_standard_output(self, files) -> None:
        run = shell("$RUN >&-", self.AGAIN)
        assert (run.returncode, run.stderr) == (0, "")
        assert files() == self.WRITTEN

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
    def test_a_full_standard_output(self, files) -> None:
        run = shell("$RUN >/dev/full", self.AGAIN)
        assert run.returncode == 2
        assert sentence(run.stderr).startswith("the reports are written, but")
        assert files() == self.WRITTEN

    @pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
    def test_no_standard_error(self, files, redirected: str) -> None:
        run = shell(f"$RUN {redirected}", ("missing.onnx", "im"))
        assert (run.returncode, run.stdout) == (3, "")
        assert files() == set()

    def test_no_standard_error_during_a_run(self, files) -> None:
        run = shell("$RUN 2>&-")
        assert run.returncode == 0
        assert files() == REPORTS

    def test_an_encoding_without_our_letters(self, files) -> None:
        Path("o ü").mkdir()
        save("o ü/mödel😀.onnx", relu())
        poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
                "PYTHONIOENCODING": "ascii"}  # fmt: skip
        run = program("o ü/mödel😀.onnx", "im", "--preset", "unit", "--output", "o", **poor)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.isascii()
        run = program("o ü/möd😀.onnx", "im", **poor)
        assert run.returncode == 3
        assert run.stderr.isascii()
        assert "there is no model file" in sentence(run.stderr)

    def test_a_narrow_terminal_without_colour(self, files) -> None:
        run = program(*self.AGAIN, COLUMNS="1", NO_COLOR="1", TERM="dumb")
        assert (run.returncode, run.stderr) == (0, "")
        assert "\x1b" not in run.stdout


class TestEnvironment:
    def test_without_a_home(self, files, tmp_path: Path) -> None:
        # Nothing that can be written to: kernels are compiled again, and nobody complains.
        run = program(*RUN, "--quiet", HOME="/proc/none", CLEANAI_ONNX_CACHE="/proc/none",
                      XDG_CACHE_HOME="/proc/none")  # fmt: skip
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
        assert files() == REPORTS

    def test_onnxruntime_reports_to_nobody(self, files, tmp_path: Path) -> None:
        home = tmp_path / "home"
        home.mkdir()
        run = program(*RUN, "--quiet", HOME=str(home), XDG_CACHE_HOME=None,
                      ORT_DISABLE_TELEMETRY=None, CI=None)  # fmt: skip
        assert (run.returncode, run.stderr) == (0, "")
        assert everything(home) == set()

    @pytest.mark.parametrize(
        ("package", "what"),
        [
            ("raise ModuleNotFoundError(name='onnxruntime')", "onnxruntime is not installed;"),
            (
                "raise ImportError('libcudart.so.12: no such\\nfile')",
                "libcudart.so.12: no such file",
            ),
            ("raise OSError('bad library')", "installed but cannot be loaded (bad library)"),
            ("", "its files are incomplete"),
        ],
    )
    def test_without_a_sound_onnxruntime(
        self, files, tmp_path_factory: pytest.TempPathFactory, package: str, what: str
    ) -> None:
        folder = tmp_path_factory.mktemp("broken")
        (folder / "onnxruntime.py").write_text(package)
        run = program(*RUN, PYTHONPATH=str(folder))
        assert run.returncode == 2
        text = sentence(run.stderr)
        assert what in text
        assert "pip install 'cleanai-onnx[cpu]'" in text
        assert files() == set()

    def test_warnings_are_for_programmers(self, files) -> None:
        # Pixels beyond what half precision holds: numpy warns of that.
        save("half.onnx", relu(dtype=10, output_dtype=10))
        arguments = ("half.onnx", "im", "--scale", "1e9", "--mean", "0", "--std", "1", "--quiet")
        run = program(*arguments)
        assert (run.returncode, run.stderr) == (0, "")
        assert "RuntimeWarning" in program(*arguments, "--debug").stderr


class TestSignals:
    """The process is stopped at a place that it says it has reached."""

    START = """
import sys, time
import cleanai_onnx.cli
def reach(*_, **__):
    print("there", flush=True)
    for _ in range(300):
        time.sleep(0.1)
    sys.exit("was not stopped")
{patch}
sys.exit(cleanai_onnx.cli.run())
"""
    PLACES: ClassVar = {
        "arguments": "import cleanai_onnx.config; cleanai_onnx.config.gather = reach",
        "decoding": "import cleanai_onnx.inputs as i; i.stream = reach",
        "session": "import cleanai_onnx.runtime as r; r.Session.__init__ = reach",
        "inference": "import cleanai_onnx.runtime as r; r.Session.run = reach",
        "callback": (
            # An exception in here would be swallowed.
            "import gc, cleanai_onnx.runtime as r; run = r.Session.run\n"
            "def again(*a):\n gc.callbacks.append(reach); gc.collect(); return run(*a)\n"
            "r.Session.run = again"
        ),
        "pdf": "import cleanai_onnx.report.pdf as p; p.render = reach",
        "flushing": "import os; os.fsync = reach",
    }

    def stopped(self, place: str, number: int) -> subprocess.Popen[str]:
        script = self.START.format(patch=self.PLACES[place])
        process = subprocess.Popen(
            [sys.executable, "-c", script, *RUN, "--per-image"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.send_signal(number)
        process.wait(20)
        return process

    @pytest.mark.parametrize("place", PLACES)
    def test_interrupted(self, files, place: str) -> None:
        process = self.stopped(place, signal.SIGINT)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (130, "", "\ncleanai-onnx: interrupted.\n")
        assert files() == set()

    def test_asked_to_end(self, files) -> None:
        process = self.stopped("pdf", signal.SIGTERM)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (143, "", "\ncleanai-onnx: ended.\n")
        assert files() == set()

    def test_at_any_time(self, files) -> None:
        images("im", 60)
        before = files()
        for delay in (0.3, 1.2):
            process = subprocess.Popen(
                [sys.executable, "-m", "cleanai_onnx", *RUN, "--quiet", "--batch-size", "1"],
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
            )
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
            new = files() - before
            # Where the machine was quick, it was done before; where it was slow, Python itself
            # was still starting, and says so with a traceback.
            if process.returncode == 0:
                assert new == REPORTS
                break
            assert process.returncode in (130, -signal.SIGINT)
            assert new == set()
            assert process.returncode != 130 or err == "\ncleanai-onnx: interrupted.\n"

    def test_ignored_where_the_parent_wants_it(self, files) -> None:
        run = shell("trap '' INT; $RUN --quiet & sleep 0.7; kill -INT $!; wait $!")
        assert (run.returncode, run.stderr) == (0, "")
        assert files() == REPORTS
