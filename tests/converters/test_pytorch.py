"""Real conversions of PyTorch models: each form of source, each exporter, each kind of network."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from cleanai_onnx import graph
from cleanai_onnx.converters import conversion
from cleanai_onnx.converters.conversion import Conversion, ConversionError
from cleanai_onnx.converters.pytorch import to_onnx
from cleanai_onnx.errors import UsageError
from tests.converters.required import require

require("torch", "onnxscript", "safetensors")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from tests.converters import torch_nets as nets  # noqa: E402

pytestmark = pytest.mark.torch
HERE = Path(__file__).parent
REAL = HERE.parents[1].parent / "shared" / "real"
EXPORTERS = ["dynamo", "torchscript"]


@pytest.fixture(autouse=True)
def in_the_folder_of_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    torch.manual_seed(0)


def check(path: Path, record: Conversion, route: str, batch: str = "dynamic") -> None:
    """What must hold for every file that comes out."""
    model = graph.load_model(path)
    assert record.model_sha256 == model.sha256
    assert record.route.startswith(route)
    assert record.batch == batch
    assert isinstance(model.inputs[0].shape[0], str) == (batch == "dynamic")
    assert record.parity.maximum < 1e-4
    assert record.parity.agreeing == record.parity.ranked
    claimed, remark = conversion.claim(model.metadata)
    assert remark == ""
    assert claimed is not None
    assert claimed.parity == record.parity
    assert claimed.attempts == record.attempts
    text = model.proto.SerializeToString()
    for trace in (b"site-packages", b"stack_trace", str(HERE).encode(), b".py", b"/tmp"):
        assert trace not in text, trace


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (nets.Residual, (3, 16, 16)),
        (lambda: nets.Curves("silu"), (3, 12, 12)),
        (lambda: nets.Curves("hardswish"), (3, 12, 12)),
        (lambda: nets.Curves("gelu"), (3, 12, 12)),
        (nets.Transformer, (3, 16, 16)),
        (nets.Digits, (1, 28, 28)),
    ],
    ids=["residual", "silu", "hardswish", "gelu", "transformer", "digits"],
)
def test_networks(
    tmp_path: Path, exporter: str, make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    module = make()
    path, record = to_onnx(
        module, input_shape=shape, output=tmp_path / "net.onnx", exporters=[exporter]
    )
    check(path, record, f"torch {'dynamo' if exporter == 'dynamo' else 'TorchScript'} exporter")
    assert record.parameters == sum(p.numel() for p in module.parameters())
    assert record.parity.batch_sizes == (1, 3)
    assert record.parity.ranked == record.parity.inputs == 16


def labels(path: Path, shape: tuple[int, ...], select: str) -> list[str]:
    model = graph.load_model(path)
    taps = graph.find_taps(model, graph.find_image_input(model), shape, (select,))
    return [layer.label for layer in taps.layers]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_last_call_counts_modules(tmp_path: Path, exporter: str) -> None:
    path, _ = to_onnx(
        nets.Residual(),
        input_shape=(3, 16, 16),
        output=tmp_path / "net.onnx",
        exporters=[exporter],
    )
    assert len(labels(path, (1, 3, 16, 16), "activations")) == 9
    assert labels(path, (1, 3, 16, 16), "last-call") == [
        "relu", "layer1.0.relu", "layer1.1.relu", "layer2.0.relu", "layer2.1.relu"
    ]  # fmt: skip


@pytest.mark.parametrize(("activation", "count"), [("silu", 2), ("hardswish", 2), ("gelu", 2)])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_each_activation_is_one_tap(
    tmp_path: Path, exporter: str, activation: str, count: int
) -> None:
    path, _ = to_onnx(
        nets.Curves(activation),
        input_shape=(3, 12, 12),
        output=tmp_path / "net.onnx",
        exporters=[exporter],
    )
    assert len(labels(path, (1, 3, 12, 12), "activations")) == count


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    if not REAL.is_dir():
        pytest.skip("../shared/real is not here")
    with np.load(REAL / "mnist_10k.npz") as data:
        images, labels = data["images"], data["labels"]
    return ((images[:, None] / 255 - 0.1307) / 0.3081).astype(np.float32), labels


def test_a_real_state_dict_is_as_accurate_as_before(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    source = REAL / "digit_cnn_state_dict.pth"
    path, record = to_onnx(
        source,
        input_shape=(1, 28, 28),
        class_name="torch_nets:Digits",
        class_args={"classes": 10},
        output=tmp_path / "digits.onnx",
        preprocessing={"scale": "1/255", "mean": 0.1307, "std": 0.3081, "channel_order": "gray"},
    )
    check(path, record, "torch dynamo exporter")
    assert record.format == "PyTorch state dict"
    assert record.parameters == 390_410
    images, labels = digits
    module = nets.Digits().eval()
    module.load_state_dict(torch.load(source, weights_only=True))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    before = after = 0
    for start in range(0, len(images), 500):
        batch, wanted = images[start : start + 500], labels[start : start + 500]
        with torch.no_grad():
            before += int((module(torch.from_numpy(batch)).numpy().argmax(1) == wanted).sum())
        after += int((session.run(None, {"images": batch})[0].argmax(1) == wanted).sum())
    assert before == after == 9974


def saved(kind: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    module = nets.Tiny().eval()
    path = folder / f"tiny.{kind}"
    named = {"class_name": "torch_nets:Tiny"}
    match kind:
        case "pth":
            torch.save(module.state_dict(), path)
        case "old.pth":
            torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
        case "ckpt":
            state = {f"module.{name}": value for name, value in module.state_dict().items()}
            torch.save({"epoch": 3, "state_dict": state}, path)
        case "safetensors":
            save_file(module.state_dict(), path)
        case "script.pt":
            torch.jit.script(module).save(str(path))
            named = {}
        case "trace.pt":
            torch.jit.trace(module, torch.zeros(1, 4)).save(str(path))
            named = {}
        case "pt2":
            axes = ({0: torch.export.Dim("batch")},)
            program = torch.export.export(module, (torch.zeros(2, 4),), dynamic_shapes=axes)
            torch.export.save(program, path)
            return path, {}
    return path, {"input_shape": (4,), **named}


@pytest.mark.parametrize(
    ("kind", "format", "route"),
    [
        ("pth", "PyTorch state dict", "torch dynamo"),
        ("old.pth", "PyTorch state dict", "torch dynamo"),
        ("ckpt", "PyTorch state dict", "torch dynamo"),
        ("safetensors", "safetensors state dict", "torch dynamo"),
        ("script.pt", "TorchScript program", "torch TorchScript"),
        ("trace.pt", "TorchScript program", "torch TorchScript"),
        ("pt2", "PyTorch exported program", "torch dynamo"),
    ],
)
def test_forms_of_files(tmp_path: Path, kind: str, format: str, route: str) -> None:
    source, options = saved(kind, tmp_path)
    path, record = to_onnx(source, **options)
    assert path == source.with_suffix(".onnx")
    check(path, record, route)
    assert record.format == format
    assert record.source == source.name
    assert record.parameters == 15


def test_a_whole_module_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    torch_nets = import_module("torch_nets")  # as the child will know it
    torch.save(torch_nets.Tiny(), tmp_path / "whole.pt")
    path, record = to_onnx(tmp_path / "whole.pt", input_shape=(4,), trust=True)
    check(path, record, "torch dynamo")
    assert record.format == "pickled PyTorch module"


def test_a_program_with_a_fixed_batch(tmp_path: Path) -> None:
    program = torch.export.export(nets.Tiny().eval(), (torch.zeros(5, 4),))
    torch.export.save(program, tmp_path / "fixed.pt2")
    path, record = to_onnx(tmp_path / "fixed.pt2")
    check(path, record, "torch dynamo exporter, fixed batch", "fixed")
    assert record.parity.batch_sizes == (5,)
    assert "batches of 5" in record.attempts[0].reason


def test_a_module_with_a_batch_size_built_in_falls_back(tmp_path: Path) -> None:
    path, record = to_onnx(nets.OneByOne(), torch.zeros(1, 4), output=tmp_path / "one.onnx")
    check(path, record, "torch dynamo exporter, fixed batch", "fixed")
    assert [a.outcome for a in record.attempts] == ["failed", "failed", "used"]
    assert record.parity.batch_sizes == (1,)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    example = [torch.zeros(2, 4), torch.zeros(2, 4)]
    for exporter in EXPORTERS:
        _, record = to_onnx(
            nets.TwoInputs(), example, output=tmp_path / "two.onnx", exporters=[exporter]
        )
        assert record.inputs == {"left": ("batch", 4), "right": ("batch", 4)}
        assert list(record.outputs) == ["difference", "product"]


def test_the_module_is_left_as_it_was(tmp_path: Path) -> None:
    module = nets.Tiny()
    module.drop.eval()
    module.layer.weight.requires_grad_(False)
    to_onnx(module, input_shape=(4,), output=tmp_path / "a.onnx", exporters=["torchscript"])
    assert module.training
    assert not module.drop.training
    assert module.layer.training
    with pytest.raises(UsageError):
        to_onnx(module, input_shape=(9,), output=tmp_path / "b.onnx")
    assert module.training


def test_settings_beside_the_source_are_taken_along(tmp_path: Path) -> None:
    torch.save(nets.Curves("silu").state_dict(), tmp_path / "net.pth")
    (tmp_path / "config.json").write_text(
        '{"pretrained_cfg": {"input_size": [3, 24, 24], "mean": [0.5, 0.5, 0.5],'
        ' "std": [0.25, 0.25, 0.25], "crop_pct": 0.8, "interpolation": "bicubic"}}'
    )
    output = tmp_path / "elsewhere" / "net.onnx"
    path, record = to_onnx(
        tmp_path / "net.pth", class_name="torch_nets:Curves", class_args=["silu"], output=output
    )
    check(path, record, "torch dynamo")
    assert record.inputs == {"x": ("batch", 3, 24, 24)}
    assert record.sidecar == str(tmp_path / "elsewhere" / "net.preprocessing.json")
    from cleanai_onnx.inputs.sidecars import from_metadata, sidecar

    beside = sidecar(output)
    inside = from_metadata(graph.load_model(output).metadata)
    assert beside is not None
    assert inside is not None
    assert beside.settings == inside.settings == {
        "channel_order": "RGB", "scale": pytest.approx(1 / 255), "mean": (0.5,) * 3,
        "std": (0.25,) * 3, "interpolation": "bicubic", "resize": "shorter-side",
        "size": (30, 30), "crop": (24, 24),
    }  # fmt: skip


def refused(tmp_path: Path, module: nn.Module, **options: Any) -> ConversionError:
    output = tmp_path / "no.onnx"
    with pytest.raises(ConversionError) as caught:
        to_onnx(module, input_shape=(4,), output=output, **options)
    assert caught.value.exit_code == 3
    assert [path.name for path in tmp_path.iterdir()] == []
    return caught.value


def test_a_model_that_is_exported_as_another_function_is_rejected(tmp_path: Path) -> None:
    error = refused(tmp_path, nets.Deceiver())
    assert len(error.attempts) == 4
    assert all("does not compute what the source" in a.reason for a in error.attempts)


def test_a_model_that_is_random_proves_nothing(tmp_path: Path) -> None:
    error = refused(tmp_path, nets.Random())
    assert all("different outputs for the same input" in a.reason for a in error.attempts)


def test_a_model_that_gives_no_numbers_proves_nothing(tmp_path: Path) -> None:
    error = refused(tmp_path, nets.NotANumber())
    assert all("not a number" in a.reason for a in error.attempts)


def test_a_tolerance_of_zero_is_obeyed(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="--atol, --rtol"):
        to_onnx(
            nets.Transformer(), input_shape=(3, 16, 16), output=tmp_path / "t.onnx",
            rtol=0, atol=0, exporters=["torchscript"],
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_where_a_conversion_fails(tmp_path: Path) -> None:
    old = tmp_path / "old.onnx"
    old.write_bytes(b"old")
    with pytest.raises(ConversionError):
        to_onnx(nets.Deceiver(), input_shape=(4,), output=old, exporters=["torchscript"])
    assert old.read_bytes() == b"old"


def test_a_given_opset(tmp_path: Path) -> None:
    path, record = to_onnx(
        nets.Tiny(), input_shape=(4,), output=tmp_path / "t.onnx", opset=18, seed=5
    )
    assert record.opset == 18
    assert onnx.load(str(path)).opset_import[0].version == 18


def test_wrong_things_are_refused_with_one_sentence(tmp_path: Path) -> None:
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (nets.Tiny(), {}, "input_shape"),
        (nets.Tiny(), {"input_shape": (5,)}, "--input-shape"),
        (nets.Tiny(), {"input_shape": (0,)}, "whole numbers"),
        (nets.Tiny(), {"input_shape": (4,), "exporters": ["x"]}, "exporters"),
        (nets.Tiny().to(torch.bfloat16), {"input_shape": (4,)}, "bfloat16"),
        (5, {"input_shape": (4,)}, "torch.nn.Module"),
        (nn.Identity(), {"example_input": 5}, "batch axis"),
    ]
    for model, options, words in cases:
        with pytest.raises((UsageError, TypeError), match=words):
            to_onnx(model, output=tmp_path / "n.onnx", **options)
