"""What hashes and reports cost: reading with and without hashes, hashing alone, and each format.

The same seeded JPEG photos of 500 x 375 (as many in ImageNet are) and rows of float32 that are
ready, in one process, in turn. Printed is the processor time of all threads in the fastest of the
rounds, which other work on the machine disturbs least, and ratios. The limit of hashing is
`hashlib` over bytes that are in memory.

    python benchmarks/evidence.py [--rounds 5] [--images 200]
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from cleanai_onnx import inputs
from cleanai_onnx.formats import FORMATS
from cleanai_onnx.report import render

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.report.results import resnet50_like

SIZE = (500, 375)


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        photos(Path(folder), arguments.images)
        suite = inputs.discover(folder)
        how = inputs.Preprocessing((224, 224), "RGB", 1 / 255, resize="stretch")
        kinds = [
            (
                "JPEG files",
                suite,
                how,
                [Path(suite.path(i)).read_bytes() for i in range(len(suite))],
            )
        ]
        rows = np.random.default_rng(0).normal(size=(arguments.images, 3, 224, 224))
        np.save(Path(folder) / "x.npy", rows.astype(np.float32))
        ready = inputs.discover(Path(folder) / "x.npy")
        unchanged = inputs.Unchanged((3, 224, 224), "float32")
        kinds.append(
            ("ready rows", ready, unchanged, [ready.row(i).tobytes() for i in range(len(ready))])
        )
        for name, images, kind, contents in kinds:
            compare(name, images, kind, contents, arguments.rounds)
    result = resnet50_like((3, 8, 36, 3), 500)
    print("a result of the size of ResNet-152: 151 layers, 36 tables")
    for name in FORMATS:
        content = render(result, name)
        spent = min(timed(lambda name=name: render(result, name)) for _ in range(3))
        print(f"  {name:<12}{1000 * spent:8.0f} ms {len(content) / 1024:10,.0f} KiB")


def photos(folder: Path, count: int) -> None:
    """Write seeded pictures that compress as photos do."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
        noise = rng.normal(0, 12, (SIZE[1], SIZE[0], 3))
        pixels = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.jpg", quality=90)


def compare(
    name: str,
    suite: inputs.Suite,
    how: inputs.Preprocessing | inputs.Unchanged,
    contents: list[bytes],
    rounds: int,
) -> None:
    """Stream a suite with and without hashes, in turn."""

    def streamed(hashing: bool) -> None:
        manifest = inputs.Manifest()
        with inputs.stream(suite, how, 32, hashing=hashing) as batches:
            for batch in batches:
                manifest.add(batch.indexes[: len(batch.hashes)], batch.hashes)
        if hashing:
            manifest.sha256(suite.full_name)

    def alone() -> None:
        for content in contents:
            hashlib.sha256(content).hexdigest()

    found: dict[str, list[float]] = {"without": [], "with": [], "alone": []}
    for _ in range(rounds):
        found["without"].append(timed(lambda: streamed(False)))
        found["with"].append(timed(lambda: streamed(True)))
        found["alone"].append(timed(alone))
    without, with_hashes, bare = (
        1000 * min(found[key]) / len(suite) for key in ("without", "with", "alone")
    )
    size = sum(map(len, contents)) / len(contents) / 1024
    print(
        f"{name}, {size:.0f} KiB each: read without hashes {without:.3f} ms an image, with "
        f"{with_hashes:.3f}, {with_hashes / without:.3f} times; hashing alone {bare:.3f}"
    )


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that `work` takes, in all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
