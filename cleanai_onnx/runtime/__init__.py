"""onnxruntime sessions: a batch in, activations out as JAX arrays, without a copy."""

from cleanai_onnx.runtime.compilation_cache import use_compilation_cache
from cleanai_onnx.runtime.memory import available_memory
from cleanai_onnx.runtime.session import Device, Session, host, on_device, require_onnxruntime

__all__ = [
    "Device",
    "Session",
    "available_memory",
    "host",
    "on_device",
    "require_onnxruntime",
    "use_compilation_cache",
]
