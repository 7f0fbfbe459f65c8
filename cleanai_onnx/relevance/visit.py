"""What the redistribution at one node sees, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from cleanai_onnx.lowering.evaluation import evaluate_node
from cleanai_onnx.lowering.node import Node

__all__ = ["Redistributed", "Redistribution", "Visit"]

Array: TypeAlias = Any


@dataclass(frozen=True)
class Visit:
    """A node on the way back.

    Attributes
    ----------
    node
        The node.
    data
        The positions of the inputs that get relevance.
    gates
        Those of them that come from a squashing function, such as a sigmoid.
    relevance
        Of each output, None for one that has none.
    value
        Gives the value of a tensor; asking makes the forward pass keep it.
    shape
        Gives the shape of a tensor, which costs nothing.
    channels_last
        Whether images and volumes have their channels last here, in values, shapes and relevance.
        Only redistributions that are registered for it see that.
    stabiliser
        Of sums and averages.
    accounts
        Whether what the stabiliser takes is to be computed.
    """

    node: Node
    data: tuple[int, ...]
    gates: tuple[int, ...]
    relevance: tuple[Array | None, ...]
    value: Callable[[str], Array]
    shape: Callable[[str], tuple[int, ...]]
    stabiliser: float
    channels_last: bool = False
    accounts: bool = False

    def input(self, position: int) -> Array:
        """Return the value of an input."""
        return self.value(self.node.inputs[position])

    def output(self, position: int = 0) -> Array:
        """Return the value of an output."""
        return self.value(self.node.outputs[position])

    @property
    def only(self) -> Array:
        """The relevance of the first output."""
        if self.relevance[0] is None:
            return jnp.zeros(self.shape(self.node.outputs[0]), self.dtype)
        return self.relevance[0]

    @property
    def dtype(self) -> Any:
        """The type that relevance is computed in."""
        return next(r.dtype for r in self.relevance if r is not None)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the node."""
        return self.node.attributes.get(name, default)

    def function(self) -> Callable[..., tuple[Array, ...]]:
        """Return the node as a function of the inputs at `data` to its outputs with relevance."""
        constants = {
            position: self.value(name)
            for position, name in enumerate(self.node.inputs)
            if name and position not in self.data
        }

        def function(*operands: Array) -> tuple[Array, ...]:
            inputs: list[Array | None] = [
                constants.get(position) for position in range(len(self.node.inputs))
            ]
            for position, operand in zip(self.data, operands, strict=True):
                inputs[position] = operand
            outputs = evaluate_node(self.node, inputs)
            pairs = zip(outputs, self.relevance, strict=False)
            return tuple(jnp.asarray(z) for z, r in pairs if r is not None)

        return function

    def pull_back(self, operands: Sequence[Array], cotangents: Sequence[Array]) -> dict[int, Array]:
        """Return the vector-Jacobian product of `function`, by input."""
        outputs, back = jax.vjp(self.function(), *operands)
        given = [
            jnp.broadcast_to(c, z.shape).astype(z.dtype)
            for c, z in zip(cotangents, outputs, strict=True)
        ]
        return dict(zip(self.data, back(tuple(given)), strict=True))

    @property
    def given(self) -> list[Array]:
        """The relevances of the outputs that have one."""
        return [r for r in self.relevance if r is not None]


@dataclass(frozen=True)
class Redistributed:
    """The relevance of a node's inputs by position, and what did not arrive there.

    `biases`, `stabilisers` and `others` are ``(B,)`` each: what constants took, what the ε in
    denominators took (only if `Visit.accounts`), and what a rule that conserves nothing lost. None
    is zero.
    """

    inputs: Mapping[int, Array]
    biases: Array | None = None
    stabilisers: Array | None = None
    others: Array | None = None


Redistribution: TypeAlias = Callable[[Visit], Redistributed]
