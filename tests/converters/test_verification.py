from __future__ import annotations

from pathlib import Path

import pytest

from cleanai_onnx.converters.conversion import FailedAttemptError
from cleanai_onnx.converters.verification import verify
from tests.converters.onnx_models import save


def test_a_valid_file(tmp_path: Path) -> None:
    found = verify(save(tmp_path, "y = Relu(x)"), "dynamic")
    assert found.opset == 20
    assert found.inputs == {"x": ("N", 4)}
    assert found.outputs == {"y": ("N", "M")}
    assert found.batch == "dynamic"


def test_a_fixed_batch_is_seen(tmp_path: Path) -> None:
    path = save(tmp_path, "y = Relu(x)", batch="2")
    assert verify(path, "fixed").batch == "fixed"
    with pytest.raises(FailedAttemptError, match="batch size 2 is built into the input 'x'"):
        verify(path, "dynamic")


@pytest.mark.parametrize(
    "body",
    ["y = Relu(nowhere)", "y = Nonsense(x)", "z = Relu(x)", "y = Concat<axis = 7>(x, x)"],
)
def test_what_the_checker_rejects(tmp_path: Path, body: str) -> None:
    with pytest.raises(FailedAttemptError, match="onnx's checker rejects"):
        verify(save(tmp_path, body), "dynamic")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(FailedAttemptError):
        verify(tmp_path / "x.onnx", "dynamic")
