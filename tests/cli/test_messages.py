"""Errors end with their slug, which docs/messages.md explains."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.material import Command, images, relu, save


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        (("m.onnx",), "usage"),
        (("m.onnx", "im", "--top-k", "0"), "option-value"),
        (("m.onnx", "im", "--config", "none.toml"), "config-file"),
        (("none.onnx", "im"), "model-file"),
        (("text.onnx", "im"), "model-file"),
        (("m.onnx", "none"), "images-not-found"),
        (("m.onnx", "im"), "preprocessing-unknown"),
        (("m.onnx", "im", "--preset", "unit", "--taps", "none"), "taps"),
        (("m.onnx", "im", "--preset", "unit", "--pair", "a", "b"), "image-name"),
        (("m.onnx", "im", "--preset", "unit", "--profile", "m.onnx"), "profile-file"),
        (("m.onnx", "im", "--preset", "unit", "--output", "m.onnx"), "output"),
        (("report", "m.onnx"), "stored-result"),
    ],
)
def test_the_command_line_names_it(command: Command, arguments: tuple[str, ...], slug: str) -> None:
    save("m.onnx", relu())
    images("im", 2)
    Path("text.onnx").write_text("no model")
    outcome = command(*arguments)
    assert outcome.code in (2, 3)
    assert outcome.err.endswith(f" [{slug}]\n")


def test_an_unknown_variable(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANAI_ONNX_TOPK", "3")
    assert command("m.onnx", "im").err.endswith(" [unknown-option]\n")
