"""What the small things cost that people wait for every day: help, Tab, and pytest's start.

python benchmarks/plugin.py [--rounds 9]

Each beside the limit, which is the same program without us, interleaved in processes of their own;
then ten assertions on one analysis beside one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = "cleanai_onnx.validation.pytest_plugin"
ASSERTIONS = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test(cleanai, number):
    cleanai.assert_coverage({model!r}, {images!r}, nc=number / 100)
"""


def main() -> None:
    """Print a table for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    python = [sys.executable]
    line = "cleanai-onnx models/lenet5.onnx models/digits --device "
    with tempfile.TemporaryDirectory() as folder:
        tab = {
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(Path(folder) / "answer"),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        }
        compare(
            "python alone, help, an answer to Tab",
            {
                "limit: python -c pass": ([*python, "-c", "pass"], {}),
                "ours: cleanai-onnx --help": ([*python, "-m", "cleanai_onnx", "--help"], {}),
                "ours: Tab": ([*python, "-m", "cleanai_onnx"], tab),
            },
            rounds,
            folder,
        )
        Path(folder, "test_none.py").write_text("def test(): pass\n")
        pytest = [*python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        compare(
            "pytest on a project that does not use the plugin",
            {
                "limit: without it": ([*pytest, "-p", "no:cleanai-onnx", "test_none.py"], {}),
                "ours: with it": ([*pytest, *loaded(), "test_none.py"], {}),
            },
            rounds,
            folder,
        )
        runs: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {}
        for name, count in (("limit: one assertion", 1), ("ours: ten assertions", 10)):
            file = Path(folder, f"test_{count}.py")
            model, images = ROOT / "models" / "lenet5.onnx", ROOT / "models" / "digits"
            file.write_text(ASSERTIONS.format(count=count, model=str(model), images=str(images)))
            runs[name] = ([*pytest, *loaded(), file.name], {})
        compare("assertions on LeNet-5 and 200 digits", runs, max(3, rounds // 3), folder)


def loaded() -> tuple[str, ...]:
    """Return what makes pytest load the plugin where it is not installed as an entry point."""
    from importlib import metadata

    found = any(one.value == PLUGIN for one in metadata.entry_points(group="pytest11"))
    return () if found else ("-p", PLUGIN)


def compare(
    title: str,
    runs: Mapping[str, tuple[Sequence[str], Mapping[str, str]]],
    rounds: int,
    folder: str,
) -> None:
    """Time programs in turn, after one round that is not counted; the first is the limit."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, (command, further) in runs.items():
            environment = {**os.environ, "PYTHONPATH": str(ROOT), **further}
            start = time.perf_counter()
            subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, check=not further
            )
            if number:
                times[name].append(time.perf_counter() - start)
    print(title)
    limit = statistics.median(next(iter(times.values())))
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"  {name:<30} {median:7.3f} s   {median / limit:5.2f}")


if __name__ == "__main__":
    main()
