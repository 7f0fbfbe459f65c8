"""Names of tensors and nodes: made harmless for messages, made unique for surgery."""

from __future__ import annotations

from collections.abc import Container

import onnx

from cleanai_onnx.errors import harmless

__all__ = ["fresh_name", "node_title", "shown"]

_SHOWN_LENGTH = 80


def shown(name: str) -> str:
    """Return a name that comes from a file, quoted, on one line and of bounded length."""
    printable = harmless(name[:1000])
    if len(printable) > _SHOWN_LENGTH:
        printable = printable[: _SHOWN_LENGTH - 1] + "…"
    return f"'{printable}'"


def node_title(node: onnx.NodeProto) -> str:
    """Return how a message speaks of a node: its operator and its name, or its first output."""
    name = node.name or next((output for output in node.output if output), "")
    return f"{shown(node.op_type)[1:-1]} node {shown(name)}"


def fresh_name(wanted: str, taken: Container[str]) -> str:
    """Return `wanted`, or `wanted` with the first counter that is not taken."""
    if wanted not in taken:
        return wanted
    counter = 1
    while f"{wanted}_{counter}" in taken:
        counter += 1
    return f"{wanted}_{counter}"
