"""A model as the search sees it: class scores and neuron values, as functions of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from cleanai_onnx import graph
from cleanai_onnx.errors import ModelError
from cleanai_onnx.exploration.space import View
from cleanai_onnx.graph.names import shown
from cleanai_onnx.lowering import Lowered
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.relevance.network import network_from
from cleanai_onnx.relevance.plan import find_start
from cleanai_onnx.result import LayerFacts

__all__ = ["Neurons", "SearchedModel", "prepare"]

Array: TypeAlias = Any
SWITCHES = frozenset({"Relu", "Clip", "HardSigmoid", "HardSwish", "ThresholdedRelu"})
"""Activations that are 0, without a gradient, for all values below a limit."""


class Neurons(NamedTuple):
    """Values of the channels of all layers, one layer after the other: ``(B, N)`` each.

    `raw` are the spatial means; `scaled` are these as parts of the range that the units of their
    layer have for the same input, as `nc-suite-scaled` has them (0 without a range). `sought` are
    the raw ones, but of a channel that its activation turns off everywhere the mean before the
    activation: that one still has a gradient, which leads to where the channel is on.
    """

    raw: Array
    scaled: Array
    sought: Array


@dataclass(frozen=True, eq=False)
class SearchedModel:
    """A model, lowered, with what the search asks it for.

    Attributes
    ----------
    name
        For messages.
    lowered
        For one size of batch.
    view
        How it looks at points of the space.
    image_input, feeds
        The input that takes the images, and the values of the others.
    scores
        The tensor of class scores, before a final softmax.
    layers
        The layers whose channels are its neurons.
    before
        For each layer what its activation is of, where that turns values off; otherwise None.
    """

    name: str
    lowered: Lowered
    view: View
    image_input: str
    feeds: Mapping[str, np.ndarray]
    scores: str
    layers: tuple[LayerFacts, ...]
    before: tuple[str | None, ...]

    @property
    def weights(self) -> dict[str, Array]:
        """What `__call__` wants first, to be put on the device once."""
        return dict(self.lowered.parameters)

    def __call__(self, weights: Mapping[str, Array], x: Array) -> tuple[Array, Neurons]:
        """Return scores ``(B, classes)`` and the values of the neurons.

        Differentiable; what the caller does not use is not computed once this is compiled.
        """
        before = [name for name in self.before if name is not None]
        wanted = (self.scores, *(layer.name for layer in self.layers), *before)
        inputs = {**self.feeds, self.image_input: self.view(x)}
        found = self.lowered(weights, inputs, wanted)
        scores = found[self.scores].astype(jnp.float32)
        return scores.reshape(scores.shape[0], -1), _neurons(self.layers, self.before, found)


def _neurons(
    layers: tuple[LayerFacts, ...], before: tuple[str | None, ...], found: Mapping[str, Array]
) -> Neurons:
    raw, scaled, sought = [], [], []
    for layer, earlier in zip(layers, before, strict=True):

        def shaped(name: str, layer: LayerFacts = layer) -> Array:
            values = found[name].astype(jnp.float32)
            return values.reshape(values.shape[0], *layer.shape)

        a = shaped(layer.name)
        others = tuple(i + 1 for i in range(len(layer.shape)) if i != layer.channel_axis)
        mean = jnp.mean(a, others)
        off = jnp.all(a == 0, others)
        sought.append(
            mean if earlier is None else jnp.where(off, jnp.mean(shaped(earlier), others), mean)
        )
        every = tuple(range(1, a.ndim))
        low, high = jnp.min(a, every)[:, None], jnp.max(a, every)[:, None]
        raw.append(mean)
        scaled.append(jnp.where(high > low, (mean - low) / jnp.where(high > low, high - low, 1), 0))
    if not raw:
        nothing = jnp.zeros((next(iter(found.values())).shape[0], 1), jnp.float32)
        return Neurons(nothing, nothing, nothing)
    return Neurons(*(jnp.concatenate(each, axis=1) for each in (raw, scaled, sought)))


def prepare(
    model: graph.Model,
    image_input: graph.ImageInput,
    shape: tuple[int, ...],
    view: View,
    layers: tuple[LayerFacts, ...],
    input_values: Mapping[str, str] | None = None,
    *,
    waking: bool = True,
) -> SearchedModel:
    """Lower a model for the search.

    Parameters
    ----------
    model, image_input
        The model and the input that takes the images.
    shape
        Of a batch as the model takes it.
    view
        How it looks at points.
    layers
        Facts about the layers whose channels are the neurons.
    input_values
        Text for its other inputs.
    waking
        Whether to seek a channel that is off by what its activation is of.

    Raises
    ------
    NotSupportedError, ModelError
        If it cannot be lowered, takes integers, or has no class scores.
    """
    if not image_input.dtype.startswith("float"):
        raise ModelError(
            f"the model {shown(model.name)} takes images of the type {image_input.dtype}, which "
            "have no gradient: explore the float model that it was made from."
        )
    feeds = graph.constant_inputs(model, image_input, input_values or {}, shape[0])
    shapes = {image_input.name: shape, **{name: x.shape for name, x in feeds.items()}}
    network = network_from(model, shapes, image_input.name, np.dtype(np.float32))
    producers = {name: node for node in network.nodes for name in node.outputs if name}
    start, _ = find_start(network, producers, network.outputs[0])
    # A tensor between canonical nodes may have no name in the model.
    scores = start if network.in_original(start) else network.outputs[0]
    size = network.shape(scores)
    if sum(length > 1 for length in size[1:]) != 1:
        raise ModelError(
            f"the output {shown(scores)} of {shown(model.name)} has the shape "
            f"{'x'.join(map(str, size[1:])) or 'of one number'} for each image, which is no list "
            "of class scores: exploration needs a classifier."
        )
    lowered = network.original
    makers = {name: node for node in lowered.nodes for name in node.outputs} if waking else {}
    return SearchedModel(
        name=model.name,
        lowered=lowered,
        view=view,
        image_input=image_input.name,
        feeds=feeds,
        scores=scores,
        layers=layers,
        before=tuple(_before(makers.get(layer.name)) for layer in layers),
    )


def _before(maker: Node | None) -> str | None:
    """Return what an activation is of, if it makes large parts of its inputs exactly 0."""
    if maker is None or maker.domain or maker.op not in SWITCHES:
        return None
    return maker.inputs[0]


def bytes_for_each(models: tuple[SearchedModel, ...], batch: int) -> int:
    """Return about how much memory the search takes for each row of a batch.

    All that the forward pass makes is kept for the way back, which makes as much again.
    """
    made = 0
    for one in models:
        sizes = [int(np.prod(kind.shape)) * 4 for kind in (one.lowered.types or {}).values()]
        made += sum(sizes)
    return 2 * made // max(batch, 1)


def on_device(models: tuple[SearchedModel, ...], device: Any) -> tuple[dict[str, Array], ...]:
    """Return the weights of all models on a device."""
    return tuple(jax.device_put(model.weights, device) for model in models)
