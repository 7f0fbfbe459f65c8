"""RNN, GRU and LSTM.

Inputs are (T, N, I) (or (N, T, I) with layout 1), weights (directions, gates x H, I), recurrent
weights (directions, gates x H, H), biases (directions, 2 x gates x H).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators.linear import product
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []

State = tuple[Array, ...]
Cell = Callable[[State, Array], State]

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "tanh": jnp.tanh,
}
"""Activations without parameters."""


def _functions(
    node: Node, names: tuple[str, ...] | None, default: tuple[str, ...], directions: int
) -> list[list[Callable[[Array], Array]]]:
    chosen = names or default * directions
    unknown = next((name for name in chosen if name.lower() not in FUNCTIONS), None)
    if unknown is not None:
        raise node.refuse(f"the activation {unknown!r} is not implemented")
    size = len(default)
    return [
        [FUNCTIONS[name.lower()] for name in chosen[i * size : (i + 1) * size]]
        for i in range(directions)
    ]


def _run(
    node: Node,
    x: Array,
    lengths: Array | None,
    initial: list[Array],
    cells: list[Cell],
    direction: str,
    layout: int,
) -> tuple[Array, ...]:
    """Run cells over time; return all hidden states, then the last of each state."""
    if direction not in ("forward", "reverse", "bidirectional"):
        raise node.refuse(f"its direction is {direction!r}")
    if len(cells) != (2 if direction == "bidirectional" else 1):
        raise ValueError(f"weights for {len(cells)} directions, direction is {direction}")
    steps = np.arange(x.shape[0])
    outputs, finals = [], []
    for i, cell in enumerate(cells):
        backwards = direction == "reverse" or i == 1

        def step(state: State, item: Any, cell: Cell = cell) -> Any:
            time, values = item
            new = cell(state, values)
            hidden = new[0]
            if lengths is not None:
                # Beyond the end of a sequence the state stays, and the output is zero.
                going = (time < lengths)[:, None]
                new = tuple(jnp.where(going, a, b) for a, b in zip(new, state, strict=True))
                hidden = jnp.where(going, hidden, jnp.zeros_like(hidden))
            return new, hidden

        start = tuple(jnp.asarray(state[i]) for state in initial)
        final, hidden = lax.scan(step, start, (steps, jnp.asarray(x)), reverse=backwards)
        outputs.append(hidden)
        finals.append(final)
    y = jnp.stack(outputs, axis=1)
    last = [jnp.stack(states) for states in zip(*finals, strict=True)]
    if layout:
        return jnp.transpose(y, (2, 0, 1, 3)), *(jnp.swapaxes(state, 0, 1) for state in last)
    return y, *last


def _prepared(
    x: Array,
    w: Array,
    b: Array | None,
    states: list[Array | None],
    gates: int,
    r: Array,
    layout: int,
) -> tuple[Array, Array, list[Array]]:
    """Bring inputs to (T, N, I), biases to (directions, 2 G H), states to (directions, N, H)."""
    hidden = r.shape[-1]
    if layout:
        x = jnp.swapaxes(x, 0, 1)
        states = [None if s is None else jnp.swapaxes(s, 0, 1) for s in states]
    if b is None:
        b = jnp.zeros((w.shape[0], 2 * gates * hidden), x.dtype)
    zero = jnp.zeros((w.shape[0], x.shape[1], hidden), x.dtype)
    return x, b, [zero if s is None else s for s in states]


def _refuse_parameters(node: Node, alpha: Any, beta: Any, clip: float | None) -> None:
    if alpha is not None or beta is not None:
        raise node.refuse("activations with parameters are not implemented")
    if clip:
        raise node.refuse("its attribute clip is not implemented")


@operator("RNN", 7)
def rnn(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Array, ...]:
    """H = f(W x + R h + b)."""
    _refuse_parameters(node, activation_alpha, activation_beta, clip)
    x, b, states = _prepared(x, w, b, [initial_h], 1, r, layout)
    functions = _functions(node, activations, ("Tanh",), w.shape[0])

    def cell(i: int) -> Cell:
        (f,) = functions[i]
        bias = sum(jnp.split(b[i], 2))

        def step(state: State, values: Array) -> State:
            return (f(product(values, w[i].T) + product(state[0], r[i].T) + bias),)

        return step

    cells = [cell(i) for i in range(w.shape[0])]
    return _run(node, x, lengths, states, cells, direction, layout)


@operator("GRU", 7)
def gru(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Array, ...]:
    """Gated recurrent units; gates in the order z, r, h."""
    _refuse_parameters(node, activation_alpha, activation_beta, clip)
    x, b, states = _prepared(x, w, b, [initial_h], 3, r, layout)
    functions = _functions(node, activations, ("Sigmoid", "Tanh"), w.shape[0])

    def cell(i: int) -> Cell:
        f, g = functions[i]
        wz, wr, wh = jnp.split(w[i], 3)
        rz, rr, rh = jnp.split(r[i], 3)
        bz, br, bh, cz, cr, ch = jnp.split(b[i], 6)

        def step(state: State, values: Array) -> State:
            (h,) = state
            update = f(product(values, wz.T) + product(h, rz.T) + bz + cz)
            reset = f(product(values, wr.T) + product(h, rr.T) + br + cr)
            if linear_before_reset:
                recurrent = reset * (product(h, rh.T) + ch)
            else:
                recurrent = product(reset * h, rh.T) + ch
            new = g(product(values, wh.T) + recurrent + bh)
            return ((1 - update) * new + update * h,)

        return step

    cells = [cell(i) for i in range(w.shape[0])]
    return _run(node, x, lengths, states, cells, direction, layout)


@operator("LSTM", 7)
def lstm(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    peepholes: Array | None = None,
    *,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Array, ...]:
    """Long short-term memory; gates in the order i, o, f, c."""
    _refuse_parameters(node, activation_alpha, activation_beta, clip)
    if input_forget:
        raise node.refuse("its attribute input_forget is not implemented")
    x, b, states = _prepared(x, w, b, [initial_h, initial_c], 4, r, layout)
    functions = _functions(node, activations, ("Sigmoid", "Tanh", "Tanh"), w.shape[0])

    def cell(i: int) -> Cell:
        f, g, h_function = functions[i]
        bias = sum(jnp.split(b[i], 2))
        peek = [0, 0, 0] if peepholes is None else jnp.split(peepholes[i], 3)

        def step(state: State, values: Array) -> State:
            h, c = state
            gates = product(values, w[i].T) + product(h, r[i].T) + bias
            gi, go, gf, gc = jnp.split(gates, 4, axis=-1)
            new = f(gf + peek[2] * c) * c + f(gi + peek[0] * c) * g(gc)
            return f(go + peek[1] * new) * h_function(new), new

        return step

    cells = [cell(i) for i in range(w.shape[0])]
    return _run(node, x, lengths, states, cells, direction, layout)
