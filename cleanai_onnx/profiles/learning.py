"""Learning: one pass over the training images, and a profile is known.

One pass suffices for everything. What the important neurons of Importance-Driven Coverage are is
known only at its end, and their clusters need their activations; those are read from the traces,
which are kept for all images, or for a uniform sample of them where there are more than
`traces` (see `cleanai_onnx.profiles.sample`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from cleanai_onnx import coverage, graph, runtime
from cleanai_onnx.container import UnfitError, array_in, arrays_in, list_in, whole_in
from cleanai_onnx.errors import CleanAIError, ImageError, UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.measuring.runner import Runner, is_whole
from cleanai_onnx.profiles.moments import Moments
from cleanai_onnx.profiles.profile import Profile, Relevance, channel_columns
from cleanai_onnx.profiles.sample import UNLABELLED, Sample, Sampler, image_keys
from cleanai_onnx.profiles.unit_moments import UNIT_BYTES, UnitMoments
from cleanai_onnx.provenance import RunRecord, versions
from cleanai_onnx.result import LayerFacts, PreprocessingField, ProfileFacts, View

if TYPE_CHECKING:
    from cleanai_onnx.graph import ModelProto
    from cleanai_onnx.relevance import Explainer

__all__ = ["LAST_HIDDEN", "TRACES", "Profiler"]

LAST_HIDDEN = "last-hidden"
"""Stands for the last layer that is not the model's output."""
TRACES = 10_000
"""The traces of so many images are kept, by default."""
NO_LABELS = "none"
AUTHORS_RULES = "deepimportance-2020"
"""Relevance as in the code of the authors of Importance-Driven Coverage: LRP-0, which only keeps
from dividing by 0, through a network whose convolutions have no ReLU, from the class that this
network predicts."""
_AUTHORS_EPSILON = 1e-12


class Profiler:
    """Learns the profile of a model from training images, batch by batch.

    Parameters
    ----------
    model, taps, input_name, input_values, device, batch_size, threads
        As for `cleanai_onnx.Analyzer`.
    view : {"channel", "unit"}
        The neurons whose extrema and moments are learnt.
    layers : sequence of str
        The layers whose traces are kept and whose relevance is summed: ``"last-hidden"``,
        ``"all"``, names, or patterns of names.
    traces : int
        Keep the traces of so many images, chosen by their content (see `Sample`).
    composite : str
        The rules of the relevance: ``"epsilon"`` as in the paper on Importance-Driven Coverage, or
        another of `cleanai_onnx.relevance.COMPOSITES`; `AUTHORS_RULES` as in its authors' code;
        ``"none"`` sums no relevance.
    labelled : bool
        Whether images come with labels. Then relevance is summed over those that the model
        classifies as they are labelled, otherwise over all.

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
        *,
        taps: Sequence[str] = ("activations",),
        view: View = "channel",
        layers: Sequence[str] = (LAST_HIDDEN,),
        traces: int = TRACES,
        composite: str = "epsilon",
        labelled: bool = False,
        input_name: str | None = None,
        input_values: Mapping[str, str] | None = None,
        device: runtime.Device = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        if view not in get_args(View):
            raise UsageError(f"--view must be channel or unit, not {view!r}.")
        if not is_whole(traces, 1):
            raise UsageError(f"--traces must be a whole number of at least 1, not {traces!r}.")
        self.record = RunRecord()
        self.labelled = labelled
        self._view: View = view
        self._wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        self._traces, self._composite = traces, composite
        self._runner = Runner(
            model,
            taps=taps,
            input_name=input_name,
            input_values=input_values,
            device=device,
            batch_size=batch_size,
            threads=threads,
            decide=True,
            unit_bytes=UNIT_BYTES if view == "unit" else 0,
            record=self.record,
        )
        self.image_input = self._runner.image_input
        self.inputs = 0
        self._labelled = self._correct = 0
        self._remarks: list[str] = []
        self._explainer: Explainer | None = None
        self._units: UnitMoments | None = None
        self._resumed: Mapping[str, Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options that the profile depends on, as the command line names them."""
        return {
            **self._runner.options,
            "view": self._view,
            "layers": self._wanted,
            "traces": self._traces,
            "relevance-rules": self._composite,
        }

    @property
    def model(self) -> graph.Model:
        """The model that is run."""
        return self._runner.model

    @property
    def batch_size(self) -> int:
        """How many inputs are run at once; 0 before `prepare`."""
        return self._runner.batch_size

    @property
    def classes(self) -> int | None:
        """How many classes the model has, once it is started; None where it has none."""
        return self._runner.classes

    def prepare(self, item_shape: Sequence[int], most: int | None = None) -> None:
        """Choose the batch size and find the taps: `cleanai_onnx.measuring.runner.Runner`."""
        self._runner.prepare(item_shape, most)

    def start(self) -> None:
        """Make the session. Called by the first `update` if not before."""
        self._runner.start()
        layers = self._runner.layers
        self._moments = Moments.none(sum(layer.channels for layer in layers))
        if self._view == "unit":
            self._units = UnitMoments([layer.units for layer in layers])
        outputs = {value.name for value in self.model.proto.graph.output}
        self.traced = chosen_layers(self._wanted, layers, outputs)
        self._channels = channel_columns(layers)
        self._sampler = Sampler(self._traces, self._traced_channels())
        kinds = self.classes or 1
        self._explained = np.zeros(kinds, np.int64)
        self._sums = {
            layer.name: np.zeros((kinds, layer.channels)) for layer in self._traced_facts()
        }
        if self._composite != "none":
            self._explainer = self._make_explainer()
        if self._resumed is not None:
            self._restore(self._resumed)
            self._resumed = None

    def _traced_channels(self) -> dict[str, int]:
        return {layer.name: layer.channels for layer in self._traced_facts()}

    def _traced_facts(self) -> Iterator[LayerFacts]:
        return (layer for layer in self._runner.layers if layer.name in self.traced)

    def _make_explainer(self) -> Explainer:
        from cleanai_onnx.relevance import Explainer

        runner, model, composite = self._runner, self.model, self._composite
        parameters: dict[str, Any] = {}
        if composite == AUTHORS_RULES:
            model, composite = graph.without_convolution_relus(model), "epsilon"
            parameters = {"epsilon": _AUTHORS_EPSILON}
        return Explainer(
            model,
            composite=composite,
            layers=self.traced,
            input_name=self.image_input.name,
            input_values=runner.input_values,
            device=runner.wanted_device,
            batch_size=self.batch_size,
            threads=runner.threads,
            **parameters,
        )

    def update(
        self,
        batch: Any,
        labels: Sequence[int] | None = None,
    ) -> None:
        """Learn from inputs as the model takes them.

        Parameters
        ----------
        batch : array
            ``(n, ...)``, preprocessed; any n.
        labels : sequence of int, optional
            The true class of each input, `UNLABELLED` where it is not known.

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
        known = np.full(len(data), UNLABELLED) if labels is None else np.asarray(labels, np.int64)
        if known.shape != (len(data),):
            raise UsageError(f"{len(data)} inputs were given with {known.size} labels.")
        for first in range(0, len(data), self.batch_size):
            rows = slice(first, first + self.batch_size)
            self._learn(data[rows], known[rows])

    def _learn(self, data: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> None:
        ran = self._runner.run(data)
        layers = self._runner.layers
        with self.record.phase("profile"), runtime.on_device(self._runner.jax_device):
            channels = coverage.channel_values(layers, ran.activations, coverage.Parameters())
            if self._units is not None:
                self._units.add(ran.activations, ran.valid)
            # The compiled kernels are under way; a core that they leave idle can hash.
            keys = image_keys(data)
            values = coverage.channel_matrix(layers, channels, ran.valid)
            if self._units is None:
                self._moments = self._moments.merged(Moments.of(values))
            else:
                self._units.wait()
            classes = np.zeros(ran.valid, np.int64) if ran.classes is None else ran.classes
            traces = {
                # Copies: a view would keep the channels of all layers for as long as the trace.
                layer.name: values[:, columns].copy()
                for layer, columns in zip(layers, self._channels, strict=True)
                if layer.name in self.traced
            }
            self._sampler.add(keys, classes, labels, traces)
        self.inputs += ran.valid
        self._labelled += int((labels != UNLABELLED).sum())
        correct = (labels == classes) & (ran.classes is not None)
        self._correct += int(correct.sum())
        self._add_relevance(data, classes, correct if self.labelled else np.ones_like(correct))

    def _add_relevance(
        self,
        data: npt.NDArray[Any],
        classes: npt.NDArray[np.int64],
        wanted: npt.NDArray[np.bool_],
    ) -> None:
        if self._explainer is None or not wanted.any():
            return
        try:
            with self.record.phase("relevance"):
                found = self._explainer.explain(data)
        except CleanAIError as error:
            if self._explained.any():
                raise
            # The rest of the profile does not need it, and the report says what is missing.
            self._remarks.append(f"relevance was not computed: {error}")
            self._explainer = None
            return
        self._explained += np.bincount(classes[wanted], minlength=len(self._explained))
        for layer in self._traced_facts():
            relevance = found.layers[layer.name].reshape(len(data), *layer.shape)
            others = tuple(1 + i for i in range(len(layer.shape)) if i != layer.channel_axis)
            of_channels = relevance.sum(axis=others, dtype=np.float64)
            np.add.at(self._sums[layer.name], classes[wanted], of_channels[wanted])

    def stored(self) -> dict[str, Any]:
        """Return what was learnt so far, for another profiler to `resume` from."""
        return {
            "batch size": self.batch_size,
            "inputs": self.inputs,
            "labelled": self._labelled,
            "correct": self._correct,
            "moments": self._moments.stored(),
            "units": None if self._units is None else self._units.stored(),
            "sample": self._sampler.sample().stored(),
            "explained": self._explained,
            "sums": list(self._sums.values()),
            "remarks": list(self._remarks),
        }

    def resume(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `stored` returned; called before `prepare`.

        Raises
        ------
        UnfitError
            Here or in `start`, if the tree is not of such a profiler.
        """
        # Batches of another size might round otherwise.
        self._runner.wanted_batch_size = whole_in(tree, "batch size", 1)
        self._resumed = tree

    def _restore(self, tree: Mapping[str, Any]) -> None:
        moments, units, sample = (tree.get(name) for name in ("moments", "units", "sample"))
        if not isinstance(moments, Mapping) or not isinstance(sample, Mapping):
            raise UnfitError("it has no state")
        self.inputs, self._labelled, self._correct = (
            whole_in(tree, name) for name in ("inputs", "labelled", "correct")
        )
        self._moments = Moments.restored(moments, len(self._moments.count))
        if self._units is not None:
            with runtime.on_device(self._runner.jax_device):
                self._units.restore(units)
        self._sampler.restore(Sample.restored(sample, self._traces, self._traced_channels()))
        kinds = len(self._explained)
        self._explained = array_in(tree, "explained", np.int64, kinds)
        shapes = [one.shape for one in self._sums.values()]
        sums = arrays_in(tree, "sums", np.float64, shapes)
        self._sums = dict(zip(self._sums, sums, strict=True))
        self._remarks = [str(one) for one in list_in(tree, "remarks")]
        if self._remarks:
            # The one thing to remark is that relevance could not be computed.
            self._explainer = None

    def profile(
        self,
        *,
        preprocessing: Sequence[PreprocessingField] = (),
        source: str = "batches",
        skipped: int = 0,
        labels: str = NO_LABELS,
        remarks: Sequence[str] = (),
    ) -> Profile:
        """Return what was learnt so far.

        The parameters say what the profiler cannot know: what was done to the images, where they
        and their labels came from, how many could not be used, and what else is to be said.

        Raises
        ------
        ImageError
            If nothing was learnt.
        """
        if not self.inputs:
            raise ImageError("nothing was learnt: update() was not called.")
        relevance = None
        if self._explainer is not None:
            relevance = Relevance(self._explained, dict(self._sums))
        facts = ProfileFacts(
            model=self.model.name,
            model_sha256=self.model.sha256,
            view=self._view,
            layers=self._runner.layers,
            preprocessing=tuple(preprocessing),
            sources=(source,),
            images=self.inputs,
            skipped=skipped,
            labels=labels,
            labelled=self._labelled,
            correct=self._correct,
            classes=self.classes,
            traced=self.traced,
            traces=self._traces,
            composite="" if relevance is None else self._composite,
            relevance_of="correct" if self.labelled else "all",
            remarks=(*remarks, *self._remarks),
            versions=versions(),
            started=self.record.started,
        )
        moments = self._moments if self._units is None else self._units.moments()
        return Profile(facts, moments, self._sampler.sample(), relevance)


def chosen_layers(
    wanted: Sequence[str], layers: Sequence[LayerFacts], outputs: set[str]
) -> tuple[str, ...]:
    """Return the names of the layers that ``--layers`` chooses, in graph order.

    Raises
    ------
    UsageError
        If an entry matches no layer.
    """
    chosen: set[str] = set()
    for entry in wanted:
        if entry == "all":
            found = [layer.name for layer in layers]
        elif entry == LAST_HIDDEN:
            hidden = [layer.name for layer in layers if layer.name not in outputs]
            found = hidden[-1:] or [layers[-1].name]
        else:
            found = [layer.name for layer in layers if entry in (layer.name, layer.label)] or [
                layer.name for layer in layers if fnmatch.fnmatchcase(layer.name, entry)
            ]
        if not found:
            names = ", ".join(shown(layer.name, 40) for layer in layers[-5:])
            raise UsageError(
                f"--layers {shown(entry, 60)} matches no measured layer; the last ones are {names}."
            )
        chosen.update(found)
    return tuple(layer.name for layer in layers if layer.name in chosen)
