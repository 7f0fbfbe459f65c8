"""One table of options: command line > environment > configuration file > default.

The table drives the argument parser, the environment variables (``CLEANAI_ONNX_TOP_K``), the file
reader (``[tool.cleanai-onnx]`` in `pyproject.toml`, or the top level of `cleanai-onnx.toml`) and
the refusal of unknown keys.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cleanai_onnx.converters.conversion import ATOL, RTOL
from cleanai_onnx.errors import UsageError, harmless
from cleanai_onnx.formats import FORMATS, nearest_format

__all__ = [
    "ALL",
    "CONVERSION",
    "EXPLANATION",
    "EXPLORATION",
    "INSPECTION",
    "LEARNING",
    "OPTIONS",
    "SCALING",
    "TABLES",
    "WORKERS",
    "Option",
    "Settings",
    "Value",
    "gather",
    "parsed",
]

FILES = ("cleanai-onnx.toml", "pyproject.toml")
PREFIX = "CLEANAI_ONNX_"
INTERNAL = frozenset({"CLEANAI_ONNX_CACHE"})
"""Environment variables with our prefix that are no options."""
MOST = 2**31 - 1
"""No count of ours is larger."""
MOST_INTERVALS = 100
"""Each is compiled into the kernels: a thousand of them take minutes."""

Group = Literal[
    "output",
    "model",
    "images",
    "preprocessing",
    "metrics",
    "gates",
    "run",
    "conversion",
    "explanation",
    "inspection",
    "exploration",
    "learning",
]


@dataclass(frozen=True)
class Option:
    """An option.

    Attributes
    ----------
    name : str
        With dashes: the flag is ``--name``, the key in a file is the name.
    parse : callable
        From text (or a typed value of a file) to the value; raises ValueError with a phrase that
        says what the value must be.
    default
        The value where nothing says otherwise.
    group : str
        Under which heading the help shows it.
    help : str
    metavar : str, optional
        None for a switch.
    many : int
        How many values the flag takes.
    """

    name: str
    parse: Callable[[Any], Any]
    default: Any
    group: Group
    help: str
    metavar: str | tuple[str, ...] | None
    many: int = 1

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that the value can be, where these are all there are; otherwise empty."""
        return self.parse.choices if isinstance(self.parse, _OneOf) else ()


@dataclass(frozen=True)
class Value:
    """A value and where it came from."""

    value: Any
    origin: str


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError("must be text")
    return str(value)


def _text_or_list(value: Any) -> Any:
    """Take what the preprocessing settings also take: a number, text, or a list of numbers."""
    if isinstance(value, list) and value:
        return [_text(item) if isinstance(item, str) else _number(item) for item in value]
    return _text(value)


def _sides(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(1)(item) for item in value]
    return _text(value)


def _whole(least: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        problem = f"must be a whole number from {least} to {MOST:,}"
        if isinstance(value, bool | float):
            raise ValueError(problem)
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise ValueError(problem) from None
        if not least <= number <= MOST:
            raise ValueError(problem)
        return number

    return parse


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("must be a number") from None
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False, "": False}
    try:
        return known[str(value).lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _tolerance(value: Any) -> float:
    number = _number(value)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _seconds(value: Any) -> float:
    number = _number(value)
    if not 0 < number <= MOST:
        raise ValueError("must be a number of seconds above 0")
    return number


def _every(value: Any) -> tuple[int | None, float | None]:
    """Take a number of images, or of seconds with an s after it."""
    text = str(value)
    try:
        if text.endswith("s"):
            return None, _seconds(text[:-1])
        return _whole(1)(value), None
    except ValueError:
        raise ValueError("must be a number of images such as 500, or seconds such as 60s") from None


def _positive(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError("must be a number above 0")
    return number


def _portion(value: Any) -> float:
    number = _number(value)
    if not 0 < number < 1:
        raise ValueError("must be a number between 0 and 1")
    return number


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 < number <= 1:
        raise ValueError("must be a number above 0 and at most 1")
    return number


def _target(value: Any) -> str | int:
    if value in ("predicted", "output"):
        return str(value)
    try:
        return _whole(0)(value)
    except ValueError:
        raise ValueError("must be predicted, output or the number of a class") from None


def _names(value: Any) -> tuple[str, ...]:
    """Take one name or a list of names; they may have any characters, commas too."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or not all(isinstance(one, str) for one in items):
        raise ValueError("must be a name or a list of names")
    return tuple(items)


def _range(value: Any) -> tuple[float, float]:
    items = value.split(",") if isinstance(value, str) else value
    problem = "must be two numbers, the smaller one first"
    if not isinstance(items, list | tuple) or len(items) != 2:
        raise ValueError(problem)
    try:
        low, high = (_number(item) for item in items)
    except ValueError:
        raise ValueError(problem) from None
    if not low < high:
        raise ValueError(problem)
    return low, high


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    """Take ``"3,224,224"``, a list of such, a list of numbers, or a list of lists of numbers."""
    problem = "must be whole numbers without the batch, such as 3,224,224"
    numbers = isinstance(value, list) and value and all(isinstance(one, int) for one in value)
    items = value if isinstance(value, list) and not numbers else [value]
    found = []
    for item in items:
        sides = item.replace("x", ",").split(",") if isinstance(item, str) else item
        if not isinstance(sides, list) or not sides:
            raise ValueError(problem)
        try:
            found.append(tuple(_whole(1)(side) for side in sides))
        except ValueError:
            raise ValueError(problem) from None
    if not found:
        raise ValueError(problem)
    return tuple(found)


@dataclass(frozen=True)
class _OneOf:
    """Takes one of some words, which the completion of shells can ask for."""

    choices: tuple[str, ...]

    def __call__(self, value: Any) -> str:
        if value not in self.choices:
            raise ValueError(f"must be one of {', '.join(self.choices)}")
        return str(value)


def _one_of(*choices: str) -> _OneOf:
    return _OneOf(choices)


def _list(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("must be a list such as Relu,Sigmoid")
    found = tuple(item.strip() for item in items if item.strip())
    if not found:
        raise ValueError("must have at least one entry")
    return found


def _pair(value: Any) -> tuple[str, str]:
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or len(items) != 2:
        raise ValueError("must be the names of two images")
    return str(items[0]), str(items[1])


def _intervals(value: Any) -> tuple[tuple[float, float], ...]:
    problem = "must be intervals such as 0:0.1,0.1:0.2"
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError(problem)
    if len(items) > MOST_INTERVALS:
        raise ValueError(f"must be at most {MOST_INTERVALS} intervals")
    found = []
    for item in items:
        ends = item.split(":") if isinstance(item, str) else item
        if not isinstance(ends, list | tuple) or len(ends) != 2:
            raise ValueError(problem)
        try:
            low, high = (float(end) for end in ends if not isinstance(end, bool))
        except (TypeError, ValueError, OverflowError):
            raise ValueError(problem) from None
        if not low <= high:
            raise ValueError(problem)
        found.append((low, high))
    return tuple(found)


def _counts(value: Any) -> tuple[int, ...]:
    items = value.split(",") if isinstance(value, str) else value
    items = items if isinstance(items, list | tuple) else [items]
    try:
        found = tuple(_whole(1)(item) for item in items)
    except ValueError:
        found = ()
    if not found:
        raise ValueError("must be whole numbers such as 6 or 6,8,10")
    return found


def _span(value: Any) -> tuple[int, int]:
    items = value.split(":") if isinstance(value, str) else value
    problem = "must be two whole numbers such as 2:4, the smaller one first"
    if not isinstance(items, list | tuple) or len(items) != 2:
        raise ValueError(problem)
    try:
        low, high = (_whole(1)(item) for item in items)
    except ValueError:
        raise ValueError(problem) from None
    if low > high:
        raise ValueError(problem)
    return low, high


def _two_whole(value: Any, separator: str, least: int, problem: str) -> tuple[int, int]:
    items = value.split(separator) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or len(items) != 2:
        raise ValueError(problem)
    try:
        one, other = (_whole(least)(item) for item in items)
    except ValueError:
        raise ValueError(problem) from None
    return one, other


def _rectangle(value: Any) -> tuple[int, int]:
    return _two_whole(value, "x", 1, "must be height and width in pixels such as 10x10")


def _place(value: Any) -> tuple[int, int]:
    return _two_whole(value, ",", 0, "must be a row and a column, from 0, such as 3,5")


def _bounds(value: Any) -> tuple[float, float]:
    items = value.split(",") if isinstance(value, str) else value
    problem = "must be two numbers above 0 such as 2000,2"
    if not isinstance(items, list | tuple) or len(items) != 2:
        raise ValueError(problem)
    try:
        one, other = (float(item) for item in items if not isinstance(item, bool))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(problem) from None
    if not (0 < one < float("inf") and 0 < other < float("inf")):
        raise ValueError(problem)
    return one, other


def _reports(value: Any) -> tuple[str, ...]:
    """Take ``html``, ``html:PATH``, a list of such, or one text with commas between them.

    Raises
    ------
    ValueError
        With a phrase that says what it must be, and what was meant.
    """
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items:
        raise ValueError("must be a list such as pdf,json,html:out.html")
    for item in items:
        name = item.partition(":")[0] if isinstance(item, str) else ""
        if name not in FORMATS:
            near = nearest_format(name)
            hint = f" (did you mean {near}?)" if near else ""
            raise ValueError(f"must be {' or '.join(FORMATS)}, or one with :PATH{hint}")
        if item.endswith(":"):
            raise ValueError("must have a path after the colon")
    return tuple(items)


def _attestation(value: Any) -> str | None:
    """Take the path of a JSON file; true is the default path, written as empty text."""
    with suppress(ValueError):
        return "" if _switch(value) else None
    if not isinstance(value, str) or not value.lower().endswith(".json"):
        # A flag whose value may be missing takes what follows: never the model or an image.
        raise ValueError("must be the path of a .json file, or stand last or before another option")
    return value


def _values(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(name): str(text) for name, text in value.items()}
    items = [value] if isinstance(value, str) else value
    found = {}
    if not isinstance(items, list):
        raise ValueError("must be NAME=VALUE")
    for item in items:
        name, equals, text = str(item).rpartition("=")
        if not equals or not name:
            raise ValueError("must be NAME=VALUE")
        found[name] = text
    return found


def _gates(value: Any) -> Any:
    if not isinstance(value, Mapping | list) or not value:
        raise ValueError("must be a table of gates in a configuration file")
    return value


OPTIONS: tuple[Option, ...] = (
    Option("output", _text, ".", "output", "folder for the reports, made if need be", "DIR"),
    Option("report", _reports, ("pdf", "json"), "output",
           f"a report to write, may be repeated: {', '.join(FORMATS)}; PATH is its file (default: "
           "pdf and json, in --output)", "TYPE[:PATH]"),
    Option("attest", _attestation, None, "output",
           "also write an unsigned in-toto statement of the result, for cosign to sign; PATH is a "
           ".json file", "PATH"),
    Option("mlflow", _switch, False, "output",
           "log metrics, settings and reports to the active MLflow tracking store", None),
    Option("per-image", _switch, False, "output",
           "also write each image's figures for each layer (CSV)", None),
    Option("subset", _text, None, "output",
           "find the fewest images with the same coverage, and list them in this .txt file, which "
           "can be given as images again", "FILE"),
    Option("state", _text, None, "output",
           "also write what was measured in a form that `cleanai-onnx combine` merges with other "
           "parts of the suite", "FILE"),
    Option("checkpoint", _text, None, "output",
           "keep what was measured in this folder from time to time: the same command goes on from "
           "there after it was killed", "DIR"),
    Option("checkpoint-every", _every, None, "output",
           "how often: after so many images (500) or seconds (60s; default: 30s)", "N|Ts"),
    Option("workers", _whole(1), None, "output",
           "spread the images over so many processes (default: one)", "N"),
    Option("engine", _one_of("process", "ray"), "process", "output",
           "what the workers are: process (of this machine) or ray (tasks of Ray)", "WHAT"),
    Option("ray-address", _text, None, "output",
           "the Ray cluster to join, such as auto or ray://host:10001 (default: this machine)",
           "ADDRESS"),
    Option("allow-partial", _switch, False, "output",
           "go on without the images of a worker that died three times", None),
    Option("no-relevance", _switch, False, "output",
           "no heat maps of relevance beside the images that the report features", None),
    Option("quiet", _switch, False, "output", "print nothing but errors", None),
    Option("verbose", _switch, False, "output",
           "say what is being done, and how long it took, on standard error", None),
    Option("no-progress", _switch, False, "output", "show no progress bar", None),
    Option("taps", _list, ("activations",), "model",
           "what to measure: activations, last-call (one for each module, as CleanAI does), "
           "operators (Relu,Softmax) or patterns of tensor names (*/conv2/*)", "LIST"),
    Option("input", _text, None, "model", "the model input that takes the images", "NAME"),
    Option("input-value", _values, {}, "model",
           "a value for another input of the model; may be repeated", "NAME=VALUE"),
    Option("limit", _whole(1), None, "images", "use a random subset of N images", "N"),
    Option("seed", _whole(0), 0, "images", "seed of that subset", "N"),
    Option("strict", _switch, False, "images",
           "fail on an image that cannot be used (default: skip and report it)", None),
    Option("preset", _text, None, "preprocessing",
           "unit, imagenet, torchvision, keras-tf, keras-caffe or symmetric", "NAME"),
    Option("preprocessing", _text, None, "preprocessing",
           "JSON or TOML file that says how images become inputs", "FILE"),
    Option("size", _sides, None, "preprocessing", "resize images to height x width", "HxW"),
    Option("resize", _text, None, "preprocessing",
           "stretch, shorter-side, letterbox or none", "MODE"),
    Option("interpolation", _text, None, "preprocessing",
           "nearest, bilinear, bicubic, lanczos, box or hamming", "MODE"),
    Option("crop", _sides, None, "preprocessing", "cut this from the centre after resizing", "HxW"),
    Option("channel-order", _text, None, "preprocessing", "RGB, BGR, gray or RGBA", "ORDER"),
    Option("scale", _text, None, "preprocessing", "factor of the pixel values: 1/255", "X"),
    Option("mean", _text_or_list, None, "preprocessing",
           "subtracted after scaling: 0.485,0.456,0.406", "X[,X,X]"),
    Option("std", _text_or_list, None, "preprocessing",
           "divided by after that: 0.229,0.224,0.225", "X[,X,X]"),
    Option("layout", _text, None, "preprocessing", "NCHW or NHWC", "LAYOUT"),
    Option("threshold", _number, 0.75, "metrics", "t of tc and nc-suite", "T"),
    Option("value-threshold", _number, 0.75, "metrics", "t of vc, vc-suite, sv, vs, vv", "T"),
    Option("top-k", _whole(1), 3, "metrics", "k of tknc and tknc-suite", "K"),
    Option("intervals", _intervals, ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5)),
           "metrics", "closed intervals of mnc", "LO:HI,..."),
    Option("bounds-from", _whole(1), 10, "metrics",
           "the first N images set the bounds of nbc", "N"),
    Option("pair", _pair, None, "metrics",
           "the images that sc, vc, ss, sv, vs, vv compare (default: the first two)",
           ("A", "B"), 2),
    Option("adjacency", _one_of("rows", "dataflow"), "rows", "metrics",
           "next layers of ss, sv, vs, vv: rows (the next in order, as in CleanAI) or dataflow",
           "KIND"),
    Option("cleanai-compat", _switch, False, "metrics",
           "CleanAI's departures: 0.05 in vv's second layer, k per layer in tknc", None),
    Option("profile", _text, None, "metrics",
           "what training images taught (cleanai-onnx profile): nbc, snac, kmnc, idc, surprise",
           "FILE"),
    Option("train", _text, None, "metrics",
           "learn that from these training images first, all of them, and do not keep it (the "
           "command profile does); --limit does not apply to them", "IMAGES"),
    Option("sections", _whole(1), 1000, "metrics", "k of kmnc", "K"),
    Option("margin", _tolerance, 0.0, "metrics",
           "widen the bounds of nbc-suite and snac by K standard deviations", "K"),
    Option("important", _counts, (6,), "metrics",
           "m of idc: how many neurons are important; several: 6,8,10", "M[,M]"),
    Option("clusters", _span, (2, 4), "metrics",
           "how many clusters an important neuron may have: 2:4", "LO:HI"),
    Option("subset-metrics", _list, (), "metrics",
           "coverages that --subset keeps (default: all that single images cover, of channels): "
           "kmnc,nc-suite,nc-suite/unit", "LIST"),
    Option("surprise-buckets", _whole(1), 1000, "metrics",
           "buckets of lsc and dsc: equal parts from no surprise to the bound", "N"),
    Option("surprise-bounds", _bounds, (2000.0, 2.0), "metrics",
           "the largest surprise that lsc and dsc have a bucket for: 2000,2", "LSA,DSA"),
    Option("compat", _one_of("none", "deepimportance-2020", "deepxplore"), "none",
           "metrics",
           "also measure idc as the authors' code of 2020 did: deepimportance-2020; or explore as "
           "DeepXplore's code does, which leaves valid pixels: deepxplore", "WHAT"),
    Option("fail-under", _list, (), "gates",
           "end with exit code 1 where a limit is not kept: nc=30%,kmnc/channel=45%, and "
           "dead-channels=0 or lsa=50 at most; more forms in a file's table of gates", "LIST"),
    Option("baseline", _text, None, "gates",
           "the JSON of an earlier analysis, for gates that limit a change", "FILE"),
    Option("device", _one_of("auto", "cpu", "cuda"), "auto", "run", "auto, cpu or cuda", "DEVICE"),
    Option("batch-size", _whole(1), None, "run", "images at once (default: from the memory)", "N"),
    Option("threads", _whole(1), None, "run", "threads of onnxruntime (default: all cores)", "N"),
)  # fmt: skip

WORKERS = frozenset({"workers", "engine", "ray-address", "allow-partial"})
"""Options that spread the images over workers."""
SCALING = frozenset({"state", "checkpoint", "checkpoint-every"}) | WORKERS
"""Options of the analysis that keep, resume or spread what is measured."""

CONVERSION: tuple[Option, ...] = (
    Option("input-shape", _shapes, None, "conversion",
           "shape of the model's input without the batch; repeat it for each input", "N,N,N"),
    Option("rtol", _tolerance, RTOL, "conversion",
           "difference allowed, as a part of the largest output", "X"),
    Option("atol", _tolerance, ATOL, "conversion", "difference allowed besides", "X"),
    Option("opset", _whole(7), None, "conversion", "ONNX operator set (default: the route's)", "N"),
    Option("timeout", _seconds, 600.0, "conversion", "seconds for each attempt", "S"),
)  # fmt: skip
"""Options of the command ``convert`` alone."""

EXPLANATION: tuple[Option, ...] = (
    Option("composite",
           _one_of("epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1"),
           "epsilon-plus", "explanation",
           "rules for the layers: epsilon, epsilon-plus, epsilon-gamma-box or "
           "epsilon-alpha2-beta1 (default: epsilon-plus)", "NAME"),
    Option("target", _target, "predicted", "explanation",
           "what is explained: predicted (the class with the largest value), the number of a "
           "class, or output (all values together)", "WHAT"),
    Option("model-output", _text, None, "explanation",
           "the model output that is explained (default: the first)", "NAME"),
    Option("layer", _names, (), "explanation",
           "also store the relevance of this tensor, and of the input, in a .npz file; may be "
           "repeated; activations: of all activations", "NAME"),
    Option("fallback", _one_of("refuse", "gradient"), "refuse", "explanation",
           "at operators that have no rule: refuse, or pass them by gradient x input", "WHAT"),
    Option("epsilon", _positive, 1e-6, "explanation", "of the epsilon rule", "X"),
    Option("gamma", _number, 0.25, "explanation", "of the gamma rule", "X"),
    Option("input-range", _range, None, "explanation",
           "smallest and largest input value, for epsilon-gamma-box (default: what black and "
           "white pixels become)", ("LOW", "HIGH"), 2),
)  # fmt: skip
"""Options of the command ``explain`` alone."""

LEARNING: tuple[Option, ...] = (
    Option("view", _one_of("channel", "unit"), "channel", "learning",
           "the neurons whose ranges are learnt: channel or unit (default: channel)", "VIEW"),
    Option("labels", _text, "auto", "learning",
           "true classes: auto (a table's column label or the names of folders, where they can be "
           "classes), folders, column:NAME (of a table), none, or a CSV file with the columns "
           "image and label", "WHAT"),
    Option("layers", _list, ("last-hidden",), "learning",
           "layers whose activation traces and relevance are kept: last-hidden, all, names or "
           "patterns", "LIST"),
    Option("traces", _whole(1), 10_000, "learning",
           "keep the traces of N images, chosen by their content (default: 10000)", "N"),
    Option("relevance-rules",
           _one_of("epsilon", "epsilon-plus", "epsilon-alpha2-beta1", "deepimportance-2020",
                   "none"), "epsilon", "learning",
           "rules of the relevance that is summed: epsilon (default), epsilon-plus, "
           "epsilon-alpha2-beta1, deepimportance-2020 (as the authors of idc did) or none", "NAME"),
)  # fmt: skip
"""Options of the command ``profile`` alone."""

INSPECTION: tuple[Option, ...] = (
    Option("hypotheses", _names, (), "inspection",
           "a table (.csv or .parquet) with the column image and a column for each hypothesis; may "
           "be repeated", "FILE"),
    Option("functions", _list, (), "inspection",
           "built-in hypotheses: folders (the classes), brightness, contrast, edge-density, "
           "saturation, dominant-hue, high-frequency", "LIST"),
    Option("masks", _text, None, "inspection",
           "a folder with a folder of mask images for each concept", "DIR"),
    Option("measures", _list, ("pearson", "spearman", "auc", "iou"), "inspection",
           "pearson, spearman, mean-difference, cohens-d, auc, jaccard, mutual-information, iou, "
           "logistic-l1, probe (default: pearson,spearman,auc,iou)", "LIST"),
    Option("also", _names, (), "inspection",
           "another model, to compare side by side; may be repeated", "MODEL"),
    Option("error", _tolerance, 0.0, "inspection",
           "stop when all scores are within X of those on all images (default: 0, exact)", "X"),
    Option("min-inputs", _whole(2), 256, "inspection",
           "see at least N images before that (default: 256)", "N"),
    Option("keep", _whole(2), 10_000, "inspection",
           "measures of order and fits use a random sample of at most N images (default: 10000)",
           "N"),
    Option("quantile", _portion, None, "inspection",
           "share of values that are a neuron's top, for jaccard and iou (default: the share that "
           "the concept has; network dissection: 0.005)", "Q"),
    Option("database", _text, None, "inspection",
           "also add the scores to this DuckDB file", "FILE"),
)  # fmt: skip
"""Options of the command ``inspect`` alone; it shares ``view`` and ``layers`` with ``profile``."""

EXPLORATION: tuple[Option, ...] = (
    Option("objective",
           _one_of("disagreement", "nc-suite", "nc-suite-scaled", "nbc-suite", "snac", "kmnc",
                   "idc"),
           None, "exploration",
           "what is sought: disagreement (of several models), or with one model what the suite "
           "lacks of nc-suite (default), nc-suite-scaled, nbc-suite, snac, kmnc or idc", "WHAT"),
    Option("constraint", _one_of("light", "occlusion", "blackout", "linf", "l2", "any"), None,
           "exploration",
           "which changes are allowed: light (default), occlusion, blackout, linf, l2 or any "
           "(default with one model)", "KIND"),
    Option("step", _positive, None, "exploration",
           "of each step, as a part of the range from black to white (default: by constraint)",
           "X"),
    Option("iterations", _whole(1), None, "exploration",
           "the most steps from a seed (default: 50)", "N"),
    Option("radius", _positive, None, "exploration",
           "of linf and l2, as a part of the range from black to white (default: 0.1, 3)", "X"),
    Option("patch-size", _rectangle, None, "exploration",
           "of occlusion and blackout, in pixels (default: 10x10, 6x6)", "HxW"),
    Option("patch-at", _place, None, "exploration",
           "first row and column of occlusion's rectangle (default: drawn for each seed)", "Y,X"),
    Option("target-model", _whole(1), None, "exploration",
           "which model is to differ from the others, from 1 (default: drawn for each seed)", "N"),
    Option("apart-weight", _tolerance, 1.0, "exploration",
           "lambda 1 of DeepXplore: the weight of that model", "X"),
    Option("coverage-weight", _tolerance, 0.0, "exploration",
           "lambda 2: the weight of neurons that are not covered, beside disagreement", "X"),
    Option("neurons-per-model", _switch, False, "exploration",
           "one such neuron of each model (DeepXplore's code), not one in all (its paper)", None),
    Option("perturb", _one_of("gaussian", "pixels", "relevant", "fgsm", "bim"), None,
           "exploration",
           "do not search: perturb every seed, by noise on all pixels (gaussian), on random or on "
           "the most relevant ones (pixels, relevant), or by an attack (fgsm, bim)", "KIND"),
    Option("strength", _positive, None, "exploration",
           "of the perturbation, as a part of the range from black to white: standard deviation or "
           "largest change (default: 0.75 on chosen pixels, otherwise 0.3)", "X"),
    Option("share", _share, 0.02, "exploration",
           "which part of the pixels is perturbed by pixels and relevant", "X"),
)  # fmt: skip
"""Options of the command ``explore`` alone."""

TABLES: tuple[Option, ...] = (
    Option("gates", _gates, {}, "gates",
           "limits by metric, see docs/gates.md; --fail-under comes before it", None),
)  # fmt: skip
"""Tables of a configuration file, which no flag can hold."""

ALL = (*OPTIONS, *CONVERSION, *EXPLANATION, *EXPLORATION, *INSPECTION, *LEARNING, *TABLES)
"""Every option of every command; each name is there once."""
_BY_NAME = {option.name: option for option in ALL}


@dataclass(frozen=True)
class Settings:
    """The value of every option, by name, with its origin."""

    values: Mapping[str, Value]

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def origin(self, name: str) -> str:
        """Return where the value came from: a flag, a variable, a file, or ``default``."""
        return self.values[name].origin

    def given(self, group: Group, *, files: bool) -> dict[str, Any]:
        """Return the options of a group that were set, by a file or otherwise."""
        return {
            option.name: self[option.name]
            for option in OPTIONS
            if option.group == group
            and self.origin(option.name) != "default"
            and self.origin(option.name).startswith("file ") == files
        }


def gather(
    arguments: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    file: str | Path | None = None,
    folder: str | Path = "",
) -> Settings:
    """Return the settings of a run.

    Parameters
    ----------
    arguments : mapping of str to Any
        What the command line gave, by option name; None for what it did not.
    environment : mapping of str to str, optional
        By default that of the process.
    file : path, optional
        A configuration file; by default `cleanai-onnx.toml` or the `[tool.cleanai-onnx]` table of
        `pyproject.toml` in `folder`.
    folder : path, optional
        By default the current one.

    Raises
    ------
    UsageError
        If a value cannot be used or a key is unknown; the nearest known one is named.
    """
    environment = os.environ if environment is None else environment
    found: dict[str, Value] = {option.name: Value(option.default, "default") for option in ALL}
    for origin, table in _from_file(file, folder):
        for key, value in table.items():
            found[key] = Value(parsed(key, value, f"{origin}: {key}"), f"file {origin}")
    for variable, text in sorted(environment.items()):
        if variable.startswith(PREFIX) and variable not in INTERNAL:
            key = variable.removeprefix(PREFIX).lower().replace("_", "-")
            found[key] = Value(parsed(key, text, variable), f"environment {variable}")
    for key, value in arguments.items():
        if value is not None:
            found[key] = Value(parsed(key, value, f"--{key}"), f"--{key}")
    return Settings(found)


def parsed(key: str, value: Any, where: str) -> Any:
    """Return the value of the option `key`.

    Raises
    ------
    UsageError
        If the value cannot be used or there is no such option; `where` says where it stood.
    """
    option = _BY_NAME.get(key)
    if option is None:
        near = difflib.get_close_matches(key[:40], _BY_NAME, n=1)
        hint = f"; did you mean {_spelt(near[0], where)}?" if near else "."
        raise UsageError(f"{_shown(where)} is not an option{hint}", slug="unknown-option")
    try:
        return option.parse(value)
    except ValueError as error:
        # A flag that may be repeated comes as a list even if it was given once.
        once = where.startswith("--") and isinstance(value, list) and len(value) == 1
        given = value[0] if once else value
        raise UsageError(
            f"{_shown(where)} {error}, not {_shown(str(given))!r}.", slug="option-value"
        ) from None


def _spelt(name: str, where: str) -> str:
    """Return the name of an option as it is written where the user wrote another."""
    return PREFIX + name.upper().replace("-", "_") if where.startswith(PREFIX) else name


def _shown(text: str) -> str:
    """Return text from outside on one line, shortened, so that it can do no harm in a message."""
    return harmless(text[:100]) + "…" * (len(text) > 100)


def _from_file(file: str | Path | None, folder: str | Path) -> list[tuple[str, Mapping[str, Any]]]:
    if file is not None:
        if str(file) == "":
            raise UsageError("--config is empty: give the path of a file.")
        return [_read(Path(file))]
    for name in FILES:
        path = Path(folder, name)
        if path.is_file():
            origin, table = _read(path)
            if table or path.name != "pyproject.toml":
                return [(origin, table)]
    return []


def _read(path: Path) -> tuple[str, Mapping[str, Any]]:
    name = _shown(str(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}; see --config.") from error
    except ValueError as error:  # a name that no file can have
        raise UsageError(f"cannot read {name}: {error}; see --config.") from error
    try:
        content = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        # Besides broken TOML: bytes that are not UTF-8, numbers of thousands of digits.
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{name} is not valid TOML: {_shown(reason)}.") from error
    if path.name == "pyproject.toml" or "tool" in content:
        tool = content.get("tool", {})
        content = tool.get("cleanai-onnx", {}) if isinstance(tool, dict) else {}
    if not isinstance(content, dict):
        raise UsageError(f"{name}: [tool.cleanai-onnx] must be a table.")
    return path.name, content
