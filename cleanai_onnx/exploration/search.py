"""The search: all seeds of a batch ascend together, by one compiled step.

For seed x, its class c, and models of which t is to be set apart (Pei et al., DeepXplore, SOSP
2017, section 4.3, equation 1 and 2, and algorithm 1):

    J(x) = sum_{j != t} z_j(x)[c] - lambda1 z_t(x)[c] + lambda2 sum_j goal_j(x)
    x  <-  allowed(x + step * constraint(g / (sqrt(mean(g^2)) + 1e-5))),   g = dJ/dx

z are the class scores before softmax. A seed is finished with the first disagreement of the models
(or, for one model, when its goal is reached), or after so many steps. Its row of the batch then
takes the next seed, so that no row waits for the slowest of its batch.

DeepXplore never brings x back to valid pixels. Here x is, at every step, and what is looked at is x
as it would be stored with 8 bits: what the search finds is an image. `Rules.valid` False is the
original's behaviour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.exploration import constraints
from cleanai_onnx.exploration.constraints import Constraint, items
from cleanai_onnx.exploration.goals import Goals, closed, gain, missing, reached
from cleanai_onnx.exploration.searched import SearchedModel
from cleanai_onnx.exploration.space import Space
from cleanai_onnx.runtime.compilation import compiled

__all__ = ["ALREADY", "FOUND", "NOTHING", "Outcome", "Rules", "Seeds", "begin", "run", "searcher"]

Array: TypeAlias = Any

UNFINISHED, ALREADY, FOUND, NOTHING = range(4)
"""What became of a seed: still searched, found before the first step, found later, not found."""
_LEAST_RMS = 1e-5
OVERSHOOT = 1.1
"""A step that could end at the border of a goal goes so much farther, to be over it."""
STEPS = 8
"""So many are taken before the search comes back, to say how far it is."""


@dataclass(frozen=True)
class Rules:
    """How to search. Hashable.

    Attributes
    ----------
    seek
        ``disagreement`` of the models, or a ``goal`` of the only model.
    constraint
        Which changes are allowed.
    step
        Length of a step, as a part of the range of values.
    iterations
        The most steps.
    apart
        λ1, the weight of the model that is set apart.
    coverage
        λ2, the weight of the goals.
    radius
        Of the balls `linf` and `l2`.
    patch
        Height and width of the rectangle of `occlusion`, the patches of `blackout`.
    corner
        First row and column of the rectangle; None: drawn for each seed.
    scaled
        Whether goals are of scaled values.
    valid
        Whether points are kept valid, and looked at as they would be stored.
    """

    seek: Literal["disagreement", "goal"] = "disagreement"
    constraint: Constraint = "light"
    step: float = 10.0
    iterations: int = 20
    apart: float = 1.0
    coverage: float = 0.0
    radius: float = 0.3
    patch: tuple[int, int] = (10, 10)
    corner: tuple[int, int] | None = None
    scaled: bool = False
    valid: bool = True


class Seeds(NamedTuple):
    """Seeds to search from, R of them.

    Attributes
    ----------
    points
        ``(R, H, W, C)`` float32.
    apart
        ``(R,)`` int32, the model that is to be set apart for each.
    numbers
        ``(R,)`` int32, what the chances of each seed are drawn by.
    goals
        For each model; an empty tuple without goals.
    count
        How many of the R are to be searched from; the others are padding.
    """

    points: Array
    apart: Array
    numbers: Array
    goals: tuple[Goals, ...]
    count: Any


class Outcome(NamedTuple):
    """What became of each seed: `became` ``(R,)``, and for those that are finished the rest.

    `steps` is how many steps it took, `label` the class of the seed by the first model, `points`
    where the search ended, as it would be stored.
    """

    became: Array
    steps: Array
    label: Array
    points: Array


class Carry(NamedTuple):
    """The state of the loop: the rows, B of them, the next seed, and the outcome.

    `row` is the seed of each row, R where there is none left.
    """

    x: Array
    row: Array
    label: Array
    steps: Array
    next: Array
    outcome: Outcome


def begin(seeds: Seeds, batch: int) -> Carry:
    """Return the state before the first step."""
    room = len(seeds.points)
    rows = np.arange(batch, dtype=np.int32)
    # A copy, because the search gives its carry up.
    points = jnp.array(seeds.points, copy=True)
    return Carry(
        x=points[np.minimum(rows, room - 1)],
        row=jnp.where(rows < seeds.count, rows, room).astype(jnp.int32),
        label=jnp.zeros(batch, jnp.int32),
        steps=jnp.zeros(batch, jnp.int32),
        next=jnp.int32(batch),
        outcome=Outcome(
            became=jnp.zeros(room, jnp.int32),
            steps=jnp.zeros(room, jnp.int32),
            label=jnp.zeros(room, jnp.int32),
            points=points,
        ),
    )


def run(
    search: Callable[..., Carry],
    weights: Any,
    seeds: Seeds,
    batch: int,
    chance: int,
    stop: Callable[[], bool],
    done: Callable[[int], None],
) -> tuple[Outcome, bool]:
    """Search from all seeds, or until `stop`.

    Parameters
    ----------
    search
        From `searcher`.
    weights, seeds, batch
        Of the models; the seeds; how many rows advance together.
    chance
        The seed of what is drawn.
    stop, done
        Asked every few steps, and told how many seeds are finished.

    Returns
    -------
    Outcome, bool
        On the host; and whether all seeds are finished.
    """
    key, carry = jax.random.key(chance), begin(seeds, batch)
    while True:
        carry = search(weights, seeds, key, carry, np.int32(STEPS))
        finished = int(np.count_nonzero(np.asarray(carry.outcome.became) != UNFINISHED))
        done(finished)
        if finished == int(seeds.count) or stop():
            return jax.device_get(carry.outcome), finished == int(seeds.count)


def searcher(
    models: tuple[SearchedModel, ...], rules: Rules, space: Space, platform: str = "cpu"
) -> Callable[..., Carry]:
    """Return the compiled search.

    Returns
    -------
    callable
        ``(weights, seeds, key, carry, most) -> carry``: `weights` of each model, a random key, and
        how many steps to take at most before coming back. The carry is given up.
    """
    ascend = gradient_of(models, rules)

    def body(weights: Any, seeds: Seeds, key: Array, carry: Carry) -> Carry:
        room = seeds.points.shape[0]
        row = jnp.minimum(carry.row, room - 1)
        own: Seeds = jax.tree.map(lambda a: a[row], seeds._replace(count=None))
        x = space.stored(carry.x) if rules.valid else carry.x
        first = carry.steps == 0
        gradient, (classes, arrived, lacking) = ascend(weights, x, carry.label, first, own)
        label = jnp.where(first, classes[:, 0], carry.label)
        hit = arrived if rules.seek == "goal" else jnp.any(classes != classes[:, :1], axis=1)
        became = jnp.where(hit, jnp.where(first, ALREADY, FOUND), NOTHING)
        active = carry.row < room
        ended = active & (hit | (carry.steps >= rules.iterations))
        place = jnp.where(ended, carry.row, room)
        outcome = Outcome(
            *(
                into.at[place].set(values, mode="drop")
                for into, values in zip(carry.outcome, (became, carry.steps, label, x), strict=True)
            )
        )
        moved = _moved(carry, own, gradient, lacking, rules, space, key)
        # The rows that are free take the next seeds, in their order.
        candidate = carry.next + jnp.cumsum(ended, dtype=jnp.int32) - 1
        fresh = jnp.where(candidate < seeds.count, candidate, room)
        fresh = jnp.where(ended, fresh, carry.row)
        started = seeds.points[jnp.minimum(fresh, room - 1)]
        return Carry(
            x=jnp.where(_wide(ended, x), started, moved),
            row=fresh,
            label=label,
            steps=jnp.where(ended, 0, carry.steps + 1),
            next=carry.next + jnp.sum(ended, dtype=jnp.int32),
            outcome=outcome,
        )

    def going(seeds: Seeds, carry: Carry) -> Array:
        return jnp.any(carry.row < seeds.points.shape[0])

    def step(weights: Any, seeds: Seeds, key: Array, carry: Carry) -> tuple[Carry, Array]:
        carry = body(weights, seeds, key, carry)
        return carry, going(seeds, carry)

    def loop(weights: Any, seeds: Seeds, key: Array, carry: Carry, most: Array) -> Carry:
        def more(state: tuple[Array, Carry]) -> Array:
            return (state[0] < most) & going(seeds, state[1])

        def further(state: tuple[Array, Carry]) -> tuple[Array, Carry]:
            return state[0] + 1, body(weights, seeds, key, state[1])

        return lax.while_loop(more, further, (jnp.int32(0), carry))[1]

    if platform != "cpu":
        return compiled(loop, platform, donate_argnums=3)
    one = compiled(step, platform, wide=True, donate_argnums=3)

    def search(weights: Any, seeds: Seeds, key: Array, carry: Carry, most: Array) -> Carry:
        # Within a loop of its own, XLA computes convolutions on a processor very much slower.
        for _ in range(int(most)):
            carry, more = one(weights, seeds, key, carry)
            if not more:
                break
        return carry

    return search


def gradient_of(models: tuple[SearchedModel, ...], rules: Rules) -> Callable[..., Any]:
    """Return the gradient of J, and what the models say of the same points.

    Returns
    -------
    callable
        ``(weights, x, label, first, seeds) -> (gradient, (classes, arrived, lacking))``; `label`
        is the class of each seed, or that of the first model now, where `first`. `lacking` is by
        how much J has to rise to reach a goal, infinite where that is not known.
    """

    def joint(
        x: Array, weights: Any, label: Array, first: Array, seeds: Seeds
    ) -> tuple[Array, tuple[Array, Array, Array]]:
        total, classes = jnp.float32(0), []
        arrived = jnp.zeros(x.shape[0], bool)
        lacking = jnp.full(x.shape[0], jnp.inf)
        for number, model in enumerate(models):
            scores, neurons = model(weights[number], x)
            classes.append(jnp.argmax(scores, axis=1).astype(jnp.int32))
            if number == 0:
                label = jnp.where(first, classes[0], label)
            if rules.seek == "disagreement":
                sign = jnp.where(seeds.apart == number, -rules.apart, 1.0)
                of_label = jnp.take_along_axis(scores, label[:, None], axis=1)[:, 0]
                total += jnp.sum(sign * of_label)
            if seeds.goals:
                goals = seeds.goals[number]
                weight = rules.coverage if rules.seek == "disagreement" else 1.0
                total += weight * jnp.sum(gain(goals, neurons.sought))
                arrived |= reached(goals, neurons.scaled if rules.scaled else neurons.raw)
                if rules.seek == "goal" and not rules.scaled:
                    lacking = missing(goals, neurons.sought)
                    if rules.constraint != "any":
                        # Where changes are bounded anyway, whole steps get farther.
                        lacking = jnp.where(closed(goals), lacking, jnp.inf)
        return total, (jnp.stack(classes, axis=1), arrived, lacking)

    differentiated = jax.grad(joint, has_aux=True)
    return lambda weights, x, *facts: differentiated(x, weights, *facts)


def _moved(
    carry: Carry,
    own: Seeds,
    gradient: Array,
    lacking: Array,
    rules: Rules,
    space: Space,
    key: Array,
) -> Array:
    """Take a step from where the rows are, and return to where it is allowed."""
    shape, slope = carry.x.shape[1:], gradient
    if rules.constraint in ("l2", "any") and rules.valid:
        # Pixels that are black or white already take no part in the length of the step.
        gradient = jnp.where(space.open(carry.x, gradient), gradient, 0)
    rms = jnp.sqrt(jnp.mean(gradient * gradient, items(gradient), keepdims=True))
    gradient = gradient / (rms + _LEAST_RMS)
    match rules.constraint:
        case "light":
            direction = constraints.light(gradient)
        case "linf":
            direction = jnp.sign(gradient)
        case "any":
            direction = gradient
        case "l2":
            # Of length 1, as the root of the mean square was 1.
            direction = gradient / np.float32(np.sqrt(np.prod(shape)))
        case "occlusion":
            keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(own.numbers)
            corner = (
                constraints.corners(keys, shape, rules.patch)
                if rules.corner is None
                else jnp.broadcast_to(jnp.array(rules.corner, jnp.int32), (len(own.numbers), 2))
            )
            direction = constraints.occlusion(gradient, corner, rules.patch)
        case "blackout":
            keys = jax.vmap(lambda n, s: jax.random.fold_in(jax.random.fold_in(key, n), s))(
                own.numbers, carry.steps
            )
            corner = constraints.corners(keys, shape, rules.patch)
            direction = constraints.blackout(gradient, corner, rules.patch)
    # To first order, J rises by so much with a whole step. Where less is lacking, a part will do.
    rise = rules.step * jnp.sum(slope * direction, items(slope))
    part = jnp.where(rise > 0, jnp.minimum(1, OVERSHOOT * lacking / rise), 1)
    x = carry.x + rules.step * _wide(part, direction) * direction
    x = constraints.within_ball(x, own.points, rules.constraint, rules.radius)
    return space.clipped(x) if rules.valid else x


def _wide(of_rows: Array, x: Array) -> Array:
    return of_rows.reshape(-1, *(1,) * (x.ndim - 1))
