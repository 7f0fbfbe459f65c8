"""Names in an exported file that say what they are: the batch axis, the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

__all__ = ["BATCH", "name_tensors"]

BATCH = "batch"


def name_tensors(path: Path, outputs: Sequence[str] = ()) -> None:
    """Call the free first axis of all inputs and outputs ``batch``, and the outputs by their names.

    Exporters number them (``unk__31``, ``add_out_2``), and differently in each run.

    Parameters
    ----------
    path
        The file, changed in place.
    outputs
        The names, in order. They are left as they are where the numbers differ, or where another
        tensor has the name.
    """
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    free = {
        value.type.tensor_type.shape.dim[0].dim_param
        for value in (*graph.input, *graph.output)
        if value.type.tensor_type.shape.dim
    } - {""}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in free:
                axis.dim_param = BATCH
    if len(outputs) == len(graph.output):
        for value, name in zip(graph.output, outputs, strict=True):
            _rename(graph, value.name, name)
    onnx.save(model, str(path))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.input, *graph.initializer)}
    given = {value.name for value in graph.input}
    if old == new or new in taken or old in given:
        return
    if any(item.HasField("g") or item.graphs for node in graph.node for item in node.attribute):
        return  # a subgraph may read it
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in (*graph.output, *graph.value_info):
        if value.name == old:
            value.name = new
