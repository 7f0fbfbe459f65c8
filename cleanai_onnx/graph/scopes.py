"""Modules of the framework that a model was exported from, recovered from what exporters leave.

torch's dynamo export writes on each node, as metadata, the names of the modules around it
(``pkg.torch.onnx.name_scopes``: ``['', 'features', 'features.1', 'relu']``, the last being the
call) and their classes. The TorchScript export names nodes by their modules:
``/layer1/layer1.0/relu_1/Relu``, where ``_1`` marks the second call of ``layer1.0.relu``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

__all__ = ["Scope", "is_leaf", "scopes"]

_NAME_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_LONGEST = 10_000
_SUFFIX = re.compile(r"(.+)_([1-9][0-9]{0,5})")


@dataclass(frozen=True)
class Scope:
    """Where a node stands among the modules.

    Attributes
    ----------
    path
        The module's path, such as ``"layer1.0.relu"``; empty for the outermost module.
    call
        Tells the calls of one module apart.
    class_name
        The module's class where the exporter says it, else empty.
    """

    path: str
    call: str
    class_name: str = ""


def scopes(graph: onnx.GraphProto) -> Mapping[int, Scope]:
    """Return the scope of each node that has one, by the node's index."""
    found = {
        index: scope
        for index, node in enumerate(graph.node)
        if (scope := _from_metadata(node)) is not None
    }
    return found or _from_names(graph)


def _from_metadata(node: onnx.NodeProto) -> Scope | None:
    metadata = {entry.key: entry.value for entry in node.metadata_props}
    names = _strings(metadata.get(_NAME_SCOPES, ""))
    if len(names) < 2:
        return None
    classes = _strings(metadata.get(_CLASSES, ""))
    class_name = classes[-2] if len(classes) == len(names) else ""
    return Scope(path=names[-2], call=names[-1], class_name=class_name)


def _strings(text: str) -> list[str]:
    """Parse a list of strings as Python prints it; anything else is no list."""
    if not text.startswith("[") or len(text) > _LONGEST:
        return []
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else []


def _from_names(graph: onnx.GraphProto) -> dict[int, Scope]:
    parts = {
        index: tuple(node.name[1:].split("/"))[:-1]
        for index, node in enumerate(graph.node)
        if node.name.startswith("/") and len(node.name) <= _LONGEST
    }
    calls = _Calls(graph, parts)
    return {
        index: Scope(path=_joined([calls.module[scope[: i + 1]] for i in range(len(scope))]),
                     call="/".join(scope))
        for index, scope in parts.items()
    }  # fmt: skip


def _joined(names: Iterable[str]) -> str:
    """Join the scopes of a node: a child of a Sequential carries its parent's name already."""
    done: list[str] = []
    for name in names:
        if done and name.startswith(done[-1] + "."):
            done.pop()
        done.append(name)
    return ".".join(done)


class _Calls:
    """Which scopes of a TorchScript export are later calls of one module.

    ``relu_1`` is the second call of ``relu`` or a module of that name. It is a call if ``relu``
    (and every count in between) stands in the same scope and comes first, both consist of the same
    operators, and it reads no weight that is called after itself.
    """

    def __init__(self, graph: onnx.GraphProto, parts: Mapping[int, tuple[str, ...]]) -> None:
        self.operators: dict[tuple[str, ...], list[str]] = {}
        self.weights: dict[tuple[str, ...], set[str]] = {}
        stored = {tensor.name for tensor in graph.initializer}
        for index, scope in parts.items():
            node = graph.node[index]
            read = stored.intersection(node.input)
            for length in range(1, len(scope) + 1):
                self.operators.setdefault(scope[:length], []).append(node.op_type)
                self.weights.setdefault(scope[:length], set()).update(read)
        self.module: dict[tuple[str, ...], str] = {}
        order = {scope: position for position, scope in enumerate(self.operators)}
        for scope in self.operators:
            self.module[scope] = self._module(scope, order)

    def _module(self, scope: tuple[str, ...], order: Mapping[tuple[str, ...], int]) -> str:
        match = _SUFFIX.fullmatch(scope[-1])
        if match is None:
            return scope[-1]
        base, count = match.group(1), int(match.group(2))
        if count > len(order):
            return scope[-1]
        parent = scope[:-1]
        chain = [(*parent, base), *((*parent, f"{base}_{n}") for n in range(1, count + 1))]
        if any(earlier not in order for earlier in chain):
            return scope[-1]
        positions = [order[link] for link in chain]
        same = all(self.operators[link] == self.operators[chain[0]] for link in chain)
        path = _joined([*parent, scope[-1]])
        own = any(name.startswith((f"{path}.", f"{scope[-1]}.")) for name in self.weights[scope])
        return base if same and not own and positions == sorted(positions) else scope[-1]


def is_leaf(members: Iterable[int], scope_of: Mapping[int, Scope], graph: onnx.GraphProto) -> bool:
    """Say whether nodes are all that a call of their module does.

    Where the module holds other nodes or other modules, the nodes come from a function that was
    called in its `forward`.
    """
    own = set(members)
    scope = next((scope_of[index] for index in own if index in scope_of), None)
    if scope is None or not scope.path:
        return False
    for index, other in scope_of.items():
        if other.path.startswith(scope.path + "."):
            return False
        same_call = (other.path, other.call) == (scope.path, scope.call)
        if same_call and index not in own and graph.node[index].op_type != "Constant":
            return False
    return True
