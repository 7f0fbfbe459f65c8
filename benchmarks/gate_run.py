"""A gate in a pipeline: the whole process, from start to exit code, beside bare onnxruntime.

Ours is ``cleanai-onnx models/lenet5.onnx models/digits --fail-under ...``: decoding, all metrics,
the JSON, the PDF and the table of images, the gates and the exit code, with kernels compiled before
(a warm cache, as a pipeline keeps it) and, once, without. The limit is a script of a dozen lines
that decodes the same images with Pillow and runs them through onnxruntime, and does nothing else.
The processes alternate; printed are the fastest and the median wall time and the median of the
processors' time, which a busy machine does not change much, and the medians of their ratios.

    python benchmarks/gate_run.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MODEL, DIGITS = ROOT / "models" / "lenet5.onnx", ROOT / "models" / "digits"
AIM = 6.0
GATES = "nc=10%,nc-suite/channel=70%,dead-channels=20%"

BARE = """
import os, sys
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
from pathlib import Path
import numpy as np
import onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1])
files = sorted(Path(sys.argv[2]).rglob("*.png"))
name = session.get_inputs()[0].name
for first in range(0, len(files), 32):
    part = [np.asarray(Image.open(f).convert("L"), np.float32) for f in files[first:first + 32]]
    session.run(None, {name: np.stack(part)[:, None] / 255})
"""


class Spent(NamedTuple):
    """Seconds of a process: on the clock, and of the processors."""

    wall: float
    processors: float


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CLEANAI_ONNX_CACHE"] = os.path.join(folder, "cache")
        images = [str(MODEL), str(DIGITS)]
        ours = [sys.executable, "-m", "cleanai_onnx", *images, "--quiet", "--output", folder,
                "--fail-under", GATES]  # fmt: skip
        commands = {
            "limit: bare onnxruntime script": [sys.executable, "-c", BARE, *images],
            "ours: gates and all reports": ours,
            "ours, --no-relevance": [*ours, "--no-relevance"],
        }
        cold = spent(ours)
        times: dict[str, list[Spent]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                times[name].append(spent(command))
    count = len(list(DIGITS.rglob("*.png")))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; python {platform.python_version()}; "
        f"LeNet-5, {count} digits, {arguments.rounds} rounds, whole processes"
    )
    limit = next(iter(times.values()))
    print(f"{'':<32}{'fastest':>9}{'median':>9}{'ratio':>7}   {'processors':>10}{'ratio':>7}")
    for name, found in times.items():
        wall, wall_ratio = compared([one.wall for one in found], [one.wall for one in limit])
        busy, busy_ratio = compared(
            [one.processors for one in found], [one.processors for one in limit]
        )
        aim = f"   (aim: under {AIM:g} s)" if name.startswith("ours:") else ""
        best = min(one.wall for one in found)
        clock = f"{best:7.2f} s{wall:7.2f} s{wall_ratio:7.1f}"
        print(f"{name:<32}{clock}   {busy:8.2f} s{busy_ratio:7.1f}{aim}")
    print(
        f"{'ours, nothing compiled yet':<32}{'':9}{cold.wall:7.2f} s{'':10}{cold.processors:8.2f} s"
    )


def spent(command: Sequence[str]) -> Spent:
    """Run a process that must end with 0, and return what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Spent(wall, user + system)


def compared(ours: Sequence[float], limit: Sequence[float]) -> tuple[float, float]:
    """Return the median, and the median of the ratios round by round."""
    ratios = [a / b for a, b in zip(ours, limit, strict=True)]
    return statistics.median(ours), statistics.median(ratios)


if __name__ == "__main__":
    main()
