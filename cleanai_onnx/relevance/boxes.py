"""The box of the z^B rule brought to the layer that has the rule.

The box is given for the model's input: what black and white pixels become. The first convolution of
a model may stand behind nodes that move, scale or shift its input, as a Transpose from channels
last or a subtracted mean do, and it is walked with its channels last. All nodes that are allowed
there are monotone in each element, rising or falling, so that the ends of the box become ends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from cleanai_onnx.errors import NotSupportedError, UsageError
from cleanai_onnx.lowering import Node
from cleanai_onnx.relevance.layouts import Laid
from cleanai_onnx.relevance.network import Network
from cleanai_onnx.relevance.plan import LinearStep, Plan
from cleanai_onnx.relevance.rules import Constant, Rule
from cleanai_onnx.relevance.values import values_from

__all__ = ["with_boxes"]

Array: TypeAlias = Any

_MONOTONE = frozenset(
    {"Add", "AveragePool", "BatchNormalization", "Cast", "CastLike", "Clip", "DepthToSpace",
     "Flatten", "Gather", "Identity", "LeakyRelu", "MaxPool", "Mul", "Neg", "Pad", "Relu",
     "Reshape", "Sigmoid", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub", "Tanh", "Tile",
     "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Each of its outputs rises, or falls, with what it computes from, if that is one tensor."""


def with_boxes(plan: Plan, network: Network, shape: tuple[int, ...]) -> Plan:
    """Return the plan with the boxes of its rules where the rules need them.

    Parameters
    ----------
    plan, network
        The way back, and the model.
    shape
        Of the model's input, with the batch.

    Raises
    ------
    UsageError
        If a box does not have the shape of the input.
    NotSupportedError
        If the box cannot be followed to its layer.
    """
    steps = [
        replace(step, rule=_boxed(step, network, shape))
        if isinstance(step, LinearStep) and _ends(step.rule)
        else step
        for step in plan.steps
    ]
    return replace(plan, steps=tuple(steps))


def _ends(rule: Rule) -> list[Constant]:
    return [term.input for term in rule.terms if isinstance(term.input, Constant)]


def _boxed(step: LinearStep, network: Network, shape: tuple[int, ...]) -> Rule:
    ends = _ends(step.rule)
    given = [np.asarray(end.value, network.dtype) for end in ends]
    for value in given:
        _check(value, shape[1:])
    source = step.node.inputs[step.source]
    if source == network.image_input:
        if all(value.ndim == 0 for value in given):
            return step.rule
        there = [value.reshape((1,) * (len(shape) - 1 - value.ndim) + value.shape)
                 for value in given]  # fmt: skip
    else:
        _check_way(network, source)
        reached = [_at(network, source, value, shape) for value in given]
        lowest, highest = np.minimum.reduce(reached), np.maximum.reduce(reached)
        there = [lowest if end.is_lowest else highest for end in ends]
    if step.map.channels_last:
        there = [np.moveaxis(value, 0, -1) for value in there]
    values = iter(there)
    return replace(
        step.rule,
        terms=tuple(
            replace(term, input=replace(term.input, value=next(values)))
            if isinstance(term.input, Constant)
            else term
            for term in step.rule.terms
        ),
    )


def _check(value: Array, item: tuple[int, ...]) -> None:
    try:
        fits = np.broadcast_shapes(value.shape, item) == item
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(
            f"low and high must be numbers or arrays for one input of the model, {item}, such as "
            f"one value for each channel, and not of the shape {value.shape}."
        )


def _check_way(network: Network, name: str) -> None:
    """Refuse to follow the box past a node that could turn it over inside."""
    waiting, seen = [name], {name}
    while waiting:
        node = network.producer(waiting.pop())
        if node is None:
            continue
        inputs = [x for x in node.inputs if x and network.constant(x) is None]
        if inputs and not _is_monotone(node, inputs):
            raise NotSupportedError(
                f"the range of values that the first convolution sees cannot be told behind the "
                f"{node.title}, so that the composite's z^B rule cannot be used: choose another "
                "composite, such as epsilon-plus."
            )
        waiting += [x for x in inputs if x not in seen]
        seen.update(inputs)


def _is_monotone(node: Node, computed: list[str]) -> bool:
    if node.domain:
        return False
    if node.op == "Concat":
        return True
    # A divisor that is computed falls where it passes zero.
    divides = node.op == "Div" and computed == [node.inputs[0]]
    return len(computed) == 1 and (node.op in _MONOTONE or divides)


def _at(network: Network, name: str, value: Array, shape: tuple[int, ...]) -> Array:
    """Return the value of a tensor for one image filled with `value`, small where it is uniform."""
    images = jnp.broadcast_to(jnp.asarray(value), shape)
    made = np.asarray(values_from(network, {network.image_input: Laid(images)}, None)(name).onnx)[0]
    small = made[(slice(None), *(slice(0, 1),) * (made.ndim - 1))]
    return small if np.array_equal(np.broadcast_to(small, made.shape), made) else made
