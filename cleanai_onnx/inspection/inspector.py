"""The pass: a model runs over the images once, and all measures are fed from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from cleanai_onnx import coverage, inputs, runtime
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inspection.claims import claims_of, columns_of
from cleanai_onnx.inspection.evidence import Evidence, Scored, claims_for, score
from cleanai_onnx.inspection.exciting import Exciting
from cleanai_onnx.inspection.hypotheses import Hypothesis, Masks, Seen
from cleanai_onnx.inspection.kept import KeptValues
from cleanai_onnx.inspection.measure import (
    LayerMeasure,
    MapMeasure,
    Measure,
    MomentMeasure,
    OrderMeasure,
    Settings,
)
from cleanai_onnx.inspection.moments import CrossMoments
from cleanai_onnx.inspection.overlap import Overlaps, shares_of
from cleanai_onnx.inspection.result import AffinityTable, ModelInspection, map_size
from cleanai_onnx.inspection.scores import Confidence
from cleanai_onnx.inspection.stopping import Stopping
from cleanai_onnx.profiles.learning import chosen_layers
from cleanai_onnx.profiles.profile import channel_columns
from cleanai_onnx.profiles.sample import image_keys
from cleanai_onnx.provenance import RunRecord, device_name
from cleanai_onnx.result import LayerFacts, PreprocessingField, View
from cleanai_onnx.runner import Runner, is_whole, unit_matrix

if TYPE_CHECKING:
    from cleanai_onnx import graph
    from cleanai_onnx.graph import ModelProto

__all__ = ["Inspector"]

Floats: TypeAlias = npt.NDArray[np.float64]

BLOCK = 64
"""Images whose values are added to the statistics at once."""
EXCITING = 6
"""Images that are kept for each neuron."""


@dataclass(frozen=True)
class _Needs:
    """Which statistics the measures want."""

    moments: bool
    kept: bool
    maps: bool


class Inspector:
    """Measures which hypotheses the neurons of a model encode, batch by batch.

    Parameters
    ----------
    model, taps, input_name, input_values, device, batch_size, threads
        As for `cleanai_onnx.Analyzer`.
    hypotheses : sequence of Hypothesis
    measures : sequence of Measure
        See `cleanai_onnx.inspection.MEASURES`.
    layers : sequence of str
        The layers whose neurons are measured: ``"all"``, ``"last-hidden"``, names, or patterns.
    units : {"channel", "unit"}
        What counts as a neuron.
    error : float
        Stop once all scores are within this distance of those on all images; 0: see all images.
        The images must then come in random order.
    min_inputs : int
        How many images to see at least before.
    keep : int
        The values of at most so many images are kept for measures of order and fits.
    settings : Settings
        Of the measures.

    Raises
    ------
    ModelError
        If the model cannot be used.
    UsageError
        If an option cannot be used.
    """

    def __init__(
        self,
        model: str | Path | bytes | ModelProto,
        hypotheses: Sequence[Hypothesis],
        measures: Sequence[Measure],
        *,
        layers: Sequence[str] = ("all",),
        units: View = "channel",
        error: float = 0.0,
        min_inputs: int = 256,
        keep: int = 10_000,
        settings: Settings | None = None,
        taps: Sequence[str] = ("activations",),
        input_name: str | None = None,
        input_values: Mapping[str, str] | None = None,
        device: runtime.Device = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        if units not in get_args(View):
            raise UsageError(f"--view must be channel or unit, not {units!r}.")
        for flag, count in (("--min-inputs", min_inputs), ("--keep", keep)):
            if not is_whole(count, 2):
                raise UsageError(f"{flag} must be a whole number of at least 2, not {count!r}.")
        if not 0 <= error < np.inf:
            raise UsageError(f"--error must not be negative, not {error!r}.")
        self.record = RunRecord()
        self.hypotheses = tuple(hypotheses)
        self.claims = claims_of(self.hypotheses)
        self.measures = tuple(one for one in measures if claims_for(one, self.claims))
        if not self.measures:
            kinds = ", ".join(sorted({one.kind for one in self.hypotheses}))
            raise UsageError(f"none of the measures takes hypotheses of this kind ({kinds}).")
        self._wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        self._view: View = units
        self._error, self._least, self._capacity = float(error), min_inputs, keep
        self._settings = settings or Settings()
        self._needs = _Needs(
            any(isinstance(one, MomentMeasure) for one in self.measures),
            any(isinstance(one, OrderMeasure | LayerMeasure) for one in self.measures),
            any(isinstance(one, MapMeasure) for one in self.measures),
        )
        self._runner = Runner(
            model,
            taps=taps,
            input_name=input_name,
            input_values=input_values,
            device=device,
            batch_size=batch_size,
            threads=threads,
            record=self.record,
        )
        self.image_input = self._runner.image_input
        self.preprocessing: inputs.Preprocessing | inputs.Unchanged | None = None
        self.fields: Sequence[PreprocessingField] = ()
        self.suite: inputs.Suite | None = None
        self.inputs = 0
        self.enough = False
        self._most: int | None = None
        self._kept: KeptValues | None = None
        self._waiting: list[tuple[npt.NDArray[np.float32], Floats, npt.NDArray[np.int64]]] = []
        self._keys: list[npt.NDArray[np.uint64]] = []

    @property
    def model(self) -> graph.Model:
        """The model that is run."""
        return self._runner.model

    @property
    def stops_early(self) -> bool:
        """Whether it may be satisfied before the last image; they must be in random order then."""
        return self._error > 0

    @property
    def batch_size(self) -> int:
        """How many inputs are run at once; 0 before `prepare`."""
        return self._runner.batch_size

    def prepare(self, item_shape: Sequence[int], most: int | None = None) -> None:
        """Choose the batch size and find the taps; see `cleanai_onnx.runner.Runner.prepare`."""
        self._most = most
        self._runner.prepare(item_shape, most)

    def start(self) -> None:
        """Make the session and empty statistics. Called by the first `update` if not before."""
        self._runner.start()
        every = self._runner.layers
        outputs = {value.name for value in self.model.proto.graph.output}
        names = chosen_layers(self._wanted, every, outputs)
        self._taken = [place for place, layer in enumerate(every) if layer.name in names]
        self.layers = tuple(every[place] for place in self._taken)
        self._channels = channel_columns(every)
        sizes = [layer.size(self._view) for layer in self.layers]
        ends = np.cumsum(sizes).tolist()
        self._ranges = [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        neurons = ends[-1]
        self._linear = [
            number for number, one in enumerate(self.claims) if one.kind in ("binary", "numeric")
        ]
        self._masks = [one for one in self.hypotheses if isinstance(one, Masks)]
        mapped = [place for place, one in enumerate(self.layers) if map_size(one) is not None]
        if not (self._needs.maps and self._view == "channel"):
            mapped = []
        self._check_memory(neurons, mapped)
        self._moments = CrossMoments.none(neurons, len(self._linear))
        self._exciting = Exciting.none(neurons, EXCITING)
        self._overlaps = {
            place: Overlaps.none(self.layers[place].channels, len(self._masks)) for place in mapped
        }
        if self._needs.kept:
            self._kept = KeptValues(neurons, len(self.hypotheses), self._capacity)
        self._stopping = Stopping(self._error, self._least, self._most)
        self._look = self._stopping.first_look()

    def _check_memory(self, neurons: int, mapped: Sequence[int]) -> None:
        # Twice for what merging needs besides, and the values of a block.
        needed = 2 * 8 * neurons * (len(self._linear) + 4) + 12 * neurons * (EXCITING + BLOCK)
        needed += sum(
            2 * Overlaps.bytes_for(self.layers[place].channels, len(self._masks))
            for place in mapped
        )
        room = runtime.available_memory()
        if needed > room:
            raise UsageError(
                f"the statistics of {neurons:,} neurons and {len(self.claims):,} claims take "
                f"{needed / 2**30:.1f} GiB of memory, and {room / 2**30:.1f} GiB are left: choose "
                "fewer layers with --layers, or fewer hypotheses."
            )

    def update(
        self, batch: Any, names: Sequence[str] | None = None, indexes: Sequence[int] | None = None
    ) -> None:
        """Measure inputs as the model takes them.

        Parameters
        ----------
        batch : array
            ``(n, ...)``, preprocessed; any n.
        names : sequence of str, optional
            What the inputs are called; numbers from 0 by default.
        indexes : sequence of int, optional
            Where they lie in the suite; their numbers by default.

        Raises
        ------
        ImageError
            If the batch does not have the shape or the type that the model takes.
        ModelError
            If the model fails when it is run.
        """
        data = self._runner.ready_for(batch)
        if not self._runner.started:
            self.start()
        first = self.inputs
        places = range(first, first + len(data)) if indexes is None else indexes
        called = [str(place) for place in places] if names is None else names
        for start in range(0, len(data), self.batch_size):
            rows = slice(start, start + self.batch_size)
            self._take(data[rows], called[rows], list(places[rows]))
        if self._look is not None and self.inputs >= self._look:
            self._flush()
            self._look_whether_enough()

    def _take(self, data: npt.NDArray[Any], names: Sequence[str], indexes: list[int]) -> None:
        ran = self._runner.run(data)
        how = self.preprocessing or inputs.Unchanged(tuple(data.shape[1:]), str(data.dtype))
        seen = Seen(data, names, how, self.suite, indexes)
        with self.record.phase("hypotheses"):
            pixels = {one.name: one.pixels(seen) for one in self._masks}
            values = np.stack(
                [
                    one.presence(pixels[one.name]) if isinstance(one, Masks) else one.values(seen)
                    for one in self.hypotheses
                ],
                axis=1,
            )
            if self._kept is not None and (self._most is None or self._most > self._capacity):
                self._keys.append(image_keys(data))
        with self.record.phase("channels"), runtime.on_device(self._runner.jax_device):
            self._waiting.append((self._neurons(ran), values, np.asarray(indexes, np.int64)))
        if self._overlaps:
            with self.record.phase("maps"):
                self._add_maps(ran.activations, [pixels[one.name] for one in self._masks])
        self.inputs += len(data)
        if sum(len(block) for block, _, _ in self._waiting) >= BLOCK:
            self._flush()

    def _neurons(self, ran: Any) -> npt.NDArray[np.float32]:
        """Return the values of the chosen neurons, ``(valid, N)``."""
        every = self._runner.layers
        if self._view == "unit":
            chosen = ran._replace(activations=[ran.activations[place] for place in self._taken])
            return unit_matrix(chosen)
        values = coverage.channel_matrix(
            every,
            coverage.channel_values(every, ran.activations, coverage.Parameters()),
            ran.valid,
        )
        if len(self._taken) == len(every):
            return values
        return np.concatenate([values[:, self._channels[place]] for place in self._taken], axis=1)

    def _add_maps(
        self, activations: Sequence[Any], pixels: Sequence[npt.NDArray[np.float32]]
    ) -> None:
        shares: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
        for place, overlaps in self._overlaps.items():
            layer = self.layers[place]
            grid = map_size(layer)
            assert grid is not None
            if grid not in shares:
                shares[grid] = np.stack([shares_of(one, grid) for one in pixels])
            valid = len(pixels[0])
            values = np.asarray(activations[self._taken[place]])[:valid]
            overlaps.add(maps_of(values, layer), shares[grid])

    def _flush(self) -> None:
        """Add the values that wait to the statistics."""
        if not self._waiting:
            return
        values, hypotheses, indexes = (
            np.concatenate(parts) for parts in zip(*self._waiting, strict=True)
        )
        self._waiting.clear()
        with self.record.phase("statistics"):
            if self._needs.moments:
                columns = columns_of(self.claims, hypotheses)[:, self._linear]
                self._moments = self._moments.merged(CrossMoments.of(values, columns))
            self._exciting = self._exciting.with_block(values, indexes)
            if self._kept is not None:
                keys = np.concatenate(self._keys) if self._keys else None
                self._keys.clear()
                self._kept.add(values, hypotheses, keys)

    def _look_whether_enough(self) -> None:
        with self.record.phase("early stopping"):
            count = sum(
                len(claims_for(one, self.claims))
                * (len(self.layers) if isinstance(one, LayerMeasure) else self._ranges[-1].stop)
                for one in self.measures
            )
            confidence = self._stopping.confidence(count)
            self.enough = self._stopping.satisfied(self._scored(confidence))
        self._look = self._stopping.next_look(self.inputs)

    def _scored(self, confidence: Confidence) -> tuple[Scored, ...]:
        evidence = Evidence(
            self.claims,
            self._ranges,
            self._moments if self._needs.moments else None,
            self._linear,
            self._kept,
            self._overlaps,
        )
        return score(evidence, self.measures, confidence, self._settings)

    def result(self) -> ModelInspection:
        """Return the scores of all that was seen; the values that were kept are removed.

        Raises
        ------
        ImageError
            If nothing was seen.
        """
        if not self.inputs:
            raise ImageError("nothing was inspected: update() was not called.")
        self._flush()
        with self.record.phase("scores"):
            scored = self._scored(Confidence())
        kept = None if self._kept is None else len(self._kept)
        self.close()
        return ModelInspection(
            model=self.model.name,
            sha256=self.model.sha256,
            layers=self.layers,
            view=self._view,
            claims=self.claims,
            tables=tuple(
                AffinityTable(
                    one.measure.id,
                    tuple(one.claims),
                    isinstance(one.measure, LayerMeasure),
                    one.scores,
                    one.measure.signed,
                )
                for one in scored
            ),
            exciting=self._exciting,
            inputs=self.inputs,
            kept=kept,
            stopped=self.enough,
            error=self._error,
            run=self.record.facts(
                device_name(self._runner.session.device, self._runner.jax_device),
                self._runner.session.provider,
                self.batch_size,
                self._runner.options,
                self.fields,
            ),
        )

    def maps(self, batch: npt.NDArray[Any], layer: int) -> npt.NDArray[np.float32] | None:
        """Return the maps of one of `layers` for a batch: ``(B, C, h, w)``; None if it has none."""
        if map_size(self.layers[layer]) is None or self._view != "channel":
            return None
        ran = self._runner.run(batch)
        values = np.asarray(ran.activations[self._taken[layer]])[: len(batch)]
        return maps_of(values, self.layers[layer]).copy()

    def close(self) -> None:
        """Remove the values that were kept."""
        if self._kept is not None:
            self._kept.close()


def maps_of(values: npt.NDArray[np.float32], layer: LayerFacts) -> npt.NDArray[np.float32]:
    """Return the activations of a layer as ``(B, channels, height, width)``."""
    shaped = values.reshape(len(values), *layer.shape)
    return np.moveaxis(shaped, layer.channel_axis + 1, 1)
