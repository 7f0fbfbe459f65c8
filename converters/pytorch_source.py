"""A PyTorch model that can be asked and exported: the `Source` of the PyTorch routes."""

from __future__ import annotations

import importlib.metadata
import inspect
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.nn import Module
from torch.utils._pytree import tree_leaves

from cleanai_onnx.converters.conversion import FailedAttemptError
from cleanai_onnx.converters.isolation import one_line
from cleanai_onnx.converters.pytorch_loading import Loaded, load_model
from cleanai_onnx.converters.source import Array, InputSpec
from cleanai_onnx.errors import UsageError

__all__ = ["TorchSource", "evaluating", "load", "require_module", "source_of"]

_MOST_INSIDE = 1_900_000_000
"""Bytes of weights from which they go beside the model: one file can hold 2 GiB."""


def load(request: Mapping[str, Any]) -> TorchSource:
    """Load the file of a request and return its source; called in a process of its own."""
    torch.manual_seed(0)
    return source_of(load_model(request), request)


def require_module(model: Any) -> Module:
    """Return `model` if it is a live module or an exported program's.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if isinstance(model, ExportedProgram):
        raise UsageError("give the path of a .pt2 file, or the module that was exported.")
    if not isinstance(model, Module):
        raise UsageError(f"to_onnx takes a torch.nn.Module or a path, not {type(model).__name__}.")
    return model


@contextmanager
def evaluating(module: Module) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into its own mode."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def source_of(model: Loaded, request: Mapping[str, Any]) -> TorchSource:
    """Return the source of a loaded model for one route.

    Raises
    ------
    UsageError
        If nothing says which inputs it takes.
    FailedAttemptError
        If it cannot have the batch axis that the route wants.
    """
    if isinstance(model, ExportedProgram):
        specs = _specs_of_program(model, request["batch"])
    else:
        specs = _specs(model, request["inputs"], request["batch"])
        if not isinstance(model, torch.jit.ScriptModule) or model.training:
            model.eval()
    return TorchSource(model, specs, request["exporter"], _example_batch(request))


class TorchSource:
    """See `cleanai_onnx.converters.source.Source`."""

    def __init__(
        self,
        model: Loaded,
        inputs: tuple[InputSpec, ...],
        exporter: str,
        example_batch: int,
    ) -> None:
        self.inputs = inputs
        self.preprocessing: Mapping[str, Any] = {}
        self.remarks: tuple[str, ...] = ()
        self.versions: Mapping[str, str] = _versions(exporter)
        self._model = model
        self._run: Any = model.module() if isinstance(model, ExportedProgram) else model
        self._exporter = exporter
        self._example_batch = example_batch
        self._outputs: tuple[str, ...] = ()
        self._with_batch: tuple[bool, ...] = ()
        # Of a program, its own list: its module lists shared weights once for each name.
        weights = {id(weight): weight for weight in model.parameters()}
        self.parameters = sum(weight.numel() for weight in weights.values())
        self._bytes = sum(w.numel() * w.element_size() for w in weights.values())
        first = next(iter(weights.values()), None)
        self._device = torch.device("cpu") if first is None else first.device

    def predict(self, arrays: Sequence[Array]) -> list[np.ndarray]:
        """Return the tensors among the outputs, flattened in the order of torch's pytrees."""
        tensors = self._tensors(arrays)
        try:
            with torch.no_grad(), _quiet():
                outputs = self._run(*tensors)
        except Exception as error:  # a model raises anything
            shapes = ", ".join("x".join(map(str, array.shape)) for array in arrays)
            reason = f"the model fails on an input of {shapes}: {_root(error)}"
            if len(arrays[0]) != self._example_batch:
                raise FailedAttemptError(reason) from error
            raise UsageError(
                f"{reason}; check --input-shape.", slug="conversion-input-shape"
            ) from error
        leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
        if not leaves:
            raise UsageError("the model returns no tensor: there is nothing to export.")
        self._outputs = _output_names(outputs, len(leaves), {spec.name for spec in self.inputs})
        size = len(arrays[0])
        self._with_batch = tuple(leaf.ndim > 0 and leaf.shape[0] == size for leaf in leaves)
        return [leaf.detach().cpu().numpy() for leaf in leaves]

    def export(self, path: Path, opset: int | None) -> None:
        """Export with torch's exporter of this route."""
        dynamic = self.inputs[0].shape[0] is None
        # Traced with two inputs: a batch of one would be taken for a constant.
        size = self.inputs[0].shape[0] or 2
        shapes = [(size, *(side or 1 for side in spec.shape[1:])) for spec in self.inputs]
        arrays = [np.zeros(s, i.dtype) for s, i in zip(shapes, self.inputs, strict=True)]
        arguments = tuple(self._tensors(arrays))
        names = [spec.name for spec in self.inputs]
        options: dict[str, Any] = {
            "opset_version": opset,
            "input_names": names,
            "output_names": list(self._outputs),
            "verbose": False,
        }
        if self._exporter == "dynamo":
            batch = torch.export.Dim("batch")
            program = isinstance(self._model, ExportedProgram)
            options |= {"dynamo": True, "external_data": self._bytes > _MOST_INSIDE}
            if dynamic and not program:
                options["dynamic_shapes"] = self._dynamic_shapes(batch)
        else:
            options["dynamo"] = False
            if dynamic:
                carried = [n for n, c in zip(self._outputs, self._with_batch, strict=True) if c]
                options["dynamic_axes"] = {name: {0: "batch"} for name in (*names, *carried)}
        try:
            with torch.no_grad(), _quiet():
                torch.onnx.export(self._model, arguments, str(path), **options)
        except Exception as error:  # exporters raise anything
            raise FailedAttemptError(f"the exporter failed: {_root(error)}") from error

    def _dynamic_shapes(self, batch: Any) -> Any:
        axes = tuple({0: batch} for _ in self.inputs)
        signature = inspect.signature(self._run.forward)
        kinds = [parameter.kind for parameter in signature.parameters.values()]
        # All inputs go into *args: torch wants their shapes as one tuple in a tuple.
        return (axes,) if kinds[:1] == [inspect.Parameter.VAR_POSITIONAL] else axes

    def _tensors(self, arrays: Sequence[Array]) -> list[torch.Tensor]:
        return [torch.from_numpy(np.ascontiguousarray(a)).to(self._device) for a in arrays]


def _example_batch(request: Mapping[str, Any]) -> int:
    inputs = request["inputs"]
    return int(inputs[0]["batch"]) if inputs else 1


def _specs(
    module: Module, wanted: Sequence[Mapping[str, Any]], batch: str
) -> tuple[InputSpec, ...]:
    if not wanted:
        raise UsageError(
            "the shape of the model's input is not known: give input_shape=(3, 224, 224) or "
            "example_input (on the command line: --input-shape 3,224,224).",
            slug="conversion-input-shape",
        )
    names = _input_names(module, len(wanted))
    default = _float_type(module)
    return tuple(
        InputSpec(
            name,
            _numpy_type(item["dtype"] or default),
            (None if batch == "dynamic" else item["batch"], *item["shape"]),
        )
        for name, item in zip(names, wanted, strict=True)
    )


def _specs_of_program(program: ExportedProgram, batch: str) -> tuple[InputSpec, ...]:
    names = set(program.graph_signature.user_inputs)
    specs: list[InputSpec] = []
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in names:
            continue
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or not value.ndim:
            raise UsageError(
                f"the exported program takes '{node.name}', which is no tensor with a batch axis."
            )
        shape = tuple(size if isinstance(size, int) else None for size in value.shape)
        dtype = _numpy_type(str(value.dtype).removeprefix("torch."))
        specs.append(InputSpec(_identifier(node.name, len(specs)), dtype, shape))
    if not specs:
        raise UsageError("the exported program takes no inputs.")
    first = specs[0].shape[0]
    if batch == "dynamic" and first is not None:
        raise FailedAttemptError(
            f"the program was exported for batches of {first} (torch.export.export's "
            "dynamic_shapes would leave them free)"
        )
    if batch == "fixed" and first is None:
        raise FailedAttemptError("the program was exported for batches of any size")
    return tuple(specs)


def _input_names(module: Module, count: int) -> list[str]:
    names: list[str] = []
    if isinstance(module, torch.jit.ScriptModule):
        arguments = module.forward.schema.arguments
        names = [argument.name for argument in arguments][1:]
    else:
        for parameter in inspect.signature(module.forward).parameters.values():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names.append(parameter.name)
    if len(names) < count:
        names = ["input"] if count == 1 else [f"input_{number}" for number in range(count)]
    return [_identifier(name, number) for number, name in enumerate(names[:count])]


def _identifier(name: str, number: int) -> str:
    return name if re.fullmatch(r"\w{1,100}", name) else f"input_{number}"


def _output_names(outputs: Any, count: int, taken: set[str]) -> tuple[str, ...]:
    if isinstance(outputs, Mapping):
        names = [str(key) for key, value in outputs.items() if isinstance(value, torch.Tensor)]
        usable = all(re.fullmatch(r"\w{1,100}", name) for name in names)
        if len(names) == count and usable and not taken & set(names):
            return tuple(names)
    single = "output" if "output" not in taken else "result"
    return (single,) if count == 1 else tuple(f"{single}_{number}" for number in range(count))


def _float_type(module: Module) -> str:
    found = next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), torch.float32)
    return str(found).removeprefix("torch.")


def _numpy_type(name: str) -> str:
    try:
        found = np.dtype(name)
    except TypeError:
        found = np.dtype("V")
    if found.kind not in "biuf":  # others register bfloat16 with NumPy, but torch does not take it
        raise UsageError(
            f"the model computes in {name}, which has no counterpart in NumPy: convert it with "
            "model.float() first."
        )
    return found.name


def _root(error: BaseException) -> str:
    """Return the first line of what an exporter's error goes back to."""
    seen: list[BaseException] = []
    while error.__cause__ is not None and error not in seen:
        seen.append(error)
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"\x1b\[[0-9;]*m", "", lines[0] if lines else "")
    if len(lines) > 1 and (text.endswith(":") or "Traceback" in text):
        text = f"{text} {lines[-1]}"
    return one_line(f"{type(error).__name__}: {text}", 250)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch prints and warns of from the user: what matters is checked."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _versions(exporter: str) -> dict[str, str]:
    names = ("torch", "onnxscript") if exporter == "dynamo" else ("torch",)
    return {name: importlib.metadata.version(name) for name in names}
