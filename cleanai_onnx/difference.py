"""What differs between two results, or two models: data only, as the result itself is.

`cleanai_onnx.validation` finds it, and the reports show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cleanai_onnx.result import GateOutcome, Note, SkippedImage, View

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FORMAT_VERSION",
    "ChannelChange",
    "Comparison",
    "Difference",
    "Disagreement",
    "LayerChange",
    "LayerPair",
    "MetricChange",
    "OutputAgreement",
    "SettingChange",
    "Side",
]

FORMAT_VERSION = 1
"""Version of the JSON form."""


@dataclass(frozen=True)
class Side:
    """One of two results: of which model, when, and over how many images of which source."""

    model: str
    file: str
    sha256: str
    images: int
    source: str
    run: str
    started: str
    tool_version: str


@dataclass(frozen=True)
class SettingChange:
    """A setting that the two results do not share, its values in words; `name` says which."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class LayerPair:
    """A layer of the old model and the one of the new model that it is compared with.

    `by` says what they have in common: the tensor's name (without what a quantiser appends), the
    module's path that the exporter left, or only their place among the layers that have neither.
    `title` is what to call them: the path, where one of them has it, else the name.
    """

    old: str
    new: str
    by: Literal["name", "label", "position"]
    title: str


@dataclass(frozen=True)
class MetricChange:
    """A number of the whole model in both results.

    Attributes
    ----------
    metric, view, kind
        The metric's id (``mnc`` with its interval), its neuron view, and how to print the numbers.
    old, new
        The numbers; None where a result has none.
    change
        ``new - old`` where both are there and are measured alike.
    differs
        Why they are not: parameters of the metric that are not the same, in words.
    """

    metric: str
    view: View
    kind: Literal["ratio", "value"]
    old: float | None
    new: float | None
    change: float | None
    differs: str = ""


@dataclass(frozen=True)
class LayerChange:
    """The same of one layer, or of one row of the table if a layer has several."""

    metric: str
    view: View
    kind: Literal["ratio", "value"]
    layer: str
    old_layer: str
    old: float | None
    new: float | None
    change: float | None


@dataclass(frozen=True)
class ChannelChange:
    """Channels of a layer that never fired in one result, and did in the other."""

    layer: str
    old_layer: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """Two results side by side.

    Attributes
    ----------
    old, new
        What they are of.
    settings
        What was not the same, besides the model and the images.
    metrics, layers
        Every number, of the model and of the layers that correspond.
    pairs
        The layers that correspond; `only_old` and `only_new` have no counterpart.
    silenced, awakened
        Channels that never fire any more, and those that fire now; only of layers that correspond
        and have as many channels in both.
    """

    old: Side
    new: Side
    settings: tuple[SettingChange, ...]
    metrics: tuple[MetricChange, ...]
    layers: tuple[LayerChange, ...]
    pairs: tuple[LayerPair, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    silenced: tuple[ChannelChange, ...]
    awakened: tuple[ChannelChange, ...]
    format_version: int = FORMAT_VERSION

    @property
    def same_model(self) -> bool:
        """Whether both results are of the same file."""
        return self.old.sha256 == self.new.sha256

    @property
    def titles(self) -> dict[str, str]:
        """What to call a layer of the new model that has a counterpart, by its name."""
        return {pair.new: pair.title for pair in self.pairs}

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each metric: metric, view, old, new, change."""
        import pandas as pd

        rows = [(one.metric, one.view, one.old, one.new, one.change) for one in self.metrics]
        return pd.DataFrame(rows, columns=["metric", "view", "old", "new", "change"])


@dataclass(frozen=True)
class OutputAgreement:
    """How far the first outputs of two models are from each other, over the same images.

    A difference of an image is the largest absolute difference of its output values; a relative one
    is that over the largest absolute value of the old model's output for the image.

    Attributes
    ----------
    old, new
        Names of the outputs.
    shape
        Of one output, the same in both.
    images
        How many images were compared; `not_finite` of them have an output that is not a number, or
        infinite where the other is not.
    classes
        How many classes there are to choose from; None where the output is one value, or a map.
    agreeing
        On how many images both have the same arg max; None without classes. An output with a value
        that is not a number has none.
    maximum, maximum_image
        The largest difference, and the image that has it; None where no image has a finite one.
    relative, relative_image
        The same of the relative difference.
    mean
        The mean of the images' differences.
    magnitude
        The largest absolute value of the old model's outputs.
    """

    old: str
    new: str
    shape: tuple[int, ...]
    images: int
    not_finite: int
    classes: int | None
    agreeing: int | None
    maximum: float | None
    maximum_image: str
    relative: float | None
    relative_image: str
    mean: float | None
    magnitude: float


@dataclass(frozen=True)
class Disagreement:
    """An image on which two models disagree most.

    `difference` and `relative` are None where they are not finite; `thumbnail` is a small PNG file.
    """

    path: str
    index: int
    old_class: int | None
    new_class: int | None
    difference: float | None
    relative: float | None
    thumbnail: bytes | None = None


@dataclass(frozen=True)
class Comparison:
    """Two models over the same images.

    Attributes
    ----------
    difference
        What was measured in both, side by side; `old` is the first model.
    outputs
        None where the outputs cannot be compared; `outputs_remark` says why.
    disagreements
        The images on which they disagree most: first where an output is not finite, then where the
        classes differ, and among these where the relative difference is large.
    found, skipped
        How many images there are, and which could not be used by one model or by both.
    decoded_once
        Whether both models take the same input, so that each image was decoded once.
    device
        On which device both ran.
    seconds
        How long it took.
    per_image_table
        The file with a row for each image, if there is one.
    notes
        Of the analyses of the old model and of the new one.
    gates
        The limits by which the new model was judged, the old one being the baseline.
    """

    difference: Difference
    outputs: OutputAgreement | None
    outputs_remark: str
    disagreements: tuple[Disagreement, ...]
    found: int
    skipped: tuple[SkippedImage, ...]
    decoded_once: bool
    device: str
    seconds: float
    per_image_table: str | None = None
    notes: tuple[Note, ...] = ()
    gates: tuple[GateOutcome, ...] = ()
    format_version: int = FORMAT_VERSION

    @property
    def passed(self) -> bool:
        """Whether every gate has passed."""
        return all(outcome.passed for outcome in self.gates)
