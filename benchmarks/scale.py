"""What states, checkpoints and workers cost: beside the same run without them, and the merge.

The limit is one process that keeps nothing. Beside it run the same images with ``--state``, with a
checkpoint at the default pace and one every few images, and spread over two workers of one thread
each (against one process of two threads). The runs alternate; printed are the medians of wall time
and of processors' time, and their ratios to the plain run. Then the size of a state, and how long
it takes to merge two, four and eight of them.

    python benchmarks/scale.py [--depth 18] [--images 64] [--rounds 3]
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
from footprint import write_images

WAYS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "--state": ("--state", "{folder}/one.state"),
    "--checkpoint": ("--checkpoint", "{folder}/kept"),
    "--checkpoint-every 16": ("--checkpoint", "{folder}/kept", "--checkpoint-every", "16"),
    "--workers 2": ("--workers", "2"),
}


def main() -> None:
    """Print the ratios, the size of a state and the cost of merging."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=18, help="of the ResNet")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "resnet.onnx"
        model.write_bytes(architectures.resnet(arguments.depth).SerializeToString())
        write_images(folder / "images", arguments.images, np.random.default_rng(0))
        analyze = [str(model), str(folder / "images"), "--preset", "torchvision", "--quiet"]
        analyze += ["--output", str(folder / "out"), "--threads", "{threads}", "--no-relevance"]
        run([*analyze, "--state", "{folder}/one.state"], folder, threads=2)  # fills the cache
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(arguments.rounds):
            for way, flags in WAYS.items():
                threads = 1 if "--workers" in flags else 2
                times[way].append(run([*analyze, *flags], folder, threads=threads))
        wall, spent = (statistics.median(column) for column in zip(*times["plain"], strict=True))
        for way, found in times.items():
            own, own_spent = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{way:22} {own:7.2f} s wall ({own / wall:5.2f}), "
                  f"{own_spent:7.2f} s of processors ({own_spent / spent:5.2f})")  # fmt: skip
        state = folder / "one.state"
        print(f"a state: {state.stat().st_size / 2**20:.1f} MiB")
        for count in (2, 4, 8):
            merging = ["combine", *[str(state)] * count, "-o", str(folder / "out"), "--quiet"]
            own, own_spent = run(merging, folder)
            print(f"combine {count}: {own:.2f} s wall, {own_spent:.2f} s of processors, "
                  "reports included")  # fmt: skip


def run(arguments: list[str], folder: Path, threads: int = 1) -> tuple[float, float]:
    """Run the program; return the seconds of wall time and of processors."""
    filled = [text.format(folder=folder, threads=threads) for text in arguments]
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "cleanai_onnx", *filled], check=True)
    wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user - before.children_user
    return wall, spent + after.children_system - before.children_system


if __name__ == "__main__":
    main()
