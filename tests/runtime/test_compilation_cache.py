"""Where compiled kernels are kept."""

from __future__ import annotations

from pathlib import Path

import jax
import pytest

from cleanai_onnx.runtime import use_compilation_cache

OPTION = "jax_compilation_cache_dir"


class Config:
    """Stands for JAX's own, so that nothing changes for the other tests."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {OPTION: None}

    def update(self, name: str, value: object) -> None:
        self.values[name] = value


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jax, "config", Config())

    def choose() -> object:
        use_compilation_cache()
        return jax.config.values[OPTION]

    return choose


def test_the_variable(chosen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEANAI_ONNX_CACHE", str(tmp_path / "new" / "ü 😀"))
    assert chosen() == str(tmp_path / "new" / "ü 😀")
    assert (tmp_path / "new" / "ü 😀").is_dir()


def test_the_users_cache(chosen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLEANAI_ONNX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert chosen() == str(tmp_path / "cache" / "cleanai-onnx")


def test_the_home_folder(chosen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLEANAI_ONNX_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert chosen() == str(tmp_path / ".cache" / "cleanai-onnx")


def test_a_folder_that_cannot_be_made(
    chosen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLEANAI_ONNX_CACHE", str(tmp_path / "file" / "below"))
    assert chosen() is None


def test_the_choice_of_the_process_stays(
    chosen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jax.config.update(OPTION, "theirs")
    monkeypatch.setenv("CLEANAI_ONNX_CACHE", str(tmp_path / "ours"))
    assert chosen() == "theirs"
    assert list(tmp_path.iterdir()) == []
