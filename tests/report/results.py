"""Synthetic results for the renderers: small, as large as ResNet-50, and hostile."""

from __future__ import annotations

import io
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from PIL import Image

from cleanai_onnx.result import (
    Cell,
    Column,
    CombinationFacts,
    FeaturedImage,
    GateOutcome,
    ImageFacts,
    ImageRelevance,
    ImportantLayerFacts,
    ImportantNeuronFacts,
    LayerFacts,
    ModelFacts,
    Note,
    PreprocessingField,
    RelevanceFacts,
    Result,
    RunFacts,
    SkippedImage,
    Table,
    TensorFacts,
    UntappedNode,
    View,
)

INTERVALS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5))

HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    "[bold red]not markup[/bold red]",
    "**bold** __under__ [link](https://example.org)",
    "gnp.\u202ereversed\u202c/relu",
    "emoji \U0001f600\U0001f680 relu",
    "卷积层/激活",
    "طبقة التفعيل",
    "שכבה_3",
    "very/" + "long/" * 800 + "name",
    "nul\x00bell\x07escape\x1b[31mred\x1b[0m",
    "%n%s%d{nb}{0}$(reboot)`id`",
    "../../../etc/passwd",
    "",
    "line\nbreak\r\nand\ttab",
    "zalgo" + "e\u0301\u0302\u0303\u0304\u0305" * 4,
    "lone \udc80 surrogate",
    "(paren) \\backslash\\ )(",
    "M" * 200,
)

RATIO_METRICS = {
    "nc": ("Neuron coverage", "a unit counts when a > mean of its layer, per input", {}),
    "tc": ("Threshold coverage", "#{a > t}, per input", {"threshold": 0.75}),
    "sc": ("Sign coverage", "#{a·b ≤ 0} for a pair of inputs", {"pair": ("a.png", "b.png")}),
    "sc-strict": ("Sign coverage, strict", "sign in {-, 0, +} differs", {}),
    "vc": ("Value coverage", "#{|a - b| > t}", {"threshold": 0.75}),
    "nc-suite": ("Neuron coverage of the suite", "a > t for some input", {"threshold": 0.75}),
    "nc-suite-scaled": ("Neuron coverage, scaled", "scaled to 0..1 within an input", {}),
    "nc-suite-scaled-abs": ("Neuron coverage, absolute", "scaled absolute values", {}),
    "tknc-suite": ("Top-k coverage of the suite", "ever among the k largest", {"k": 3}),
    "sc-suite": ("Sign coverage of the suite", "min ≤ 0 ≤ max over the suite", {}),
    "vc-suite": ("Value coverage of the suite", "max - min > t", {"threshold": 0.75}),
}
PAIR_METRICS = {
    "ss": "Sign-sign coverage",
    "sv": "Sign-value coverage",
    "vs": "Value-sign coverage",
    "vv": "Value-value coverage",
}


def thumbnail(seed: int, side: int = 56) -> bytes:
    """Return a small PNG with a pattern that depends on `seed`."""
    image = Image.new("RGB", (side, side))
    image.putdata(
        [
            ((x * seed) % 256, (y * 3 + seed * 40) % 256, (x * y // 8 + seed) % 256)
            for y in range(side)
            for x in range(side)
        ]
    )
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _layer(name: str, label: str, op: str, shape: tuple[int, ...]) -> LayerFacts:
    units = math.prod(shape)
    return LayerFacts(name, label, op, shape, 0, units, shape[0])


def _sizes(layers: Sequence[LayerFacts], view: View) -> list[int]:
    return [layer.units if view == "unit" else layer.channels for layer in layers]


def _totals(rows: Sequence[tuple[Cell, ...]], first: int) -> tuple[int, int, float]:
    covered = sum(row[first] for row in rows if isinstance(row[first], int))
    total = sum(row[first + 1] for row in rows if isinstance(row[first + 1], int))
    return covered, total, covered / total if total else math.nan


def _metric_tables(
    layers: Sequence[LayerFacts], images: int, random_source: random.Random, view: View
) -> list[Table]:
    sizes = _sizes(layers, view)
    names = [layer.name for layer in layers]
    draw: Callable[[float, float], float] = random_source.uniform
    tables = []

    def table(
        metric: str,
        title: str,
        definition: str,
        parameters: dict[str, object],
        columns: str,
        rows: list[tuple[Cell, ...]],
        total: tuple[Cell, ...],
    ) -> None:
        kinds = tuple(Column(*part.split("=")) for part in columns.split(";"))  # type: ignore[arg-type]
        source = "CleanAI" if "-suite" not in metric else "Pei et al., SOSP 2017"
        tables.append(
            Table(metric, view, title, definition, source, parameters, kinds, tuple(rows), total)
        )

    for metric, (title, definition, parameters) in RATIO_METRICS.items():
        rows: list[tuple[Cell, ...]] = []
        times = images if metric in ("nc", "tc") else 1
        for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
            total = size * times
            share = 0.15 + 0.7 * number / len(names) + draw(-0.1, 0.1)
            covered = min(total, int(total * share))
            rows.append((name, covered, total, covered / total))
        table(
            metric,
            title,
            definition,
            dict(parameters),
            "layer=text;covered=count;total=count;coverage=ratio",
            rows,
            ("total", *_totals(rows, 1)),
        )
    for metric, title in PAIR_METRICS.items():
        rows = []
        for (left, right), (a, b) in zip(
            itertools.pairwise(names), itertools.pairwise(sizes), strict=True
        ):
            covered = int(a * b * draw(0, 0.001))
            rows.append((left, right, covered, a * b, covered / (a * b)))
        table(
            metric,
            title,
            "over adjacent layers k and k+1, for one pair of inputs",
            {"pair": ("a.png", "b.png"), "threshold": 0.75},
            "layer=text;next layer=text;covered=count;total=count;coverage=ratio",
            rows,
            ("total", "", *_totals(rows, 2)),
        )
    rows = []
    for name, size in zip(names, sizes, strict=True):
        selected = min(3, size) * images
        mean = draw(0.5, 9)
        rows.append((name, selected * mean, selected, mean))
    selected_all = sum(int(row[2] or 0) for row in rows)
    sum_all = sum(float(row[1] or 0) for row in rows)
    table(
        "tknc",
        "Top-k neuron coverage",
        "sum of the k largest values of each layer",
        {"k": 3},
        "layer=text;sum=value;selected=count;mean=value",
        rows,
        ("total", sum_all, selected_all, sum_all / selected_all),
    )
    rows = []
    for name, size in zip(names, sizes, strict=True):
        total = size * images
        rows.append((name, *(int(total * draw(0, 0.2)) for _ in INTERVALS), total))
    sums = tuple(sum(int(row[i] or 0) for row in rows) for i in range(1, 2 + len(INTERVALS)))
    table(
        "mnc",
        "Multisection neuron coverage",
        "#{lo ≤ a ≤ hi} for each interval, both ends inclusive",
        {"intervals": INTERVALS},
        "layer=text;"
        + ";".join(f"[{lo:g}, {hi:g}]=count" for lo, hi in INTERVALS)
        + ";total=count",
        rows,
        ("total", *sums),
    )
    rows = []
    for name, size in zip(names, sizes, strict=True):
        outside = int(size * draw(0, 0.01))
        rows.append((name, 0.0, draw(2, 9), outside, size, outside / size))
    outside, total, ratio = _totals(rows, 3)
    table(
        "nbc",
        "Neuron boundary coverage",
        "#{a < min or a > max} of the layer over the bound inputs",
        {"bounds_from": 10},
        "layer=text;lower=value;upper=value;outside=count;total=count;coverage=ratio",
        rows,
        ("total", None, None, outside, total, ratio),
    )
    return tables


def _result(
    layers: tuple[LayerFacts, ...],
    *,
    model: ModelFacts,
    paths: Sequence[str],
    used: int,
    skipped: tuple[SkippedImage, ...] = (),
    notes: tuple[Note, ...] = (),
    seed: int = 1,
) -> Result:
    source = random.Random(seed)
    tables = [t for view in ("unit", "channel") for t in _metric_tables(layers, used, source, view)]
    order = ["nc", "tc", "tknc", "mnc", "nbc", *RATIO_METRICS, *PAIR_METRICS]
    tables.sort(key=lambda t: (order.index(t.metric), t.view != "unit"))
    firing = []
    for number, layer in enumerate(layers):
        counts = []
        for channel in range(layer.channels):
            chance = source.betavariate(0.6, 0.6 + 2 * number / len(layers))
            dead = number % 5 == 3 and channel % 7 in (1, 2)
            rare = number % 5 == 4 and channel % 9 == 4
            counts.append(0 if dead else 1 if rare else max(1, int(used * chance)))
        firing.append(tuple(counts))
    if len(layers) > 6:
        firing[5] = (0,) * layers[5].channels
    count = len(paths)
    featured = tuple(
        FeaturedImage(
            path,
            index,
            "lowest coverage" if index < count // 2 else "highest coverage",
            {"nc/unit": source.uniform(0.2, 0.5), "tc/unit": source.uniform(0, 0.1), "tknc": 3.25},
            {"nc/unit": tuple(source.random() for _ in layers)},
            thumbnail(index + 1),
        )
        for index, path in enumerate(paths)
    )
    return Result(
        model=model,
        run=RunFacts(
            id="20260131T142530-7f3a9c",
            started="2026-01-31T14:25:30+00:00",
            tool_version="0.1.0",
            device="cpu",
            provider="CPUExecutionProvider",
            graph_optimization="ORT_ENABLE_ALL",
            batch_size=8,
            seconds={"load": 0.41, "compile": 3.2, "run": 12.75, "decode": 1.9},
            versions={"jax": "0.10.2", "numpy": "2.4.6", "onnx": "1.23.2", "onnxruntime": "1.31.1"},
            platform="Linux-6.1-x86_64, CPython 3.11.7",
            options={
                "threshold": 0.75,
                "k": 3,
                "intervals": INTERVALS,
                "pair": None,
                "strict": False,
            },
            configuration_sha256="5e" * 32,
        ),
        images=ImageFacts(
            "images/", used + len(skipped), used, skipped, "per_image.csv", "1a" * 32
        ),
        preprocessing=(
            PreprocessingField("size", "224 x 224", "model input shape"),
            PreprocessingField("resize", "256, bilinear", "--preset torchvision"),
            PreprocessingField("crop", "centre 224", "--preset torchvision"),
            PreprocessingField("mean", "0.485, 0.456, 0.406", "--preset torchvision"),
            PreprocessingField("std", "0.229, 0.224, 0.225", "config file cleanai-onnx.toml"),
            PreprocessingField("layout", "NCHW", "graph evidence: 3 channels on axis 1"),
        ),
        layers=layers,
        tables=tuple(tables),
        firing=tuple(firing),
        featured=featured,
        notes=notes,
        importance=tuple(importance(layer.name) for layer in layers[:2]),
    )


def importance(name: str, bad: float | None = None) -> ImportantLayerFacts:
    """Important neurons of a layer; with `bad`, whatever a broken file may hold."""
    neurons = tuple(
        ImportantNeuronFacts(
            neuron=3 * number,
            relevance=10.0 - number,
            share=0.2 / (1 + number) if bad is None else bad,
            values=96,
            zeros=number,
            not_finite=number % 2,
            centroids=(0.5, 2.0, 3.5)[: number % 3 + 1],
            borders=(1.25, 2.75)[: number % 3],
            silhouettes={str(k): 0.5 + k / 100 for k in range(2, number % 3 + 2)},
            low=0.0 if bad is None else bad,
            high=4.0,
            histogram=tuple((7 * place + number) % 5 for place in range(48)),
        )
        for number in range(8)
    )
    nothing = ImportantNeuronFacts(1, 0.0, None, 0, 9, 0, (), (), {}, None, None, ())
    return ImportantLayerFacts(
        name,
        (*neurons, nothing),
        (
            CombinationFacts(6, 20, 36, ((1, 1, 1, 1, 1, 3), (1, 2, 1, 1, 2, 3))),
            CombinationFacts(8, 72, 72, ()),
            *((CombinationFacts(30, 0, 0, ((1,), (9,) * 30)),) if bad is not None else ()),
        ),
    )


def _model(name: str, **changes: object) -> ModelFacts:
    facts: dict[str, object] = {
        "name": name,
        "file": f"models/{name}.onnx",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "size_bytes": 177_234,
        "producer": "pytorch 2.9.0",
        "ir_version": 10,
        "opsets": {"ai.onnx": 20},
        "parameters": 61_706,
        "operators": {"Conv": 2, "Relu": 4, "MaxPool": 2, "Gemm": 3, "Flatten": 1},
        "inputs": (TensorFacts("input", "float32", ("batch", 1, 28, 28)),),
        "outputs": (TensorFacts("logits", "float32", ("batch", 10)),),
    }
    return ModelFacts(**{**facts, **changes})  # type: ignore[arg-type]


def image_relevance(number: int) -> ImageRelevance:
    value = 8.5 + number
    parts = 0.9 * value, 0.1 * value - 1e-5, 0.0, 1e-5
    return ImageRelevance(number % 10, value, *parts, scale=0.5, heat_map=thumbnail(number + 9))


RELEVANCE = RelevanceFacts(
    "epsilon-plus",
    {"epsilon": 1e-6},
    "the predicted class",
    "logits",
    {"z-plus": 2, "through": 4, "epsilon": 3},
)


GATES = (
    GateOutcome(
        "nc=30%",
        "nc",
        "unit",
        None,
        "ratio",
        "at least",
        0.3,
        None,
        0.4519,
        True,
        "nc (units) is 45.19 %, at least 30 % was asked for.",
        "command line",
    ),
    GateOutcome(
        'metric = "nc-suite", view = "channel", layers = "relu*", max-drop = 0.02',
        "nc-suite",
        "channel",
        "relu*",
        "ratio",
        "at least",
        0.6,
        0.62,
        0.31,
        False,
        "nc-suite (channels) of relu_2 is 31.00 %, at least 60 % was asked for.",
        "pyproject.toml",
    ),
    GateOutcome(
        "dead-channels=0",
        "dead-channels",
        "channel",
        None,
        "count",
        "at most",
        0,
        None,
        3,
        False,
        "3 of 226 channels never fired, at most 0 may: 3 of relu_3.",
        "command line",
    ),
    GateOutcome(
        "kmnc=45%",
        "kmnc",
        None,
        None,
        "ratio",
        "at least",
        0.45,
        None,
        None,
        False,
        "kmnc was not measured: give --profile or --train.",
        "command line",
    ),
)


@cache
def small_result() -> Result:
    """LeNet-5 on 200 digits: four layers, two skipped images, heat maps of relevance, gates."""
    layers = (
        _layer("relu", "conv1.relu", "Relu", (6, 28, 28)),
        _layer("relu_1", "conv2.relu", "Relu", (16, 10, 10)),
        _layer("relu_2", "fc1.relu", "Relu", (120,)),
        _layer("relu_3", "fc2.relu", "Relu", (84,)),
    )
    result = _result(
        layers,
        model=_model("lenet5"),
        paths=[f"digits/{index:03d}_{index % 10}.png" for index in range(6)],
        used=200,
        skipped=(
            SkippedImage("digits/broken.png", "cannot be decoded: truncated file"),
            SkippedImage("digits/notes.gif", "image has no frames"),
        ),
        notes=(Note("pair-default", "Pair metrics used the first two images of the suite."),),
    )
    featured = tuple(
        replace(image, relevance=image_relevance(image.index)) for image in result.featured
    )
    return replace(result, featured=featured, relevance=RELEVANCE, gates=GATES)


@cache
def tiny_result() -> Result:
    """Two layers on one image: no skips, no notes, no thumbnails."""
    layers = (_layer("act", "", "Relu", (2, 2, 2)), _layer("out", "", "Sigmoid", (3,)))
    result = _result(layers, model=_model("tiny"), paths=[], used=1)
    return result


@cache
def resnet50_like(depths: Sequence[int] = (3, 4, 6, 3), images: int = 64) -> Result:
    """A result of the size of ResNet-50: 49 layers, 36 tables, 22,720 channels."""
    layers = [_layer("/relu/Relu_output_0", "relu", "Relu", (64, 112, 112))]
    for stage, (depth, width, side) in enumerate(
        zip(depths, (64, 128, 256, 512), (56, 28, 14, 7), strict=True), 1
    ):
        for block in range(depth):
            module = f"layer{stage}.{block}"
            for relu, channels in enumerate((width, width, 4 * width)):
                here = 2 * side if relu == 0 and block == 0 and stage > 1 else side
                suffix = f"_{relu}" if relu else ""
                layers.append(
                    _layer(
                        f"/layer{stage}/{module}/relu{suffix}/Relu_output_0",
                        f"{module}.relu{suffix}",
                        "Relu",
                        (channels, here, here),
                    )
                )
    return _result(
        tuple(layers),
        model=_model(
            "resnet50",
            size_bytes=102_443_008,
            parameters=25_557_032,
            operators={"Conv": 53, "Relu": 49, "Add": 16, "MaxPool": 1, "Gemm": 1},
            inputs=(TensorFacts("input", "float32", ("batch", 3, 224, 224)),),
            outputs=(TensorFacts("logits", "float32", ("batch", 1000)),),
        ),
        paths=[f"imagenet/val/n0144{i:04d}/ILSVRC2012_val_{i:08d}.JPEG" for i in range(10)],
        used=images,
        skipped=tuple(
            SkippedImage(f"imagenet/val/broken/{i:05d}.JPEG", "truncated file") for i in range(75)
        ),
        notes=(
            Note("pair-default", "Pair metrics used the first two images of the suite."),
            Note("bounds-suite", "Bounds were learnt from the first 10 images under test."),
        ),
    )


@cache
def hostile_result() -> Result:
    """Names that try to break whatever shows them, and numbers that are none."""
    layers = tuple(
        LayerFacts(name, label, "Re[b]lu\x00", (channels, 5, 5), 0, channels * 25, channels)
        for name, label, channels in zip(
            HOSTILE_NAMES, (*HOSTILE_NAMES[1:], ""), range(3, 60), strict=False
        )
    )
    evil = "\u202e" + "".join(HOSTILE_NAMES)
    result = _result(
        layers,
        model=_model(
            HOSTILE_NAMES[0] + HOSTILE_NAMES[3],
            file="../../\x1b]0;title\x07evil{nb}.onnx",
            producer=evil,
            operators=dict.fromkeys(HOSTILE_NAMES, 1),
            opsets={"": 20, "卷积.custom\x00": 1},
            inputs=(TensorFacts(evil, "float32", (evil, 3, 8, 8)),),
            outputs=(),
            untapped=tuple(UntappedNode(name, "If", evil) for name in HOSTILE_NAMES),
        ),
        paths=list(HOSTILE_NAMES),
        used=12,
        skipped=tuple(SkippedImage(name, evil) for name in HOSTILE_NAMES),
        notes=(Note("hostile\x00", evil),),
    )
    nan_rows = tuple(
        (row[0], row[1], row[2], math.nan if i % 2 else math.inf)
        for i, row in enumerate(result.tables[0].rows)
    )
    broken_table = Table(
        "nc",
        "unit",
        evil,
        evil,
        evil,
        {"threshold": math.inf, evil: (math.nan, evil), "x": {"y": -math.inf}},
        tuple(
            Column(name, column.kind)
            for name, column in zip(HOSTILE_NAMES, result.tables[0].columns, strict=False)
        ),
        nan_rows,
        ("NaN", None, 10**30, -math.inf),
        (evil,),
    )
    large = thumbnail(5, 200)
    nan, inf = math.nan, math.inf
    broken_relevance = (
        ImageRelevance(None, nan, inf, -inf, 1e300, nan),
        None,
        ImageRelevance(10**9, 0.0, 1e300, -1e300, 5.0, 0.0, nan, b"not a PNG"),
        ImageRelevance(0, 1e-300, 1e300, 1.0, 1.0, 1.0, inf, large),
    )
    featured = tuple(
        FeaturedImage(
            image.path,
            image.index,
            evil if image.index == 3 else image.role,
            {evil: math.nan, "nc/unit": math.inf, "tc": -1.0, "x": 1e300, "y": 0.1, "z": 0.2},
            image.layers,
            (b"not a PNG", None, large, thumbnail(2))[image.index % 4],
            broken_relevance[image.index % 4],
        )
        for image in result.featured
    )
    return Result(
        model=result.model,
        run=RunFacts(
            evil,
            "not a date\x00",
            evil,
            evil,
            evil,
            evil,
            1,
            {evil: math.nan},
            {evil: evil},
            evil,
            {evil: evil},
            evil,
        ),
        images=ImageFacts(evil, 30, 12, result.images.skipped, evil, evil),
        preprocessing=(PreprocessingField(evil, evil, evil),),
        layers=result.layers,
        tables=(broken_table, *result.tables[1:]),
        firing=result.firing,
        featured=featured,
        notes=(*result.notes, Note("no-relevance", evil), Note("relevance-incomplete", evil)),
        gates=(
            GateOutcome(
                evil, evil, None, evil, "ratio", "at least", nan, inf, -inf, False, evil, evil
            ),
            GateOutcome(
                evil, evil, "unit", "", "count", "at most", 1e300, None, None, True, evil, ""
            ),
        ),
        relevance=RelevanceFacts(evil, {evil: evil, "x": nan}, evil, evil, {evil: 10**9}),
        importance=(
            importance(evil, math.nan),
            importance(evil, math.inf),
            importance(evil, -1e300),
        ),
    )
