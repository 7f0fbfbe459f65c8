"""The walk back: relevance of the output handed from node to node to the input.

Relevances that arrive at one tensor from several readers add up. The walk is one function that is
traced and compiled once for each model, batch size and composite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax

from cleanai_onnx.relevance.layouts import Laid, channels_last_shape, has_spatial_axes
from cleanai_onnx.relevance.network import Network
from cleanai_onnx.relevance.plan import LinearStep, OtherStep, Plan
from cleanai_onnx.relevance.redistribution import CHANNELS_LAST, per_image, through
from cleanai_onnx.relevance.rules import positive
from cleanai_onnx.relevance.visit import Redistributed, Visit

__all__ = ["Ledger", "Passed", "Walked", "linear_relevance", "walk"]

Array: TypeAlias = Any
Values: TypeAlias = Callable[[str], Laid]


class Ledger(NamedTuple):
    """Where the relevance went that did not reach the input: ``(B,)`` each."""

    biases: Array
    stabilisers: Array
    others: Array


class Walked(NamedTuple):
    """What a walk gives: relevance by tensor, the start's values and targets, the ledger."""

    relevance: dict[str, Array]
    started: Array
    targets: Array
    ledger: Ledger


@dataclass
class _Sums:
    """The ledger under way."""

    totals: dict[str, Array]

    def add(self, given: Redistributed) -> None:
        for name in Ledger._fields:
            value = getattr(given, name)
            if value is not None:
                self.totals[name] = self.totals[name] + _by_image(value, len(self.totals[name]))


def _by_image(sums: Array, images: int) -> Array:
    """Return sums over everything but the first axis as sums for each image.

    Windows of attention stand with their image; where the first axis is another one altogether,
    the images share the total.
    """
    if len(sums) % images == 0:
        return sums.reshape(images, -1).sum(axis=1)
    return jnp.full((images,), sums.sum() / images, sums.dtype)


def walk(
    network: Network,
    plan: Plan,
    stabiliser: float,
    value: Values,
    prepared: Sequence[Any],
    start: tuple[Array, Array, Array],
    wanted: Sequence[str],
    *,
    accounts: bool = False,
) -> Walked:
    """Walk back.

    Parameters
    ----------
    network, plan
        The model and the way.
    stabiliser
        Of sums and averages.
    value
        Gives the value of a tensor.
    prepared
        For each step the weights of its terms (`LinearStep.prepared`), None for other steps.
    start
        Relevance at the start, its sum for each image, and the targets.
    wanted
        The tensors whose relevance is returned; one that relevance never reaches has zeros.
    accounts
        Whether the ledger has what the stabilisers took; if not, zeros.
    """
    first, started, targets = start
    relevance: dict[str, Laid] = {plan.start: Laid(first)}
    kept: dict[str, Array] = {}
    sums = _Sums({name: jnp.zeros_like(started) for name in Ledger._fields})
    for step, weights in zip(reversed(plan.steps), reversed(prepared), strict=True):
        arrived = tuple(relevance.pop(name, None) for name in step.node.outputs)
        pairs = zip(step.node.outputs, arrived, strict=True)
        kept.update((name, r.onnx) for name, r in pairs if name in wanted and r is not None)
        if all(r is None for r in arrived):
            continue
        if isinstance(step, LinearStep):
            given, last = (
                _linear(network, step, weights, value, arrived[0], accounts),
                step.map.channels_last,
            )
        else:
            last = _takes_channels_last(network, step)
            given = _other(network, step, stabiliser, value, arrived, last, accounts)
        sums.add(given)
        for position, share in given.inputs.items():
            name = step.node.inputs[position]
            before, new = relevance.get(name), Laid(share, last)
            relevance[name] = new if before is None else before.plus(new)
    kept.update((name, r.onnx) for name, r in relevance.items() if name in wanted)
    for name in wanted:
        if name not in kept:
            kept[name] = jnp.zeros(network.shape(name), first.dtype)
    return Walked(kept, started, targets, Ledger(**sums.totals))


def _linear(
    network: Network,
    step: LinearStep,
    weights: Any,
    value: Values,
    relevance: Laid | None,
    accounts: bool,
) -> Redistributed:
    assert relevance is not None
    last = step.map.channels_last
    output = step.node.outputs[0]
    known = None
    if any(term.is_plain for term in step.rule.terms) and network.in_original(output):
        known = value(output).seen(last)
    operand = value(step.node.inputs[step.source]).seen(last)
    arrived = relevance.seen(last)
    turn = last and not has_spatial_axes(operand.shape)  # one spatial axis
    if turn:
        operand, arrived = _turned(operand), _turned(arrived)
        known = None if known is None else _turned(known)
    passed = linear_relevance(step, weights, operand, known, arrived)
    x = _turned(passed.relevance) if turn else passed.relevance
    left = passed.stabilisers(arrived) if accounts else None
    return Redistributed({step.source: x}, biases=passed.biases, stabilisers=left)


def _turned(x: Array) -> Array:
    return jnp.swapaxes(x, 1, 2)


class Passed(NamedTuple):
    r"""How relevance passed a linear layer.

    Attributes
    ----------
    relevance
        Of the input.
    biases
        ``(B,)``, what the biases took: :math:`\\sum_k \\sum_i s_{ik} b_{ik}`; None without biases.
    shares, outputs
        The messages s_ik and the z_ik of the terms.
    """

    relevance: Array
    biases: Array | None
    shares: tuple[Array | None, ...]
    outputs: tuple[Array | None, ...]

    def stabilisers(self, arrived: Array) -> Array:
        r"""Return what the stabilisers took: :math:`\sum_k (R_k - \sum_i s_{ik} z_{ik})`.

        Parameters
        ----------
        arrived
            The relevance R of the output.
        """
        left = arrived
        for share, z in zip(self.shares, self.outputs, strict=True):
            if share is not None and z is not None:
                left = left - share * z
        return per_image(left)


def linear_relevance(
    step: LinearStep, weights: Any, x: Array, z: Array | None, relevance: Array
) -> Passed:
    """Apply the rule of a linear layer.

    Parameters
    ----------
    step, weights
        The layer, and `LinearStep.prepared` of it.
    x, z
        Its input, and its output if that is known.
    relevance
        Of the output.
    """
    operands: list[Array | None] = []
    outputs: list[Array | None] = []
    for term, prepared in zip(step.rule.terms, weights, strict=True):
        if prepared is None:
            operands.append(None)
            outputs.append(None)
            continue
        kernel, bias = prepared
        same = step.input_is_nonnegative and term.input is positive
        operand = x if same else term.input(x)
        operands.append(operand)
        if term.is_plain and z is not None:
            outputs.append(z)
        else:
            made = step.map.forward(operand, kernel)
            outputs.append(made if bias is None else made + bias)
    shares = tuple(step.rule.shares(relevance, outputs))
    parts: list[Array] = []
    taken: list[Array] = []
    for share, operand, prepared in zip(shares, operands, weights, strict=True):
        if share is not None and prepared is not None:
            kernel, bias = prepared
            parts.append(operand * step.map.transposed(share, kernel))
            if bias is not None:
                taken.append(_times_row(share, bias))
    return Passed(
        sum(parts[1:], start=parts[0]),
        sum(taken[1:], start=taken[0]) if taken else None,
        shares,
        tuple(outputs),
    )


def _times_row(share: Array, bias: Array) -> Array:
    """Return the sum of share · bias for each image; a product of matrices is the fastest sum."""
    if bias.ndim != 1 or share.shape[-1] != bias.shape[0]:
        return per_image(share * bias)
    rows = jnp.matmul(share, bias, precision=lax.Precision.HIGHEST)
    return rows.reshape(share.shape[0], -1).sum(axis=1)


def _takes_channels_last(network: Network, step: OtherStep) -> bool:
    """Say whether a node can be walked with channels last: all its tensors have as many axes."""
    node = step.node
    if (node.domain, node.op) not in CHANNELS_LAST and step.redistribute is not through:
        return False
    names = [name for name in (*node.inputs, *node.outputs[:1]) if name]
    if step.redistribute is through or node.op in ("Cast", "CastLike"):
        names = [node.inputs[step.data[0]], node.outputs[0]]
    ranks = {len(network.shape(name)) for name in names}
    return len(ranks) == 1 and has_spatial_axes(network.shape(names[0]))


def _other(
    network: Network,
    step: OtherStep,
    stabiliser: float,
    value: Values,
    arrived: tuple[Laid | None, ...],
    last: bool,
    accounts: bool,
) -> Redistributed:
    def shape(name: str) -> tuple[int, ...]:
        known = network.shape(name)
        return channels_last_shape(known) if last else known

    visit = Visit(
        node=step.node,
        data=step.data,
        gates=step.gates,
        relevance=tuple(None if r is None else r.seen(last) for r in arrived),
        value=lambda name: value(name).seen(last),
        shape=shape,
        stabiliser=stabiliser,
        channels_last=last,
        accounts=accounts,
    )
    return step.redistribute(visit)
