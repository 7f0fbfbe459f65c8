"""Taps: the post-activation tensors that are exposed, in the order of the analysis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.activations import Activation, find_activations, nested_activations
from cleanai_onnx.graph.image_input import ImageInput
from cleanai_onnx.graph.layout import channel_axes, default_channel_axis
from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.names import fresh_name, shown
from cleanai_onnx.graph.quantised import Dequantize
from cleanai_onnx.graph.scopes import scopes
from cleanai_onnx.graph.selection import last_calls, matching
from cleanai_onnx.graph.shapes import Inferred, infer
from cleanai_onnx.graph.tensors import DTYPE_NAMES, REAL_TYPES
from cleanai_onnx.graph.topology import Topology, all_graphs
from cleanai_onnx.result import LayerFacts, UntappedNode

__all__ = ["TapPoint", "Taps", "find_taps"]

_FLOAT = 1
_STRING = 8
_PROBE_BATCH = 13
"""A batch size that sizes of models seldom are: an axis of this size is the batch axis."""


@dataclass(frozen=True)
class TapPoint:
    """How one tap is exposed.

    Attributes
    ----------
    tensor
        The activation's tensor in the untouched model: the layer's name.
    output
        The graph output of the tapped model that carries it, float32.
    cast
        Name of a Cast node's input if the value is not float32 (or might not be), else None.
    dequantize
        The DequantizeLinear node that makes the value, if it is quantised.
    rank
        Number of axes with the batch, None if not known.
    axis
        The channel axis with the batch, None if only the rank can tell it.
    op, label
        For `LayerFacts`.
    """

    tensor: str
    output: str
    cast: str | None
    dequantize: Dequantize | None
    rank: int | None
    axis: int | None
    op: str
    label: str


@dataclass(frozen=True)
class Taps:
    """The taps of a model, in the order of the analysis.

    Attributes
    ----------
    points
        How each tap is exposed.
    untapped
        Activations that are not tapped, and why.
    image_input
        The input that takes the images.
    shapes
        For each point the shape of one input without the batch axis; None if inference could not
        tell it. A layer with one number for each input has the shape ``(1,)``.
    """

    points: tuple[TapPoint, ...]
    untapped: tuple[UntappedNode, ...]
    image_input: str
    shapes: tuple[tuple[int, ...] | None, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The name of each tap's graph output in the tapped model."""
        return tuple(point.output for point in self.points)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Those of `tensors` whose shape is not known; see `with_shapes`."""
        pairs = zip(self.points, self.shapes, strict=True)
        return tuple(point.output for point, shape in pairs if shape is None)

    @cached_property
    def layers(self) -> tuple[LayerFacts, ...]:
        """Facts about each tap.

        Raises
        ------
        ModelError
            If a shape is not known yet.
        """
        if self.unknown:
            raise ModelError(
                f"the shapes of {len(self.unknown)} layers are not known before the model has run."
            )
        pairs = zip(self.points, self.shapes, strict=True)
        return tuple(_layer(point, shape) for point, shape in pairs if shape is not None)

    def with_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> Taps:
        """Return the taps with shapes that a run has shown.

        Parameters
        ----------
        shapes
            Shapes of outputs, batch axis included, by the names of `tensors`.
        """
        points, known = [], []
        for point, shape in zip(self.points, self.shapes, strict=True):
            seen = shapes.get(point.output)
            points.append(point if seen is None else replace(point, rank=len(seen)))
            known.append(shape if seen is None else tuple(seen[1:]) or (1,))
        return replace(self, points=tuple(points), shapes=tuple(known))

    def with_further(self, others: Taps) -> Taps:
        """Return the taps followed by those of `others` that are not among them."""
        have = {point.tensor for point in self.points}
        new = [i for i, point in enumerate(others.points) if point.tensor not in have]
        return replace(
            self,
            points=(*self.points, *(others.points[i] for i in new)),
            shapes=(*self.shapes, *(others.shapes[i] for i in new)),
        )


def _layer(point: TapPoint, shape: tuple[int, ...]) -> LayerFacts:
    axis = point.axis if point.axis is not None else default_channel_axis(len(shape) + 1)
    axis = min(max(axis - 1, 0), len(shape) - 1)
    return LayerFacts(
        name=point.tensor,
        label=point.label,
        op=point.op,
        shape=shape,
        channel_axis=axis,
        units=math.prod(shape),
        channels=shape[axis],
    )


def find_taps(
    model: Model,
    image_input: ImageInput,
    input_shape: tuple[int, ...],
    select: tuple[str, ...] = ("activations",),
) -> Taps:
    """Find the activations of a model and decide which of them are exposed.

    Parameters
    ----------
    model, image_input
        The model and the input that takes the images.
    input_shape
        The shape of a batch as the model takes it, such as (8, 3, 224, 224).
    select
        Any of ``"activations"`` (all of them), ``"last-call"`` (see
        `cleanai_onnx.graph.selection.last_calls`), operators and name patterns (see
        `cleanai_onnx.graph.selection.matching`). Taps are in graph order; those of ``last-call``
        come first, in the order of the modules' first calls.

    Raises
    ------
    ModelError
        If there is nothing to tap.
    UsageError
        If a pattern is not valid.
    """
    topology = Topology.of(model.proto.graph)
    dependent = topology.depends_on(image_input.name)
    activations = find_activations(topology, dependent)
    scope_of = scopes(topology.graph)
    labels = {index: scope.path for index, scope in scope_of.items()}
    untapped = [
        UntappedNode(tensor, op, f"it is inside the subgraph of a node {outer}")
        for tensor, op, outer in nested_activations(topology)
    ]
    first: list[Activation] = []
    chosen: dict[str, Activation] = {}
    patterns = False
    for item in select:
        if item == "activations":
            found = activations
        elif item == "last-call":
            found, left_out = last_calls(activations, scope_of, topology)
            first += found
            untapped += left_out
        else:
            patterns = True
            found = matching(item, activations, labels, topology, dependent)
        chosen |= {activation.tensor: activation for activation in found}
    taken = {activation.tensor for activation in first}
    rest = (a for a in chosen.values() if a.tensor not in taken)
    ordered = first + sorted(rest, key=lambda activation: activation.node)

    inferred = infer(model.proto, {image_input.name: input_shape})
    probe = None
    if image_input.batch is None:
        probe = infer(model.proto, {image_input.name: (_PROBE_BATCH, *input_shape[1:])})
    axes = channel_axes(topology, inferred.shapes)
    names = _names(model)
    points: list[TapPoint] = []
    shapes: list[tuple[int, ...] | None] = []
    for activation in ordered:
        reason = _reason(activation, inferred, probe, input_shape[0])
        if reason:
            if not patterns or activation in activations:
                untapped.append(UntappedNode(activation.tensor, activation.op, reason))
            continue
        label = labels.get(activation.node, "")
        point = _point(activation, inferred, axes, label, names, topology.outputs)
        points.append(point)
        known = inferred.known(activation.tensor)
        shapes.append(None if known is None else known[1:] or (1,))
    if not points:
        raise ModelError(_nothing(select, untapped))
    return Taps(tuple(points), tuple(untapped), image_input.name, tuple(shapes))


def _nothing(select: tuple[str, ...], untapped: list[UntappedNode]) -> str:
    wanted = shown(",".join(select))[1:-1]
    why = ""
    if untapped:
        why = f" ({len(untapped)} cannot be tapped, the first because {untapped[0].reason})"
    return (
        f"the model has no activations that --taps {wanted} selects{why}: choose others with "
        "--taps, such as an operator type."
    )


def _names(model: Model) -> set[str]:
    names: set[str] = set()
    for graph in all_graphs(model.proto.graph):
        names.update(value.name for value in (*graph.input, *graph.output))
        names.update(tensor.name for tensor in graph.initializer)
        for node in graph.node:
            names.update(node.output)
            names.add(node.name)
    return names


def _reason(activation: Activation, inferred: Inferred, probe: Inferred | None, batch: int) -> str:
    """Return why an activation cannot be tapped, or an empty string."""
    kind = inferred.types.get(activation.tensor)
    if kind is not None and kind not in REAL_TYPES and (kind not in DTYPE_NAMES or kind == _STRING):
        return "its element type is not a number"
    shape, expected = inferred.shapes.get(activation.tensor), batch
    if probe is not None and (seen := probe.shapes.get(activation.tensor)) is not None:
        shape, expected = seen, _PROBE_BATCH
    if shape is None:
        return ""
    if not shape:
        return "it is one number for the whole batch"
    if shape[0] is not None and shape[0] != expected:
        return f"its first axis ({shape[0]}) is not the batch ({expected})"
    if 0 in shape:
        return "it is empty"
    return ""


def _point(
    activation: Activation,
    inferred: Inferred,
    axes: Mapping[str, int],
    label: str,
    names: set[str],
    outputs: frozenset[str],
) -> TapPoint:
    tensor, step = activation.tensor, activation.dequantize
    value = tensor
    kind = inferred.types.get(tensor)
    if step is not None:
        value = fresh_name(f"{tensor}_dequantized", names)
        names.add(value)
        kind = inferred.types.get(step.scale)
    cast = None
    if kind != _FLOAT:
        cast, value = value, fresh_name(f"{tensor}_float32", names)
        names.add(value)
    shape = inferred.shapes.get(tensor)
    return TapPoint(
        tensor=tensor,
        output=value,
        cast=cast,
        dequantize=step,
        rank=None if shape is None else len(shape),
        axis=axes.get(tensor),
        op=activation.op,
        label=label,
    )
