"""Several nodes as one: a call of a function whose body they become."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from cleanai_onnx.graph.canonical.editing import Edited
from cleanai_onnx.graph.topology import read_names

__all__ = ["DOMAIN", "wrap"]

DOMAIN = "cleanai_onnx"
"""Domain of the functions that recognised nodes become."""


def wrap(edited: Edited, name: str, members: Iterable[int], last: int, source: str) -> bool:
    """Replace nodes by one call ``name(source, ...)`` with the output of the node `last`.

    The body of the function is made of the nodes themselves, so the numbers are the same, and any
    runtime that knows ONNX functions runs the result.

    Parameters
    ----------
    members
        The nodes; nobody else may read what they make, except the output of `last`.
    source
        The tensor that becomes the first operand; the others are what the nodes read besides.

    Returns
    -------
    bool
        Whether it was done; not if a tensor inside is read elsewhere.
    """
    indices = sorted(members)
    nodes = [edited.graph.node[index] for index in indices]
    result = edited.graph.node[last].output[0]
    made = {output for node in nodes for output in node.output if output}
    inside = set(indices)
    for tensor in made - {result}:
        readers = edited.topology.readers.get(tensor, ())
        if tensor in edited.topology.outputs or not inside.issuperset(readers):
            return False
    if inside & edited.used or any(len(node.attribute) and _has_graph(node) for node in nodes):
        return False
    outside = {read: None for node in nodes for read in node.input if read and read not in made}
    if source not in outside:
        return False
    operands = [source, *(read for read in outside if read != source)]
    function = f"{name}_{last}"
    taken = {(f.domain, f.name) for f in edited.proto.functions}
    while (DOMAIN, function) in taken:
        function += "_"
    body = onnx.helper.make_function(
        DOMAIN, function, operands, [result], nodes, [*edited.proto.opset_import]
    )
    edited.proto.functions.append(body)
    if all(entry.domain != DOMAIN for entry in edited.proto.opset_import):
        edited.proto.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    edited.proto.ir_version = max(edited.proto.ir_version, 8)
    call = onnx.helper.make_node(function, operands, [result], name=result, domain=DOMAIN)
    edited.insert(last, call)
    edited.remove(*indices)
    return True


def _has_graph(node: onnx.NodeProto) -> bool:
    return read_names(node) != {name for name in node.input if name}
