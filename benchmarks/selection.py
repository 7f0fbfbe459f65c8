"""Ours and the naive greedy rule side by side: choosing the images that keep a suite's coverage.

The naive one keeps a Python set for each image and evaluates the gain of every image again in every
round. Both run in one process, in turn, on the same suite; their orders must be equal. Printed are
the medians over rounds. Then ours alone at full scale, in a process of its own, with peak memory.

    python benchmarks/selection.py [--rounds 3] [--images 10000] [--channels 25000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np
import psutil
import scipy
from numpy.typing import NDArray

from cleanai_onnx.selection import CoverRecord, smallest_subset
from cleanai_onnx.selection.greedy import rank
from cleanai_onnx.selection.index import ImageIndex

SECTIONS = 1000
BATCH = 10
KINDS = ("spread", "scenes")
"""Images that differ in every channel, of which nearly all are essential; and images of a tenth as
many scenes, in which a tenth of the channels show another scene, of which hardly any is."""


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000, help="at full scale")
    parser.add_argument("--channels", type=int, default=25_000, help="at full scale")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {psutil.cpu_count()} cores; python {platform.python_version()}, "
          f"numpy {np.__version__}, scipy {scipy.__version__}")  # fmt: skip
    for kind in KINDS:
        compare(kind, 300, 1_000, arguments.rounds)
    for kind in KINDS:
        process = multiprocessing.get_context("spawn").Process(
            target=full_scale, args=(kind, arguments.images, arguments.channels)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"the run at full scale ended with {process.exitcode}")


def suite(kind: str, images: int, channels: int) -> Iterator[NDArray[np.int64]]:
    """Give batches of (B, channels) sections that normally distributed activations hit."""
    rng = np.random.default_rng(0)
    first = np.arange(channels) * SECTIONS
    scenes = rng.normal(size=(images // 10, channels)).astype(np.float32)
    for _ in range(0, images, BATCH):
        if kind == "spread":
            values = rng.normal(size=(BATCH, channels)).astype(np.float32)
        else:
            shown = np.repeat(rng.integers(0, len(scenes), (BATCH, 1)), channels, axis=1)
            others = rng.random((BATCH, channels)) < 0.1
            shown[others] = rng.integers(0, len(scenes), int(others.sum()))
            values = np.take_along_axis(scenes, shown, axis=0)
        yield np.clip(values * 150 + 500, 0, SECTIONS - 1).astype(np.int64) + first


def naive(sets: list[set[int]]) -> list[int]:
    """Return the greedy order."""
    covered: set[int] = set()
    order = []
    while True:
        gains = [len(items - covered) for items in sets]
        best = max(range(len(sets)), key=gains.__getitem__)
        if not gains[best]:
            return order
        order.append(best)
        covered |= sets[best]


def compare(kind: str, images: int, channels: int, rounds: int) -> None:
    """Print both, at a size at which the naive one ends."""
    batches = list(suite(kind, images, channels))
    sets = [set(row.tolist()) for batch in batches for row in batch]
    times: dict[str, list[float]] = {"naive": [], "ours": [], "ratio": []}
    for _ in range(rounds):
        start = time.perf_counter()
        expected = naive(sets)
        times["naive"].append(time.perf_counter() - start)
        start = time.perf_counter()
        with CoverRecord(channels * SECTIONS) as record:
            for batch in batches:
                record.append(batch)
            with ImageIndex(record) as index:
                order = rank(record, index).order.tolist()
        times["ours"].append(time.perf_counter() - start)
        times["ratio"].append(times["naive"][-1] / times["ours"][-1])
        if order != expected:
            raise SystemExit("the two orders differ")
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"{kind}, {images:,} images x {channels:,} items, {len(order):,} taken: "
          f"naive {median['naive']:.2f} s, ours {median['ours']:.3f} s with the record; "
          f"ours is {median['ratio']:.0f} times faster")  # fmt: skip


def full_scale(kind: str, images: int, channels: int) -> None:
    """Print times and memory of a whole selection, solver included."""
    process = psutil.Process()
    batches = suite(kind, images, channels)
    with CoverRecord(channels * SECTIONS) as record:
        seconds = 0.0
        for batch in batches:
            start = time.perf_counter()
            record.append(batch)
            seconds += time.perf_counter() - start
        held = process.memory_info().rss
        print(f"{kind}, {images:,} images x {channels:,} items of {record.items:,}: recorded in "
              f"{seconds:.1f} s ({seconds / images * 1e3:.2f} ms/image), "
              f"{record.stored_bytes / 2**20:,.0f} MiB on disk", flush=True)  # fmt: skip
        start = time.perf_counter()
        subset = smallest_subset(record)
        seconds = time.perf_counter() - start
    print(f"  subset of {len(subset.order):,} in {seconds:.1f} s (greedy: "
          f"{len(subset.ranking.order):,}; needed: at least {subset.lower_bound:,}); resident "
          f"memory {held / 2**20:,.0f} MiB before, at most {peak_rss() / 2**20:,.0f} MiB with "
          "the mapped file")  # fmt: skip


def peak_rss() -> int:
    """Return the peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
