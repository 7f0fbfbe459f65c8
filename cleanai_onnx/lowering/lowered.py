"""A whole model as a function of JAX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx

from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.graph.loading import Model, tensor_facts
from cleanai_onnx.graph.names import shown
from cleanai_onnx.graph.validity import inline_functions
from cleanai_onnx.lowering.arrays import Array, Static, dtype_of, is_static, working_type
from cleanai_onnx.lowering.dependence import makes_shapes, reads
from cleanai_onnx.lowering.evaluation import run_nodes
from cleanai_onnx.lowering.node import Node, graph_from
from cleanai_onnx.lowering.precision import wide, widened
from cleanai_onnx.result import TensorFacts

__all__ = ["Lowered", "TensorType", "lower"]

_LARGE = 1024
"""Constant nodes with more numbers than this hold weights, and are parameters."""


@dataclass(frozen=True)
class TensorType:
    """Shape and numpy type of a tensor."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, eq=False)
class Lowered:
    """A model as a pure function of its parameters and inputs.

    It can be called under `jax.jit`, `jax.grad`, `jax.vmap` and the like. A pass over the model
    makes a new one with `dataclasses.replace`.

    Attributes
    ----------
    nodes
        The nodes in topological order.
    inputs, outputs
        What the graph takes, with types and shapes, and the names of what a call returns.
    parameters
        The weights: all stored tensors of real numbers with at least one axis, except those that
        only make shapes (such as the scales of a Resize).
    constants
        The other stored tensors, which are static: integers, single numbers, what makes shapes.
    types
        Shape and type of every tensor that is computed, if the shapes of the inputs were given.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Static]
    constants: Mapping[str, Static]
    types: Mapping[str, TensorType] | None = None

    def __call__(
        self,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array] | Array,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Array]:
        """Compute tensors.

        Parameters
        ----------
        parameters
            As `self.parameters`; the function computes in float64 where JAX's x64 is enabled and
            these and the inputs are float64.
        inputs
            By name, or one array if the model has one input.
        outputs
            Names of any tensors of the graph, by default `self.outputs`. Only what they need is
            computed.

        Returns
        -------
        dict of str to Array

        Raises
        ------
        UsageError
            If an input is missing, or there is no tensor of a name.
        NotSupportedError
            If an operator, or the form of one, is not implemented.
        """
        wanted = self.outputs if outputs is None else tuple(outputs)
        values: dict[str, Array | None] = dict(self.constants)
        values.update((name, jnp.asarray(x)) for name, x in parameters.items())
        values.update(self._named(inputs))
        run_nodes(self.needed(wanted), values)
        for name in wanted:
            if values.get(name) is None:
                raise UsageError(f"the model has no tensor {shown(name)}: check the name.")
        return {name: jnp.asarray(values[name]) for name in wanted}

    def _named(self, inputs: Mapping[str, Array] | Array) -> dict[str, Array]:
        if not isinstance(inputs, Mapping):
            if len(self.inputs) != 1:
                raise UsageError(
                    f"the model has {len(self.inputs)} inputs: give them by their names."
                )
            inputs = {self.inputs[0].name: inputs}
        missing = next((x.name for x in self.inputs if x.name not in inputs), None)
        if missing is not None:
            raise UsageError(f"the input {shown(missing)} of the model is missing.")
        return {name: jnp.asarray(x) for name, x in inputs.items()}

    def needed(self, outputs: Iterable[str]) -> tuple[Node, ...]:
        """Return the nodes that the tensors `outputs` depend on."""
        wanted = set(outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if not wanted.isdisjoint(node.outputs):
                kept.append(node)
                wanted.update(reads(node))
        return tuple(reversed(kept))

    def specialised(self, input_shapes: Mapping[str, Sequence[int]]) -> Lowered:
        """Return the function for inputs of these shapes: `types` filled, shape arithmetic folded.

        Nodes whose outputs are static for these shapes become constants.

        Raises
        ------
        UsageError
            If a shape is missing or does not fit the model's.
        NotSupportedError, ModelError
            If a node cannot be computed.
        """
        structs = {}
        for entry in self.inputs:
            if entry.name not in input_shapes:
                raise UsageError(f"the shape of the input {shown(entry.name)} is missing.")
            shape = tuple(int(size) for size in input_shapes[entry.name])
            _check_shape(entry, shape)
            dtype = working_type(_input_dtype(entry))
            structs[entry.name] = jax.ShapeDtypeStruct(shape, dtype)
        values: dict[str, Array | None] = {}

        def trace(parameters: Mapping[str, Array], inputs: Mapping[str, Array]) -> None:
            values.update(self.constants)
            values.update(parameters)
            values.update(inputs)
            run_nodes(self.nodes, values)

        weights = {
            name: jax.ShapeDtypeStruct(x.shape, working_type(x.dtype))
            for name, x in self.parameters.items()
        }
        jax.eval_shape(trace, weights, structs)
        kept: list[Node] = []
        constants = dict(self.constants)
        for node in self.nodes:
            outputs = {name: values[name] for name in node.outputs if name}
            if all(is_static(x) for x in outputs.values()):
                constants.update((name, np.asarray(x)) for name, x in outputs.items())
            else:
                kept.append(node)
        read = {name for node in kept for name in reads(node)} | set(self.outputs)
        constants = {name: x for name, x in constants.items() if name in read}
        of_shapes = makes_shapes(kept, structs)
        parameters = {name: x for name, x in self.parameters.items() if name in read}
        for name, x in list(constants.items()):
            # Weights that the model computes, in the literals of a program, would be compiled.
            if _is_real(x) and x.size > _LARGE and name not in of_shapes:
                parameters[name] = constants.pop(name)
        types = {
            name: TensorType(tuple(x.shape), np.dtype(x.dtype))
            for name, x in values.items()
            if x is not None
        }
        return replace(
            self, nodes=tuple(kept), parameters=parameters, constants=constants, types=types
        )

    def in_float64(self) -> Lowered:
        """Return the same function in double precision, for use with JAX's x64 enabled.

        Weights, constants and casts that are float32 in the model become float64.
        """
        return replace(
            self,
            nodes=tuple(widened(node) for node in self.nodes),
            inputs=tuple(
                replace(x, dtype="float64") if x.dtype == "float32" else x for x in self.inputs
            ),
            parameters={name: wide(x) for name, x in self.parameters.items()},
            constants={name: wide(x) for name, x in self.constants.items()},
            types=None,
        )


def lower(
    model: Model | onnx.ModelProto,
    outputs: Sequence[str] | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Lowered:
    """Lower an ONNX model to JAX.

    Parameters
    ----------
    model
        A checked model, or a proto (without external data, its nodes in topological order).
    outputs
        Names of the tensors that a call returns, by default the outputs of the graph.
    input_shapes
        The shapes of the inputs, with the batch; see `Lowered.specialised`. Without them, shape
        arithmetic is folded each time that the function is traced.

    Raises
    ------
    NotSupportedError
        If an operator is not implemented. What only shows when shapes are known is refused then:
        at once with `input_shapes`, otherwise when the function is traced.
    ModelError
        If the model contradicts itself.
    """
    proto = model.proto if isinstance(model, Model) else inline_functions(model)
    directory: Path | None = model.directory if isinstance(model, Model) else None
    opsets = {"" if e.domain == "ai.onnx" else e.domain: e.version for e in proto.opset_import}
    opsets.setdefault("", 1)
    graph = graph_from(proto.graph, opsets, directory)
    constants = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        value = node.attributes.get("value")
        if node.op == "Constant" and not node.domain and isinstance(value, np.ndarray):
            constants[node.outputs[0]] = value
        else:
            nodes.append(node)
    stored = {tensor.name for tensor in proto.graph.initializer}
    stored |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    inputs = tuple(tensor_facts(v) for v in proto.graph.input if v.name not in stored)
    of_shapes = makes_shapes(nodes, [entry.name for entry in inputs])
    parameters = {
        name: x
        for name, x in constants.items()
        if _is_real(x) and x.ndim and name not in of_shapes and (name in stored or x.size > _LARGE)
    }
    for name in parameters:
        del constants[name]
    lowered = Lowered(
        nodes=tuple(nodes),
        inputs=inputs,
        outputs=graph.outputs if outputs is None else tuple(outputs),
        parameters=parameters,
        constants=constants,
    )
    return lowered if input_shapes is None else lowered.specialised(input_shapes)


def _is_real(x: Static) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.floating)) and x.dtype.itemsize >= 2


def _input_dtype(entry: TensorFacts) -> np.dtype[Any]:
    try:
        return np.dtype(entry.dtype)
    except TypeError:
        pass
    try:
        return dtype_of(onnx.TensorProto.DataType.Value(entry.dtype.upper()))
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"the input {shown(entry.name)} is of the type {entry.dtype}, which cannot be lowered."
        ) from error


def _check_shape(entry: TensorFacts, shape: tuple[int, ...]) -> None:
    if entry.shape == ("…",):
        return
    fits = len(shape) == len(entry.shape) and all(
        isinstance(wanted, str) or wanted == size
        for wanted, size in zip(entry.shape, shape, strict=True)
    )
    if not fits:
        raise UsageError(f"the input {shown(entry.name)} has the shape {entry.shape}, not {shape}.")
