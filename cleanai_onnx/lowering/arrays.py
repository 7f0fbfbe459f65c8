"""Arrays of two kinds: static ones (numpy) that are known, and traced ones (JAX) that are not yet.

What an exporter computes from shapes is made of the same operators as the network itself. Every
operator is therefore written over a namespace: numpy where all that it reads is static, so that the
result is static too, and `jax.numpy` otherwise.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import onnx

__all__ = [
    "Array",
    "Static",
    "as_traced",
    "cast",
    "dtype_of",
    "is_floating",
    "is_static",
    "namespace",
    "per_channel",
    "working_type",
]

Array: TypeAlias = Any
"""A `jax.Array` (traced) or a numpy array (static)."""

Static: TypeAlias = npt.NDArray[Any]


def is_static(x: Array) -> bool:
    """Say whether the values of an array are known while the function is traced."""
    return isinstance(x, np.ndarray | np.generic)


def namespace(*arrays: Array) -> Any:
    """Return numpy if all arrays (None aside) are static, else `jax.numpy`."""
    return np if all(x is None or is_static(x) for x in arrays) else jnp


def as_traced(x: Array) -> Array:
    """Return an array of JAX's."""
    return jnp.asarray(x)


def dtype_of(element_type: int) -> np.dtype[Any]:
    """Return numpy's type for an ONNX element type.

    Raises
    ------
    KeyError
        If there is none.
    """
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type))


def working_type(dtype: Any) -> np.dtype[Any]:
    """Return the type that JAX has for `dtype`: 32 bits in place of 64, unless x64 is enabled."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def is_floating(x: Array) -> bool:
    """Say whether an array holds floating-point numbers, those of few bits included."""
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def cast(x: Array, dtype: Any) -> Array:
    """Return `x` in another type; 64-bit types are 32-bit ones for traced arrays without x64."""
    if is_static(x):
        return np.asarray(x).astype(dtype)
    return x.astype(working_type(dtype))


def per_channel(values: Array, x: Array) -> Array:
    """Shape one value for each channel so that it is broadcast over (N, C, D1, ..., Dn)."""
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))
