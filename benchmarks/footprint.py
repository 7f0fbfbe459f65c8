"""Peak memory over the number of images, and what starting costs, each in a process of its own.

python benchmarks/footprint.py [--depth 50] [--images 64 1024]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import architectures
import numpy as np
from PIL import Image


def main() -> None:
    """Print peak memory for each number of images, then the times of starting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, help="of the ResNet")
    parser.add_argument("--images", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "resnet.onnx"
        model.write_bytes(architectures.resnet(arguments.depth).SerializeToString())
        rng = np.random.default_rng(0)
        for count in arguments.images:
            write_images(Path(folder) / str(count), count, rng)
        run(model, Path(folder) / str(arguments.images[0]), Path(folder))  # fills the cache
        peaks = []
        for count in arguments.images:
            seconds, peak = run(model, Path(folder) / str(count), Path(folder))
            peaks.append(peak)
            print(f"{count:6,} images: {seconds:7.1f} s, peak memory {peak / 2**20:7.0f} MiB "
                  f"({peak / peaks[0]:.3f} of the first)")  # fmt: skip
        one = next((Path(folder) / str(arguments.images[0])).iterdir())
        run(model, one, Path(folder))
        times = [run(model, one, Path(folder))[0] for _ in range(arguments.rounds)]
        print(f"one image, warm cache: {statistics.median(times):.2f} s (aim: under 4)")
    times = [timed([sys.executable, "-m", "cleanai_onnx", "--help"]) for _ in range(9)]
    print(f"--help: {statistics.median(times):.3f} s (aim: under 0.3)")


def write_images(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Write smooth random photographs of 320 x 260 pixels."""
    folder.mkdir()
    for index in range(count):
        coarse = rng.integers(0, 256, (13, 16, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((320, 260), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:05d}.jpg", quality=90)


def run(model: Path, images: Path, folder: Path) -> tuple[float, int]:
    """Analyse in a process of its own; return the seconds and the peak memory in bytes."""
    command = [sys.executable, "-m", "cleanai_onnx", str(model), str(images)]
    command += ["--preset", "torchvision", "--output", str(folder / "out"), "--quiet"]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timed(command: list[str]) -> float:
    """Return the seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
