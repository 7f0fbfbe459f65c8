"""Compiler options: those that this jaxlib knows, and what they leave as it is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cleanai_onnx.runtime import compilation
from cleanai_onnx.runtime.compilation import compiled, compiler_options

cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of XLA's CPU back end")


@pytest.fixture
def fresh():
    """Forget which options are known, before and after."""
    caches = (compilation.compiler_options, compilation._is_known)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def test_no_options_elsewhere():
    assert compiler_options("gpu") is None
    assert compiler_options("gpu", wide=True) is None


@cpu
def test_wide_is_on_demand(fresh):
    narrow, wide = compiler_options("cpu") or {}, compiler_options("cpu", wide=True) or {}
    name, value = compilation._WIDE
    assert name not in narrow
    assert wide == {**narrow, name: value}


@cpu
def test_an_option_that_is_not_known_is_left_out(fresh, monkeypatch: pytest.MonkeyPatch):
    known = compiler_options("cpu")
    compilation.compiler_options.cache_clear()
    monkeypatch.setattr(compilation, "_WIDE", ("xla_cpu_no_such_option", "1"))
    assert compiler_options("cpu", wide=True) == known


@cpu
def test_no_option_is_known(fresh, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compilation, "_REDUCTIONS", ("xla_cpu_no_such_option", "1"))
    assert compiler_options("cpu") is None
    assert compiled(jnp.negative, "cpu")(np.float32(2)) == -2


def test_the_width_changes_no_number():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((3, 10_007)).astype(np.float32)

    def sweep(a: Any) -> Any:
        return jnp.min(a, axis=1), jnp.max(a, axis=0), jnp.sum(a > 0.5, axis=1), a - 0.1 * a

    platform = jax.default_backend()
    found = [compiled(sweep, platform, wide=wide)(a) for wide in (False, True)]
    for narrow, wide in zip(*found, strict=True):
        np.testing.assert_array_equal(narrow, wide)
