"""Learning a profile and plain inference side by side: what a pass over training images costs.

The limit is onnxruntime's inference of the untouched model on the same decoded images. Ours is the
pass without relevance (extrema, moments and traces of the last hidden layer), in both neuron views,
and the pass with relevance summed by the epsilon rule, which runs the network a second time and
backwards. Batches of all are interleaved in one process; printed is the median over rounds of the
ratio of their times.

    python benchmarks/profiling.py [--models resnet50 ...] [--images 64] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time

import numpy as np
from main_job import MODELS, TARGETS, ort, plain_session

from cleanai_onnx.profiles import Profiler

PASSES = {
    "ours: channels": {"view": "channel", "composite": "none"},
    "ours: units": {"view": "unit", "composite": "none"},
    "ours: channels and relevance": {"view": "channel", "composite": "epsilon"},
}


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"python {platform.python_version()}, onnxruntime {ort.__version__}; "
        f"{arguments.images} images, batch {arguments.batch_size}, {arguments.threads} threads, "
        f"{arguments.device}"
    )
    for name in arguments.models:
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Measure one model and print its rows."""
    model = MODELS[name]().SerializeToString()
    rng = np.random.default_rng(0)
    batches = [
        rng.standard_normal((arguments.batch_size, 3, 224, 224), dtype=np.float32)
        for _ in range(arguments.images // arguments.batch_size)
    ]
    plain = plain_session(model, arguments)
    feed = plain.get_inputs()[0].name
    profilers = {
        title: Profiler(
            model,
            device=arguments.device,
            batch_size=arguments.batch_size,
            threads=arguments.threads,
            **options,
        )
        for title, options in PASSES.items()
    }
    plain.run(None, {feed: batches[0]})
    for profiler in profilers.values():
        profiler.update(batches[0])

    limit: list[float] = []
    times: dict[str, list[float]] = {title: [] for title in profilers}
    for _ in range(arguments.rounds):
        limit.append(0.0)
        for each in times.values():
            each.append(0.0)
        for batch in batches:
            start = time.perf_counter()
            plain.run(None, {feed: batch})
            limit[-1] += time.perf_counter() - start
            for title, profiler in profilers.items():
                start = time.perf_counter()
                profiler.update(batch)
                times[title][-1] += time.perf_counter() - start
    for title, profiler in profilers.items():
        # What is left to do once, at the end, as a part of each round.
        start = time.perf_counter()
        profiler.profile()
        rest = (time.perf_counter() - start) / arguments.rounds
        times[title] = [taken + rest for taken in times[title]]

    scale = 1e3 / arguments.images
    print(f"\n{name}")
    print(f"  {'limit: plain inference':30}{statistics.median(limit) * scale:9.2f} ms/image   1.00")
    for title, each in times.items():
        ratio = statistics.median(a / b for a, b in zip(each, limit, strict=True))
        aim = f"   (aim: at most {TARGETS[name]})" if "relevance" not in title else ""
        print(f"  {title:30}{statistics.median(each) * scale:9.2f} ms/image   {ratio:.2f}{aim}")


if __name__ == "__main__":
    main()
