"""Is this a model that may be run? Structure, operators, stored tensors, onnx's own checker."""

from __future__ import annotations

import re

import numpy as np
import onnx
from onnx import defs

from cleanai_onnx.errors import ModelError, harmless
from cleanai_onnx.graph.external import stored_tensors
from cleanai_onnx.graph.names import node_title, shown
from cleanai_onnx.graph.skeleton import skeleton
from cleanai_onnx.graph.tensors import check_tensor
from cleanai_onnx.graph.topology import Topology, all_graphs, sorted_nodes, subgraphs

__all__ = ["check_structure", "check_with_onnx", "inline_functions", "sort"]

OLDEST_OPSET = 7
RUNTIME_DOMAINS = frozenset({"com.microsoft", "ai.onnx.ml"})
"""Domains besides ONNX's own whose operators onnxruntime brings along."""

_MOST_NODES = 1_000_000
_POSITIVE = frozenset(
    {"block_size", "blocksize", "dilations", "group", "hidden_size", "kernel_shape",
     "kv_num_heads", "num_groups", "num_heads", "num_outputs", "q_num_heads", "strides"}
)  # fmt: skip
_BOUNDED = frozenset({"output_padding", "output_shape", "pads"})
_INT_LIMIT = 1 << 31
_DIVISORS = {"Div": 1, "Mod": 1, "SplitToSequence": 1}


def check_structure(proto: onnx.ModelProto) -> None:
    """Refuse a model with no graph, an opset that is too old, or operators nobody knows.

    Raises
    ------
    ModelError
        With a sentence that names the operator, node or tensor.
    """
    if not proto.graph.node:
        raise ModelError("the model's graph is empty (it has no nodes): export the model again.")
    opsets = {entry.domain or "": entry.version for entry in proto.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx"))
    if opset is None:
        raise ModelError(
            "the model does not say which ONNX opset it uses: export it again.", slug="opset"
        )
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"the model uses ONNX opset {opset}, but at least {OLDEST_OPSET} is needed: convert it "
            "with onnx.version_converter or export it again.",
            slug="opset",
        )
    if opset > defs.onnx_opset_version():
        raise ModelError(
            f"the model uses ONNX opset {opset}, but the installed onnx knows none after "
            f"{defs.onnx_opset_version()}: update the packages onnx and onnxruntime.",
            slug="opset",
        )
    functions = {(function.domain, function.name) for function in proto.functions}
    for graph in all_graphs(proto.graph):
        _check_names(graph)
        _check_divisors(graph)
        for node in graph.node:
            if (node.domain, node.op_type) not in functions:
                _check_operator(node, opset)
            _check_attributes(node)
    for tensor, where in stored_tensors(proto):
        check_tensor(tensor, where)


def _check_names(graph: onnx.GraphProto) -> None:
    made: set[str] = set()
    for value in graph.input:
        if value.name in made:
            raise ModelError(
                f"the model has two inputs named {shown(value.name)}: export it again."
            )
        made.add(value.name)
    stored: set[str] = set()
    for tensor in graph.initializer:
        if tensor.name in stored:
            raise ModelError(
                f"the model has two weights named {shown(tensor.name)}: export it again."
            )
        stored.add(tensor.name)
    made |= stored
    for node in graph.node:
        for name in node.output:
            if name and name in made:
                raise ModelError(
                    f"the tensor {shown(name)} is made twice, the second time by the "
                    f"{node_title(node)}: names must be unique, export the model again."
                )
            made.add(name)
    outputs: set[str] = set()
    for value in graph.output:
        if value.name in outputs:
            raise ModelError(
                f"the model has two outputs named {shown(value.name)}: export it again."
            )
        outputs.add(value.name)
        if value.name not in made and graph.node:
            raise ModelError(
                f"the output {shown(value.name)} is made by nothing in the graph: export it again."
            )


def _check_operator(node: onnx.NodeProto, opset: int) -> None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain in RUNTIME_DOMAINS:
        return
    if domain:
        raise ModelError(
            f"the {node_title(node)} belongs to the custom operator domain {shown(domain)}, which "
            "cannot be run: export the model with standard ONNX operators.",
            slug="custom-operator",
        )
    if not defs.has(node.op_type) or not _in_opset(node.op_type, opset):
        raise ModelError(
            f"the {node_title(node)} is of an operator that ONNX opset {opset} does not have: "
            "export the model with standard ONNX operators.",
            slug="custom-operator",
        )


def _in_opset(op_type: str, opset: int) -> bool:
    try:
        return not defs.get_schema(op_type, opset, "").deprecated
    except defs.SchemaError:
        return False


def _check_attributes(node: onnx.NodeProto) -> None:
    # Shape arithmetic divides by the first and adds up the second, in onnx and in runtimes: a zero
    # would end the process, and sums of 64-bit extremes run over.
    for item in node.attribute:
        if item.type not in (item.INT, item.INTS):
            continue
        values = [item.i] if item.type == item.INT else list(item.ints)
        if item.name in _POSITIVE and any(not 0 < value < _INT_LIMIT for value in values):
            raise ModelError(
                f"the {node_title(node)} has the attribute {item.name} with a value that is "
                "not positive or too large: export the model again."
            )
        if item.name in _BOUNDED and any(abs(value) >= _INT_LIMIT for value in values):
            raise ModelError(
                f"the {node_title(node)} has the attribute {item.name} with a value that is "
                "too large: export the model again."
            )


def _check_divisors(graph: onnx.GraphProto) -> None:
    # Integer divisions that processors trap: onnxruntime does not guard all of them.
    topology = Topology.of(graph)
    for node in graph.node:
        position = _DIVISORS.get(node.op_type)
        if position is None or len(node.input) <= position:
            continue
        divisor = topology.constant(node.input[position])
        if divisor is None or divisor.dtype.kind not in "iu":
            continue
        dividend = topology.constant(node.input[0])
        runs_over = (
            divisor.dtype.kind == "i"
            and bool((divisor.astype(np.int64) == -1).any())
            and dividend is not None
            and dividend.dtype.kind == "i"
            and bool((dividend.astype(np.int64) == -(1 << (8 * dividend.itemsize - 1))).any())
        )
        if runs_over or not divisor.all():
            raise ModelError(
                f"the {node_title(node)} divides by a constant that is zero or makes the quotient "
                "run over: export the model again."
            )


def sort(graph: onnx.GraphProto, outer: frozenset[str] = frozenset()) -> bool:
    """Bring the nodes of a graph and of all its subgraphs into topological order, in place.

    Returns whether anything moved. Raises `ModelError` if a graph has a cycle or a node reads
    what nothing makes.
    """
    moved = False
    order = sorted_nodes(graph, outer)
    if order != list(range(len(order))):
        nodes = [onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in order]
        del graph.node[:]
        graph.node.extend(nodes)
        moved = True
    visible = set(outer) | {value.name for value in graph.input}
    visible |= {tensor.name for tensor in graph.initializer}
    visible |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        for nested in subgraphs(node):
            moved |= sort(nested, frozenset(visible))
        visible.update(node.output)
    return moved


def inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with calls of its own functions replaced by their nodes.

    Raises
    ------
    ModelError
        If functions call one another in a circle or would unfold into more than a million nodes.
    """
    if not proto.functions:
        return proto
    bodies = {(function.domain, function.name): function for function in proto.functions}
    if len(bodies) < len(proto.functions):
        raise ModelError("two functions of the model have the same name: export the model again.")
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: list[onnx.NodeProto], calling: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key not in bodies:
                inner = [child for graph in subgraphs(node) for child in graph.node]
                total += 1 + size(inner, calling)
                continue
            if key in calling or len(calling) > 64:
                raise ModelError(
                    f"the function {shown(node.op_type)} of the model calls itself: "
                    "export the model again."
                )
            if key not in sizes:
                sizes[key] = size(list(bodies[key].node), (*calling, key))
            total += sizes[key]
        return total

    if size(list(proto.graph.node), ()) > _MOST_NODES:
        raise ModelError(
            f"the model's functions unfold into more than {_MOST_NODES:,} nodes: refused."
        )
    try:
        from onnx import inliner

        return inliner.inline_local_functions(proto)
    except Exception as error:
        # The C++ inliner raises whatever its checks throw; all of it means the same to the user.
        raise ModelError(f"the model's functions cannot be unfolded: {_one_line(error)}") from error


def check_with_onnx(proto: onnx.ModelProto) -> None:
    """Run onnx's checker on the model without its weights (those are checked by `check_tensor`).

    Raises
    ------
    ModelError
        With the first line of what the checker says.
    """
    lean = skeleton(proto, keep_dims=False)
    # Runtimes take inputs and outputs without a shape, the checker does not.
    for value in (*lean.graph.input, *lean.graph.output):
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(lean)
    except Exception as error:
        # checker.ValidationError, and RuntimeError or ValueError from the C++ code behind it.
        raise ModelError(
            f"the model is not valid ONNX, onnx's checker says: {_one_line(error)}"
        ) from error


def _one_line(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    text = harmless(text)
    return text if len(text) <= 300 else text[:299] + "…"
