"""The activations that the way back asks for: from onnxruntime, or from the lowered model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol, TypeAlias

import jax
import numpy as np

from cleanai_onnx import graph, runtime
from cleanai_onnx.errors import UsageError
from cleanai_onnx.graph.canonical import computes_in_double, exposed_bytes
from cleanai_onnx.relevance.layouts import Laid, channels_last_shape
from cleanai_onnx.relevance.network import Network

__all__ = ["Activations", "Forward", "activations_from"]

Array: TypeAlias = Any
Forward = Literal["auto", "onnxruntime", "jax"]


class Activations(Protocol):
    """A forward pass in two parts: `run` before, `named` within the compiled walk."""

    @property
    def device(self) -> jax.Device:
        """Where the activations are."""

    @property
    def given(self) -> Any:
        """The shapes and types of what `run` returns."""

    def finish(self) -> None:
        """Wait until it can run; what went wrong in making it is raised here."""

    def run(self, images: Array) -> Any:
        """Take a batch and return what is given to the compiled walk."""

    def named(self, given: Any) -> dict[str, Laid]:
        """Return the activations by name, from what `run` gave."""


class FromRuntime:
    """onnxruntime runs the original model, with the tensors asked for among its outputs.

    The session is made in a thread: the walk can be traced and compiled meanwhile.
    """

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
        self._shapes = {
            name: channels_last_shape(shape)
            for name, shape in shapes.items()
            if name != image_input.name
        }
        self._whole = shapes.get(image_input.name)
        ranks = {name: len(shape) for name, shape in self._shapes.items()}
        data, outputs = exposed_bytes(model, ranks)

        def start() -> tuple[runtime.Session, jax.Device]:
            session = runtime.Session(
                data, directory=model.directory, device=device, threads=threads
            )
            buffers = session.bind(dict(zip(outputs, self._shapes.values(), strict=True)))
            return session, next(iter(buffers[0].devices()))

        thread = ThreadPoolExecutor(1)
        self._started = thread.submit(start)
        thread.shutdown(wait=False)

    @property
    def device(self) -> jax.Device:
        """Where the session's outputs are; known before there is one if JAX has only the CPU."""
        if jax.default_backend() == "cpu":
            return jax.devices()[0]
        return self._started.result()[1]

    @property
    def given(self) -> Any:
        """The images, if the walk reads them, and the flat outputs of the session."""

        def flat(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
            place = jax.sharding.SingleDeviceSharding(self.device)
            return jax.ShapeDtypeStruct(shape, np.float32, sharding=place)

        outputs = [flat((shape[0], math.prod(shape[1:]))) for shape in self._shapes.values()]
        return None if self._whole is None else flat(self._whole), outputs

    def finish(self) -> None:
        """Wait for the session."""
        self._started.result()

    def run(self, images: Array) -> Any:
        """Run the model; the arrays are overwritten by the next run."""
        session, device = self._started.result()
        images = images.astype(self._input.dtype, copy=False)
        outputs = session.run({**self._feeds, self._input.name: images})
        if self._whole is None:
            return None, outputs
        return jax.device_put(images.astype(np.float32, copy=False), device), outputs

    def named(self, given: Any) -> dict[str, Laid]:
        """Give the flat outputs of the session their shapes."""
        images, outputs = given
        pairs = zip(self._shapes.items(), outputs, strict=True)
        named = {name: Laid(flat.reshape(shape), last=True) for (name, shape), flat in pairs}
        if images is not None:
            named[self._input.name] = Laid(images)
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
        is_real = image_input.dtype.startswith("float")
        self._dtype = network.dtype if is_real else np.dtype(image_input.dtype)
        self._shape = network.shape(image_input.name)
        self.device: jax.Device = jax.devices()[0]
        self._parameters = jax.device_put(dict(self._lowered.parameters), self.device)

    @property
    def given(self) -> Any:
        """The weights and the inputs."""
        images = jax.ShapeDtypeStruct(self._shape, self._dtype)
        return self._parameters, {**self._feeds, self._input.name: images}

    def finish(self) -> None:
        """Do nothing: there is no session to wait for."""

    def run(self, images: Array) -> Any:
        """Hand the weights and the images over."""
        return self._parameters, {**self._feeds, self._input.name: images.astype(self._dtype)}

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

    A model that computes in float64 is run by JAX: what onnxruntime hands over is float32.

    Raises
    ------
    UsageError
        If onnxruntime was asked for by name and the model computes in float64.
    """
    if computes_in_double(model):
        if forward == "onnxruntime":
            raise UsageError(
                "forward='onnxruntime' hands float32 over, and the model computes in float64: "
                "leave forward out."
            )
        forward = "jax"
    if forward == "jax":
        return FromLowered(network, image_input, names, feeds)
    shapes = {name: network.shape(name) for name in names}
    return FromRuntime(model, image_input, shapes, feeds, device, threads)
