"""Ours, the peers and the limit side by side: the cost of coverage over plain inference.

The limit is onnxruntime's inference of the untouched model on the same decoded images. Ours is the
same inference with every activation exposed, and all metrics in both neuron views. Batches of the
two are interleaved in one process; printed is the median over rounds of the ratio of their times.

Peers, on the activations of one batch:

* numpy: the metrics for units in the obvious vectorised form;
* loops: one Python step for each neuron, as CleanAI's functions do it, on a slice of a layer, and
  extrapolated to all of them (openly: a full run would take hours, and with the interaction metrics
  about a year).

    python benchmarks/main_job.py [--models resnet50 ...] [--images 64] [--rounds 5]
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import architectures
import numpy as np
import onnx

from cleanai_onnx import Analyzer
from cleanai_onnx.runtime import require_onnxruntime

ort = require_onnxruntime()

MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet18": lambda: architectures.resnet(18),
    "resnet50": lambda: architectures.resnet(50),
    "mobilenet_v2": architectures.mobilenet_v2,
}
TARGETS = {"resnet18": 1.35, "resnet50": 1.5, "mobilenet_v2": 3.5}
SLICE = 20_000
"""Neurons that the loops of the peer really visit."""


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
        f"{platform.machine()}, {os.cpu_count()} cores; python {platform.python_version()}, "
        f"onnxruntime {ort.__version__}; {arguments.images} images, batch {arguments.batch_size}, "
        f"{arguments.threads} threads, {arguments.device}"
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
    analyzer = Analyzer(
        model,
        device=arguments.device,
        batch_size=arguments.batch_size,
        threads=arguments.threads,
    )
    started = time.perf_counter()
    analyzer.update(batches[0])
    first = time.perf_counter() - started
    plain.run(None, {feed: batches[0]})

    limit, taps, ours = [], [], []
    for _ in range(arguments.rounds):
        in_plain = in_ours = 0.0
        before = analyzer.record.seconds["inference"]
        for batch in batches:
            start = time.perf_counter()
            plain.run(None, {feed: batch})
            middle = time.perf_counter()
            analyzer.update(batch)
            in_plain += middle - start
            in_ours += time.perf_counter() - middle
        limit.append(in_plain)
        ours.append(in_ours)
        taps.append(analyzer.record.seconds["inference"] - before)

    units = sum(layer.units for layer in analyzer.layers)
    each = 1e3 / arguments.images
    ratio = statistics.median(a / b for a, b in zip(ours, limit, strict=True))
    taps_ratio = statistics.median(a / b for a, b in zip(taps, limit, strict=True))
    metrics = statistics.median(a - b for a, b in zip(ours, taps, strict=True)) * each
    print(f"\n{name}: {len(analyzer.layers)} taps, {units:,} units; first batch {first:.1f} s")
    print(f"  limit: plain inference      {statistics.median(limit) * each:9.2f} ms/image   1.00")
    print(f"  taps exposed                {statistics.median(taps) * each:9.2f} ms/image   "
          f"{taps_ratio:.2f}")  # fmt: skip
    print(
        f"  ours: taps and all metrics  {statistics.median(ours) * each:9.2f} ms/image   "
        f"{ratio:.2f}   (aim: at most {TARGETS[name]})"
    )
    print(f"  of that the metrics         {metrics:9.2f} ms/image   "
          f"{metrics * 1e6 / units:.2f} ns/unit")  # fmt: skip
    activations = [np.array(array) for array in analyzer._runner.session._outputs]
    peers(activations, units, arguments.batch_size, metrics, statistics.median(limit) * each)


def plain_session(model: bytes, arguments: argparse.Namespace) -> Any:
    """Return a session of the untouched model with the same settings as ours."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    providers = ["CPUExecutionProvider"]
    if arguments.device == "cuda":
        ort.preload_dlls()
        providers.insert(0, "CUDAExecutionProvider")
    return ort.InferenceSession(model, options, providers=providers)


def peers(
    activations: list[np.ndarray], units: int, batch_size: int, ours: float, limit: float
) -> None:
    """Time the peers on the activations of one batch and print their ratios."""
    start = time.perf_counter()
    for layer in activations:
        numpy_metrics(layer)
    each = (time.perf_counter() - start) * 1e3 / batch_size
    print(
        f"  peer: numpy, units only     {each:9.2f} ms/image   {(limit + each) / limit:.2f}   "
        f"ours is {each / ours:.1f} times faster at the metrics, with both views"
    )
    layer = max(activations, key=lambda array: array.shape[1])
    a, b = layer[0, :SLICE], layer[1, :SLICE]
    start = time.perf_counter()
    looped_metrics(a, b)
    each_neuron = (time.perf_counter() - start) / len(a)
    loops = each_neuron * units * 1e3
    print(
        f"  peer: loops, without ss-vv  {loops:9.0f} ms/image (from {len(a):,} neurons at "
        f"{each_neuron * 1e9:,.0f} ns)   ours is {loops / ours:,.0f} times faster"
    )
    sizes = [array.shape[1] for array in activations]
    pairs = sum(here * there for here, there in itertools.pairwise(sizes))
    days = pairs * each_neuron / 86_400
    ratio = (loops / 1e3 + pairs * each_neuron) / (ours / 1e3)
    print(
        f"  peer: loops, with ss-vv     {days:9,.0f} days, at one step for each of {pairs:.1e} "
        f"pairs (CleanAI's are cubic)   ours is {ratio:,.0f} times faster"
    )


def numpy_metrics(a: np.ndarray) -> None:
    """Compute the metrics of ``(B, N)`` in the obvious way."""
    low, high = a.min(axis=1, keepdims=True), a.max(axis=1, keepdims=True)
    (a > a.mean(axis=1, keepdims=True)).sum(axis=1)
    (a > 0.75).sum(axis=1)
    np.sort(np.partition(a, -3, axis=1)[:, -3:])
    for section in range(5):
        ((a >= section / 10) & (a <= (section + 1) / 10)).sum(axis=1)
    ((a < low.min()) | (a > high.max())).sum(axis=1)
    (a > 0.75).any(axis=0)
    ((a - low) > 0.75 * (high - low)).any(axis=0)
    (np.abs(a) > 0.75 * np.abs(a).max(axis=1, keepdims=True)).any(axis=0)
    a.min(axis=0), a.max(axis=0)


def looped_metrics(a: np.ndarray, b: np.ndarray) -> None:
    """Visit each neuron in Python, one loop for each metric, as CleanAI's functions do."""
    mean, low, high = a.mean(), a.min(), a.max()
    counts = [0] * 10
    for i in range(len(a)):
        if a[i] > mean:
            counts[0] += 1
    for i in range(len(a)):
        if a[i] > 0.75:
            counts[1] += 1
    for i in range(len(a)):
        if a[i] * b[i] <= 0:
            counts[2] += 1
    for i in range(len(a)):
        if abs(a[i] - b[i]) > 0.75:
            counts[3] += 1
    for i in range(len(a)):
        if b[i] < low or b[i] > high:
            counts[4] += 1
    for i in range(len(a)):
        for section in range(5):
            if section / 10 <= a[i] <= (section + 1) / 10:
                counts[5 + section] += 1


if __name__ == "__main__":
    main()
