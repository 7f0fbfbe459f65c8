"""Which activations ``--taps`` asks for."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence

from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.graph.activations import Activation
from cleanai_onnx.graph.names import shown
from cleanai_onnx.graph.scopes import Scope, is_leaf
from cleanai_onnx.graph.topology import Topology
from cleanai_onnx.result import UntappedNode

__all__ = ["last_calls", "matching"]

_LONGEST_PATTERN = 200
_LONGEST_NAME = 1000

_RECORDED_CLASSES = frozenset({"ReLU", "Sigmoid", "Tanh", "LeakyReLU", "ELU", "ReLU6"})
_RECORDED_OPERATORS = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Relu6"})


def last_calls(
    activations: Sequence[Activation], scope_of: Mapping[int, Scope], topology: Topology
) -> tuple[list[Activation], list[UntappedNode]]:
    """Return what CleanAI's hooks record: the last call of each activation module.

    Modules come in the order of their first calls. CleanAI hooks modules of torch's classes ReLU,
    Sigmoid, Tanh, LeakyReLU, ELU and ReLU6; other activations, and functions called outside such
    a module, are returned as left out.

    Raises
    ------
    ModelError
        If no activation of the model has a module.
    """
    if not any(activation.node in scope_of for activation in activations):
        raise ModelError(
            "--taps last-call needs the module names that torch's exporters leave in a model, and "
            "this model has none: use --taps activations."
        )
    last: dict[str, Activation] = {}
    left_out: list[UntappedNode] = []
    for activation in activations:
        scope = scope_of.get(activation.node)
        reason = ""
        if scope is not None and scope.class_name:
            if scope.class_name.rpartition(".")[2] not in _RECORDED_CLASSES:
                reason = "it is not of a module class that last-call records"
        elif _recorded_name(activation, topology) not in _RECORDED_OPERATORS:
            reason = "it is not of a module class that last-call records"
        elif scope is None or not is_leaf(activation.members, scope_of, topology.graph):
            reason = "it is a function call, not a module, which last-call does not record"
        if reason or scope is None:
            left_out.append(UntappedNode(activation.tensor, activation.op, reason))
        else:
            last[scope.path] = activation
    return list(last.values()), left_out


def _recorded_name(activation: Activation, topology: Topology) -> str:
    node = topology.graph.node[activation.node]
    if activation.op != "Clip" or node.op_type != "Clip":
        return activation.op
    if len(node.input) == 3:
        bounds = [topology.scalar(name) for name in node.input[1:]]
    else:
        found = {item.name: float(item.f) for item in node.attribute}
        bounds = [found.get("min"), found.get("max")]
    return "Relu6" if bounds == [0.0, 6.0] else "Clip"


def matching(
    wanted: str,
    activations: Sequence[Activation],
    labels: Mapping[int, str],
    topology: Topology,
    dependent: frozenset[str],
) -> list[Activation]:
    """Return what an operator type or a name pattern selects.

    Parameters
    ----------
    wanted
        An operator (``Relu``, ``SiLU``, ``Softmax``), a name (of a tensor, node or module) with or
        without the wildcards of `fnmatch`, or a regular expression after ``re:``.
    activations
        Those found in the graph; other nodes are selected too if their output is not one.
    labels
        Module paths by node index.
    dependent
        The tensors that may be tapped.

    Raises
    ------
    UsageError
        If a pattern is too long or no regular expression.
    """
    by_operator = [
        activation for activation in activations
        if activation.op == wanted or activation.op.startswith(f"{wanted} (")
    ]  # fmt: skip
    known = {activation.tensor for activation in activations}
    others = [
        Activation(node.output[0], node.op_type, index, frozenset({index}))
        for index, node in enumerate(topology.graph.node)
        if node.output and node.output[0] in dependent and node.output[0] not in known
    ]
    by_operator += [other for other in others if other.op == wanted]
    if by_operator:
        return by_operator
    matches = _matcher(wanted)
    graph = topology.graph
    return [
        activation
        for activation in (*activations, *others)
        if any(
            name and matches(name[:_LONGEST_NAME])
            for name in (
                activation.tensor,
                graph.node[activation.node].name,
                labels.get(activation.node, ""),
            )
        )
    ]


def _matcher(wanted: str) -> Callable[[str], bool]:
    if len(wanted) > _LONGEST_PATTERN:
        raise UsageError(f"a pattern of --taps is longer than {_LONGEST_PATTERN} characters.")
    if not wanted.startswith("re:"):
        return lambda name: name == wanted or fnmatch.fnmatchcase(name, wanted)
    try:
        expression = re.compile(wanted[3:])
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"--taps {shown(wanted)} is not a regular expression: {error}.") from error
    return lambda name: expression.search(name) is not None
