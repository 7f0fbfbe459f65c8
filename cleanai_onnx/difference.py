"""What differs between two results: data only, as the result itself is.

`cleanai_onnx.validation` finds it, and the reports show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cleanai_onnx.result import View

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FORMAT_VERSION",
    "ChannelChange",
    "Difference",
    "LayerChange",
    "LayerPair",
    "MetricChange",
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

    `by` says what they have in common: the tensor's name, the module's path that the exporter left,
    or only their place among the layers that have neither.
    """

    old: str
    new: str
    by: Literal["name", "label", "position"]


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

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each metric: metric, view, old, new, change."""
        import pandas as pd

        rows = [(one.metric, one.view, one.old, one.new, one.change) for one in self.metrics]
        return pd.DataFrame(rows, columns=["metric", "view", "old", "new", "change"])
