"""The registry of operators: which function computes which operator from which version on.

An operator is one function. Its positional arguments after `node` are the operator's inputs (None
for one that is left out), its keyword-only arguments the attributes with ONNX's defaults, so the
signature says what is implemented: an attribute or an input that it does not name is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["OPERATORS", "Operator", "find_operator", "operator"]


@dataclass(frozen=True)
class Operator:
    """How an operator is computed.

    Attributes
    ----------
    op, domain, since
        The operator, and the first version of its domain for which the function holds.
    function
        ``function(node, *inputs, **attributes)``, with the scope after `node` if `scoped`.
    inputs
        Names of the inputs in order; `variadic` allows more.
    required
        How many inputs must be there.
    attributes
        Names of the attributes that are implemented.
    static
        Positions of the inputs whose values must be known while tracing, such as shapes.
    scoped
        Whether the function runs subgraphs.
    """

    op: str
    domain: str
    since: int
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    variadic: bool
    required: int
    attributes: frozenset[str]
    static: frozenset[int]
    scoped: bool


OPERATORS: dict[tuple[str, str], list[Operator]] = {}
"""By domain and name: the versions of an operator, the newest first."""


def operator(
    op: str,
    since: int = 1,
    *,
    domain: str = "",
    static: Sequence[str] = (),
    scoped: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function for an operator from the version `since` on.

    `static` names the inputs whose values must be known while tracing; the function gets them as
    numpy arrays.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = list(inspect.signature(function).parameters.values())
        parameters = parameters[2 if scoped else 1 :]
        inputs = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        names = tuple(p.name for p in inputs)
        versions = OPERATORS.setdefault((domain, op), [])
        if any(version.since == since for version in versions):
            raise AssertionError(f"{op} is registered twice for version {since}")
        versions.append(
            Operator(
                op=op,
                domain=domain,
                since=since,
                function=function,
                inputs=names,
                variadic=any(p.kind is p.VAR_POSITIONAL for p in parameters),
                required=sum(p.default is p.empty for p in inputs),
                attributes=frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
                static=frozenset(names.index(name) for name in static),
                scoped=scoped,
            )
        )
        versions.sort(key=lambda version: -version.since)
        return function

    return register


def find_operator(op: str, opset: int, domain: str = "") -> Operator | None:
    """Return the newest version of an operator that is not newer than `opset`."""
    for version in OPERATORS.get((domain, op), ()):
        if version.since <= opset:
            return version
    return None
