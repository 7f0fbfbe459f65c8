"""What Ray, workers, states and checkpoints cost, and what that means for 1.28 million images.

Each part can be run alone, on a machine that does nothing else:

* ``ray``: one task of Ray beside one process, with the same threads;
* ``workers``: two processes of one thread each beside one process of two threads;
* ``states``: how large a state is, and what merging it costs, without a profile and with one of
  channels or units;
* ``checkpoints``: how long writing one takes;
* ``images``: what each image costs besides being measured: listed, decoded, and its row merged.

In the first two, whole runs of a few and of many images alternate. What many images take more,
divided by how many more they are, is the cost of an image; what is left is the cost of starting
(imports, session, Ray, the way back of the state, reports). ``--project RATE`` then says what
ImageNet takes on 8 and 64 GPUs that measure RATE images a second each, by way of `MEASURED`.

    python benchmarks/scale.py [ray workers states checkpoints images] [--depth 50] [--images 1000]
    python benchmarks/scale.py --project 500
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import architectures
import numpy as np
import psutil
from footprint import write_images
from PIL import Image

import cleanai_onnx
from cleanai_onnx import inputs
from cleanai_onnx.inputs import Position
from cleanai_onnx.states.checkpoint import Checkpoint

BATCH = 8
FEW = 2 * BATCH
"""Images of the short runs, of profiles and of states."""
SECTIONS = 100
"""Of `kmnc` with a profile of units, of which ResNet-50 has 9.6 million."""
PROFILES: dict[str, tuple[str, ...]] = {
    "none": (),
    "channel": (),
    "unit": ("--sections", str(SECTIONS)),
}
MIB = 2**20


@dataclass(frozen=True)
class Figures:
    """What the projection is made of; the formula is that of `projected`.

    Attributes
    ----------
    start
        Seconds of a run of Ray besides its images.
    listing, decoding, row
        Seconds for each image: to list it, to decode it on one core, to merge its row.
    merge
        Seconds for each state: read and merged.
    state
        Its bytes.
    memory
        Bytes that the merging process needs for each state.
    """

    start: float
    listing: float
    decoding: float
    row: float
    merge: float
    state: float
    memory: float


MEASURED = Figures(
    start=12.1,
    listing=32.5e-6,
    decoding=3.89e-3,
    row=65.7e-6,
    merge=0.22,
    state=165.2e6,
    memory=201e6,
)
"""ResNet-50 without a profile, batch 8, on two cores of an Intel Xeon (AVX-512). `start` is of a
quiet machine; the others of one that other work was using too (load 12 to 15): by the clock, but
processor time for `decoding` and `merge`."""

# Assumed by the projection.
IMAGES = 1_281_167  # in the training set of ImageNet
DECODERS = 8  # cores for each GPU; a worker decodes in at most so many threads
NETWORK = 1.25e9  # bytes a second to the machine that merges: 10 Gbit/s


class Projection(NamedTuple):
    """Seconds of each step of a run, and bytes of memory where the states are merged."""

    rate: float
    measuring: float
    start: float
    states: float
    rows: float
    memory: float

    @property
    def total(self) -> float:
        """Seconds of the whole run."""
        return self.measuring + self.start + self.states + self.rows


def projected(
    rate: float, workers: int, images: int = IMAGES, figures: Figures = MEASURED
) -> Projection:
    """Return what a suite takes on so many workers.

    Parameters
    ----------
    rate
        Images a second that a worker measures once they are decoded.
    workers, images
    figures
        What was measured.
    """
    rate = min(rate, DECODERS / figures.decoding)
    return Projection(
        rate=rate,
        measuring=math.ceil(images / workers) / rate,
        # The suite is listed by the process that gives out the work, and then by each worker.
        start=figures.start + 2 * images * figures.listing,
        states=workers * (figures.merge + figures.state / NETWORK),
        rows=images * figures.row,
        memory=workers * figures.memory,
    )


def figures_table(of: Figures = MEASURED) -> list[str]:
    """Return the lines of a table in Markdown: what was measured."""
    rows = (
        ("S, starting: Ray, imports, session, reports", f"{of.start:.1f} s"),
        ("L, an image listed", f"{of.listing * 1e6:.1f} us"),
        ("D, an image decoded, by one core", f"{of.decoding * 1e3:.2f} ms"),
        ("I, the row of an image merged and written", f"{of.row * 1e6:.1f} us"),
        ("M, a state read and merged", f"{of.merge:.2f} s"),
        ("B, a state on disk", f"{of.state / 1e6:.0f} MB"),
        ("a state in memory where it is merged", f"{of.memory / 1e6:.0f} MB"),
    )
    return ["| figure | measured |", "|---|---|", *(f"| {what} | {much} |" for what, much in rows)]


def projection_table(rates: Sequence[float]) -> list[str]:
    """Return the lines of a table in Markdown: these rates on 8 and on 64 GPUs."""
    head = "R", "GPUs", "measuring", "starting", "states", "rows", "in all", "memory"
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for rate in rates:
        for workers in (8, 64):
            of = projected(rate, workers)
            steps = of.measuring, of.start, of.states, of.rows
            cells = [f"{of.rate:,.0f}", str(workers), *(f"{step:,.0f} s" for step in steps)]
            cells += [f"{of.total / 60:,.1f} min", f"{of.memory / 1e9:,.1f} GB"]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Run the parts that are asked for, or project."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--depth", type=int, default=50, help="of the ResNet")
    parser.add_argument("--images", type=int, default=1000, help="of the long runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument(
        "--merged", type=int, nargs=2, default=(2, 6), metavar="N", help="how many states to merge"
    )
    parser.add_argument("--project", type=float, nargs="+", metavar="RATE", help="images a second")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.parts) - set(PARTS)):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if arguments.images <= FEW or arguments.merged[0] >= arguments.merged[1]:
        parser.error(f"--images must be above {FEW}, and --merged names fewer states and then more")
    if arguments.project:
        print("\n".join([*figures_table(), "", *projection_table(arguments.project)]))
        return
    print(f"{os.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}; ResNet-{arguments.depth}, "
          f"batch {BATCH}, rounds {arguments.rounds}")  # fmt: skip
    for part in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model = folder / "resnet.onnx"
            model.write_bytes(architectures.resnet(arguments.depth).SerializeToString())
            print(f"\n{part}", flush=True)
            PARTS[part](folder, arguments)


# Whole runs.


def ray(folder: Path, arguments: argparse.Namespace) -> None:
    """Compare one task of Ray with one process."""
    one, tasks = "one process, 2 threads", "one task of Ray, 2 threads"
    ways = {
        one: ("--threads", "2"),
        tasks: ("--threads", "2", "--engine", "ray", "--workers", "1"),
    }
    starts, images = alternate(ways, folder, arguments)
    ratio = statistics.median(a / b for a, b in zip(images[tasks], images[one], strict=True))
    print(f"  an image with Ray over one without: {ratio:.3f} (aim: under 1.10)")
    more = statistics.median(starts[tasks]) - statistics.median(starts[one])
    print(f"  starting takes {more:.1f} s more with Ray")


def workers(folder: Path, arguments: argparse.Namespace) -> None:
    """Compare two processes of one thread each with one process of two threads."""
    one, two = "one process, 2 threads", "two processes, 1 thread"
    ways = {one: ("--threads", "2"), two: ("--threads", "1", "--workers", "2")}
    starts, images = alternate(ways, folder, arguments)
    faster = statistics.median(a / b for a, b in zip(images[one], images[two], strict=True))
    print(f"  speed-up of two processes, for each image: {faster:.2f}")
    rest = statistics.median(starts[two]) - statistics.median(starts[one])
    gain = statistics.median(images[one]) - statistics.median(images[two])
    pays = f"pays from {max(0, rest / gain):,.0f} images on" if gain > 0 else "does not pay here"
    print(f"  starting takes {rest:.1f} s more, which {pays}")


def alternate(
    ways: dict[str, tuple[str, ...]], folder: Path, arguments: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Run few and many images in each way, in turn.

    Returns
    -------
    starts, images
        For each way, the seconds of starting and those of an image, round by round.
    """
    rng = np.random.default_rng(0)
    for count in (FEW, arguments.images):
        write_images(folder / str(count), count, rng)

    def seconds(way: str, count: int) -> float:
        return analyze(folder, str(count), *ways[way]).wall

    starts: dict[str, list[float]] = {way: [] for way in ways}
    images: dict[str, list[float]] = {way: [] for way in ways}
    for way in ways:
        seconds(way, FEW)  # compiles what is not yet compiled
    for _ in range(arguments.rounds):
        for way in ways:
            few, many = seconds(way, FEW), seconds(way, arguments.images)
            each = (many - few) / (arguments.images - FEW)
            images[way].append(each)
            starts[way].append(few - FEW * each)
    for way in ways:
        each, start = statistics.median(images[way]), statistics.median(starts[way])
        print(f"  {way:28} {each * 1e3:8.2f} ms/image, and {start:6.2f} s of starting; "
              f"{arguments.images:,} images: {start + arguments.images * each:,.1f} s")  # fmt: skip
    return starts, images


def analyze(folder: Path, images: str, *flags: str) -> Spent:
    """Analyse a folder of images in a process of its own."""
    command = [str(folder / "resnet.onnx"), str(folder / images), "--preset", "torchvision"]
    command += ["--batch-size", str(BATCH), "--no-relevance", "--output", str(folder / "out")]
    return run([*command, *flags])


# States.


def states(folder: Path, arguments: argparse.Namespace) -> None:
    """Print what states take, on disk, in memory and to merge, for each kind of profile."""
    write_images(folder / "images", FEW, np.random.default_rng(0))
    for view in arguments.profiles:
        flags = PROFILES[view]
        if view != "none":
            learn(folder, view)
            flags = (*flags, "--profile", str(folder / f"{view}.profile"))
        state = folder / f"{view}.state"
        analyze(folder, "images", "--state", str(state), *flags)
        size = state.stat().st_size
        print(" ".join(("  profile:", view, *PROFILES[view])))
        print(f"    a state: {size / MIB:.1f} MiB")
        if view != "none":
            own = (folder / f"{view}.profile").stat().st_size
            print(f"    of it the profile, which {FEW} images taught: {own / MIB:.1f} MiB")
        merging(folder, state, arguments)
        state.unlink()


def learn(folder: Path, view: str) -> None:
    """Make a profile of one kind of neurons."""
    command = ["profile", str(folder / "resnet.onnx"), str(folder / "images"), "--view", view]
    command += ["--preset", "torchvision", "--labels", "none", "--relevance-rules", "none"]
    run([*command, "--batch-size", str(BATCH), "-o", str(folder / f"{view}.profile")])


def merging(folder: Path, state: Path, arguments: argparse.Namespace) -> None:
    """Print what merging costs: for each state, at once and in a tree."""
    few, many = arguments.merged

    def combine(count: int) -> Spent:
        return run(
            ["combine", *[str(state)] * count, "-o", str(folder / "out"), "--report", "json",
             "--state", str(folder / "merged.state")]
        )  # fmt: skip

    combine(few)  # compiles what is not yet compiled
    rounds = [(combine(few), combine(many)) for _ in range(arguments.rounds)]

    def middle(figure: Callable[[Spent], float]) -> tuple[float, float]:
        """Return the rest, and what each state adds to it."""
        each = [(figure(b) - figure(a)) / (many - few) for a, b in rounds]
        rest = [figure(a) - few * more for (a, _), more in zip(rounds, each, strict=True)]
        return statistics.median(rest), statistics.median(each)

    (rest, each), (rest_cpu, each_cpu), (_, memory) = (
        middle(lambda spent: spent.wall),
        middle(lambda spent: spent.cpu),
        middle(lambda spent: spent.memory),
    )
    print(f"    each state merged: {each:.2f} s ({each_cpu:.2f} s of processors), "
          f"{memory / MIB:.0f} MiB of memory")  # fmt: skip
    print(f"    the rest of `combine`, the merged state and the JSON written: {rest:.2f} s "
          f"({rest_cpu:.2f} s of processors)")  # fmt: skip
    for count in (8, 64):
        depth = math.ceil(math.log2(count))
        print(f"    from these figures, {count} states: at once {rest + count * each:.1f} s and "
              f"{count * memory / 1e9:.1f} GB; in a tree of `combine`, pairs side by side, "
              f"{depth} levels, {depth * (rest + 2 * each):.1f} s", flush=True)  # fmt: skip


def checkpoints(folder: Path, arguments: argparse.Namespace) -> None:
    """Print how long it takes to write a checkpoint."""
    write_images(folder / "images", FEW, np.random.default_rng(0))
    batch = np.random.default_rng(0).standard_normal((BATCH, 3, 224, 224), np.float32)
    for view in arguments.profiles:
        kept = Checkpoint(folder / f"kept-{view}")
        profile, parameters = None, None
        if view != "none":
            learn(folder, view)
            profile = cleanai_onnx.load_profile(folder / f"{view}.profile")
            sections = SECTIONS if view == "unit" else 1000
            parameters = cleanai_onnx.ProfileParameters(sections=sections)
        analyzer = cleanai_onnx.Analyzer(
            folder / "resnet.onnx",
            batch_size=BATCH,
            keep=kept.open,
            profile=profile,
            profile_parameters=parameters,
        )
        times = []
        for number in range(1, arguments.rounds + 2):
            analyzer.update(batch)
            start = time.perf_counter()
            kept.write(Position(number * BATCH, number * BATCH, ()), analyzer.stored(), {})
            times.append(time.perf_counter() - start)
        own = statistics.median(times[1:])
        size = sum(file.stat().st_size for file in (folder / f"kept-{view}").iterdir())
        # As `Checkpoint.is_due` has it by default.
        pace = max(30, 20 * own)
        print(f"  profile: {view:8} {own:.3f} s, {size / MIB:.1f} MiB; by default every "
              f"{pace:.0f} s, {own / (pace + own):.1%} of the time", flush=True)  # fmt: skip
        analyzer.close()
        kept.remove()


# Images.


def images(folder: Path, arguments: argparse.Namespace) -> None:
    """Print what an image costs besides being measured."""
    few, many = 2_000, 20_000
    listed = {}
    for count in (few, many):
        place = folder / f"listed-{count}"
        place.mkdir()
        for number in range(count):
            (place / f"{number:08d}.jpg").touch()
        listed[count] = min(
            timed(lambda place=place: inputs.discover(place)) for _ in range(arguments.rounds)
        )
    print(f"  listed: {(listed[many] - listed[few]) / (many - few) * 1e6:.1f} us")
    rng = np.random.default_rng(0)
    place = folder / "photos"
    place.mkdir()
    for number in range(64):
        # As large as many in ImageNet are, and with as many bytes (some 110 KB).
        coarse = rng.integers(0, 256, (75, 100, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        picture.save(place / f"{number}.jpg", quality=96)
    size = sum(file.stat().st_size for file in place.iterdir()) / 64
    suite = inputs.discover(place)
    wanted = dict(inputs.PRESETS["torchvision"])
    how = inputs.Preprocessing(**wanted | {"size": wanted["crop"], "resize_size": 256})

    def decode() -> None:
        with inputs.stream(suite, how, BATCH, threads=0, hashing=True) as batches:
            for _ in batches:
                pass

    each = min(timed(decode, time.process_time) for _ in range(arguments.rounds)) / 64
    print(f"  decoded, resized and hashed (JPEG of 500 x 375, {size / 1e3:.0f} KB): "
          f"{each * 1e3:.2f} ms of one core", flush=True)  # fmt: skip
    lenet = Path(__file__).resolve().parents[1] / "models" / "lenet5.onnx"
    times, sizes = {}, {}
    for count in (few, many):
        digits = rng.random((count, 1, 28, 28), np.float32)
        np.save(folder / "digits.npy", digits)
        state = folder / f"{count}.state"
        run([str(lenet), str(folder / "digits.npy"), "--output", str(folder / "out"),
             "--state", str(state)])  # fmt: skip
        sizes[count] = state.stat().st_size
        merge = ["combine", str(state), str(state), "-o", str(folder / "out"), "--report", "json"]
        times[count] = min(run(merge).wall for _ in range(arguments.rounds))
    print(f"  its row merged: {(times[many] - times[few]) / (many - few) / 2 * 1e6:.1f} us; "
          f"{(sizes[many] - sizes[few]) / (many - few):.0f} bytes of a state")  # fmt: skip


# Measuring.


class Spent(NamedTuple):
    """Seconds of a process by the clock and of processors, and its peak memory in bytes."""

    wall: float
    cpu: float
    memory: float


def run(arguments: Sequence[str]) -> Spent:
    """Run the program to its end."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "cleanai_onnx", *arguments, "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed with status {status}")
    wall = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that some work takes."""
    start = clock()
    work()
    return clock() - start


PARTS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "ray": ray,
    "workers": workers,
    "states": states,
    "checkpoints": checkpoints,
    "images": images,
}


if __name__ == "__main__":
    main()
