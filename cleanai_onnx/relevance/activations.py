"""The activations that the way back asks for: from onnxruntime, or from the lowered model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import jax
import numpy as np

from cleanai_onnx import graph, runtime
from cleanai_onnx.graph.canonical import exposed_proto
from cleanai_onnx.relevance.layouts import Laid, channels_last_shape
from cleanai_onnx.relevance.network import Network

__all__ = ["Activations", "Forward", "activations_from"]

Array: TypeAlias = Any
Forward = Literal["auto", "onnxruntime", "jax"]


class Activations(Protocol):
    """A forward pass in two parts: `run` before, `named` within the compiled walk."""

    device: jax.Device

    def run(self, images: Array) -> Any:
        """Take a batch and return what is given to the compiled walk."""

    def named(self, given: Any) -> dict[str, Laid]:
        """Return the activations by name, from what `run` gave."""


class FromRuntime:
    """onnxruntime runs the original model, with the tensors asked for among its outputs."""

    def __init__(
        self,
        model: graph.Model,
        image_input: graph.ImageInput,
        shapes: Mapping[str, tuple[int, ...]],
        feeds: Mapping[str, np.ndarray],
        device: runtime.Device,
        threads: int | None,
    ) -> None:
        self._input, self._feeds = image_input, dict(feeds)
        self._shapes = {name: shape for name, shape in shapes.items() if name != image_input.name}
        self._whole = shapes.get(image_input.name)
        ranks = {name: len(shape) for name, shape in self._shapes.items()}
        proto, outputs = exposed_proto(model, ranks)
        session = runtime.Session(
            proto.SerializeToString(), directory=model.directory, device=device, threads=threads
        )
        pairs = zip(outputs, self._shapes.values(), strict=True)
        buffers = session.bind({output: channels_last_shape(shape) for output, shape in pairs})
        self._session = session
        self.device: jax.Device = next(iter(buffers[0].devices()))

    def run(self, images: Array) -> Any:
        """Run the model; the arrays are overwritten by the next run."""
        images = images.astype(self._input.dtype, copy=False)
        return [images, self._session.run({**self._feeds, self._input.name: images})]

    def named(self, given: Any) -> dict[str, Laid]:
        """Give the flat outputs of the session their shapes."""
        images, outputs = given
        pairs = zip(self._shapes.items(), outputs, strict=True)
        named = {
            name: Laid(flat.reshape(channels_last_shape(shape)), last=True)
            for (name, shape), flat in pairs
        }
        if self._whole is not None:
            named[self._input.name] = Laid(images.astype("float32"))
        return named


class FromLowered:
    """The lowered model, as a part of the compiled walk."""

    def __init__(
        self,
        network: Network,
        image_input: graph.ImageInput,
        names: Sequence[str],
        feeds: Mapping[str, np.ndarray],
    ) -> None:
        self._lowered, self._names = network.original, tuple(names)
        self._input, self._feeds = image_input, dict(feeds)
        self._dtype = network.dtype
        self.device: jax.Device = jax.devices()[0]
        self._parameters = jax.device_put(dict(self._lowered.parameters), self.device)

    def run(self, images: Array) -> Any:
        """Hand the weights and the images over."""
        dtype = self._dtype if self._input.dtype.startswith("float") else self._input.dtype
        return self._parameters, {**self._feeds, self._input.name: images.astype(dtype)}

    def named(self, given: Any) -> dict[str, Laid]:
        """Compute the tensors asked for."""
        parameters, inputs = given
        made = self._lowered(parameters, inputs, self._names)
        return {name: Laid(x) for name, x in made.items()}


def activations_from(
    model: graph.Model,
    image_input: graph.ImageInput,
    network: Network,
    names: Sequence[str],
    shape: tuple[int, ...],
    feeds: Mapping[str, np.ndarray],
    *,
    forward: Forward,
    device: runtime.Device,
    threads: int | None,
) -> Activations:
    """Return the source of the tensors `names`.

    Raises
    ------
    ModelError
        If onnxruntime refuses the model.
    UsageError
        If the device cannot be had.
    """
    if forward == "jax":
        return FromLowered(network, image_input, names, feeds)
    shapes = {name: network.shape(name) for name in names}
    return FromRuntime(model, image_input, shapes, feeds, device, threads)
