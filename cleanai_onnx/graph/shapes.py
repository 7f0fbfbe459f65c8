"""The shape and element type of every tensor, for a batch of a given size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from cleanai_onnx.errors import ModelError, harmless
from cleanai_onnx.graph.runtime_operators import replace_runtime_operators
from cleanai_onnx.graph.sizing import computed_sizes, range_length, size_operands
from cleanai_onnx.graph.skeleton import skeleton
from cleanai_onnx.graph.topology import Topology, all_graphs

__all__ = ["Inferred", "infer"]

Shape = tuple[int | None, ...]

_MOST_ROUNDS = 4


@dataclass(frozen=True)
class Inferred:
    """What shape inference found.

    `shapes` maps tensors of the main graph to their shapes (None for a size that stays unknown),
    `nested` those of the subgraphs, `types` maps tensors to ONNX element types.
    """

    shapes: Mapping[str, Shape]
    nested: Mapping[str, Shape]
    types: Mapping[str, int]

    def known(self, tensor: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor if every size of it is known."""
        shape = self.shapes.get(tensor)
        if shape is None:
            shape = self.nested.get(tensor)
        if shape is None or any(size is None for size in shape):
            return None
        return tuple(size for size in shape if size is not None)


def infer(proto: onnx.ModelProto, inputs: Mapping[str, tuple[int, ...]]) -> Inferred:
    """Infer shapes with the shapes of some inputs fixed; the model is not changed.

    Shapes that an exporter stored for its own batch size are not used, except the element types.

    Raises
    ------
    ModelError
        If shapes contradict one another so that inference gives up on the whole model.
    """
    lean = skeleton(proto, keep_dims=True)
    stored_types = _types(lean.graph)
    for graph in all_graphs(lean.graph):
        del graph.value_info[:]
        replace_runtime_operators(graph)
    symbols = _bind(lean.graph, inputs)
    for value in lean.graph.input:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in symbols:
                size.dim_value = symbols[size.dim_param]
            elif size.WhichOneof("value") == "dim_value" and size.dim_value <= 0:
                size.ClearField("dim_value")
    for value in lean.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    done = _inferred(lean)
    # Sizes that onnx's inference does not follow are computed and put in as constants; each round
    # may make further shapes known that others read.
    for _ in range(_MOST_ROUNDS):
        if not _resolve_sizes(lean, _shapes(done.graph)):
            break
        done = _inferred(lean)
    shapes = _shapes(done.graph)
    shapes |= _long_ranges(lean.graph)
    nested: dict[str, Shape] = {}
    for graph in list(all_graphs(done.graph))[1:]:
        nested |= _shapes(graph)
    return Inferred(shapes, nested, stored_types | _types(done.graph))


def _inferred(lean: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(lean, data_prop=True)
    except Exception as error:
        # InferenceError, or RuntimeError and ValueError from the C++ code behind it.
        text = harmless(" ".join(str(error).split())[:300])
        raise ModelError(
            f"the shapes of the model contradict one another, onnx says: {text}"
        ) from error


def _resolve_sizes(lean: onnx.ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Replace computed sizes of allocating nodes by constants; return whether there were any."""
    graphs = list(all_graphs(lean.graph))
    waiting = {
        position: [
            node
            for node in graph.node
            # What onnx inferred inside subgraphs is not looked at: it sees no outer constants.
            if size_operands(node) and (position > 0 or not _is_known(shapes.get(node.output[0])))
        ]
        for position, graph in enumerate(graphs)
    }
    if not any(waiting.values()):
        return False
    opset = next((o.version for o in lean.opset_import if o.domain in ("", "ai.onnx")), 1)
    outer: dict[str, npt.NDArray[np.generic]] = {}
    changed = False
    for position, graph in enumerate(graphs):
        topology = Topology.of(graph)
        values = outer | computed_sizes(topology, shapes, opset)
        if position == 0:
            outer = values | _constants(topology)
        for node in waiting[position]:
            changed |= _put_in(node, graph, values)
    return changed


def _constants(topology: Topology) -> dict[str, npt.NDArray[np.generic]]:
    found = ((name, topology.constant(name)) for name in topology.initializers)
    return {name: value for name, value in found if value is not None}


def _put_in(
    node: onnx.NodeProto, graph: onnx.GraphProto, values: Mapping[str, npt.NDArray[np.generic]]
) -> bool:
    """Make a node read constants in place of the sizes that are known; return whether it did."""
    changed = False
    stored = {tensor.name for tensor in graph.initializer}
    for name in size_operands(node):
        if name not in values:
            continue
        constant = f"{name}:computed"
        if constant not in stored:
            graph.initializer.append(onnx.numpy_helper.from_array(values[name], constant))
            stored.add(constant)
        inputs = [constant if old == name else old for old in node.input]
        del node.input[:]
        node.input.extend(inputs)
        changed = True
    return changed


def _long_ranges(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Return the shapes of Range nodes that make more numbers than onnx counts up to."""
    if not any(node.op_type == "Range" for node in graph.node):
        return {}
    topology = Topology.of(graph)
    long: dict[str, Shape] = {}
    for node in graph.node:
        length = range_length(topology, node, {}) if node.op_type == "Range" else None
        if length is not None and not length < 2**31:
            long[node.output[0]] = (int(min(length, 2.0**63)),)
    return long


def _is_known(shape: Shape | None) -> bool:
    return shape is not None and None not in shape


def _bind(graph: onnx.GraphProto, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Fix the shapes of inputs; return what that makes of their symbols."""
    symbols: dict[str, int] = {}
    for value in graph.input:
        if value.name not in inputs:
            continue
        tensor = value.type.tensor_type
        for size, number in zip(tensor.shape.dim, inputs[value.name], strict=False):
            if size.dim_param:
                symbols.setdefault(size.dim_param, number)
        tensor.ClearField("shape")
        for number in inputs[value.name]:
            tensor.shape.dim.add().dim_value = number
        tensor.shape.SetInParent()
    return symbols


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        tensor = value.type.tensor_type
        if value.type.HasField("tensor_type") and tensor.HasField("shape"):
            shapes[value.name] = tuple(
                # Sizes below zero come from arithmetic that ran over: nothing is known of them.
                size.dim_value
                if size.WhichOneof("value") == "dim_value" and size.dim_value >= 0
                else None
                for size in tensor.shape.dim
            )
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return shapes


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.elem_type
    }
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return types
