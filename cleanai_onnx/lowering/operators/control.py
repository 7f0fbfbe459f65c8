"""If, Loop and Scan. What is decided by constants is decided while tracing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, is_static, working_type
from cleanai_onnx.lowering.evaluation import NeedsConstantError, run_graph
from cleanai_onnx.lowering.node import Graph, Node
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []

MOST_UNROLLED = 4096
"""Loops whose body is written out while tracing run at most as often as this."""

Scope = Mapping[str, Any]


def _as_arrays(values: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(jnp.asarray(value) for value in values)


@operator("If", 1, scoped=True)
def if_(
    node: Node, scope: Scope, condition: Array, *, then_branch: Graph, else_branch: Graph
) -> tuple[Array, ...]:
    """One of two subgraphs; if the condition is computed, both must give the same shapes."""
    if is_static(condition):
        branch = then_branch if bool(condition.reshape(())) else else_branch
        return run_graph(branch, (), scope)
    branches = (then_branch, else_branch)
    results = [
        jax.eval_shape(lambda branch=branch: _as_arrays(run_graph(branch, (), scope)))
        for branch in branches
    ]
    if [(x.shape, x.dtype) for x in results[0]] != [(x.shape, x.dtype) for x in results[1]]:
        raise node.refuse("its branches give different shapes or types, and the input decides")
    then, otherwise = (
        lambda branch=branch: _as_arrays(run_graph(branch, (), scope)) for branch in branches
    )
    return lax.cond(condition.reshape(()), then, otherwise)


@operator("Loop", 1, scoped=True)
def loop(
    node: Node,
    scope: Scope,
    count: Array | None = None,
    condition: Array | None = None,
    *carried: Array,
    body: Graph,
) -> tuple[Array, ...]:
    """Repeat a subgraph: written out if the number of rounds is known while tracing."""
    state = list(carried)
    scanned: list[list[Array]] = [[] for _ in body.outputs[1 + len(state) :]]
    index = 0
    if count is not None and not is_static(count):
        return _while(node, scope, count, condition, tuple(carried), body)
    limit = None if count is None else int(count.reshape(()))
    going: Array = np.asarray(True) if condition is None else condition
    while limit is None or index < limit:
        if not is_static(going):
            if index == 0:
                return _while(node, scope, count, condition, tuple(carried), body)
            raise node.refuse("how often it runs depends on the input, and its first rounds do not")
        if not going.reshape(()):
            break
        if index == MOST_UNROLLED:
            raise node.refuse(f"it runs more than {MOST_UNROLLED} times")
        first_try = (np.asarray(index, np.int64), going, *state)
        going_next, *outputs = run_graph(body, first_try, scope)
        if not is_static(going_next) and limit is not None and _is_unchanged(body):
            going_next = going
        if not is_static(going_next) and index == 0:
            return _while(node, scope, count, condition, tuple(carried), body)
        going = going_next
        state = outputs[: len(state)]
        for rows, value in zip(scanned, outputs[len(state) :], strict=True):
            rows.append(value)
        index += 1
    if scanned and not index:
        raise node.refuse("it runs no round, the shapes of its scan outputs are not known")
    return *state, *(_stacked(rows) for rows in scanned)


def _is_unchanged(body: Graph) -> bool:
    return body.outputs[0] == body.inputs[1]


def _stacked(rows: list[Array]) -> Array:
    return np.stack(rows) if all(is_static(row) for row in rows) else jnp.stack(rows)


def _while(
    node: Node,
    scope: Scope,
    count: Array | None,
    condition: Array | None,
    carried: tuple[Array, ...],
    body: Graph,
) -> tuple[Array, ...]:
    """Repeat a subgraph as often as the input decides."""
    if len(body.outputs) > 1 + len(carried):
        refusal = node.refuse(
            "how often it runs, and so the length of its outputs, depends on the input"
        )
        decides = 1 if count is None or is_static(count) else 0
        raise NeedsConstantError(str(refusal), node.inputs[decides])
    whole = working_type(np.int64)
    start = (
        jnp.zeros((), whole),
        jnp.asarray(True if condition is None else condition.reshape(())),
        _as_arrays(carried),
    )

    def going(state: Any) -> Array:
        index, on, _ = state
        return on if count is None else on & (index < count.reshape(()))

    def step(state: Any) -> Any:
        index, on, values = state
        on, *values = run_graph(body, (index, on, *values), scope)
        return index + 1, jnp.asarray(on).reshape(()), _as_arrays(tuple(values))

    return lax.while_loop(going, step, start)[2]


def _scan(
    node: Node,
    scope: Scope,
    values: tuple[Array, ...],
    body: Graph,
    scans: int,
    input_axes: tuple[int, ...] | None,
    input_directions: tuple[int, ...] | None,
    output_axes: tuple[int, ...] | None,
    output_directions: tuple[int, ...] | None,
) -> tuple[Array, ...]:
    states = len(values) - scans
    outputs = len(body.outputs) - states
    axes = input_axes or (0,) * scans
    backwards = input_directions or (0,) * scans
    sequences = tuple(
        jnp.flip(moved, 0) if back else moved
        for moved, back in zip(
            (jnp.moveaxis(x, axis, 0) for x, axis in zip(values[states:], axes, strict=True)),
            backwards,
            strict=True,
        )
    )

    def step(state: Any, items: Any) -> Any:
        results = _as_arrays(run_graph(body, (*state, *items), scope))
        return results[:states], results[states:]

    final, rows = lax.scan(step, _as_arrays(values[:states]), sequences)
    found = []
    for position, row in enumerate(rows):
        if output_directions and output_directions[position]:
            row = jnp.flip(row, 0)
        found.append(jnp.moveaxis(row, 0, output_axes[position] if output_axes else 0))
    if len(found) != outputs:
        raise ValueError("the body gives another number of outputs")
    return *final, *found


@operator("Scan", 8, scoped=True)
def scan_batch(
    node: Node,
    scope: Scope,
    lengths: Array | None = None,
    *values: Array,
    body: Graph,
    num_scan_inputs: int,
    directions: tuple[int, ...] | None = None,
) -> tuple[Array, ...]:
    """Run a subgraph over the second axis, for each element of a batch."""
    if lengths is not None:
        raise node.refuse("its input sequence_lens is not implemented")

    def one(*items: Array) -> tuple[Array, ...]:
        return _scan(node, scope, items, body, num_scan_inputs, None, directions, None, None)

    return jax.vmap(one)(*_as_arrays(values))


@operator("Scan", 9, scoped=True)
def scan(
    node: Node,
    scope: Scope,
    *values: Array,
    body: Graph,
    num_scan_inputs: int,
    scan_input_axes: tuple[int, ...] | None = None,
    scan_input_directions: tuple[int, ...] | None = None,
    scan_output_axes: tuple[int, ...] | None = None,
    scan_output_directions: tuple[int, ...] | None = None,
) -> tuple[Array, ...]:
    """Run a subgraph over an axis."""
    return _scan(
        node, scope, values, body, num_scan_inputs, scan_input_axes, scan_input_directions,
        scan_output_axes, scan_output_directions,
    )  # fmt: skip
