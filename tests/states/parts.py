"""A small net with two layers and classes, images for it, and parts of them that were measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import onnx

from cleanai_onnx import Parameters, ProfileParameters
from cleanai_onnx.measuring.analyzer import Analyzer
from cleanai_onnx.profiles import Profile, Profiler
from cleanai_onnx.result import Result
from cleanai_onnx.states.images import scratch
from cleanai_onnx.states.part import Part
from tests.cli.material import build, node

IMAGES = 11
PARAMETERS = Parameters(threshold=0.25, value_threshold=0.2, bounds_from=2)
BATCH = 4


def net(seed: int = 0) -> onnx.ModelProto:
    random = np.random.default_rng(seed)
    return build(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Relu", ["c"], ["first"]),
            node("Flatten", ["first"], ["f"]),
            node("Gemm", ["f", "v"], ["g"]),
            node("Relu", ["g"], ["second"]),
            node("Gemm", ["second", "u"], ["out"]),
        ],
        {
            "w": random.normal(size=(2, 1, 3, 3)).astype(np.float32),
            "v": (random.normal(size=(72, 5)) / 5).astype(np.float32),
            "u": random.normal(size=(5, 3)).astype(np.float32),
        },
        outputs=("out",),
    )


@cache
def model() -> bytes:
    return net().SerializeToString()


@cache
def images() -> np.ndarray:
    """Return images of which two are equal and one gives activations that are not numbers."""
    found = np.random.default_rng(1).normal(size=(IMAGES, 1, 8, 8)).astype(np.float32)
    found[3, 0, 0, 0] = np.nan
    found[9] = found[4]
    return found


@cache
def profile() -> Profile:
    profiler = Profiler(model(), layers=("all",))
    profiler.update(np.random.default_rng(2).normal(size=(40, 1, 8, 8)).astype(np.float32))
    return profiler.profile()


def analyzer(**options: Any) -> Analyzer:
    shared = {"parameters": PARAMETERS, "batch_size": BATCH, "per_layer": "layers.csv"}
    shared |= {"keep": scratch(), "profile_parameters": ProfileParameters(sections=10)}
    return Analyzer(model(), **(shared | {"profile": profile()} | options))


@cache
def part(first: int, last: int, pair: tuple[int, int] | None = None) -> Part:
    """Measure the images from `first` to before `last`; `pair` counts among all images."""
    places = None
    if pair is not None:
        places = tuple(one - first if first <= one < last else None for one in pair)
    made = analyzer(pair=places)
    names = [f"image {index}" for index in range(first, last)]
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images()[first:last]]
    made.update(images()[first:last], names, hashes=hashes)
    names = () if pair is None else [f"image {index}" for index in pair]
    return made.part(made_result(made), positions=last - first, pair=names)


def made_result(made: Analyzer) -> Result:
    """Return the result without its tables of images, so that the record stays open."""
    made._individuals._paths = (None, None)
    result = made.result()
    made._individuals._paths = (None, "layers.csv")
    return result


def found_in(result: Result, *, order_free: bool = True) -> dict[str, Any]:
    """Return what two results of the same images agree in."""
    tables = {(table.metric, table.view): table for table in result.tables}
    if order_free:
        tables = {key: table for key, table in tables.items() if key[0] != "nbc"}
    return {
        "tables": tables,
        "firing": result.firing,
        "layers": result.layers,
        "used": result.images.used,
        "skipped": result.images.skipped,
        "importance": result.importance,
        "featured": [
            (one.path, one.index, one.role, _kept(one.scores, order_free))
            for one in result.featured
        ],
        "figures": [_kept(one.layers, order_free) for one in result.featured],
    }


def _kept(figures: Any, order_free: bool) -> dict[str, Any]:
    return {
        name: value
        for name, value in figures.items()
        if not (order_free and name.startswith(("adds ", "nbc/")))
    }


def rows_of(part: Part) -> list[tuple[Any, ...]]:
    """Return the figures of the images of a part, as text and numbers that compare."""
    found = []
    for rows in part.images.rows():
        layers = rows.layers
        assert layers is not None
        for number, name in enumerate(rows.names):
            model = dict(zip(part.facts.scores, rows.model[number].tolist(), strict=True))
            of_layers = dict(zip(part.facts.layer_scores, layers[number].T.tolist(), strict=True))
            found.append(
                (
                    name,
                    int(rows.indexes[number]),
                    rows.hashes[number],
                    repr(_kept(model, True)),
                    repr(_kept(of_layers, True)),
                )
            )
    return found


def cut(cuts: Sequence[int], pair: tuple[int, int] | None = None) -> list[Part]:
    ends = [0, *cuts, IMAGES]
    return [part(first, last, pair) for first, last in pairwise(ends) if first < last]
