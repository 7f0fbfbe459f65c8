"""Values of tensors on the way back: given by the forward pass, constant, or computed on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax.numpy as jnp

from cleanai_onnx.lowering import evaluate_node
from cleanai_onnx.relevance.layouts import Laid
from cleanai_onnx.relevance.network import Network

__all__ = ["Recorder", "values_from"]

Array: TypeAlias = Any


class Recorder:
    """Finds out which tensors a walk asks for: hands out zeros and keeps the names."""

    def __init__(self, network: Network) -> None:
        self.names: dict[str, None] = {}
        self._network = network

    def __call__(self, name: str) -> Array:
        """Return zeros of the tensor's shape."""
        self.names[name] = None
        return jnp.zeros(self._network.shape(name), self._network.dtype)


def values_from(
    network: Network, given: Mapping[str, Laid], recorder: Recorder | None
) -> Callable[[str], Laid]:
    """Return the function from names to values.

    Parameters
    ----------
    network
        The model.
    given
        What the forward pass gives.
    recorder
        Asked for tensors of real numbers that the forward pass could give, in place of `given`.
    """
    known: dict[str, Laid] = dict(given)

    def value(name: str) -> Laid:
        if name not in known:
            constant = network.constant(name)
            if constant is not None:
                known[name] = Laid(constant)
            elif recorder is not None and network.in_original(name) and network.is_real(name):
                known[name] = Laid(recorder(name))
            else:
                known[name] = Laid(computed(name))
        return known[name]

    def computed(name: str) -> Array:
        """Compute what the forward pass does not give: integers, and what folding has made."""
        node = network.producer(name)
        if node is None:
            raise AssertionError(f"nothing gives the value of {name!r}")
        outputs = evaluate_node(node, [value(x).onnx if x else None for x in node.inputs])
        return outputs[node.outputs.index(name)]

    return value
