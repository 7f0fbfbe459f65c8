"""A session gives what plain onnxruntime gives, into buffers that stay where they are."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

from cleanai_onnx import runtime
from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.runtime import session as module
from tests.cli.material import build, node

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(4, 1, 3, 3)).astype(np.float32)
SHAPES = {"a": (2, 4, 6, 6), "b": (2, 4, 3, 3), "y": (2, 1)}


@pytest.fixture(scope="module")
def model() -> bytes:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["a"]),
        node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Sigmoid", ["p"], ["b"]),
        node("ReduceMean", ["b"], ["m"], axes=[1, 2, 3], keepdims=0),
        node("Unsqueeze", ["m", "one"], ["y"]),
    ]
    weights = {"w": WEIGHT, "one": np.array([1])}
    return build(nodes, weights, outputs=["a", "b", "y"]).SerializeToString()


def feeds(seed: int) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(2, 1, 8, 8))
    return {"x": values.astype(np.float32)}


def plain(model: bytes, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(list(SHAPES), given)


def test_equals_a_plain_run(model: bytes) -> None:
    session = runtime.Session(model, device="cpu", threads=1)
    session.bind(SHAPES)
    for seed in range(3):
        outputs = session.run(feeds(seed))
        for found, expected in zip(outputs, plain(model, feeds(seed)), strict=True):
            assert found.shape == (2, expected[0].size)
            assert str(found.dtype) == "float32"
            np.testing.assert_allclose(
                np.asarray(found), expected.reshape(2, -1), rtol=0, atol=1e-6
            )


def test_buffers_are_overwritten_in_place(model: bytes) -> None:
    session = runtime.Session(model, device="cpu")
    bound = session.bind(SHAPES)
    assert [array.shape for array in bound] == [(2, 144), (2, 36), (2, 1)]
    places = [array.unsafe_buffer_pointer() for array in bound]
    assert all(place % 64 == 0 for place in places)
    first = session.run(feeds(0))
    seen = [np.array(array) for array in first]
    second = session.run(feeds(1))
    assert all(one is two for one, two in zip(first, second, strict=True))
    assert [array.unsafe_buffer_pointer() for array in second] == places
    # The arrays of the first run now hold the second.
    assert not np.array_equal(np.array(first[0]), seen[0])
    again = session.run(feeds(0))
    np.testing.assert_array_equal(np.array(again[0]), seen[0])


def test_inputs_need_not_be_contiguous(model: bytes) -> None:
    session = runtime.Session(model, device="cpu")
    session.bind(SHAPES)
    straight = feeds(0)["x"]
    turned = np.ascontiguousarray(straight[..., ::-1])[..., ::-1]
    assert not turned.flags.c_contiguous
    expected = np.array(session.run({"x": straight})[0])
    np.testing.assert_array_equal(np.array(session.run({"x": turned})[0]), expected)


def test_probing_tells_shapes(model: bytes) -> None:
    session = runtime.Session(model, device="cpu")
    assert session.probe(feeds(0), ["b", "a"]) == {"b": (2, 4, 3, 3), "a": (2, 4, 6, 6)}


def test_a_wrong_shape_is_no_crash(model: bytes) -> None:
    session = runtime.Session(model, device="cpu")
    session.bind({**SHAPES, "a": (2, 4, 5, 5)})
    with pytest.raises(ModelError, match=r"the model fails when it is run: .*--taps"):
        session.run(feeds(0))


@pytest.mark.parametrize("given", [{}, {"x": np.zeros((2, 3, 8, 8), np.float32)}])
def test_inputs_that_do_not_fit(model: bytes, given: dict[str, np.ndarray]) -> None:
    session = runtime.Session(model, device="cpu")
    session.bind(SHAPES)
    with pytest.raises(ModelError) as caught:
        session.run(given)
    text = str(caught.value)
    assert text.isprintable()
    assert "ONNXRuntimeError" not in text
    assert "/onnxruntime/core/" not in text


def test_bytes_that_are_no_model() -> None:
    with pytest.raises(ModelError, match=r"^onnxruntime refuses the model: ") as caught:
        runtime.Session(b"\x08\x08nonsense", device="cpu")
    assert "ONNXRuntimeError" not in str(caught.value)


class TestDevice:
    def test_cpu(self, model: bytes) -> None:
        session = runtime.Session(model, device="cpu")
        assert (session.device, session.provider) == ("cpu", "CPUExecutionProvider")

    def test_auto_without_cuda(self, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"]
        )
        assert runtime.Session(model, device="auto").device == "cpu"

    def test_cuda_that_is_not_there(self, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"]
        )
        with pytest.raises(UsageError, match=r"--device cuda: .*install .*--device cpu"):
            runtime.Session(model, device="cuda")

    @pytest.mark.parametrize("wanted", ["gpu", "CPU", "", None])
    def test_unknown(self, model: bytes, wanted) -> None:
        with pytest.raises(UsageError, match="--device must be one of auto, cpu, cuda"):
            runtime.Session(model, device=wanted)


@pytest.mark.parametrize("threads", [0, -1, 8 * (os.cpu_count() or 1) + 1])
def test_threads_that_no_machine_wants(model: bytes, threads: int) -> None:
    with pytest.raises(UsageError, match=f"--threads must be from 1 to .*, not {threads}"):
        runtime.Session(model, threads=threads)


class TestWithoutOnnxruntime:
    @pytest.mark.parametrize(
        ("error", "what"),
        [
            (ModuleNotFoundError("x", name="onnxruntime"), "onnxruntime is not installed; install"),
            (ModuleNotFoundError("x", name="flatbuffers"), "installed but cannot be loaded (x)"),
            (ImportError("libcudart.so.12\nis missing"), "loaded (libcudart.so.12 is missing)"),
            (OSError("bad \x1b[31m library"), "loaded (bad ?[31m library)"),
        ],
    )
    def test_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception, what: str
    ) -> None:
        class Finder:
            def find_spec(self, name: str, *_: object) -> None:
                if name == "onnxruntime":
                    raise error

        monkeypatch.delitem(sys.modules, "onnxruntime")
        monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
        with pytest.raises(UsageError) as caught:
            runtime.require_onnxruntime()
        assert what in str(caught.value)
        assert "pip install 'cleanai-onnx[cpu]'" in str(caught.value)
        assert "'cleanai-onnx[gpu]'" in str(caught.value)

    def test_files_that_another_package_has_removed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
        with pytest.raises(UsageError, match="its files are incomplete"):
            runtime.require_onnxruntime()


class TestTelemetry:
    def test_is_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        runtime.require_onnxruntime()
        assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"

    def test_unless_the_user_wants_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
        runtime.require_onnxruntime()
        assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Fatal error: com.x:Frob(-1) is not a registered "
            "function/op",
            "com.x:Frob(-1) is not a registered function/op",
        ),
        (
            "Error in execution: Non-zero status code returned while running Gather node. "
            "Name:'' Status Message: indices element out of data bounds, idx=9",
            "Gather node. indices element out of data bounds, idx=9",
        ),
        (
            "Error in execution: Non-zero status code returned while running Reshape node. "
            "Name:'r' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/"
            "reshape_helper.h:91 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::"
            "TensorShape&, onnxruntime::TensorShapeVector&, bool) a == b was false.",
            "Reshape node. Name:'r' a == b was false",
        ),
        ("two\nlines \x1b[31m", "two lines ?[31m"),
        ("x" * 1000, "x" * 298 + " …"),
        ("", ""),
    ],
)
def test_what_onnxruntime_says_is_cleaned(said: str, meant: str) -> None:
    assert module._explanation(RuntimeError(said)) == meant
