"""Composites: which rule goes to which linear layer. Lists of (predicate, rule), first match wins.

The named ones have the assignments that the field knows from zennit and iNNvestigate: convolutions
by one rule, dense layers by the ε rule (Montavon et al. 2019, section 10.3; Kohlbrenner et al.,
"Towards best practice in explaining neural network decisions with LRP", 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from cleanai_onnx.errors import UsageError
from cleanai_onnx.relevance import rules
from cleanai_onnx.relevance.rules import STABILISER, Rule

__all__ = [
    "COMPOSITES",
    "Composite",
    "LinearLayer",
    "any_layer",
    "chosen_composite",
    "composite",
    "convolution",
    "dense",
    "first_convolution",
]

Array: TypeAlias = Any


@dataclass(frozen=True)
class LinearLayer:
    """What a predicate may ask about a linear layer.

    Attributes
    ----------
    name, op
        Of the node.
    output
        The tensor that it makes.
    is_first
        Whether no other linear layer stands between it and the model's input.
    """

    name: str
    op: str
    output: str
    is_first: bool


Predicate: TypeAlias = Callable[[LinearLayer], bool]


def convolution(layer: LinearLayer) -> bool:
    """Match Conv and ConvTranspose."""
    return layer.op in ("Conv", "ConvTranspose")


def first_convolution(layer: LinearLayer) -> bool:
    """Match convolutions that nothing linear comes before."""
    return layer.is_first and convolution(layer)


def dense(layer: LinearLayer) -> bool:
    """Match Gemm and MatMul."""
    return not convolution(layer)


def any_layer(layer: LinearLayer) -> bool:
    """Match every linear layer."""
    return True


@dataclass(frozen=True)
class Composite:
    """Rules for linear layers.

    Attributes
    ----------
    name
        As results call it.
    rules
        Pairs of a predicate and a rule; the first that matches counts.
    stabiliser
        What sums and averages are stabilised with (see `rules.stabilised`).
    """

    name: str
    rules: tuple[tuple[Predicate, Rule], ...]
    stabiliser: float = STABILISER

    def rule_for(self, layer: LinearLayer) -> Rule | None:
        """Return the rule of a layer, None if no predicate matches."""
        return next((rule for matches, rule in self.rules if matches(layer)), None)


def _epsilon(*, epsilon: float = STABILISER, zero_bias: bool = False, **_: Any) -> Composite:
    rule = rules.epsilon(epsilon, zero_bias=zero_bias)
    return Composite("epsilon", ((any_layer, rule),))


def _epsilon_plus(*, epsilon: float = STABILISER, zero_bias: bool = False, **_: Any) -> Composite:
    return Composite(
        "epsilon-plus",
        (
            (convolution, rules.z_plus(zero_bias=zero_bias)),
            (dense, rules.epsilon(epsilon, zero_bias=zero_bias)),
        ),
    )


def _epsilon_alpha2_beta1(
    *, epsilon: float = STABILISER, zero_bias: bool = False, **_: Any
) -> Composite:
    return Composite(
        "epsilon-alpha2-beta1",
        (
            (convolution, rules.alpha_beta(2.0, 1.0, zero_bias=zero_bias)),
            (dense, rules.epsilon(epsilon, zero_bias=zero_bias)),
        ),
    )


def _epsilon_gamma_box(
    *,
    epsilon: float = STABILISER,
    gamma: float = 0.25,
    low: Array = None,
    high: Array = None,
    zero_bias: bool = False,
) -> Composite:
    if low is None or high is None:
        raise UsageError(
            "the composite epsilon-gamma-box needs the smallest and the largest value of the "
            "model's input: give low= and high=, such as 0 and 1 for images scaled so."
        )
    return Composite(
        "epsilon-gamma-box",
        (
            (first_convolution, rules.z_box(low, high)),
            (convolution, rules.gamma(gamma, zero_bias=zero_bias)),
            (dense, rules.epsilon(epsilon, zero_bias=zero_bias)),
        ),
    )


COMPOSITES: dict[str, Callable[..., Composite]] = {
    "epsilon": _epsilon,
    "epsilon-plus": _epsilon_plus,
    "epsilon-gamma-box": _epsilon_gamma_box,
    "epsilon-alpha2-beta1": _epsilon_alpha2_beta1,
}
"""The named composites."""


def composite(
    name: str,
    *,
    epsilon: float = STABILISER,
    gamma: float = 0.25,
    low: Array = None,
    high: Array = None,
    zero_bias: bool = False,
) -> Composite:
    """Return a composite by name.

    Parameters
    ----------
    name
        One of `COMPOSITES`.
    epsilon
        ε of the ε rule.
    gamma
        gamma of the gamma rule.
    low, high
        Smallest and largest value of the input, for the z^B rule: numbers or arrays such as
        ``(3, 1, 1)``.
    zero_bias
        Leave biases out of the rules' denominators (but not out of the model).

    Raises
    ------
    UsageError
        If there is no composite of that name, or it needs `low` and `high`.
    """
    if name not in COMPOSITES:
        raise UsageError(
            f"there is no composite {str(name)[:60]!r}: choose one of {', '.join(COMPOSITES)}."
        )
    return COMPOSITES[name](epsilon=epsilon, gamma=gamma, low=low, high=high, zero_bias=zero_bias)


def chosen_composite(chosen: str | Composite, parameters: Mapping[str, Any]) -> Composite:
    """Return a composite given by name, with parameters for it, or as itself.

    Raises
    ------
    UsageError
        If there is no such composite or parameter.
    """
    if isinstance(chosen, Composite):
        if parameters:
            raise UsageError(
                f"{', '.join(parameters)} belong to a composite that is named: put them into your "
                "own composite's rules."
            )
        return chosen
    known = ("epsilon", "gamma", "high", "low", "zero_bias")
    for name in parameters:
        if name not in known:
            raise UsageError(f"there is no option {name!r}: composites take {', '.join(known)}.")
    return composite(chosen, **parameters)
