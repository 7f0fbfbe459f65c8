"""The pass: a model runs over the images once, and all measures are fed from it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from cleanai_onnx import coverage, inputs, runtime
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inspection.claims import claims_of
from cleanai_onnx.inspection.evidence import Scored, claims_for, score
from cleanai_onnx.inspection.gathering import Gathering, maps_of
from cleanai_onnx.inspection.hypotheses import Hypothesis, Masks, Seen
from cleanai_onnx.inspection.measure import (
    LayerMeasure,
    MapMeasure,
    Measure,
    Settings,
)
from cleanai_onnx.inspection.result import AffinityTable, ModelInspection, map_size
from cleanai_onnx.inspection.scores import Confidence
from cleanai_onnx.inspection.stopping import Stopping
from cleanai_onnx.measuring.runner import Runner, is_whole, unit_matrix
from cleanai_onnx.profiles.learning import chosen_layers
from cleanai_onnx.profiles.profile import channel_columns
from cleanai_onnx.provenance import RunRecord, device_name
from cleanai_onnx.result import LayerFacts, PreprocessingField, View

if TYPE_CHECKING:
    from cleanai_onnx import graph
    from cleanai_onnx.graph import ModelProto

__all__ = ["Inspector"]

Floats: TypeAlias = npt.NDArray[np.float64]


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

    Attributes
    ----------
    population : int or None
        How many images the suite has of which those that come are a part; None if they are all.
    further_options : mapping
        What the report says of the run besides.

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
        for flag, number in (("--min-inputs", min_inputs), ("--keep", keep)):
            if not is_whole(number, 2):
                raise UsageError(f"{flag} must be a whole number of at least 2, not {number!r}.")
        if not 0 <= error < np.inf:
            raise UsageError(f"--error must not be negative, not {error!r}.")
        self.record = RunRecord()
        self.hypotheses = tuple(hypotheses)
        self.claims = claims_of(self.hypotheses)
        self.measures = tuple(
            one
            for one in measures
            # A single unit has no map.
            if claims_for(one, self.claims)
            and not (units == "unit" and isinstance(one, MapMeasure))
        )
        if not self.measures:
            kinds = ", ".join(sorted({one.kind for one in self.hypotheses}))
            raise UsageError(f"none of the measures takes hypotheses of this kind ({kinds}).")
        self._wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        self._view: View = units
        self._error, self._least, self._capacity = float(error), min_inputs, keep
        self._settings = settings or Settings()
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
        self.population: int | None = None
        self.further_options: Mapping[str, Any] = {}
        self.inputs = 0
        self.enough = False
        self._most: int | None = None
        self._masks = [one for one in self.hypotheses if isinstance(one, Masks)]
        self._gathering: Gathering | None = None

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
        """Choose the batch size and find the taps: `cleanai_onnx.measuring.runner.Runner`."""
        self._most = most
        self._runner.prepare(item_shape, most)

    def start(self) -> None:
        """Make the session and empty statistics. Called by the first `update` if not before."""
        self._runner.start()
        every = self._runner.layers
        outputs = {value.name for value in self.model.proto.graph.output}
        names = chosen_layers(self._wanted, every, outputs)
        self._taken = [place for place, layer in enumerate(every) if layer.name in names]
        self._channels = channel_columns(every)
        session = self._runner.session
        self._ran_on = device_name(session.device, self._runner.jax_device), session.provider
        if self._gathering is None:
            self._begin(tuple(every[place] for place in self._taken))

    def _begin(self, layers: tuple[LayerFacts, ...]) -> Gathering:
        self.layers = layers
        self._gathering = Gathering(
            self.claims,
            self.measures,
            len(self._masks),
            layers,
            self._view,
            self._capacity,
            self._most if self.population is None else self.population,
        )
        self._stopping = Stopping(self._error, self._least, self._most)
        self._look = self._stopping.first_look()
        return self._gathering

    def write(self, stream: IO[bytes]) -> None:
        """Write what was gathered, for `merge` in another process; `population` was set before."""
        gathering = self._seen()
        head = self.inputs, self.layers, self._ran_on
        pickle.dump(head, stream, pickle.HIGHEST_PROTOCOL)
        gathering.write(stream)

    def merge(self, stream: IO[bytes], first: int) -> None:
        """Add what the inspector of a part of the suite has written, instead of `update`.

        It reads what only this program has written: pickle would run what another has.

        Parameters
        ----------
        stream
        first
            Where the first image of the part lies in the suite.
        """
        inputs, layers, self._ran_on = pickle.load(stream)
        gathering = self._gathering or self._begin(layers)
        gathering.merge(stream, first)
        self.inputs += inputs

    def _seen(self) -> Gathering:
        if self._gathering is None or not self.inputs:
            raise ImageError("nothing was inspected: update() was not called.")
        return self._gathering

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
        # After the last image there is nothing left to stop.
        last = self._most is not None and self.inputs >= self._most
        if self._look is not None and self.inputs >= self._look and not last:
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
        with self.record.phase("channels"), runtime.on_device(self._runner.jax_device):
            neurons = self._neurons(ran)
        gathering = self._gathering
        assert gathering is not None
        with self.record.phase("statistics"):
            gathering.add(data, neurons, values, indexes)
        if gathering.mapped:
            with self.record.phase("maps"):
                activations = {
                    place: np.asarray(ran.activations[self._taken[place]])[: len(data)]
                    for place in gathering.mapped
                }
                gathering.add_maps(activations, [pixels[one.name] for one in self._masks])
        self.inputs += len(data)

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

    def _look_whether_enough(self) -> None:
        with self.record.phase("early stopping"):
            neurons = sum(layer.size(self._view) for layer in self.layers)
            scores = sum(
                len(claims_for(one, self.claims))
                * (len(self.layers) if isinstance(one, LayerMeasure) else neurons)
                for one in self.measures
            )
            confidence = self._stopping.confidence(scores)
            self.enough = self._stopping.satisfied(self._scored(confidence))
        self._look = self._stopping.next_look(self.inputs)

    def _scored(
        self, confidence: Confidence, done: Callable[[], None] = lambda: None
    ) -> tuple[Scored, ...]:
        assert self._gathering is not None
        evidence = self._gathering.evidence()
        return score(evidence, self.measures, confidence, self._settings, done)

    @property
    def fits_layers(self) -> bool:
        """Whether there are joint measures, whose fits may take long."""
        return any(isinstance(one, LayerMeasure) for one in self.measures)

    def result(
        self, progress: Callable[[int], Callable[[int], None]] | None = None
    ) -> ModelInspection:
        """Return the scores of all that was seen; the values that were kept are removed.

        Parameters
        ----------
        progress : callable, optional
            Called with the number of fits if there are any; what it returns is called with how
            many are done.

        Raises
        ------
        ImageError
            If nothing was seen.
        """
        gathering = self._seen()
        with self.record.phase("scores"):
            scored = self._scored(Confidence(), self._counting(progress))
        kept = None if gathering.kept is None else len(gathering.kept)
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
            exciting=gathering.exciting,
            inputs=self.inputs,
            kept=kept,
            stopped=self.enough,
            error=self._error,
            run=self.record.facts(
                *self._ran_on,
                self.batch_size,
                {**self._runner.options, **self.further_options},
                self.fields,
            ),
        )

    def _counting(
        self, progress: Callable[[int], Callable[[int], None]] | None
    ) -> Callable[[], None]:
        if progress is None or not self.fits_layers:
            return lambda: None
        joint = [one for one in self.measures if isinstance(one, LayerMeasure)]
        report, counter = progress(len(joint) * len(self.layers)), count(1)
        return lambda: report(next(counter))

    def maps(self, batch: npt.NDArray[Any], layer: int) -> npt.NDArray[np.float32] | None:
        """Return the maps of one of `layers` for a batch: ``(B, C, h, w)``; None if it has none."""
        if map_size(self.layers[layer]) is None or self._view != "channel":
            return None
        if not self._runner.started:
            self.start()
        ran = self._runner.run(batch)
        values = np.asarray(ran.activations[self._taken[layer]])[: len(batch)]
        return maps_of(values, self.layers[layer]).copy()

    def close(self) -> None:
        """Remove the values that were kept."""
        if self._gathering is not None:
            self._gathering.close()
