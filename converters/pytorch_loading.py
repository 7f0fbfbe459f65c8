"""Loading a PyTorch file, running nothing that is in it unless the caller trusts it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.export import ExportedProgram
from torch.nn import Module

from cleanai_onnx.converters.isolation import one_line
from cleanai_onnx.converters.pytorch_inspection import inspect
from cleanai_onnx.errors import CleanAIError, ModelError, UsageError

__all__ = ["Loaded", "load_model"]

Loaded: TypeAlias = Module | ExportedProgram

_INSIDE = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
"""Where training scripts keep the state dict in a checkpoint."""
_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before each name."""
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|global ([\w.]+\.[\w.]+)")


def load_model(request: Mapping[str, Any]) -> Loaded:
    """Load what a request of `cleanai_onnx.converters.pytorch.to_onnx` names.

    Raises
    ------
    UsageError
        If the class is missing, cannot be imported, or does not fit the weights.
    ModelError
        If the file is damaged, or would run code and is not trusted.
    """
    path, trust = Path(request["path"]), bool(request["trust"])
    if not trust:
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    if trust or request["class_name"]:
        # Last, so that nothing in the current folder takes the place of an installed module.
        sys.path.append(os.getcwd())
    if not trust:
        inspect(path, request["format"])  # once more: here is where it would run
    match request["format"]:
        case "exported":
            return _load_exported(path)
        case "torchscript":
            return _load_torchscript(path)
        case "safetensors":
            return _with_class(request, _load_safetensors(path))
    content = _load_pickle(path, trust)
    if isinstance(content, Module):
        return content
    return _with_class(request, _state_dict(content, path))


def _load_exported(path: Path) -> ExportedProgram:
    try:
        return torch.export.load(path)
    except Exception as error:  # anything, from zip files to schemas
        raise _damaged(path, error) from error


def _load_torchscript(path: Path) -> Module:
    try:
        loaded: Module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:  # as above
        raise _damaged(path, error) from error
    return loaded


def _load_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UsageError(
            "safetensors is not installed: install it with `pip install 'cleanai-onnx[torch]'`.",
            slug="package-missing",
        ) from error
    try:
        content: Mapping[str, torch.Tensor] = load_file(path)
    except Exception as error:  # as above
        raise _damaged(path, error) from error
    return content


def _load_pickle(path: Path, trust: bool) -> Any:
    if trust:
        try:
            return torch.load(path, map_location="cpu", weights_only=False)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"{path.name} needs Python code that is not here ({one_line(str(error), 150)}): "
                "run this in the folder from which its module can be imported."
            ) from error
        except Exception as error:  # whatever unpickling runs
            raise _damaged(path, error) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle's, zip's and its own
        text = str(error)
        if "eights only load failed" not in text:
            raise _damaged(path, error) from error
        found = _GLOBAL.search(text)
        called = one_line(found[1] or found[2], 80) if found else "Python objects"
        raise ModelError(
            f"{path.name} holds more than weights ({called}): it is a Python pickle, which can run "
            "any code when it is loaded. If you trust who made it, give --trust; better, save only "
            "the weights, torch.save(model.state_dict(), ...), and convert them with --class "
            "module:Class.",
            slug="unsafe-file",
        ) from error


def _state_dict(content: Any, path: Path) -> Mapping[str, torch.Tensor]:
    for _ in range(2):
        if isinstance(content, Mapping):
            tensors = {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}
            if tensors:
                return _without_prefix(tensors if len(tensors) == len(content) else content)
            content = next(
                (content[key] for key in _INSIDE if isinstance(content.get(key), Mapping)), None
            )
    raise ModelError(
        f"{path.name} holds no state dict: give a file made with torch.save(model.state_dict(), "
        "...), or torch.export.",
        slug="conversion-source",
    )


def _without_prefix(state: Mapping[str, Any]) -> Mapping[str, Any]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _with_class(request: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> Module:
    name = Path(request["path"]).name
    if not request["class_name"]:
        raise UsageError(
            f"{name} holds weights without a network: say which class they belong to with "
            "--class module:Class (and --class-args, if it takes any)."
        )
    module = _made(request["class_name"], request["class_args"])
    try:
        module.load_state_dict(state, strict=True)
    except Exception as error:  # RuntimeError, and what hooks raise
        raise UsageError(
            f"the weights of {name} do not fit the class {request['class_name']}: "
            f"{one_line(str(error), 250)}; check --class and --class-args."
        ) from error
    return module


def _made(class_name: str, arguments: Any) -> Module:
    module_name, colon, path = class_name.partition(":")
    if not (colon and module_name and path):
        raise UsageError(f"--class must be module:Class, not {one_line(class_name, 80)}.")
    try:
        found: Any = import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the module runs
        raise UsageError(
            f"--class {one_line(class_name, 80)} cannot be imported: "
            f"{one_line(f'{type(error).__name__}: {error}', 200)}; modules are looked for where "
            "Python finds them and in the current folder."
        ) from error
    positional = [] if arguments is None or isinstance(arguments, Mapping) else arguments
    named = arguments if isinstance(arguments, Mapping) else {}
    try:
        made = found(*positional, **named)
    except CleanAIError:
        raise
    except Exception as error:  # as above
        raise UsageError(
            f"--class {one_line(class_name, 80)} cannot be made: "
            f"{one_line(f'{type(error).__name__}: {error}', 200)}; give its arguments with "
            "--class-args."
        ) from error
    if not isinstance(made, Module):
        raise UsageError(f"--class {one_line(class_name, 80)} is no torch.nn.Module.")
    return made


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path.name} cannot be loaded, it is damaged or made by another version of torch "
        f"({one_line(f'{type(error).__name__}: {error}', 150)}).",
        slug="conversion-source",
    )
