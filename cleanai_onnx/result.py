"""The result of an analysis: a frozen tree that knows everything a report needs.

JSON is its one serialised form (`report/json.py`); every other format is rendered from it.
This module holds data only. It knows neither onnx nor JAX, so that a stored result can be
read and rendered where neither is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cleanai_onnx.converters.conversion import Conversion

if TYPE_CHECKING:
    import pandas as pd

    from cleanai_onnx.validation import Gate

__all__ = [
    "FORMAT_VERSION",
    "PROFILE_FORMAT_VERSION",
    "Column",
    "CombinationFacts",
    "Conversion",
    "CriterionFacts",
    "FeaturedImage",
    "GateOutcome",
    "ImageFacts",
    "ImageRelevance",
    "ImportantLayerFacts",
    "ImportantNeuronFacts",
    "LayerFacts",
    "ModelFacts",
    "Note",
    "PreprocessingField",
    "ProfileFacts",
    "RelevanceFacts",
    "Result",
    "RunFacts",
    "SkippedImage",
    "SubsetFacts",
    "SubsetImage",
    "Table",
    "TensorFacts",
    "UntappedNode",
]

FORMAT_VERSION = 1
"""Version of the JSON form. It grows by one whenever a reader of the old form would break."""

PROFILE_FORMAT_VERSION = 1
"""The same of a stored profile."""

View = Literal["unit", "channel"]
Cell = str | int | float | None


@dataclass(frozen=True)
class TensorFacts:
    """Name, element type and shape of a model input or output; unknown sizes are strings."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class UntappedNode:
    """An activation that is in the graph but could not be tapped, and why."""

    name: str
    op: str
    reason: str


@dataclass(frozen=True)
class ModelFacts:
    """What the report says of the model.

    `conversion` is what the file itself claims of its making; `conversion_remark` says why such a
    claim was ignored, and is empty otherwise. `sha256` is the file's; where `data_files` have the
    weights, it is of the file and of these (`graph.Model` says how).
    """

    name: str
    file: str
    sha256: str
    size_bytes: int
    producer: str
    ir_version: int
    opsets: Mapping[str, int]
    parameters: int
    operators: Mapping[str, int]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    untapped: tuple[UntappedNode, ...] = ()
    conversion: Conversion | None = None
    conversion_remark: str = ""
    data_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerFacts:
    """One tap, in the order of the analysis.

    `shape` is that of one input, without the batch axis; `channel_axis` counts in it.
    """

    name: str
    label: str
    op: str
    shape: tuple[int, ...]
    channel_axis: int
    units: int
    channels: int

    def size(self, view: View) -> int:
        """Return how many neurons the layer has in a view."""
        return self.units if view == "unit" else self.channels


@dataclass(frozen=True)
class PreprocessingField:
    """One preprocessing setting, its value in words, and where it came from."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class SkippedImage:
    """An image that was not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ImageFacts:
    """The suite: where it came from, how many images were found and used, which were skipped.

    `per_image_table` names the file beside the report that has one row for each image.
    `manifest_sha256` is one hash for all used images and their paths (`inputs/manifest.py` says how
    it is made); None for batches of the caller's own.
    """

    source: str
    found: int
    used: int
    skipped: tuple[SkippedImage, ...] = ()
    per_image_table: str | None = None
    manifest_sha256: str | None = None


@dataclass(frozen=True)
class RunFacts:
    """The run's identity: when, where, with what, how long. `seconds` maps phases to seconds.

    `configuration_sha256` is that of the options and the preprocessing, as JSON with sorted keys
    and without spaces; empty in results of early versions.
    """

    id: str
    started: str
    tool_version: str
    device: str
    provider: str
    graph_optimization: str
    batch_size: int
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    platform: str
    options: Mapping[str, Any]
    configuration_sha256: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column. `kind` says how to print and align it.

    `count` is an exact integer, `ratio` lies in 0..1 (printed in per cent), `value` is a float.
    """

    name: str
    kind: Literal["text", "count", "ratio", "value"]


@dataclass(frozen=True)
class Table:
    """The numbers of one metric in one neuron view, a row for each layer (or pair of layers)."""

    metric: str
    view: View
    title: str
    definition: str
    source: str
    parameters: Mapping[str, Any]
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> float | None:
        """The ratio of the total row, if the metric has one."""
        if self.total is None:
            return None
        for column, cell in zip(self.columns, self.total, strict=True):
            if column.kind == "ratio" and isinstance(cell, int | float):
                return float(cell)
        return None

    def to_frame(self) -> pd.DataFrame:
        """Return the rows (without the total) as a DataFrame, one column for each `Column`."""
        import pandas as pd

        return pd.DataFrame(list(self.rows), columns=[column.name for column in self.columns])


@dataclass(frozen=True)
class ImageRelevance:
    """Which pixels of an image speak for the model's decision, and which against it.

    `target` is the class that is explained; None for the whole output, or a class at each position.
    `value` is f(x), which relevance starts from; `arrived` (at the pixels), `biases`, `others` and
    `residual` say where it went, and add up to it. `heat_map` is a small PNG file: relevance over
    what the model sees, where `scale` or more has full colour. Both are None where relevance is not
    finite.
    """

    target: int | None
    value: float
    arrived: float
    biases: float
    others: float
    residual: float
    scale: float | None = None
    heat_map: bytes | None = None


@dataclass(frozen=True)
class RelevanceFacts:
    """How the relevance of the featured images was computed.

    `target` says in words what is explained, `start` is the tensor that relevance starts from.
    `rules` counts the nodes of the way back by the rule that each had.
    """

    composite: str
    parameters: Mapping[str, Any]
    target: str
    start: str
    rules: Mapping[str, int]


@dataclass(frozen=True)
class FeaturedImage:
    """An image that the report shows.

    `role` says why ("lowest coverage", "highest coverage"). `scores` are its figures for the whole
    model, `layers` its figures for each layer (name of the figure to one value for each layer).
    `thumbnail` is a small PNG file. `relevance` is None where it was not computed.
    """

    path: str
    index: int
    role: str
    scores: Mapping[str, float]
    layers: Mapping[str, tuple[float, ...]]
    thumbnail: bytes | None = None
    relevance: ImageRelevance | None = None


@dataclass(frozen=True)
class Note:
    """What the reader of the numbers must know: a stable `slug`, and a sentence as `text`."""

    slug: str
    text: str


@dataclass(frozen=True)
class ProfileFacts:
    """What a profile is of, and how it was made.

    Attributes
    ----------
    model, model_sha256
        The model's name and hash.
    view
        The neuron view of the moments.
    layers
        The tapped layers, in order.
    preprocessing
        How images became inputs.
    sources
        Where the images came from, one entry for each run that was merged.
    images
        How many were used; `skipped` could not be.
    labels
        Where labels came from; `labelled` images had one, `correct` of them were predicted so.
    classes
        How many classes the model has; None where it has none.
    traced
        The layers whose traces are kept, and whose relevance is summed.
    traces
        The traces of how many images are kept at most.
    composite
        The rules of the relevance that was summed; empty if none was.
    relevance_of
        Which images' relevance was summed: ``correct`` (those that the model classified as they
        are labelled) or ``all``.
    remarks
        What could not be learnt, and why.
    versions, started
        With what, and when.
    """

    model: str
    model_sha256: str
    view: View
    layers: tuple[LayerFacts, ...]
    preprocessing: tuple[PreprocessingField, ...]
    sources: tuple[str, ...]
    images: int
    skipped: int
    labels: str
    labelled: int
    correct: int
    classes: int | None
    traced: tuple[str, ...]
    traces: int
    composite: str
    relevance_of: str
    remarks: tuple[str, ...]
    versions: Mapping[str, str]
    started: str
    format_version: int = PROFILE_FORMAT_VERSION


@dataclass(frozen=True)
class CriterionFacts:
    """A coverage that a subset keeps: so many of its items, of all there are, the suite covers."""

    metric: str
    view: View
    covered: int
    total: int


@dataclass(frozen=True)
class SubsetImage:
    """An image of the smallest subset, and what it is worth.

    Attributes
    ----------
    path, index
        Its name and its position in the suite.
    adds
        How many items it covers that the images before it in the subset do not.
    share
        Of the items that the suite covers, those that it and the images before it cover.
    only
        How many items no other image of the suite covers.
    """

    path: str
    index: int
    adds: int
    share: float
    only: int


@dataclass(frozen=True)
class SubsetFacts:
    """The smallest subset found that covers what the whole suite covers.

    Attributes
    ----------
    criteria
        The coverages that it keeps.
    of
        How many images the suite has.
    images
        Those of the subset, the one that adds most first.
    lower_bound
        No subset with the same coverage has fewer images.
    redundant
        The first of the images that are not needed.
    file
        The name of the file that lists the subset, if one was written.
    """

    criteria: tuple[CriterionFacts, ...]
    of: int
    images: tuple[SubsetImage, ...]
    lower_bound: int
    redundant: tuple[str, ...] = ()
    file: str | None = None

    @property
    def proven(self) -> bool:
        """Whether no smaller subset exists."""
        return len(self.images) == self.lower_bound

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each image: rank, image, adds, cumulative share, covers alone."""
        import pandas as pd

        rows = [
            (rank, image.path, image.adds, image.share, image.only)
            for rank, image in enumerate(self.images, 1)
        ]
        return pd.DataFrame(
            rows, columns=["rank", "image", "adds", "cumulative share", "covers alone"]
        )


@dataclass(frozen=True)
class ImportantNeuronFacts:
    """An important neuron of a layer, and the clusters of its activations in training.

    Attributes
    ----------
    neuron
        Its number in the layer, from 0.
    relevance, share
        Its relevance summed over the training images, and its share of the sum of the layer's
        positive relevance; None where there is no positive relevance.
    values, zeros, not_finite
        How many activations were clustered; how many were left out because they are exactly 0,
        and because they are not finite.
    centroids, borders
        Of the clusters, ascending; borders are the midpoints of neighbouring centroids.
    silhouettes
        The mean silhouette for each number of clusters that was tried.
    low, high
        The smallest and the largest activation that was clustered; None without any.
    histogram
        How many activations lie in each of equal intervals from `low` to `high`.
    """

    neuron: int
    relevance: float
    share: float | None
    values: int
    zeros: int
    not_finite: int
    centroids: tuple[float, ...]
    borders: tuple[float, ...]
    silhouettes: Mapping[str, float]
    low: float | None
    high: float | None
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class CombinationFacts:
    """The combinations of clusters of the first `m` important neurons that the suite covers.

    `missing` has the first of those that it lacks: the number of a cluster, from 1, of each of the
    m neurons. There are `combinations` - `covered` of them in all.
    """

    m: int
    covered: int
    combinations: int
    missing: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ImportantLayerFacts:
    """The important neurons of a layer, the most relevant first, and their combinations."""

    layer: str
    neurons: tuple[ImportantNeuronFacts, ...]
    combinations: tuple[CombinationFacts, ...]


@dataclass(frozen=True)
class GateOutcome:
    """What became of one gate: a limit that the result had to keep.

    Attributes
    ----------
    gate
        The gate as its author wrote it, such as ``nc/channel >= 30%``.
    metric
        The id of a table, such as ``"nc"`` (of ``"lsa"``, ``"dsa"`` and ``"mdsa"`` the most
        surprising image), or what else a gate can look at: ``"dead-channels"``,
        ``"skipped-images"``, ``"parity"``; of two models ``"agreement"``, ``"difference"`` and
        ``"relative-difference"``.
    view
        The neuron view, where the metric has one.
    layers
        The pattern of layer names, each of which must keep the limit; None for the whole model.
    kind
        How to print the three numbers, as of a `Column`.
    comparison, limit
        The value must be ``at least`` or ``at most`` this. A limit relative to a baseline is the
        number that follows from it, or None if none could be found.
    baseline
        The value in the baseline, if the gate compares with one.
    value
        The value; of several layers the worst. None where it could not be computed.
    passed
        Judged on exact numbers, before any rounding. What could not be computed has not passed.
    text
        One sentence that says it all to a person; it names the layers that fall short.
    origin
        Where the gate was written: ``command line``, ``Python``, or the name of a file.
    """

    gate: str
    metric: str
    view: View | None
    layers: str | None
    kind: Literal["count", "ratio", "value"]
    comparison: Literal["at least", "at most"]
    limit: float | None
    baseline: float | None
    value: float | None
    passed: bool
    text: str
    origin: str


@dataclass(frozen=True)
class Result:
    """Everything that an analysis found.

    `firing[i][c]` counts the images on which channel `c` of layer `i` fired: at least one of its
    units was above zero. A channel that never fired is dead for this suite. `profile` says what the
    metrics that need training images were measured against, `importance` which neurons of its
    layers are important, and which combinations of their clusters the images cover and lack.
    `subset` are the images that suffice for the same coverage, if they were asked for.
    `relevance` is None where none was computed; a note says why, unless it was not asked for.
    `gates` are the limits that the result was judged by, and what became of each.
    """

    model: ModelFacts
    run: RunFacts
    images: ImageFacts
    preprocessing: tuple[PreprocessingField, ...]
    layers: tuple[LayerFacts, ...]
    tables: tuple[Table, ...]
    firing: tuple[tuple[int, ...], ...]
    featured: tuple[FeaturedImage, ...] = ()
    notes: tuple[Note, ...] = ()
    profile: ProfileFacts | None = None
    subset: SubsetFacts | None = None
    importance: tuple[ImportantLayerFacts, ...] = ()
    relevance: RelevanceFacts | None = None
    gates: tuple[GateOutcome, ...] = ()
    format_version: int = field(default=FORMAT_VERSION)

    def table(self, metric: str, view: View = "unit") -> Table:
        """Return the table of `metric` (such as ``"nc"``) in the neuron view.

        Raises
        ------
        KeyError
            If the result has no such table; the message lists those it has.
        """
        for table in self.tables:
            if table.metric == metric and table.view == view:
                return table
        known = ", ".join(sorted({f"{table.metric}/{table.view}" for table in self.tables}))
        raise KeyError(f"no table {metric}/{view} in this result; it has {known}")

    def frame(self, metric: str, view: View = "unit") -> pd.DataFrame:
        """Return the table of `metric` as a DataFrame, one row for each layer."""
        return self.table(metric, view).to_frame()

    def summary(self) -> pd.DataFrame:
        """Return one row for each table that has a coverage: metric, view, title, coverage."""
        import pandas as pd

        rows = [
            (table.metric, table.view, table.title, table.coverage)
            for table in self.tables
            if table.coverage is not None
        ]
        return pd.DataFrame(rows, columns=["metric", "view", "title", "coverage"])

    def dead_channels(self) -> dict[str, tuple[int, ...]]:
        """Return, for each layer that has any, the channels that fired on no image."""
        dead = {
            layer.name: tuple(channel for channel, count in enumerate(counts) if count == 0)
            for layer, counts in zip(self.layers, self.firing, strict=True)
        }
        return {name: channels for name, channels in dead.items() if channels}

    @property
    def passed(self) -> bool:
        """Whether every gate that the result was judged by has passed."""
        return all(outcome.passed for outcome in self.gates)

    def judged(
        self,
        gates: str | Mapping[str, Any] | Sequence[str | Gate],
        baseline: Result | str | Path | None = None,
    ) -> Result:
        """Return the result judged by gates; their outcomes are its `gates`.

        Parameters
        ----------
        gates
            ``"nc=30%,kmnc/channel=45%"``, a list of such, or a mapping as the table ``gates`` of a
            configuration file: ``{"nc": {"layers": "conv*", "min": 0.3, "max-drop": 0.02}}``.
        baseline : Result or path, optional
            An earlier result, for the gates that limit a change.

        Raises
        ------
        UsageError
            If a gate is not written as one, or the baseline cannot be read.
        """
        from cleanai_onnx.report import read
        from cleanai_onnx.validation import gates_of, judge

        wanted = gates_of(gates)
        old = read(baseline) if isinstance(baseline, str | Path) else baseline
        return replace(self, gates=judge(self, wanted, old))

    def to_json(self, path: str | Path) -> Path:
        """Write the result as JSON (atomically) and return the path."""
        from cleanai_onnx.report import write

        return write(self, "json", path)

    def to_pdf(self, path: str | Path) -> Path:
        """Write the report as PDF (atomically) and return the path."""
        from cleanai_onnx.report import write

        return write(self, "pdf", path)

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one HTML file (atomically) and return the path."""
        from cleanai_onnx.report import write

        return write(self, "html", path)
