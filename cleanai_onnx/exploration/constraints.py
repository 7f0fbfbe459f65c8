"""Constraints: which changes of an image the search may make.

Pei et al., DeepXplore (SOSP 2017), section 5.2 (`light`, `occlusion`, `blackout`, in the form of
their code for MNIST), the balls of adversarial attacks (`linf`, `l2`), and `any` change of the
pixels. A constraint turns the normalised gradient into a direction, and may bring a point back to
where it is allowed.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp

__all__ = ["CONSTRAINTS", "Constraint", "blackout", "light", "occlusion", "within_ball"]

Array: TypeAlias = Any
Constraint = Literal["light", "occlusion", "blackout", "linf", "l2", "any"]
CONSTRAINTS: tuple[Constraint, ...] = get_args(Constraint)


def light(gradient: Array) -> Array:
    """Change all pixels alike: the mean of the gradient everywhere."""
    return jnp.broadcast_to(jnp.mean(gradient, items(gradient), keepdims=True), gradient.shape)


def occlusion(gradient: Array, corner: Array, size: tuple[int, int]) -> Array:
    """Change one rectangle only.

    Parameters
    ----------
    gradient
        ``(B, H, W, C)``.
    corner
        ``(B, 2)`` int32: its first row and column.
    size
        Its height and width.
    """
    return jnp.where(_inside(gradient, corner, size), gradient, 0)


def blackout(gradient: Array, corner: Array, size: tuple[int, int]) -> Array:
    """Darken one patch by one, where that is the way up on average; the arguments as above."""
    inside = _inside(gradient, corner, size)
    mean = jnp.sum(jnp.where(inside, gradient, 0), items(gradient), keepdims=True)
    return jnp.where(inside & (mean < 0), -jnp.ones_like(gradient), 0)


def within_ball(x: Array, seed: Array, constraint: Constraint, radius: float) -> Array:
    """Return the nearest point of the ball around the seed; other constraints have no ball."""
    if constraint == "linf":
        return jnp.clip(x, seed - radius, seed + radius)
    if constraint == "l2":
        change = x - seed
        length = jnp.sqrt(jnp.sum(change * change, items(x), keepdims=True))
        return seed + change * jnp.minimum(1.0, radius / jnp.maximum(length, 1e-12))
    return x


def corners(keys: Array, shape: tuple[int, ...], size: tuple[int, int]) -> Array:
    """Draw for each key the corner of a patch that lies within images ``(H, W, C)``: ``(B, 2)``."""
    room = jnp.array([shape[0] - size[0] + 1, shape[1] - size[1] + 1], jnp.int32)
    return jax.vmap(lambda key: jax.random.randint(key, (2,), 0, room, jnp.int32))(keys)


def items(x: Array) -> tuple[int, ...]:
    """Return the axes of one image."""
    return tuple(range(1, x.ndim))


def _inside(x: Array, corner: Array, size: tuple[int, int]) -> Array:
    found = jnp.ones((x.shape[0], 1, 1, 1), bool)
    for axis in (0, 1):
        place = jnp.arange(x.shape[axis + 1])
        first = corner[:, axis, None]
        within = (place >= first) & (place < first + size[axis])
        found &= within[:, :, None, None] if axis == 0 else within[:, None, :, None]
    return found
