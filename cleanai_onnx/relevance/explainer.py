"""The explainer: a model and a composite, compiled once for each shape of a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cleanai_onnx import graph, runtime
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.graph.canonical import WIDEN_HALVES, without_halves
from cleanai_onnx.graph.names import shown
from cleanai_onnx.relevance.activations import Activations, Forward, activations_from
from cleanai_onnx.relevance.boxes import with_boxes
from cleanai_onnx.relevance.composites import Composite, chosen_composite
from cleanai_onnx.relevance.layouts import Laid
from cleanai_onnx.relevance.memory import check_model, check_walk
from cleanai_onnx.relevance.network import Network, network_from
from cleanai_onnx.relevance.plan import Fallback, LinearStep, Plan, make_plan
from cleanai_onnx.relevance.result import Attribution, Conservation
from cleanai_onnx.relevance.targets import Target, class_indices, start_relevance
from cleanai_onnx.relevance.values import Recorder, values_from
from cleanai_onnx.relevance.walk import Walked, walk
from cleanai_onnx.relevance.weights import prepared_weights
from cleanai_onnx.runtime.compilation import compiled, double_precision
from cleanai_onnx.runtime.programs import (
    find_program,
    is_kept,
    keep_program,
    named_anew,
    program_key,
)

__all__ = ["Explainer", "Forward", "Precision"]

Array: TypeAlias = Any
Precision = Literal["float32", "float64"]


@dataclass(frozen=True, eq=False)
class _Ready:
    """What is made for one shape of a batch."""

    network: Network
    plan: Plan
    prepared: Any
    activations: Activations
    walk: Callable[..., Walked]
    layers: tuple[str, ...]


class Explainer:
    """Explains batch after batch with one model and one composite.

    Parameters are those of `cleanai_onnx.relevance.attribute`. The way back is compiled when the
    first batch comes, and again for another shape.

    Attributes
    ----------
    widened
        Whether the model has half precision, and is explained as the same model in float32.

    Examples
    --------
    >>> explainer = Explainer("model.onnx", composite="epsilon-plus", batch_size=8)
    >>> for batch in loader:
    ...     relevance = explainer.explain(batch).relevance

    Raises
    ------
    ModelError
        If the model cannot be used, or memory does not suffice; some of it is known only when the
        first batch comes.
    UsageError
        If an option cannot be used.
    """

    def __init__(
        self,
        model: str | Path | bytes | graph.ModelProto | graph.Model,
        *,
        composite: str | Composite = "epsilon-plus",
        layers: Sequence[str] | str | None = None,
        output: str | None = None,
        input_name: str | None = None,
        input_values: Mapping[str, str] | None = None,
        fallback: Fallback = "refuse",
        forward: Forward = "auto",
        precision: Precision = "float32",
        device: runtime.Device = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        account_stabilisers: bool = False,
        **parameters: Any,
    ) -> None:
        for name, value, allowed in (
            ("fallback", fallback, get_args(Fallback)),
            ("forward", forward, get_args(Forward)),
            ("precision", precision, get_args(Precision)),
        ):
            if value not in allowed:
                raise UsageError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        if precision == "float64" and forward == "onnxruntime":
            raise UsageError("precision='float64' computes with JAX: leave forward out.")
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise UsageError(
                f"batch_size must be a whole number of at least 1, not {batch_size!r}."
            )
        self.composite = chosen_composite(composite, parameters)
        if not isinstance(model, graph.Model):
            model = graph.load_model(model, keep_data=True)
        self.model = without_halves(model)
        self.widened = self.model is not model
        self.image_input = graph.find_image_input(self.model, input_name)
        self.batch_size = self._batch_size(batch_size)
        self._layers = layers
        self._output, self._input_values = output, dict(input_values or {})
        self._fallback: Fallback = fallback
        self._forward: Forward = "jax" if precision == "float64" else forward
        self._precision = precision
        self._device: runtime.Device = device
        self._threads = threads
        self.accounts = account_stabilisers
        self._identity: tuple[Any, ...] | None = None
        plain = all(isinstance(x, bool | int | float | None) for x in parameters.values())
        if isinstance(composite, str) and plain:
            # What a walk depends on; rules of one's own are functions, which have no name.
            self._identity = (
                *("walk", self.model.sha256, composite, sorted(parameters.items())),
                *(self.image_input.name, sorted(self._input_values.items()), output, layers),
                *(fallback, self._forward, precision, account_stabilisers),
            )
        self._ready: dict[tuple[tuple[int, ...], bool], _Ready] = {}

    def _batch_size(self, wanted: int | None) -> int:
        fixed = self.image_input.batch
        if fixed is not None and wanted is not None and wanted > fixed:
            wanted = fixed
        if fixed is not None:
            return fixed
        return wanted or 8

    @property
    def device(self) -> jax.Device:
        """Where relevance was computed last.

        Raises
        ------
        UsageError
            If nothing was explained yet.
        """
        if not self._ready:
            raise UsageError("explain() comes before device: nothing was computed yet.")
        return list(self._ready.values())[-1].activations.device

    def explain(self, images: npt.ArrayLike, *, target: Target = None) -> Attribution:
        """Explain images.

        Parameters
        ----------
        images
            ``(N, ...)``, any N, as the model takes them.
        target
            As for `cleanai_onnx.relevance.attribute`.

        Raises
        ------
        ImageError
            If the images do not have the shape that the model takes.
        """
        batch = np.asarray(images)
        self._check(batch)
        if isinstance(target, str) and target != "output":
            raise UsageError(
                f"target must be a class number, one for each image, 'output' or None, not "
                f"{target[:60]!r}."
            )
        with self._in_precision():
            ready = self._prepare(batch.shape[1:], whole=isinstance(target, str))
            axis = ready.plan.class_axis
            classes = None if axis is None else ready.network.shape(ready.plan.start)[axis]
            targets = class_indices(target, len(batch), classes)
            parts = []
            for first in range(0, len(batch), self.batch_size):
                rows = slice(first, first + self.batch_size)
                parts.append(self._one_batch(ready, batch[rows], targets[rows]))
        return _gathered(parts, ready, self)

    def is_kept(self, item: tuple[int, ...]) -> bool:
        """Say whether the way back for images ``(N, *item)`` was compiled and kept before."""
        return is_kept(self._key(tuple(item), whole=False))

    def prepare(self, item: tuple[int, ...]) -> None:
        """Do for images ``(N, *item)`` what `explain` would do before it explains the first.

        Raises
        ------
        ModelError
            If the model cannot be explained, or memory does not suffice.
        """
        with self._in_precision():
            self._prepare(tuple(item), whole=False)

    def _check(self, batch: Array) -> None:
        shape = self.image_input.shape
        fits = batch.ndim == len(shape) and all(
            wanted is None or wanted == size
            for wanted, size in zip(shape[1:], batch.shape[1:], strict=True)
        )
        if not fits or not len(batch):
            wanted = "x".join("any" if size is None else str(size) for size in ("N", *shape[1:]))
            raise ImageError(
                f"the images have the shape {'x'.join(map(str, batch.shape))}, but the model takes "
                f"{wanted} with N at least 1: preprocess them for this model.",
                slug="arrays",
            )
        if batch.dtype.kind not in "fiub":
            raise ImageError(
                f"the images are of the type {batch.dtype}, not numbers.", slug="arrays"
            )

    def _in_precision(self) -> contextlib.AbstractContextManager[Any]:
        if self._precision == "float64":
            return double_precision()
        return contextlib.nullcontext()

    def _prepare(self, item: tuple[int, ...], *, whole: bool) -> _Ready:
        key = (tuple(item), whole)
        if key not in self._ready:
            self._ready[key] = self._made(tuple(item), whole=whole)
        return self._ready[key]

    def _made(self, item: tuple[int, ...], *, whole: bool) -> _Ready:
        runtime.use_compilation_cache()
        shape = (self.batch_size, *item)
        check_model(self.model, self.image_input.name, shape)
        feeds = graph.constant_inputs(
            self.model, self.image_input, self._input_values, self.batch_size
        )
        network = network_from(
            self.model,
            {self.image_input.name: shape, **{name: x.shape for name, x in feeds.items()}},
            self.image_input.name,
            np.dtype(self._precision),
        )
        if self.widened:
            network = replace(network, passes=(WIDEN_HALVES.name, *network.passes))
        plan = make_plan(network, self.composite, output=self._output, fallback=self._fallback)
        plan = with_boxes(plan, network, shape)
        if whole:
            plan = replace(plan, class_axis=None)
        layers = self._layer_names(network, shape)
        prepared = prepared_weights(plan.steps, self._threads)
        wanted = (self.image_input.name, *layers)

        def back(taps: Mapping[str, Laid], weights: Any, targets: Array, recorder: Any) -> Walked:
            value = values_from(network, taps, recorder)
            start = start_relevance(value(plan.start).onnx, targets, plan.class_axis)
            return walk(
                network,
                plan,
                self.composite.stabiliser,
                value,
                weights,
                start,
                wanted,
                accounts=self.accounts,
            )

        walk_back: Callable[..., Walked]
        key = self._key(item, whole=whole)
        found = find_program(key)
        if found is None:
            recorder = Recorder(network)
            targets = jax.ShapeDtypeStruct(shape[:1], jnp.int32)
            jax.eval_shape(lambda w, t: back({}, w, t, recorder), prepared, targets)
            names = tuple(recorder.names)
        else:
            names = found.facts
        check_walk(network, names, prepared, self.batch_size)
        activations = activations_from(
            self.model,
            self.image_input,
            network,
            names,
            shape,
            feeds,
            forward=self._forward,
            device=self._device,
            threads=self._threads,
        )

        def explain(given: Any, weights: Any, targets: Array) -> Walked:
            return back(activations.named(given), weights, targets, None)

        device = activations.device
        prepared = jax.device_put(prepared, device)
        if found is None:
            jitted = compiled(named_anew(explain) if key else explain, device.platform)
            program = jitted.lower(activations.given, prepared, targets).compile()
            if device.platform == "cpu":
                keep_program(key, program, names)
            walk_back = program
        else:
            walk_back = found.program
        ready = _Ready(network, plan, prepared, activations, walk_back, layers)
        activations.finish()
        self.model = replace(self.model, data=None)  # only the first session is worth its memory
        return ready

    def _key(self, item: tuple[int, ...], *, whole: bool) -> str | None:
        """Return the name by which a compiled walk is kept; None where it is not."""
        if self._identity is None or jax.default_backend() != "cpu":
            return None
        return program_key("cpu", *self._identity, self.batch_size, item, whole)

    def _layer_names(self, network: Network, shape: tuple[int, ...]) -> tuple[str, ...]:
        if self._layers is None:
            return ()
        if isinstance(self._layers, str) and self._layers == "activations":
            taps = graph.find_taps(self.model, self.image_input, shape)
            names = tuple(point.tensor for point in taps.points)
            return tuple(name for name in names if network.producer(name) is not None)
        names = (self._layers,) if isinstance(self._layers, str) else tuple(self._layers)
        for name in names:
            if network.producer(name) is None and name != self.image_input.name:
                merged = network.in_original(name)
                why = "it is merged into its neighbour" if merged else "the model has none so named"
                raise UsageError(
                    f"the layer {shown(name)} has no relevance of its own, {why}: choose the "
                    "output of an activation or of a layer.",
                    slug="relevance-layer",
                )
        return names

    def _one_batch(self, ready: _Ready, images: Array, targets: Array) -> tuple[int, Walked]:
        rows = len(images)
        missing = self.batch_size - rows
        if missing:
            images = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
            targets = np.concatenate([targets, np.repeat(targets[-1:], missing)])
        given = ready.activations.run(images)
        walked = ready.walk(given, ready.prepared, targets)
        return rows, jax.tree.map(np.asarray, jax.block_until_ready(walked))


def _gathered(
    parts: Sequence[tuple[int, Walked]], ready: _Ready, explainer: Explainer
) -> Attribution:
    def rows(pick: Callable[[Walked], Array]) -> Array:
        return np.concatenate([pick(walked)[:count] for count, walked in parts])

    source = explainer.image_input.name
    relevance = rows(lambda walked: walked.relevance[source])
    started = rows(lambda walked: walked.started)
    plan = ready.plan
    return Attribution(
        relevance=relevance,
        layers={name: rows(_relevance_of(name)) for name in ready.layers},
        targets=None if plan.class_axis is None else rows(lambda walked: walked.targets),
        values=started,
        conservation=Conservation(
            started=started,
            arrived=relevance.reshape(len(relevance), -1).sum(axis=1, dtype=np.float64),
            biases=rows(lambda walked: walked.ledger.biases),
            stabilisers=rows(lambda w: w.ledger.stabilisers) if explainer.accounts else None,
            others=rows(lambda walked: walked.ledger.others),
        ),
        start=plan.start,
        composite=explainer.composite.name,
        rules=tuple(
            (
                step.node.title,
                step.rule.name if isinstance(step, LinearStep) else step.redistribute.__name__,
            )
            for step in plan.steps
        ),
        without_rule=plan.without_rule,
        passes=ready.network.passes,
    )


def _relevance_of(name: str) -> Callable[[Walked], Array]:
    return lambda walked: walked.relevance[name]
