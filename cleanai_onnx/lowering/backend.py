"""The lowering as an ONNX backend, so that ONNX's own test suite can judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import SkipTest

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from cleanai_onnx.errors import NotSupportedError
from cleanai_onnx.lowering.arrays import Array, Static, is_static
from cleanai_onnx.lowering.evaluation import NeedsConstantError, run_nodes
from cleanai_onnx.lowering.lowered import Lowered, lower
from cleanai_onnx.runtime.compilation import double_precision

__all__ = ["JaxBackend", "JaxModel", "NotSupportedSkip"]

_QUICK = {
    "xla_allow_excess_precision": False,
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
"""Each model is compiled to be run once, and rounded after each operator."""


class NotSupportedSkip(SkipTest):
    """The suite's word for a model that uses what is not implemented."""


class JaxModel(BackendRep):
    """A model that is ready to run, compiled for each call."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Compute the outputs for inputs in the order of the graph.

        Every input is traced, except those whose values an operator needs while it is traced (a
        shape that is an input, for example). What comes out of numpy alone when all inputs are
        static must be the same.
        """
        with double_precision():
            try:
                values = self._arrays(inputs)
                traced = self._traced(values)
                self._check_folded(values, traced)
            except NotSupportedError as error:
                raise NotSupportedSkip(str(error)) from error
        return tuple(traced)

    def _arrays(self, inputs: Sequence[Any]) -> dict[str, Static]:
        for value in inputs:
            if not isinstance(value, np.ndarray | np.generic) or value.dtype == object:
                raise NotSupportedError("sequences, optional values and strings are not supported")
        names = (entry.name for entry in self.lowered.inputs)
        return {name: np.asarray(x) for name, x in zip(names, inputs, strict=False)}

    def _traced(self, values: Mapping[str, Static]) -> list[Static]:
        static: set[str] = set()
        while True:
            try:
                return self._compiled(values, static)
            except NeedsConstantError as error:
                if len(static) == len(values):
                    raise
                integers = {name for name, x in values.items() if x.dtype.kind in "iub"}
                if error.tensor in values and error.tensor not in static:
                    static.add(error.tensor)
                else:
                    static |= integers if integers - static else set(values)

    def _compiled(self, values: Mapping[str, Static], static: set[str]) -> list[Static]:
        def function(parameters: Any, inputs: Any) -> list[Array]:
            known = {name: x for name, x in values.items() if name in static}
            return [jnp.asarray(x) for x in self._outputs(parameters, inputs | known)]

        traced = {name: x for name, x in values.items() if name not in static}
        compiled = jax.jit(function, compiler_options=_QUICK)
        return [np.asarray(x) for x in compiled(dict(self.lowered.parameters), traced)]

    def _check_folded(self, values: Mapping[str, Static], expected: Sequence[Static]) -> None:
        found: list[Array] = []

        def function() -> None:
            found.extend(self._outputs(self.lowered.parameters, values))

        jax.eval_shape(function)
        for folded, computed in zip(found, expected, strict=True):
            if is_static(folded):
                np.testing.assert_equal(np.asarray(folded).dtype, computed.dtype)
                np.testing.assert_allclose(
                    np.asarray(folded).astype(np.float64),
                    computed.astype(np.float64),
                    rtol=1e-2 if computed.dtype.itemsize < 4 else 1e-5,
                    atol=1e-6,
                )

    def _outputs(self, parameters: Mapping[str, Array], inputs: Mapping[str, Array]) -> list[Array]:
        known: dict[str, Array | None] = {**self.lowered.constants, **parameters, **inputs}
        run_nodes(self.lowered.nodes, known)
        return [known[name] for name in self.lowered.outputs]


class JaxBackend(Backend):
    """Runs ONNX models with JAX on the CPU."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> JaxModel:
        """Lower a model.

        Raises
        ------
        NotSupportedSkip
            If it uses what is not implemented.
        """
        onnx.checker.check_model(model)
        try:
            return JaxModel(lower(model))
        except NotSupportedError as error:
            raise NotSupportedSkip(str(error)) from error

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Say whether models run on a device."""
        return device == "CPU"
