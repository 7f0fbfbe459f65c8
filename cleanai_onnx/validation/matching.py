"""Which layer of one model corresponds to which of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from cleanai_onnx.difference import LayerPair
from cleanai_onnx.result import LayerFacts

__all__ = ["Matching", "match_layers"]

_QUANTISED = ("_DequantizeLinear_Output", "_QuantizeLinear_Output", "_quantized")


class Matching(NamedTuple):
    """Layers that correspond, in the order of the new model, and those without a counterpart."""

    pairs: tuple[LayerPair, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]

    @property
    def old_of(self) -> dict[str, str]:
        """The old layer of each new one that has one."""
        return {pair.new: pair.old for pair in self.pairs}


def match_layers(old: Sequence[LayerFacts], new: Sequence[LayerFacts]) -> Matching:
    """Match the layers of two models: by name, what is left by label, then by position.

    A name that a quantiser made of another (``relu_QuantizeLinear_Output``) is that one, where the
    other model has it. The position decides only where as many layers are left on both sides.
    Labels that are empty, or that several layers have, decide nothing.
    """
    found: dict[str, LayerPair] = {}
    left_old, left_new = list(old), list(new)

    def take(by: Literal["name", "label"], key: Callable[[LayerFacts], str]) -> None:
        counts = [Counter(map(key, left)) for left in (left_old, left_new)]
        old_by_key = {key(layer): layer for layer in left_old}
        for layer in list(left_new):
            of = key(layer)
            if of and counts[0][of] == counts[1][of] == 1:
                found[layer.name] = _pair(old_by_key[of], layer, by)
                left_old.remove(old_by_key[of])
                left_new.remove(layer)

    take("name", lambda layer: layer.name)
    take("name", lambda layer: _without_quantiser(layer.name))
    take("label", lambda layer: layer.label)
    if len(left_old) == len(left_new):
        for one, other in zip(left_old, left_new, strict=True):
            found[other.name] = _pair(one, other, "position")
        left_old, left_new = [], []
    return Matching(
        tuple(found[layer.name] for layer in new if layer.name in found),
        tuple(layer.name for layer in left_old),
        tuple(layer.name for layer in left_new),
    )


def _pair(old: LayerFacts, new: LayerFacts, by: Literal["name", "label", "position"]) -> LayerPair:
    title = new.label or old.label or _without_quantiser(new.name)
    return LayerPair(old.name, new.name, by, title)


def _without_quantiser(name: str) -> str:
    """Return a tensor's name without what onnxruntime's quantiser appends."""
    for ending in _QUANTISED:
        name = name.removesuffix(ending)
    return name
