"""Programs kept on disk: found again for the same question only, and never a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cleanai_onnx.runtime import programs
from cleanai_onnx.runtime.programs import (
    KeptFunction,
    find_program,
    keep_program,
    named_anew,
    program_key,
)

CACHE = "jax_compilation_cache_dir"


@pytest.fixture
def folder(tmp_path: Path):
    before = jax.config.values[CACHE]
    jax.config.update(CACHE, str(tmp_path))
    yield tmp_path
    jax.config.update(CACHE, before)


@pytest.fixture
def traced() -> list[tuple[int, ...]]:
    """The shapes for which the function of `made` was traced."""
    return []


@pytest.fixture
def made(folder: Path, traced: list[tuple[int, ...]]) -> Callable[..., KeptFunction]:
    """Return functions as new processes would make them."""

    def make(identity: str = "one", by: float = 2.0, **options: Any) -> KeptFunction:
        def scaled(state: Any, x: Any, *, plus: int = 0) -> Any:
            traced.append(x.shape)
            return {name: value + by * x.sum() + plus for name, value in state.items()}

        return KeptFunction(scaled, "cpu", identity, static_argnames="plus", **options)

    return make


def state(size: int = 4) -> dict[str, Any]:
    return {"a": jnp.arange(size, dtype=jnp.float32), "b": jnp.zeros(size, jnp.int32)}


X = np.arange(3, dtype=np.float32)


def test_a_later_process_does_not_trace(made, traced) -> None:
    first = made()(state(), X)
    again = made()(state(), X)
    assert traced == [(3,)]
    np.testing.assert_array_equal(first["a"], np.arange(4) + 6)
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_every_question_has_a_program_of_its_own(made, traced) -> None:
    made()(state(), X)
    function = made()
    assert function(state(), np.ones(5, np.float32))["a"][0] == 10
    assert function(state(), X, plus=7)["a"][0] == 13
    assert function(state(), X.astype(np.int32))["a"][0] == 6
    assert function(state(6), X)["a"].shape == (6,)
    assert made("another", by=3.0)(state(), X)["a"][0] == 9
    assert made(wide=True)(state(), X)["a"][0] == 6
    assert len(traced) == 7


def test_arguments_can_be_given_up(made, traced) -> None:
    for _ in range(2):
        given = state()
        found = made(donate_argnums=0)(given, X)
        assert given["a"].is_deleted() and found["a"][1] == 7
    assert len(traced) == 1


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty"])
def test_a_damaged_file_is_made_anew(made, traced, folder: Path, damage: str) -> None:
    made()(state(), X)
    (file,) = folder.glob("*-program")
    content = file.read_bytes()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    damaged = {"truncated": content[: len(content) // 2], "changed": changed, "empty": b""}
    file.write_bytes(damaged[damage])
    assert made()(state(), X)["a"][0] == 6
    assert len(traced) == 2


def test_files_that_were_removed_while_jax_has_its_own(made, traced, folder: Path) -> None:
    """XLA does not serialise whole what it has loaded from JAX's cache."""
    for _ in range(2):
        for file in folder.glob("*-program"):
            file.unlink()
        for _ in range(2):
            assert made()(state(), X)["a"][0] == 6
    assert len(traced) == 2


def test_programs_of_other_code_are_not_found(made, traced, monkeypatch) -> None:
    made()(state(), X)
    monkeypatch.setattr(programs, "_surroundings", lambda: "of another version")
    made()(state(), X)
    assert len(traced) == 2


def test_the_code_that_is_traced_is_part_of_it(monkeypatch, tmp_path: Path) -> None:
    def hashed(**files: str) -> str | None:
        for name, text in files.items():
            (tmp_path / "coverage" / f"{name}.py").write_text(text)
        monkeypatch.setattr(programs, "__file__", str(tmp_path / "runtime" / "programs.py"))
        return programs._code()

    assert hashed() is None
    (tmp_path / "coverage").mkdir()
    first = hashed(a="1", b="2")
    assert hashed(a="3") != first
    assert hashed(a="1") == first
    assert hashed(c="") != first


def test_settings_of_jax_are_part_of_it(folder: Path) -> None:
    before = program_key("cpu", 1)
    assert before == program_key("cpu", 1) != program_key("cpu", 2)
    precision = jax.config.values["jax_default_matmul_precision"]
    jax.config.update("jax_default_matmul_precision", "float32")
    try:
        assert program_key("cpu", 1) != before
    finally:
        jax.config.update("jax_default_matmul_precision", precision)


def test_only_for_the_cpu() -> None:
    assert program_key("gpu", 1) is None
    assert find_program(None) is None


def test_nothing_is_kept_where_nothing_can_be(made, traced, folder: Path) -> None:
    jax.config.update(CACHE, str(folder / "missing"))
    for _ in range(2):
        assert made()(state(), X)["a"][0] == 6
    jax.config.update(CACHE, None)
    assert made()(state(), X)["a"][0] == 6
    assert len(traced) == 3 and not list(folder.glob("*"))


def one_more(x: Any) -> Any:
    return x + 1


def test_facts_come_back_with_the_program(folder: Path) -> None:
    key = program_key("cpu", "facts")
    keep_program(key, jax.jit(named_anew(one_more)).lower(X).compile(), ("b", "a"))
    found = find_program(key)
    assert found is not None and found.facts == ("b", "a")
    np.testing.assert_array_equal(found.program(X), X + 1)
