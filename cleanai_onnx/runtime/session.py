"""An onnxruntime session whose outputs are written straight into JAX arrays.

The buffers are allocated by JAX, once, and bound to the session's outputs by their address, so that
activations go from onnxruntime to the metrics without a copy, on CPU and CUDA alike. Each run
overwrites them: whoever reads the arrays must have finished before the next run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from cleanai_onnx.errors import CleanAIError, ModelError, UsageError, harmless

__all__ = ["Device", "Session", "on_device", "providers_for", "require_onnxruntime"]

Device = Literal["auto", "cpu", "cuda"]
ALIGNMENT = 64
"""Bytes; what XLA wants of memory that it does not allocate itself."""

MOST_THREADS_PER_CORE = 8
"""More threads than this bring nothing, and thousands of them take minutes to start and stop."""

INSTALL = (
    "install it with `pip install 'cleanai-onnx[cpu]'`, or with `pip install 'cleanai-onnx[gpu]'` "
    "for CUDA."
)


def require_onnxruntime() -> ModuleType:
    """Import onnxruntime, without its telemetry.

    From 1.29 on, onnxruntime reports the names and hashes of models to its makers, keeps an
    identifier of the machine in the user's cache folder, and only an environment variable that is
    set before the import stops it. A user who wants that sets ``ORT_DISABLE_TELEMETRY=0``.

    Raises
    ------
    UsageError
        If it is not installed, or broken; the sentence says which extra to install.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "onnxruntime":
            raise UsageError(
                f"onnxruntime is not installed; {INSTALL}", slug="package-missing"
            ) from error
        raise UsageError(_broken(error), slug="package-missing") from error
    except (ImportError, OSError) as error:
        raise UsageError(_broken(error), slug="package-missing") from error
    if not hasattr(onnxruntime, "InferenceSession"):
        # What is left of a package whose files another one has removed with its own.
        raise UsageError(_broken("its files are incomplete"), slug="package-missing")
    return onnxruntime


def _broken(reason: object) -> str:
    return (
        f"onnxruntime is installed but cannot be loaded ({_one_line(str(reason), 200)}); uninstall "
        f"onnxruntime and onnxruntime-gpu, then {INSTALL}"
    )


def providers_for(wanted: Device) -> list[str]:
    """Return the execution providers to ask for, the preferred one first.

    "auto" asks for CUDA only where JAX can use it too: the activations stay on the device.
    """
    if wanted not in get_args(Device):
        raise UsageError(f"--device must be one of {', '.join(get_args(Device))}, not {wanted!r}.")
    onnxruntime = require_onnxruntime()
    offered = onnxruntime.get_available_providers()
    has_cuda = "CUDAExecutionProvider" in offered
    if wanted == "cpu" or (wanted == "auto" and not (has_cuda and _jax_has_gpu())):
        return ["CPUExecutionProvider"]
    if not has_cuda:
        raise UsageError(
            "--device cuda: this onnxruntime has no CUDA provider; install 'cleanai-onnx[gpu]' "
            "or use --device cpu."
        )
    if hasattr(onnxruntime, "preload_dlls"):
        # Finds the CUDA libraries that came as Python packages.
        onnxruntime.preload_dlls()
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def _jax_has_gpu() -> bool:
    import jax

    return bool(jax.default_backend() == "gpu")


class Session:
    """Runs a tapped model.

    Parameters
    ----------
    model : bytes
        The serialised model, its taps among the outputs.
    directory : Path, optional
        Where the model's external data lies.
    device : {"auto", "cpu", "cuda"}
        "auto" takes CUDA where it really works.
    threads : int, optional
        Threads within an operator; by default as many as there are cores.

    Raises
    ------
    ModelError
        If onnxruntime refuses the model.
    UsageError
        If the device was asked for by name and cannot be had, or onnxruntime is not installed.
    """

    def __init__(
        self,
        model: bytes,
        *,
        directory: Path | None = None,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        onnxruntime = require_onnxruntime()
        # On a GPU, JAX would otherwise take most of the memory before onnxruntime asks for any.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        cores = os.cpu_count() or 1
        if threads is not None and not 1 <= threads <= MOST_THREADS_PER_CORE * cores:
            raise UsageError(
                f"--threads must be from 1 to {MOST_THREADS_PER_CORE * cores} on this machine with "
                f"{cores} cores, not {threads}.",
                slug="option-value",
            )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4
        # The threads of a finished run would otherwise keep spinning while JAX wants the cores.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if threads is not None:
            options.intra_op_num_threads = threads
        folder = None if directory is None else _utf8(directory)
        if folder is not None:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", folder
            )
        providers = providers_for(device)
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ModelError(
                f"onnxruntime refuses the model: {_explanation(error)}; export it again, or update "
                "onnxruntime.",
                slug="model-refused",
            ) from error
        self.provider: str = self._session.get_providers()[0]
        if device == "cuda" and self.provider != "CUDAExecutionProvider":
            raise UsageError(
                "--device cuda: CUDA could not be loaded (driver, CUDA or cuDNN missing?); "
                "install 'cleanai-onnx[gpu]' or use --device cpu."
            )
        self.device: Literal["cpu", "cuda"] = (
            "cuda" if self.provider == "CUDAExecutionProvider" else "cpu"
        )
        self._binding: Any = None
        self._outputs: list[Any] = []

    def probe(
        self, feeds: Mapping[str, np.ndarray], names: Sequence[str]
    ) -> dict[str, tuple[int, ...]]:
        """Run once and return the shapes of the outputs `names`."""
        outputs = self._call(lambda: self._session.run(list(names), dict(feeds)))
        return {name: tuple(array.shape) for name, array in zip(names, outputs, strict=True)}

    def bind(self, shapes: Mapping[str, tuple[int, ...]]) -> list[Any]:
        """Allocate the buffers of the outputs and bind them.

        Parameters
        ----------
        shapes : mapping of str to tuple of int
            The outputs to compute, all float32, with the batch axis.

        Returns
        -------
        list of jax.Array
            One ``(B, N)`` float32 array for each output, N the units of one input. Every `run`
            overwrites them in place.
        """
        import jax

        if self.device == "cuda" and not _jax_has_gpu():
            raise UsageError(
                "onnxruntime runs on CUDA but JAX does not; install 'cleanai-onnx[gpu]' (it brings "
                "jax[cuda13]) or use --device cpu."
            )
        target = jax.devices("gpu" if self.device == "cuda" else "cpu")[0]
        self._binding = self._session.io_binding()
        self._outputs = []
        for name, shape in shapes.items():
            flat = (shape[0], int(np.prod(shape[1:], dtype=np.int64)))
            array = jax.block_until_ready(jax.device_put(aligned_zeros(flat), target))
            self._binding.bind_output(
                name, self.device, 0, np.float32, shape, array.unsafe_buffer_pointer()
            )
            self._outputs.append(array)
        return self._outputs

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[Any]:
        """Run a batch into the bound buffers and return them, in the order of `bind`."""
        for name, array in feeds.items():
            self._binding.bind_cpu_input(name, np.ascontiguousarray(array))

        def run() -> None:
            self._session.run_with_iobinding(self._binding)
            self._binding.synchronize_outputs()

        self._call(run)
        return self._outputs

    def _call(self, run: Any) -> Any:
        try:
            return run()
        except CleanAIError:
            raise
        except Exception as error:  # as above
            text = _explanation(error)
            advice = (
                "a layer whose shape changes from batch to batch cannot be measured, leave it out "
                "with --taps."
                if "computed output shape" in text or "invalid dimensions for output" in text
                else "if a batch size is built into it, give that with --batch-size, otherwise "
                "export it again."
            )
            raise ModelError(
                f"the model fails when it is run: {text}; {advice}", slug="model-fails"
            ) from error


def on_device(device: Any) -> AbstractContextManager[Any]:
    """Return a context in which what JAX makes lies on `device`."""
    import jax

    return jax.default_device(device)


def host() -> Any:
    """Return the device of JAX that is the processor."""
    import jax

    return jax.devices("cpu")[0]


def aligned_zeros(shape: tuple[int, int]) -> np.ndarray:
    """Return float32 zeros at an address from which JAX takes over memory without a copy."""
    size = 4 * shape[0] * shape[1]
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + size].view(np.float32).reshape(shape)


def _utf8(path: Path) -> str | None:
    """Return a path as onnxruntime takes it, or None if its name is not UTF-8.

    Then only a model with external data fails, because that is not found.
    """
    try:
        # Not str(): where the locale is not UTF-8, that has characters which cannot be encoded.
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return None


_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"|Error in execution: |Fatal error: |Exception during initialization: "
    r"|Non-zero status code returned while running |Status Message: |Name:'' "
    r"|\. When calling Run\(\) with pre-allocated .*"
    r"|\S*/onnxruntime/core/\S+:\d+ (?:[^()]*\([^()]*\)(?: const)?(?: \[with [^]]*\])? ?)?"
)
"""Error codes, and where in onnxruntime's source an error was raised."""


def _explanation(error: Exception) -> str:
    """Return what onnxruntime says of the model, on one line, without what it says of itself."""
    return _one_line(_NOISE.sub("", " ".join(str(error).split())), 300)


def _one_line(text: str, limit: int) -> str:
    text = harmless(" ".join(text.split())).rstrip(" .;")
    return text if len(text) <= limit else text[: limit - 2] + " …"
