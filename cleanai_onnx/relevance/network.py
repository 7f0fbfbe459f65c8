"""A model as relevance sees it: canonical nodes, with the shapes and constants of one batch size.

Every tensor between the canonical nodes that has a name of the original model has its value too
(see `cleanai_onnx.graph.canonical`), so the forward pass runs the original model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from cleanai_onnx.errors import UsageError
from cleanai_onnx.graph import Model
from cleanai_onnx.graph.canonical import (
    WIDEN_FLOATS,
    CanonicalPass,
    canonicalise,
    with_weights,
)
from cleanai_onnx.graph.names import shown
from cleanai_onnx.lowering import Lowered, Node, evaluate_node, lower
from cleanai_onnx.lowering.arrays import is_static
from cleanai_onnx.lowering.node import graph_from

__all__ = ["Network", "network_from"]

Array: TypeAlias = Any


@dataclass(frozen=True, eq=False)
class Network:
    """Canonical nodes and what is known of their tensors.

    Attributes
    ----------
    nodes
        The canonical nodes.
    stored
        Stored tensors of the canonical graph.
    original
        The original model lowered, specialised to the batch: its types, constants and weights.
    image_input, outputs
        Names.
    dtype
        The type of real numbers that the walk computes in.
    passes
        The canonical passes that changed the graph.
    """

    nodes: tuple[Node, ...]
    stored: Mapping[str, np.ndarray]
    original: Lowered
    image_input: str
    outputs: tuple[str, ...]
    dtype: np.dtype[Any]
    passes: tuple[str, ...] = ()
    _computed: dict[str, np.ndarray | None] = field(default_factory=dict)
    _shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _producers: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.nodes:
            self._producers.update((name, node) for name in node.outputs if name)

    def producer(self, name: str) -> Node | None:
        """Return the node that makes a tensor."""
        return self._producers.get(name)

    def in_original(self, name: str) -> bool:
        """Say whether the forward pass can give the value of a tensor."""
        types = self.original.types
        return types is not None and name in types

    def constant(self, name: str) -> np.ndarray | None:
        """Return the value of a tensor that does not depend on the images, else None."""
        if name not in self._computed:
            self._computed[name] = self._constant(name)
        return self._computed[name]

    def _constant(self, name: str) -> np.ndarray | None:
        for known in (self.stored, self.original.constants, self.original.parameters):
            if name in known:
                return self._typed(np.asarray(known[name]))
        node = self._producers.get(name)
        if node is None or node.domain:
            return None
        inputs = [self.constant(x) if x else None for x in node.inputs]
        if any(x and value is None for x, value in zip(node.inputs, inputs, strict=True)):
            return None
        outputs = evaluate_node(node, inputs)
        value = outputs[node.outputs.index(name)]
        return self._typed(np.asarray(value)) if is_static(value) else None

    def _typed(self, value: np.ndarray) -> np.ndarray:
        return value.astype(self.dtype) if value.dtype.kind == "f" else value

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor.

        Raises
        ------
        UsageError
            If there is no such tensor.
        """
        types = self.original.types or {}
        if name in types:
            return types[name].shape
        if name not in self._shapes:
            self._shapes[name] = self._shape(name)
        return self._shapes[name]

    def _shape(self, name: str) -> tuple[int, ...]:
        value = self.constant(name)
        if value is not None:
            return tuple(value.shape)
        node = self._producers.get(name)
        if node is None:
            raise UsageError(
                f"the model has no tensor {shown(name)}: check the name.", slug="relevance-layer"
            )
        constants = [self.constant(x) if x else None for x in node.inputs]
        free = [i for i, x in enumerate(node.inputs) if x and constants[i] is None]

        def outputs(*operands: Array) -> Sequence[Array]:
            inputs: list[Array | None] = list(constants)
            for position, operand in zip(free, operands, strict=True):
                inputs[position] = operand
            return [jnp.asarray(z) for z in evaluate_node(node, inputs)]

        structs = [jax.ShapeDtypeStruct(self.shape(node.inputs[i]), self.dtype) for i in free]
        made = jax.eval_shape(outputs, *structs)
        return tuple(made[node.outputs.index(name)].shape)

    def is_real(self, name: str) -> bool:
        """Say whether a tensor holds real numbers."""
        types = self.original.types or {}
        return name not in types or types[name].dtype.kind == "f"


def network_from(
    model: Model, shapes: Mapping[str, tuple[int, ...]], image_input: str, dtype: np.dtype[Any]
) -> Network:
    """Return a model in canonical form, for inputs of these shapes.

    Parameters
    ----------
    model
        A checked model.
    shapes
        Of all inputs, with the batch.
    image_input
        The input that takes the images.
    dtype
        float32, or float64 with JAX's x64 enabled.

    Raises
    ------
    NotSupportedError, ModelError
        If the model cannot be lowered.
    """
    lowered = lower(model)
    before: tuple[CanonicalPass, ...] = ()
    if dtype == np.float64:
        lowered, before = lowered.in_float64(), (WIDEN_FLOATS,)
    proto, passes = canonicalise(with_weights(model), before)
    opsets = {"" if e.domain == "ai.onnx" else e.domain: e.version for e in proto.opset_import}
    canonical = graph_from(proto.graph, opsets, model.directory)
    return Network(
        nodes=canonical.nodes,
        stored=canonical.constants,
        original=lowered.specialised(shapes),
        image_input=image_input,
        outputs=canonical.outputs,
        dtype=dtype,
        passes=passes,
    )
