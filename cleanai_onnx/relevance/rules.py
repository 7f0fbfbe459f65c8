r"""The rules of layer-wise relevance propagation for linear layers.

Every rule is one engine with other parts. A `Term` is a forward pass with a modified input, weight
and bias, :math:`z_{ik} = W_i^T m_i(a) + b_i`. From the relevance :math:`R_k` of the layer's outputs
and the :math:`z_i`, `Rule.shares` makes messages :math:`s_{ik}`; the relevance of the inputs is

.. math:: R_j = \sum_i m_i(a)_j \sum_k W_{i,jk} s_{ik}.

Sources: [B15] Bach et al., "On pixel-wise explanations for non-linear classifier decisions by
layer-wise relevance propagation" (2015), with equation numbers; [M17] Montavon et al., "Explaining
nonlinear classification decisions with deep Taylor decomposition" (2017); [M19] Montavon et al.,
"Layer-wise relevance propagation: an overview" (2019), section 10.2; [L19] Lapuschkin et al.,
"Unmasking Clever Hans predictors" (2019), supplement, for the flat rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

__all__ = [
    "Constant",
    "Rule",
    "Term",
    "alpha_beta",
    "epsilon",
    "flat",
    "gamma",
    "stabilised",
    "w_square",
    "z_box",
    "z_plus",
]

Array: TypeAlias = Any
Modifier: TypeAlias = Callable[[Array], Array]
Shares: TypeAlias = Callable[[Array, Sequence[Array]], Sequence[Array | None]]

STABILISER = 1e-6


def unchanged(x: Array) -> Array:
    """Return x."""
    return x


def positive(x: Array) -> Array:
    """Return max(x, 0)."""
    return x.clip(min=0)


def negative(x: Array) -> Array:
    """Return min(x, 0)."""
    return x.clip(max=0)


def ones(x: Array) -> Array:
    """Return 1 for every element."""
    return _filled(x, 1)


def none(x: Array) -> Array:
    """Return 0 for every element."""
    return _filled(x, 0)


def _filled(x: Array, value: Array) -> Array:
    namespace = np if isinstance(x, np.ndarray) else jnp
    return namespace.broadcast_to(namespace.asarray(value, x.dtype), x.shape)


@dataclass(frozen=True, eq=False)
class Constant:
    """A modifier that puts a value in the place of the input, whatever that is.

    Attributes
    ----------
    value
        A number, or an array that broadcasts to one item of the input.
    is_lowest
        Whether it is the lower end of a range; if not, it is the upper one.
    """

    value: Array
    is_lowest: bool

    def __call__(self, x: Array) -> Array:
        """Return the value for every element."""
        return _filled(x, self.value)


@dataclass(frozen=True)
class Term:
    """One forward pass of a rule: how input, weight and bias are modified.

    `input` is applied to JAX arrays, `weight` and `bias` once to numpy arrays.
    """

    input: Modifier = unchanged
    weight: Modifier = unchanged
    bias: Modifier = unchanged

    @property
    def is_plain(self) -> bool:
        """Whether the term is the layer itself, so that its output is known already."""
        return self.input is unchanged and self.weight is unchanged and self.bias is unchanged

    def vanishes(self, input_is_nonnegative: bool) -> bool:
        """Say whether the term is zero throughout: the negative part of what has none."""
        return input_is_nonnegative and self.input is negative and self.bias is none


@dataclass(frozen=True)
class Rule:
    """A rule for linear layers.

    Attributes
    ----------
    name
        As results and messages call it.
    terms
        The forward passes.
    shares
        From R_k and the terms' outputs (None for a term that vanishes) to the messages s_ik; None
        for a term that hands nothing back.
    """

    name: str
    terms: tuple[Term, ...]
    shares: Shares


def stabilised(z: Array, stabiliser: float) -> Array:
    """Return z moved away from zero by `stabiliser`; zero counts as positive."""
    return z + jnp.where(z < 0, -stabiliser, stabiliser).astype(z.dtype)


def _total(outputs: Sequence[Array | None]) -> Array:
    present = [z for z in outputs if z is not None]
    total = present[0]
    for z in present[1:]:
        total = total + z
    return total


def _without_bias(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    return tuple(Term(term.input, term.weight, none) for term in terms)


def epsilon(stabiliser: float = STABILISER, *, zero_bias: bool = False) -> Rule:
    r"""Return the ε rule ([B15] eq. 58): :math:`R_j = \sum_k a_j w_{jk} R_k / (z_k + ε\,s_k)`.

    With s_k the sign of z_k and z_k with the bias, unless `zero_bias`.
    """
    terms = (Term(),)

    def shares(relevance: Array, outputs: Sequence[Array]) -> Sequence[Array]:
        return (relevance / stabilised(outputs[0], stabiliser),)

    return Rule("epsilon", _without_bias(terms) if zero_bias else terms, shares)


def alpha_beta(
    alpha: float = 2.0,
    beta: float = 1.0,
    *,
    stabiliser: float = STABILISER,
    zero_bias: bool = False,
) -> Rule:
    r"""Return the alpha-beta rule ([B15] eq. 60): alpha times positive, less beta times negative.

    A contribution :math:`a_j w_{jk}` is positive where a and w have the same sign; the positive
    part of the bias counts to the one sum, the negative part to the other. Relevance is conserved
    if alpha less beta is one.

    Raises
    ------
    ValueError
        If beta is negative.
    """
    if beta < 0:
        raise ValueError(f"beta must not be negative, not {beta}")
    terms: tuple[Term, ...] = (
        Term(positive, positive, positive),
        Term(negative, negative, none),
    )
    if beta:
        terms += (Term(positive, negative, negative), Term(negative, positive, none))

    def shares(relevance: Array, outputs: Sequence[Array | None]) -> Sequence[Array]:
        up = relevance * alpha / stabilised(_total(outputs[:2]), stabiliser)
        if not beta:
            return up, up
        down = relevance * -beta / stabilised(_total(outputs[2:]), stabiliser)
        return up, up, down, down

    name = f"alpha{alpha:g}-beta{beta:g}"
    return Rule(name, _without_bias(terms) if zero_bias else terms, shares)


def z_plus(*, stabiliser: float = STABILISER, zero_bias: bool = False) -> Rule:
    r"""Return the z⁺ rule ([M17] eq. 17): the alpha-beta rule with 1 and 0."""
    rule = alpha_beta(1.0, 0.0, stabiliser=stabiliser, zero_bias=zero_bias)
    return Rule("z-plus", rule.terms, rule.shares)


def gamma(factor: float = 0.25, *, stabiliser: float = STABILISER, zero_bias: bool = False) -> Rule:
    r"""Return the gamma rule ([M19] section 10.2.3): positive weights count more.

    .. math:: R_j = \sum_k \frac{a_j (w_{jk} + g\,w_{jk}^+)}
        {\sum_{0,j} a_j (w_{jk} + g\,w_{jk}^+)} R_k

    with g = `factor`. That is for inputs and outputs that are not negative. In general,
    contributions with the sign of z_k are favoured: where a is negative, w⁻ takes the place of w⁺,
    and where z_k is negative the two change places.
    """

    def favour_positive(w: Array) -> Array:
        return w + factor * positive(w)

    def favour_negative(w: Array) -> Array:
        return w + factor * negative(w)

    terms = (
        Term(positive, favour_positive, favour_positive),
        Term(negative, favour_negative, none),
        Term(positive, favour_negative, favour_negative),
        Term(negative, favour_positive, none),
    )

    def shares(relevance: Array, outputs: Sequence[Array | None]) -> Sequence[Array | None]:
        z = outputs[4]
        assert z is not None
        up = relevance * (z > 0) / stabilised(_total(outputs[:2]), stabiliser)
        down = relevance * (z < 0) / stabilised(_total(outputs[2:4]), stabiliser)
        return up, up, down, down, None

    return Rule("gamma", (*(_without_bias(terms) if zero_bias else terms), Term()), shares)


def w_square(*, stabiliser: float = STABILISER) -> Rule:
    r"""Return the w² rule ([M17] eq. 12): :math:`R_j = \sum_k w_{jk}^2 R_k / \sum_j w_{jk}^2`."""

    def shares(relevance: Array, outputs: Sequence[Array]) -> Sequence[Array]:
        return (relevance / stabilised(outputs[0], stabiliser),)

    return Rule("w-square", (Term(ones, np.square, none),), shares)


def flat(*, stabiliser: float = STABILISER) -> Rule:
    r"""Return the flat rule ([L19]): the w² rule with all weights equal."""

    def shares(relevance: Array, outputs: Sequence[Array]) -> Sequence[Array]:
        return (relevance / stabilised(outputs[0], stabiliser),)

    return Rule("flat", (Term(ones, ones, none),), shares)


def z_box(low: Array, high: Array, *, stabiliser: float = STABILISER) -> Rule:
    r"""Return the z^B rule for the first layer ([M17] eq. 15), for inputs in a box.

    .. math:: R_j = \sum_k \frac{a_j w_{jk} - l_j w_{jk}^+ - h_j w_{jk}^-}
        {\sum_j a_j w_{jk} - l_j w_{jk}^+ - h_j w_{jk}^-} R_k

    Parameters
    ----------
    low, high
        The smallest and the largest value of the inputs: numbers, or arrays that broadcast to one
        input of the model, such as ``(3, 1, 1)`` for the channels of normalised images.
    """
    terms = (
        Term(unchanged, unchanged, none),
        Term(Constant(low, is_lowest=True), positive, none),
        Term(Constant(high, is_lowest=False), negative, none),
    )

    def shares(relevance: Array, outputs: Sequence[Array]) -> Sequence[Array]:
        s = relevance / stabilised(outputs[0] - outputs[1] - outputs[2], stabiliser)
        return s, -s, -s

    return Rule("z-box", terms, shares)
