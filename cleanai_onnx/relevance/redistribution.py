r"""How relevance passes nodes that are no linear layers: one table by operator.

moves
    Operators that only move, copy or leave out elements hand relevance on along the same way.
in proportion
    Sums and averages: :math:`R_j = a_j \sum_k c_{jk} R_k / (z_k + ε)`, where z_k includes what
    constants add (Bach et al. 2015, eq. 58).
passed through
    Activations (ibid., section 2.3: eq. 52 leaves them out) and normalisations: for these,
    :math:`R_j = R_k` is the identity rule of Achtibat et al., "AttnLRP" (2024), section 3.3:
    proposition 3.4 for normalisation, and the elementwise functions before it.
winner takes all
    Maxima, see `cleanai_onnx.relevance.pooling`.
products
    A gate (the output of a sigmoid or another squashing function) decides how much passes and gets
    nothing: Arras et al., "Explaining recurrent neural network predictions in sentiment analysis"
    (2017), section 2.2. Two factors of equal standing get half each: AttnLRP, proposition 3.2.
attention
    See `cleanai_onnx.relevance.attention`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import lax

from cleanai_onnx.relevance.geometry import geometry
from cleanai_onnx.relevance.pooling import max_pool, winner
from cleanai_onnx.relevance.rules import stabilised
from cleanai_onnx.relevance.visit import Redistributed, Redistribution, Visit

__all__ = ["REDISTRIBUTIONS", "gradient_times_input", "redistributes"]

Array: TypeAlias = Any

REDISTRIBUTIONS: dict[tuple[str, str], Redistribution] = {}
"""By domain and operator."""

CHANNELS_LAST: set[tuple[str, str]] = set()
"""Those of them that may be given images and volumes with their channels last."""


def redistributes(
    *operators: str, domain: str = "", channels_last: bool = False
) -> Callable[[Redistribution], Redistribution]:
    """Register the decorated function for operators."""

    def register(function: Redistribution) -> Redistribution:
        for operator in operators:
            if (domain, operator) in REDISTRIBUTIONS:
                raise AssertionError(f"{operator} has two redistributions")
            REDISTRIBUTIONS[domain, operator] = function
            if channels_last:
                CHANNELS_LAST.add((domain, operator))
        return function

    return register


def per_image(x: Array) -> Array:
    """Return the sum over everything but the first axis: ``(B,)``.

    In two steps, of which the first adds rows to one another, which is fast. XLA would make one of
    them again, element by element, if there were no barrier between.
    """
    if x.ndim > 2:
        x = lax.optimization_barrier(x.sum(axis=tuple(range(1, x.ndim - 1))))
    return x.reshape(x.shape[0], -1).sum(axis=1)


def balance(visit: Visit, inputs: dict[int, Array]) -> Array:
    """Return how much relevance arrived at the outputs and not at the inputs: ``(B,)``."""
    arrived = sum(per_image(r) for r in visit.given)
    return arrived - sum(per_image(r) for r in inputs.values())


@redistributes(
    "CenterCropPad", "Compress", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather",
    "GatherElements", "GatherND", "Identity", "Dropout", "Pad", "Reshape", "ReverseSequence",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
def move(visit: Visit) -> Redistributed:
    """Hand relevance to where the elements come from; constants keep what comes from them."""
    zeros = [jnp.zeros(visit.shape(visit.node.inputs[i]), visit.dtype) for i in visit.data]
    inputs = visit.pull_back(zeros, visit.given)
    constants = any(name and i not in visit.data for i, name in enumerate(visit.node.inputs))
    adds = visit.node.op in ("CenterCropPad", "Pad") or (
        visit.node.op in ("Concat", "Where") and constants
    )
    return Redistributed(inputs, biases=balance(visit, inputs) if adds else None)


@redistributes("Cast", "CastLike", channels_last=True)
def cast(visit: Visit) -> Redistributed:
    """Hand relevance through a change of type."""
    return Redistributed({0: visit.only})


@redistributes(
    "AveragePool", "CumSum", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Resize", "Upsample"
)
@redistributes("Add", "Mean", "Sub", "Sum", channels_last=True)
def proportion(visit: Visit) -> Redistributed:
    """Redistribute in proportion to what each operand contributes."""
    operands = [visit.input(i) for i in visit.data]
    function = visit.function()
    (z,) = function(*operands)
    share = visit.only / stabilised(z, visit.stabiliser)
    gradients = visit.pull_back(operands, [share])
    inputs = {i: x * gradients[i] for i, x in zip(visit.data, operands, strict=True)}
    biases = None
    if any(name and i not in visit.data for i, name in enumerate(visit.node.inputs)):
        (constant,) = function(*(jnp.zeros_like(x) for x in operands))
        biases = per_image(share * constant)
    left = per_image(visit.only - share * z) if visit.accounts else None
    return Redistributed(inputs, biases=biases, stabilisers=left)


@redistributes(
    "BatchNormalization", "Celu", "Clip", "Elu", "Erf", "Gelu", "GroupNormalization", "HardSigmoid",
    "HardSwish", "InstanceNormalization", "LayerNormalization", "LRN", "LeakyRelu",
    "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg", "PRelu",
    "RMSNormalization", "Relu", "Selu", "Shrink", "Sigmoid", "SimplifiedLayerNormalization",
    "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu",
    channels_last=True,
)  # fmt: skip
def through(visit: Visit) -> Redistributed:
    """Hand relevance through unchanged."""
    return Redistributed({visit.data[0]: visit.only, **_nothing(visit, visit.data[1:])})


def _nothing(visit: Visit, positions: tuple[int, ...]) -> dict[int, Array]:
    return {i: jnp.zeros(visit.shape(visit.node.inputs[i]), visit.dtype) for i in positions}


@redistributes("MaxPool", channels_last=True)
def pool(visit: Visit) -> Redistributed:
    """Hand each window's relevance to its first maximum."""
    large, small = visit.shape(visit.node.inputs[0]), visit.shape(visit.node.outputs[0])
    x, relevance = visit.input(0), visit.only
    if visit.channels_last:
        shape = geometry(visit.node, visit.attribute("kernel_shape"), large[1:-1], small[1:-1])
        return Redistributed({0: max_pool(relevance, x, shape)})
    shape = geometry(visit.node, visit.attribute("kernel_shape"), large[2:], small[2:])
    moved = max_pool(jnp.moveaxis(relevance, 1, -1), jnp.moveaxis(x, 1, -1), shape)
    return Redistributed({0: jnp.moveaxis(moved, -1, 1)})


@redistributes("GlobalMaxPool")
def global_pool(visit: Visit) -> Redistributed:
    """Hand each channel's relevance to its first maximum."""
    x = visit.input(0)
    return Redistributed({0: winner(visit.only, x, tuple(range(2, x.ndim)))})


@redistributes("ReduceMax")
def reduce_max(visit: Visit) -> Redistributed:
    """Hand relevance to the first maximum."""
    x = visit.input(0)
    axes = visit.attribute("axes")
    if axes is None and len(visit.node.inputs) > 1 and visit.node.inputs[1]:
        axes = visit.input(1)
    listed = range(x.ndim) if axes is None or len(axes) == 0 else axes
    reduced = tuple(sorted(int(axis) % x.ndim for axis in listed))
    kept = [1 if axis in reduced else n for axis, n in enumerate(x.shape)]
    return Redistributed({0: winner(visit.only.reshape(kept), x, reduced)})


@redistributes("Max", channels_last=True)
def maximum(visit: Visit) -> Redistributed:
    """Hand each element's relevance to the first operand that is the maximum."""
    z = visit.output()
    free = jnp.ones(z.shape, bool)
    inputs: dict[int, Array] = {}
    for position, name in enumerate(visit.node.inputs):
        wins = free & (visit.value(name) == z)
        free = free & ~wins
        if position in visit.data:
            won = jnp.where(wins, visit.only, 0)
            inputs[position] = _summed_to(won, visit.shape(name))
    return Redistributed(inputs, biases=balance(visit, inputs))


def _summed_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Undo numpy's broadcasting by summing."""
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    return x.sum(axis=axes, keepdims=True)


@redistributes("Div", "Mul", channels_last=True)
def product(visit: Visit) -> Redistributed:
    """Hand relevance to the factor that is no constant and no gate, or to both in halves.

    A divisor gets nothing: it scales, as a normalisation does (AttnLRP, proposition 3.4).
    """
    takers = visit.data
    if visit.node.op == "Div":
        takers = tuple(i for i in takers if i == 0)
        if not takers:
            return Redistributed(_nothing(visit, visit.data), others=per_image(visit.only))
    elif visit.gates:
        takers = tuple(i for i in takers if i not in visit.gates) or takers
    share = visit.only / len(takers)
    inputs = _nothing(visit, tuple(i for i in visit.data if i not in takers))
    for i in takers:
        inputs[i] = _summed_to(share, visit.shape(visit.node.inputs[i]))
    return Redistributed(inputs)


def gradient_times_input(visit: Visit) -> Redistributed:
    r"""Use :math:`R_j = a_j \sum_k (\partial z_k / \partial a_j) R_k / z_k` where no rule is known.

    That is gradient x input of the node, in proportion to z_k; it conserves only what is linear.
    Where integers or truth values alone lead to z, nothing goes on: all of it is lost.
    """
    if not visit.data:
        return Redistributed({}, others=balance(visit, {}))
    operands = [visit.input(i) for i in visit.data]
    outputs = visit.function()(*operands)
    shares = [
        r / stabilised(z, visit.stabiliser) for r, z in zip(visit.given, outputs, strict=True)
    ]
    gradients = visit.pull_back(operands, shares)
    inputs = {i: x * gradients[i] for i, x in zip(visit.data, operands, strict=True)}
    return Redistributed(inputs, others=balance(visit, inputs))
