"""onnxruntime sessions: a batch in, the activations of all taps out, as JAX arrays without a copy."""

from cleanai_onnx.runtime.session import Session, available_device, require_onnxruntime

__all__ = ["Session", "available_device", "require_onnxruntime"]
