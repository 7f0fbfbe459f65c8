"""Inspection beside the straightforward way and plain inference: ours, the peer and the limit.

All channels of a ResNet-50 (or another model), 10 hypotheses (five binary, five numeric) and the
measures Pearson, Spearman and AUC over the images. The limit is onnxruntime's inference of the
model with the same taps exposed, its outputs written into memory of its own. The peer extracts all
activations to memory with onnxruntime, takes the channel means with numpy, and then calls scipy's
`pearsonr`, `spearmanr` and scikit-learn's `roc_auc_score` for each channel and hypothesis; so many
calls take hours, so a random part of the channels is scored and the time is extrapolated, openly
(`--channels`). Ours is `Inspector` from the first batch to the table of scores. Batches of ours and
the limit are interleaved in one process; printed is the median over rounds.

    python benchmarks/inspection.py [--model resnet50] [--images 256] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings

import numpy as np
from main_job import MODELS, ort
from scipy import stats
from sklearn.metrics import roc_auc_score

from cleanai_onnx import graph
from cleanai_onnx.inspection import Column, Inspector, measures_called

MEASURES = ("pearson", "spearman", "auc")


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="resnet50")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels", type=int, default=200, help="that the peer really scores")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"python {platform.python_version()}, onnxruntime {ort.__version__}; "
        f"{arguments.model}, {arguments.images} images, batch {arguments.batch_size}, "
        f"{arguments.threads} threads"
    )
    model = MODELS[arguments.model]().SerializeToString()
    random = np.random.default_rng(0)
    size = (3, 224, 224)
    images = random.standard_normal((arguments.images, *size), dtype=np.float32)
    # So that the images differ in what channels see, and not in noise alone.
    images *= random.uniform(0.2, 2, (arguments.images, 1, 1, 1)).astype(np.float32)
    hypotheses = ten_hypotheses(images)

    ours, limit, statistic = [], [], []
    for _ in range(arguments.rounds):
        seconds = one_round(model, images, hypotheses, arguments)
        ours.append(seconds[0])
        limit.append(seconds[1])
        statistic.append(seconds[2])
    channels, peer, extraction = straightforward(model, images, hypotheses, arguments)

    each = 1e3 / arguments.images
    mine, plain = statistics.median(ours), statistics.median(limit)
    ratio = statistics.median(a / b for a, b in zip(ours, limit, strict=True))
    print(f"\n{channels:,} channels, 10 hypotheses, {', '.join(MEASURES)}")
    print(f"  limit: inference with taps  {plain * each:9.1f} ms/image   1.00")
    print(f"  ours, to the table          {mine * each:9.1f} ms/image   {ratio:.2f}"
          "   (aim: at most 1.3)")  # fmt: skip
    print(f"  of that, all but inference  {statistics.median(statistic) * each:9.1f} ms/image")
    print(f"  peer: extraction            {extraction * each:9.1f} ms/image")
    print(f"  peer: scipy, extrapolated   {peer * each:9.1f} ms/image")
    print(f"  peer over ours              {(extraction + peer) / mine:9.1f} times   "
          "(aim: at least 20)")  # fmt: skip


def ten_hypotheses(images: np.ndarray) -> list[Column]:
    """Return five binary and five numeric hypotheses, some of which channels can follow."""
    random = np.random.default_rng(1)
    brightness = images.std(axis=(1, 2, 3))
    found = []
    for number in range(10):
        values = brightness + random.normal(0, 0.1 + 0.2 * number, len(images))
        numeric = number % 2 == 0
        column = values if numeric else (values > np.median(values)).astype(float)
        known = {str(place): float(value) for place, value in enumerate(column)}
        found.append(Column(f"h{number}", "numeric" if numeric else "binary", known))
    return found


def one_round(
    model: bytes, images: np.ndarray, hypotheses: list[Column], arguments: argparse.Namespace
) -> tuple[float, float, float]:
    """Return the seconds of ours, of the limit, and of ours without inference."""
    inspector = Inspector(
        model,
        hypotheses,
        measures_called(MEASURES),
        batch_size=arguments.batch_size,
        threads=arguments.threads,
    )
    inspector.prepare(images.shape[1:], most=len(images))
    inspector.start()
    session, feed, names = tapped_session(model, images.shape, arguments)
    # Both have seen a batch before the clock starts: kernels are compiled once for each machine.
    warm = images[: arguments.batch_size]
    inspector._neurons(inspector._runner.run(warm))
    binding = session.io_binding()
    for name in names:
        binding.bind_output(name)
    mine = plain = 0.0
    inference = inspector.record.seconds["inference"]
    for first in range(0, len(images), arguments.batch_size):
        batch = images[first : first + arguments.batch_size]
        start = time.perf_counter()
        binding.bind_cpu_input(feed, batch)
        session.run_with_iobinding(binding)
        middle = time.perf_counter()
        inspector.update(batch)
        plain += middle - start
        mine += time.perf_counter() - middle
    start = time.perf_counter()
    inspector.result().frame()
    mine += time.perf_counter() - start
    return mine, plain, mine - (inspector.record.seconds["inference"] - inference)


def tapped_session(
    model: bytes, shape: tuple[int, ...], arguments: argparse.Namespace
) -> tuple[ort.InferenceSession, str, list[str]]:
    """Return a session with the taps among its outputs, the input's name, and the taps'."""
    loaded = graph.load_model(model, keep_data=True)
    image_input = graph.find_image_input(loaded, None)
    taps = graph.find_taps(
        loaded, image_input, (arguments.batch_size, *shape[1:]), ("activations",)
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(
        graph.tapped_bytes(loaded, taps), options, providers=["CPUExecutionProvider"]
    )
    return session, image_input.name, list(taps.tensors)


def straightforward(
    model: bytes, images: np.ndarray, hypotheses: list[Column], arguments: argparse.Namespace
) -> tuple[int, float, float]:
    """Return how many channels there are, and the seconds that scoring and extraction take."""
    session, feed, names = tapped_session(model, images.shape, arguments)
    start = time.perf_counter()
    parts = []
    for first in range(0, len(images), arguments.batch_size):
        found = session.run(names, {feed: images[first : first + arguments.batch_size]})
        parts.append(np.concatenate([one.mean(axis=(2, 3)) for one in found], axis=1))
    values = np.concatenate(parts)
    extraction = time.perf_counter() - start

    columns = [np.array(list(one.known.values())) for one in hypotheses]
    chosen = np.random.default_rng(2).permutation(values.shape[1])[: arguments.channels]
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    for channel in chosen:
        for one, column in zip(hypotheses, columns, strict=True):
            stats.pearsonr(values[:, channel], column)
            stats.spearmanr(values[:, channel], column)
            if one.kind == "binary":
                roc_auc_score(column, values[:, channel])
    scoring = time.perf_counter() - start
    return values.shape[1], scoring * values.shape[1] / len(chosen), extraction


if __name__ == "__main__":
    main()
