"""Computing one node, all nodes of a graph, and operators that ONNX defines by others."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import onnx
from onnx import defs

from cleanai_onnx.errors import ModelError, NotSupportedError
from cleanai_onnx.graph.names import shown
from cleanai_onnx.lowering.arrays import Array, Static, is_static, working_type
from cleanai_onnx.lowering.node import Graph, Node, attribute_value, node_from, node_proto
from cleanai_onnx.lowering.registry import Operator, find_operator

__all__ = ["NeedsConstantError", "evaluate_node", "function_body", "run_graph", "run_nodes"]

_INT32 = np.iinfo(np.int32)

_VALUE_DEPENDENT = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)

_CONTRADICTIONS = (
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    ArithmeticError,
    NotImplementedError,
    MemoryError,
)
"""What numpy and JAX raise when shapes, types or sizes do not fit together."""


class NeedsConstantError(NotSupportedError):
    """An operator needs a value while it is traced that is only computed when the function runs.

    `tensor` is the name of the tensor.
    """

    def __init__(self, message: str, tensor: str) -> None:
        super().__init__(message)
        self.tensor = tensor


def evaluate_node(
    node: Node, inputs: Sequence[Array | None], scope: Mapping[str, Array] | None = None
) -> tuple[Array, ...]:
    """Compute one node.

    Parameters
    ----------
    node
        The node.
    inputs
        Its inputs, None for one that is left out. Those that are numpy arrays are static.
    scope
        The tensors around the node, which the subgraphs of If, Loop and Scan may read.

    Returns
    -------
    tuple of Array
        The outputs, as many as the node names. They are numpy arrays if all inputs are.

    Raises
    ------
    NotSupportedError
        If the operator, or this form of it, is not implemented.
    ModelError
        If shapes, types or values of the inputs do not fit the operator.
    """
    known = find_operator(node.op, node.opset, node.domain)
    outputs: Any
    try:
        if known is None:
            outputs = _by_definition(node, inputs)
        else:
            arguments = _arguments(known, node, inputs)
            if known.scoped:
                arguments.insert(0, MappingProxyType({}) if scope is None else scope)
            with np.errstate(all="ignore"):
                outputs = known.function(node, *arguments, **node.attributes)
    except _VALUE_DEPENDENT as error:
        raise node.refuse("it needs values that are only known when the model runs") from error
    except _CONTRADICTIONS as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"the {node.title} cannot be computed: {shown(text)[1:-1]}; export the model again."
        ) from error
    if not isinstance(outputs, tuple):
        outputs = (outputs,)
    if any(node.outputs[len(outputs) :]):
        raise node.refuse(f"only its first {len(outputs)} outputs are implemented")
    # numpy's scalars are static arrays without axes.
    return tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in outputs)


def _arguments(known: Operator, node: Node, inputs: Sequence[Array | None]) -> list[Array | None]:
    arguments = list(inputs)
    while arguments and arguments[-1] is None:
        arguments.pop()
    if len(arguments) > len(known.inputs) and not known.variadic:
        raise node.refuse(f"only its first {len(known.inputs)} inputs are implemented")
    for position in range(known.required):
        if position >= len(arguments) or arguments[position] is None:
            raise ModelError(
                f"the {node.title} lacks its input {known.inputs[position]}: export the model "
                "again."
            )
    for name in node.attributes:
        if name not in known.attributes:
            raise node.refuse(f"its attribute {shown(name)} is not implemented")
    for position in known.static:
        if position < len(arguments) and arguments[position] is not None:
            arguments[position] = _constant(known, node, position, arguments[position])
    if not all(x is None or is_static(x) for x in arguments):
        _check_integers(known, node, arguments)
    return arguments


def _constant(known: Operator, node: Node, position: int, x: Array) -> Static:
    if isinstance(x, jax.core.Tracer):
        raise NeedsConstantError(
            f"the {node.title} cannot be lowered to JAX: its input {known.inputs[position]} must "
            "be known before the model runs, but is computed from the values of the model's "
            "input; export the model with fixed shapes.",
            node.inputs[position],
        )
    return np.asarray(x)


def _check_integers(known: Operator, node: Node, arguments: Sequence[Array | None]) -> None:
    """Refuse constants that JAX would silently cut to 32 bits."""
    if working_type(np.int64).itemsize == 8:
        return
    for position, x in enumerate(arguments):
        if position in known.static or x is None or not is_static(x) or x.dtype.kind not in "iu":
            continue
        if x.dtype.itemsize == 8 and x.size and not _INT32.min <= x.min() <= x.max() <= _INT32.max:
            raise node.refuse("it computes with integers of more than 32 bits (enable JAX's x64)")


def run_nodes(nodes: Sequence[Node], values: MutableMapping[str, Array | None]) -> None:
    """Compute nodes in their order and put what they make into `values`.

    Raises
    ------
    ModelError
        If a node reads a tensor that is not in `values` yet, and as `evaluate_node`.
    """
    for node in nodes:
        missing = next((name for name in node.inputs if name and name not in values), None)
        if missing is not None:
            raise ModelError(
                f"the {node.title} reads {shown(missing)}, which nothing before it makes: export "
                "the model again."
            )
        inputs = [values[name] if name else None for name in node.inputs]
        outputs = evaluate_node(node, inputs, values)
        values.update((name, x) for name, x in zip(node.outputs, outputs, strict=False) if name)


def run_graph(
    graph: Graph, inputs: Sequence[Array | None], outer: Mapping[str, Array | None]
) -> tuple[Array, ...]:
    """Compute a subgraph, which may read the tensors around it (`outer`)."""
    values: ChainMap[str, Array | None] = ChainMap({}, outer)  # type: ignore[arg-type]
    values.update(graph.constants)
    values.update(zip(graph.inputs, inputs, strict=False))
    run_nodes(graph.nodes, values)
    return tuple(values.get(name) for name in graph.outputs)


def _by_definition(node: Node, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    body = function_body(node, inputs)
    if body is None:
        raise NotSupportedError(
            f"the {node.title} cannot be lowered to JAX: its operator is not implemented "
            "(docs/operators.md lists those that are)."
        )
    formal: list[Array | None] = [*inputs, *(None,) * (len(body.inputs) - len(inputs))]
    return run_graph(body, formal, {})


def function_body(node: Node, inputs: Sequence[Array | None]) -> Graph | None:
    """Return ONNX's own definition of an operator by other operators, None if there is none.

    Parameters
    ----------
    node
        The node; attributes that it leaves out have their defaults.
    inputs
        Arrays (or anything that has a dtype and a shape): some definitions depend on them.
    """
    if any(isinstance(value, Graph) for value in node.attributes.values()):
        # The definition would be made without them.
        return None
    try:
        # The stubs of onnx lack half of what a schema has.
        schema: Any = defs.get_schema(node.op, node.opset, node.domain)
    except defs.SchemaError:
        return None
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= node.opset]
        if not versions:
            return None
        data = schema.get_function_with_opset_version(max(versions))
    elif schema.has_context_dependent_function:
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= node.opset]
        if not versions:
            return None
        types = [b"" if x is None else _type_of(x).SerializeToString() for x in inputs]
        data = schema.get_context_dependent_function_with_opset_version(
            max(versions), node_proto(node).SerializeToString(), types
        )
    else:
        return None
    function = onnx.FunctionProto.FromString(data)
    opsets = {entry.domain: entry.version for entry in function.opset_import}
    if "" not in opsets:
        opsets[""] = node.opset if not node.domain else defs.onnx_opset_version()
    caller: dict[str, Any] = {}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.type:
            caller[name] = attribute_value(node_proto(node), attribute.default_value, opsets)
    for item in function.attribute_proto:
        caller[item.name] = attribute_value(node_proto(node), item, opsets)
    caller.update(node.attributes)
    return Graph(
        nodes=tuple(node_from(inner, opsets, caller=caller) for inner in function.node),
        inputs=tuple(function.input),
        outputs=tuple(function.output),
        constants={},
    )


def _type_of(x: Array) -> onnx.TypeProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(x.dtype))
    return onnx.helper.make_tensor_type_proto(kind, tuple(x.shape))
