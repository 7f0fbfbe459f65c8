"""PyTorch to ONNX.

Taken are a live module, an exported program (``.pt2``), TorchScript, a state dict together with its
class, and, where the caller trusts it, the pickle of a whole module. The routes are torch's dynamo
exporter, then its older TorchScript exporter, each with a free batch size; where none of the two
can have that, both again with a fixed one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx.converters.conversion import Batch, Conversion
from cleanai_onnx.converters.formats import TORCH_FORMATS, torch_format
from cleanai_onnx.converters.isolation import DEFAULT_TIMEOUT
from cleanai_onnx.converters.parity import ATOL, RTOL
from cleanai_onnx.converters.pytorch_inspection import inspect
from cleanai_onnx.converters.source import Route, Source
from cleanai_onnx.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["EXPORTERS", "OPSET", "to_onnx"]

EXPORTERS = ("dynamo", "torchscript")
OPSET = 20
"""The newest that both exporters write; it has Gelu as one operator."""

_TITLES = {"dynamo": "torch dynamo exporter", "torchscript": "torch TorchScript exporter"}
_BATCHES: tuple[Batch, ...] = ("dynamic", "fixed")
_LOADER = "cleanai_onnx.converters.pytorch_source:load"

InputShape = Sequence[int] | Sequence[Sequence[int]]


def to_onnx(
    model: Module | str | Path,
    example_input: Tensor | Sequence[Tensor] | None = None,
    *,
    input_shape: InputShape | None = None,
    output: str | Path | None = None,
    class_name: str | None = None,
    class_args: Sequence[Any] | Mapping[str, Any] | None = None,
    trust: bool = False,
    opset: int | None = None,
    rtol: float = RTOL,
    atol: float = ATOL,
    seed: int = 0,
    images: Sequence[str | Path] = (),
    preprocessing: Mapping[str, Any] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    exporters: Sequence[str] = EXPORTERS,
) -> tuple[Path, Conversion]:
    """Convert a PyTorch model and prove that the result is the same network.

    A file is loaded, exported and compared in a process of its own; a live module in this one. It
    is put into evaluation mode meanwhile, and back afterwards.

    Parameters
    ----------
    model : torch.nn.Module or path
    example_input : tensor or sequence of tensors, optional
        One batch, for the shapes and element types of the inputs.
    input_shape : sequence of int, or one for each input
        Without the batch axis: ``(3, 224, 224)``; instead of `example_input`, for float inputs. An
        exported program needs neither, nor does a file with a timm or Hugging Face configuration
        that tells the image size beside it.
    output : path, optional
        By default the source's path with the suffix ``.onnx``; for a live module its class name, in
        the current folder.
    class_name : str, optional
        ``"module:Class"``, for a state dict. It is imported, from the current folder too.
    class_args : sequence or mapping, optional
        Positional or keyword arguments of the class; JSON must be able to hold them.
    trust : bool
        Load a pickle of a whole module (or an exported program that holds one), which runs whatever
        code is in it.
    opset : int, optional
        By default `OPSET`.
    rtol, atol : float
        The tolerance: see `cleanai_onnx.converters.parity`.
    seed : int
        Of the inputs that are compared.
    images : sequence of paths
        Images to compare on, besides.
    preprocessing : mapping, optional
        How they become inputs: settings by the names in `cleanai_onnx.inputs.settings`. They also
        go into the file of settings beside the model.
    timeout : float
        Seconds for each attempt on a file.
    exporters : sequence of {"dynamo", "torchscript"}
        In the order in which they are tried.

    Returns
    -------
    (Path, Conversion)
        The file, and the record of the conversion.

    Raises
    ------
    UsageError
        If torch is not installed, or an option is missing or does not fit.
    ModelError
        If the source is damaged or unsafe; `ConversionError` where every exporter failed.
    """
    from cleanai_onnx.converters import routes
    from cleanai_onnx.converters.publication import digest_of
    from cleanai_onnx.converters.trial import Terms

    unknown = [name for name in exporters if name not in EXPORTERS]
    if unknown or not exporters:
        raise UsageError(f"exporters must be some of {', '.join(EXPORTERS)}, not {exporters!r}.")
    terms = Terms(
        rtol=rtol,
        atol=atol,
        seed=seed,
        opset=opset or OPSET,
        images=tuple(str(image) for image in images),
        preprocessing=dict(preprocessing or {}),
    )
    _check_arguments(class_args)
    request: dict[str, Any] = {
        "class_name": class_name,
        "class_args": class_args,
        "trust": trust,
        "inputs": _inputs(example_input, input_shape),
    }
    if isinstance(model, str | Path):
        path = Path(model)
        kind = torch_format(path)
        if kind == "exported":
            exporters = [name for name in exporters if name == "dynamo"]
        elif kind == "torchscript":
            exporters = [name for name in exporters if name == "torchscript"]
        if not exporters:
            raise UsageError(f"the exporters that were asked for cannot take a {kind} file.")
        if not trust:
            inspect(path, kind)
        title = TORCH_FORMATS[kind]
        if kind == "checkpoint":
            title = "PyTorch state dict" if class_name else "pickled PyTorch module"
        request |= {"path": str(path.absolute()), "format": kind}
        if kind != "exported" and not request["inputs"]:
            request["inputs"] = _inputs_beside(path, terms.preprocessing or {})
        return routes.convert(
            routes.Origin(path.name, title, digest_of(path), path),
            _routes(exporters, trust),
            request,
            path.with_suffix(".onnx") if output is None else Path(output),
            terms,
            extra="torch",
            timeout=timeout,
        )
    from cleanai_onnx.converters.pytorch_source import evaluating, require_module, source_of

    module = require_module(model)
    name = type(module).__name__

    def live(route: Route) -> Source:
        return source_of(module, {**request, **route.options})

    with evaluating(module):
        return routes.convert(
            routes.Origin(name, "live PyTorch module"),
            _routes(exporters, trust),
            request,
            Path(f"{name}.onnx") if output is None else Path(output),
            terms,
            extra="torch",
            live=live,
        )


def _routes(exporters: Sequence[str], trust: bool) -> list[Route]:
    # torch falls back to unpickling anything in places; this variable forbids it everywhere.
    environment = {} if trust else {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
    needs = {"dynamo": ("torch", "onnxscript"), "torchscript": ("torch",)}
    return [
        Route(
            name=_TITLES[exporter] + ("" if batch == "dynamic" else ", fixed batch"),
            load=_LOADER,
            needs=needs[exporter],
            batch=batch,
            options={"exporter": exporter, "batch": batch},
            environment=environment,
        )
        for batch in _BATCHES
        for exporter in exporters
    ]


def _check_arguments(class_args: Any) -> None:
    try:
        json.dumps(class_args)
    except (TypeError, ValueError) as error:
        raise UsageError(
            "class_args must be numbers, texts, lists and the like, which JSON can hold; make the "
            "module yourself and give it instead."
        ) from error


def _inputs(example: Any, shape: InputShape | None) -> list[dict[str, Any]]:
    """Return shape (without the batch axis), element type and batch size of each input."""
    if example is not None:
        tensors = list(example) if isinstance(example, list | tuple) else [example]
        if not tensors or not all(
            hasattr(tensor, "shape") and len(tensor.shape) for tensor in tensors
        ):
            raise UsageError(
                "example_input must be a tensor with a batch axis, or a sequence of such tensors."
            )
        return [
            {
                "shape": [int(size) for size in tensor.shape[1:]],
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "batch": int(tensor.shape[0]),
            }
            for tensor in tensors
        ]
    if shape is None or not len(shape):
        return []
    shapes: Any = [shape] if isinstance(shape[0], int) else shape
    for one in shapes:
        if not all(isinstance(size, int) and size > 0 for size in one):
            raise UsageError(
                f"--input-shape must be whole numbers such as 3,224,224, not {one!r}.",
                slug="conversion-input-shape",
            )
    return [{"shape": list(one), "dtype": None, "batch": 1} for one in shapes]


def _inputs_beside(path: Path, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the input that the settings beside a source, or the user's, tell."""
    from cleanai_onnx.inputs.preprocessing import CHANNEL_ORDERS
    from cleanai_onnx.inputs.settings import NO_CROP, read_settings
    from cleanai_onnx.inputs.sidecars import sidecar

    beside = sidecar(path)
    settings = {} if beside is None else dict(beside.settings)
    settings |= read_settings(given, "command line")
    crop = settings.get("crop")
    size = crop if crop not in (None, NO_CROP) else settings.get("size")
    order: Any = settings.get("channel_order")
    if size is None or order is None:
        raise UsageError(
            "the shape of the model's input is not known: give it without the batch, "
            "--input-shape 3,224,224 (in Python: input_shape or example_input).",
            slug="conversion-input-shape",
        )
    sides = [CHANNEL_ORDERS[order], *size]
    return [{"shape": sides, "dtype": None, "batch": 1}]
