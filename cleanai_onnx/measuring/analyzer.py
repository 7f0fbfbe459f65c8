"""The loop that ties the rooms together: batches in, a `Result` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from cleanai_onnx import coverage, graph, runtime
from cleanai_onnx.container import UnfitError, whole_in
from cleanai_onnx.coverage import PROFILED, InputFigures, Observed, Parameters, ProfileParameters
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.measuring.criteria import find_criteria
from cleanai_onnx.measuring.findings import find
from cleanai_onnx.measuring.gathering import Rows, Waiting, measure
from cleanai_onnx.measuring.individuals import Individuals
from cleanai_onnx.measuring.runner import Ran, Runner, is_whole, unit_matrix
from cleanai_onnx.measuring.subset import SubsetRecorder
from cleanai_onnx.profiles import Profile, learnt_from, require_same
from cleanai_onnx.profiles.storage import digest
from cleanai_onnx.provenance import RunRecord, device_name
from cleanai_onnx.result import ImageFacts, LayerFacts, Note, PreprocessingField, Result
from cleanai_onnx.states.images import Images, Opener
from cleanai_onnx.states.part import CoverFacts, Part, StateFacts
from cleanai_onnx.states.storage import restored_against, stored_against

if TYPE_CHECKING:
    from cleanai_onnx.graph import ModelProto

__all__ = ["Adjacency", "Analyzer"]

Adjacency = Literal["rows", "dataflow"]


class Analyzer:
    """Measures the coverage of a model, batch by batch.

    The model is loaded and checked at once; it is prepared for running when the shape of an input
    is known, with the first batch or by `prepare`.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
    parameters : Parameters
        Of the metrics.
    taps : sequence of str
        What to measure: ``"activations"``, ``"last-call"``, operators or name patterns.
    input_name : str, optional
        The input that takes the images, where the model leaves a doubt.
    input_values : mapping of str to str, optional
        Values of the other inputs.
    device : {"auto", "cpu", "cuda"}
    batch_size : int, optional
        By default chosen from the memory that there is, and not larger than the first batch.
    threads : int, optional
        Threads of onnxruntime; by default one for each core.
    pair : (int, int), optional
        Positions in the suite of the images that the pair metrics compare; by default the first two
        that can be used. None stands for an image that is in another part of the suite.
    adjacency : {"rows", "dataflow"}
        Which layers are next to each other for the interaction metrics: rows of the table, as in
        CleanAI, or the graph's real successors.
    per_image, per_layer : path, optional
        Where to write a CSV file with a row for each image, and one with a row for each image and
        layer.
    profile : Profile, optional
        What the training images taught, for the metrics that need it; see `cleanai_onnx.learn`.
    profile_parameters : ProfileParameters, optional
        Of those metrics.
    subset : bool or sequence of str
        Whether to find the images that suffice for the same coverage (`Result.subset`), of all
        criteria that single images cover, in the channel view, or of those that are named, such as
        ``"kmnc"`` or ``"nc-suite/unit"``.
    keep : callable, optional
        Opens files in which what is known of single images is kept, for `part` and `stored`.
    outputs : callable, optional
        Called for each batch with the values of the model's first output, ``(n, N)`` float32, which
        the next batch overwrites, and the positions of its inputs.

    Examples
    --------
    >>> analyzer = Analyzer("model.onnx")
    >>> for batch in loader:  # arrays (B, 3, 224, 224), as the model takes them
    ...     analyzer.update(batch)
    >>> analyzer.result().summary()

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
        parameters: Parameters | None = None,
        taps: Sequence[str] = ("activations",),
        input_name: str | None = None,
        input_values: Mapping[str, str] | None = None,
        device: runtime.Device = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        pair: tuple[int | None, int | None] | None = None,
        adjacency: Adjacency = "rows",
        per_image: str | Path | None = None,
        per_layer: str | Path | None = None,
        profile: Profile | None = None,
        profile_parameters: ProfileParameters | None = None,
        subset: bool | Sequence[str] = False,
        keep: Opener | None = None,
        outputs: Callable[[np.ndarray, Sequence[int]], None] | None = None,
    ) -> None:
        if pair is not None and not (
            len(pair) == 2 and all(one is None or is_whole(one, 0) for one in pair)
        ):
            raise UsageError(
                f"pair must be the positions of two images, not {pair!r}.", slug="image-name"
            )
        if pair is not None and pair[0] == pair[1] is not None:
            raise UsageError("--pair needs two different images.", slug="image-name")
        self.record = RunRecord()
        self.parameters = parameters or Parameters()
        self._runner = Runner(
            model,
            taps=taps,
            input_name=input_name,
            input_values=input_values,
            device=device,
            batch_size=batch_size,
            threads=threads,
            # Some metrics tell apart what images of each class taught.
            decide=profile is not None or outputs is not None,
            record=self.record,
        )
        self.image_input = self._runner.image_input
        self._options: dict[str, Any] = {
            **self._runner.options,
            "adjacency": adjacency,
            **asdict(self.parameters),
        }
        self._profile = profile
        self._profile_parameters = profile_parameters or ProfileParameters()
        if profile is not None:
            self._options |= asdict(self._profile_parameters)
        self._against: list[Any] = []
        self._waiting = Waiting()
        self._subset = subset
        self._recorder: SubsetRecorder | None = None
        self._most: int | None = None
        self._pair, self._adjacency = pair, adjacency
        self._per_image, self._per_layer, self._keep = per_image, per_layer, keep
        self._outputs = outputs
        self._started = self._closed = False
        self._resumed: Mapping[str, Any] | None = None
        self._first_batches: Callable[[], Iterable[np.ndarray]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def options(self) -> Mapping[str, Any]:
        """The options that figures depend on, as the report has them."""
        return self._options

    @property
    def model(self) -> graph.Model:
        """The model that is run."""
        return self._runner.model

    @property
    def images(self) -> Images:
        """The figures of each image so far, where `keep` was given."""
        self._settle()
        assert self._individuals.record is not None
        return self._individuals.record

    @property
    def batch_size(self) -> int:
        """How many inputs are run at once; 0 before `prepare`."""
        return self._runner.batch_size

    @property
    def inputs(self) -> int:
        """How many inputs were measured."""
        return self._state.inputs if self._started else 0

    @property
    def layers(self) -> tuple[LayerFacts, ...]:
        """The layers that are measured, once `start` has found them."""
        return self._runner.layers

    @property
    def output(self) -> LayerFacts | None:
        """The model's first output, once `start` has found it; None where it cannot be tapped."""
        return self._runner.output

    def prepare(self, item_shape: Sequence[int], most: int | None = None) -> None:
        """Choose the batch size, find the taps, and check that the memory suffices.

        See `cleanai_onnx.measuring.runner.Runner.prepare`.
        """
        self._runner.prepare(item_shape, most)
        self._most = most

    def start(self) -> None:
        """Make the session and the state. Called by the first `update` if not before."""
        self._runner.start()
        self._state = coverage.init(self.layers, self.parameters, self._runner.jax_device)
        learnt, further = None, list[str]()
        if self._profile is not None:
            require_same(self._profile, self.model.sha256, self.layers)
            learnt = learnt_from(self._profile)
            self._against = [family.init(learnt, self._profile_parameters) for family in PROFILED]
            further += [name for family in PROFILED for name in family.scores(learnt)]
        if self._subset:
            wanted = () if self._subset is True else tuple(self._subset)
            criteria = find_criteria(wanted, self._state, self._against, learnt)
            self._recorder = SubsetRecorder(criteria, self._most, self._keep)
            further += [f"{coverage.ADDS}{one.name}" for one in criteria if one.family is None]
        self._individuals = Individuals(
            self._state, self._pair, self._per_image, self._per_layer, further, self._keep
        )
        if self._first_batches is not None:
            self._follow(self._first_batches())
        if self._resumed is not None:
            self._restore(self._resumed)
            self._resumed = None
        self._started = True

    def update(
        self,
        batch: np.ndarray,
        names: Sequence[str] | None = None,
        indexes: Sequence[int] | None = None,
        hashes: Sequence[str] | None = None,
    ) -> None:
        """Measure inputs as the model takes them.

        Parameters
        ----------
        batch : array
            ``(n, ...)``, preprocessed; any n. Anything that numpy can read, such as a torch tensor.
        names : sequence of str, optional
            Names of the inputs in the report; ``input 12`` by default.
        indexes : sequence of int, optional
            Positions of the inputs in the suite; by default they are counted.
        hashes : sequence of str, optional
            The SHA-256 of each input's source, in hexadecimal, for the table of images.

        Raises
        ------
        ImageError
            If the batch does not have the shape or the type that the model takes.
        ModelError
            If the model fails when it is run.
        UsageError
            After `close`, or after `result` where that has finished tables of images; or if names,
            indexes or hashes are not as many as inputs.
        """
        if self._closed:
            raise UsageError("this analyzer is closed: make a new one to measure more.")
        data = self._runner.ready_for(batch)
        if not self._started:
            self.start()
        before = self.inputs
        indexes = range(before, before + len(data)) if indexes is None else list(indexes)
        names = [f"input {index}" for index in indexes] if names is None else list(map(str, names))
        hashes = [""] * len(data) if hashes is None else list(hashes)
        if not len(data) == len(names) == len(indexes) == len(hashes):
            raise UsageError(
                f"{len(data)} inputs were given with {len(names)} names, {len(indexes)} indexes "
                f"and {len(hashes)} hashes."
            )
        for first in range(0, len(data), self.batch_size):
            part = slice(first, first + self.batch_size)
            self._measure(data[part], names[part], indexes[part], hashes[part])

    def _measure(
        self,
        data: np.ndarray,
        names: Sequence[str],
        indexes: Sequence[int],
        hashes: Sequence[str],
    ) -> None:
        ran = self._runner.run(data)
        if self._outputs is not None and ran.output is not None:
            self._outputs(ran.output, indexes)
        with self.record.phase("metrics"), runtime.on_device(self._runner.jax_device):
            self._state, figures = coverage.update(self._state, ran.activations, ran.valid)
            observed = self._observed(ran, figures)
            scores = self._individuals.look(self._state, figures, ran.activations, names, indexes)
            further = np.empty((ran.valid, 0))
            if observed is not None:
                found = measure(self._against, observed, gathered=False)
                # The channels are a copy; the values may be memory that the next run overwrites.
                kept = observed._replace(values=observed.channels)
                self._waiting.add(Rows(kept, found, scores, names, indexes, hashes))
                if self._recorder is not None:
                    # What an image covers is recorded at once: of units it is too much to keep.
                    ((_, further),) = self._waiting.measured(self._against)
            if self._recorder is not None:
                added = self._recorder.add(
                    self._state, figures, ran.activations, self._against, observed, names, indexes
                )
                own = [one.family is None for one in self._recorder.criteria]
                further = np.concatenate([further, added[:, own]], axis=1)
            if not self._waiting:
                self._individuals.add(scores, names, indexes, further, hashes)
        if self._waiting.is_enough:
            self._settle()

    def _settle(self) -> None:
        """Measure what waits for further inputs."""
        if not self._waiting:
            return
        with self.record.phase("metrics"), runtime.on_device(self._runner.jax_device):
            for rows, further in self._waiting.measured(self._against):
                self._individuals.add(rows.scores, rows.names, rows.indexes, further, rows.hashes)

    def _observed(self, ran: Ran, figures: InputFigures) -> Observed | None:
        """Return what the metrics that need a profile look at; None without one."""
        if self._profile is None:
            return None
        channels = coverage.channel_matrix(self.layers, figures.channels, ran.valid)
        values = unit_matrix(ran) if self._profile.facts.view == "unit" else channels
        return Observed(values, channels, ran.classes)

    def result(
        self,
        *,
        images: ImageFacts | None = None,
        preprocessing: Sequence[PreprocessingField] = (),
        notes: Sequence[Note] = (),
        options: Mapping[str, Any] | None = None,
        thumbnail: Callable[[int], bytes | None] = lambda _: None,
        subset_file: str | None = None,
        find_subset: bool = True,
    ) -> Result:
        """Return what was found so far, and write the tables of images.

        The parameters say what the analyzer cannot know: where the images came from, what was done
        to them, which further options were used, how to get a thumbnail of an image, the name of
        the file that will list the subset, and whether it is wanted of these images yet, which may
        be a part of a suite.

        Raises
        ------
        ImageError
            If nothing was measured.
        """
        if not self.inputs:
            raise ImageError("no input was measured: update() was not called.")
        self._settle()
        with self.record.phase("tables"), runtime.on_device(self._runner.jax_device):
            findings = find(
                self._state,
                self._against,
                self._individuals.pair_evidence(self._state),
                self._neighbours(),
                pair_is_missing=self._individuals.pair_is_missing,
            )
        subset, columns = None, {}
        if self._recorder is not None and find_subset:
            with self.record.phase("subset"):
                subset, columns = self._recorder.facts(subset_file), self._recorder.columns()
        # Where tables were finished, the analyzer is done: no row can be added to them.
        self._closed |= self._individuals.finish(columns)
        preprocessing = tuple(preprocessing) or (
            PreprocessingField("values", "as given", "the caller's own batches"),
        )
        found = self.inputs
        table = None if self._per_image is None else Path(self._per_image).name
        return Result(
            model=graph.model_facts(self.model, self._runner.taps),
            run=self.record.facts(
                device_name(self._runner.session.device, self._runner.jax_device),
                self._runner.session.provider,
                self.batch_size,
                {**self._options, **(options or {})},
                preprocessing,
            ),
            images=images or ImageFacts("batches", found, found, per_image_table=table),
            preprocessing=preprocessing,
            layers=self.layers,
            tables=findings.tables,
            firing=findings.firing,
            featured=self._individuals.featured(thumbnail),
            notes=(*notes, *findings.notes),
            profile=None if self._profile is None else self._profile.facts,
            subset=subset,
            importance=findings.importance,
        )

    def _neighbours(self) -> tuple[tuple[int, int], ...] | None:
        """Return the pairs of layers that interaction metrics look at; None for all in a row."""
        if self._adjacency == "rows":
            return None
        return graph.successors(self.model, self._runner.taps)

    def follow(self, batches: Callable[[], Iterable[np.ndarray]]) -> None:
        """Learn from the first inputs of a suite what they set for those after them.

        For a part of a suite that has other parts before it: `nbc` has the bounds of the first
        inputs. Called before `start`, which asks for the batches.
        """
        self._first_batches = batches

    def _follow(self, batches: Iterable[np.ndarray]) -> None:
        state = self._state
        with runtime.on_device(self._runner.jax_device):
            for data in batches:
                ran = self._runner.run(data)
                state, _ = coverage.update(state, ran.activations, ran.valid)
            self._state = coverage.following(state)

    def stored(self) -> dict[str, Any]:
        """Return what was measured so far, for another analyzer to `resume` from.

        What is known of each image is in the files that `keep` opened, and has reached the disk
        when this returns.
        """
        self._settle()
        record = self._individuals.record
        assert record is not None
        record.flush()
        return {
            "batch size": self.batch_size,
            "measured": coverage.stored(self._state),
            "against": stored_against(self._against),
            "individuals": self._individuals.stored(),
            "covers": None if self._recorder is None else self._recorder.stored(),
        }

    def resume(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `stored` returned; called before `prepare`.

        Raises
        ------
        UnfitError
            Here or in `start`, if the tree is not of such an analyzer.
        """
        # Batches of another size might round otherwise.
        self._runner.wanted_batch_size = whole_in(tree, "batch size", 1)
        self._resumed = tree

    def _restore(self, tree: Mapping[str, Any]) -> None:
        measured, individuals = tree.get("measured"), tree.get("individuals")
        if not isinstance(measured, Mapping) or not isinstance(individuals, Mapping):
            raise UnfitError("it has no state")
        self._state = coverage.restored(
            measured, self.layers, self.parameters, self._runner.jax_device
        )
        self._against = list(restored_against(tree, self._against))
        self._individuals.restore(individuals)
        if self._recorder is not None:
            covers = tree.get("covers")
            if not isinstance(covers, Mapping):
                raise UnfitError("it does not have what each image covers")
            self._recorder.restore(covers, self.images)

    def part(
        self, result: Result, *, positions: int, root: str = "", pair: Sequence[str] = ()
    ) -> Part:
        """Return everything that was measured in a form that merges with other parts of a suite.

        Parameters
        ----------
        result
            What `result` returned.
        positions
            How many images the suite has, with those that were skipped.
        root
            The folder that the names of images are relative to.
        pair
            The names of the images that the pair metrics were asked to compare.
        """
        individuals = self._individuals
        assert individuals.record is not None
        profile, covers = self._profile, self._recorder
        facts = StateFacts(
            positions=positions,
            root=root,
            pair=tuple(pair),
            adjacency=self._neighbours(),
            parameters=self.parameters,
            profile_parameters=None if profile is None else self._profile_parameters,
            profile_digest="" if profile is None else digest(profile),
            scores=individuals.names,
            layer_scores=individuals.layer_names,
            covers=None if covers is None else CoverFacts(covers.criteria, covers.items.most),
        )
        return Part(
            facts,
            result,
            profile,
            self._state,
            tuple(self._against),
            individuals.pair,
            individuals.record,
            covers,
        )

    def close(self) -> None:
        """Remove what was not finished: tables of images that were not completed.

        The same happens at the end of a ``with`` block. What was measured can still be read.
        """
        self._closed = True
        if self._started:
            self._individuals.discard()
        if self._recorder is not None:
            # What was asked before can be asked again.
            self._recorder.close()
