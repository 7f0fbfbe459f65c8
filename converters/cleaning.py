"""Remove from an exported model what ties it to the machine that made it.

Exporters leave stack traces with the absolute paths of the user's files on every node. What says
from which module a node came is kept: taps are named and counted by it
(`cleanai_onnx.graph.scopes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from cleanai_onnx.graph.topology import all_graphs

__all__ = ["KEPT", "clean", "clean_file"]

KEPT = frozenset({"pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"})


def clean_file(path: Path) -> None:
    """Clean the model in the file `path`; external data stays as it is."""
    model = onnx.load(str(path), load_external_data=False)
    clean(model)
    onnx.save(model, str(path))


def clean(model: onnx.ModelProto) -> None:
    """Remove doc strings and all metadata but `KEPT`, in place."""
    for holder in _holders(model):
        kept = [(entry.key, entry.value) for entry in holder.metadata_props if entry.key in KEPT]
        del holder.metadata_props[:]
        for key, value in kept:
            holder.metadata_props.add(key=key, value=value)
        holder.doc_string = ""


def _holders(model: onnx.ModelProto) -> Iterator[Any]:
    yield model
    for function in model.functions:
        yield function
        yield from function.node
        yield from function.value_info
    for graph in all_graphs(model.graph):
        yield graph
        yield from graph.node
        yield from graph.value_info
        yield from graph.input
        yield from graph.output
        yield from graph.initializer
