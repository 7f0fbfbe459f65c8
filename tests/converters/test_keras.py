"""Conversions from end to end, each in the processes that a user's conversion takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.converters.required import require

require("keras", "tensorflow", "tf2onnx", "torch", "onnxscript", "jax2onnx")

import onnxruntime  # noqa: E402

from cleanai_onnx import analyze  # noqa: E402
from cleanai_onnx.converters import keras as converter  # noqa: E402
from cleanai_onnx.converters.conversion import ConversionError  # noqa: E402
from cleanai_onnx.converters.keras import to_onnx  # noqa: E402
from cleanai_onnx.errors import ModelError, UsageError  # noqa: E402

pytestmark = pytest.mark.keras

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "keras"
FILES = ["lambda.keras", "lambda.h5", "lambda.json", "tfsm.keras", "writer"]


def child(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1",
             "PYTHONPATH": str(ROOT), **variables},
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("keras")
    child(
        folder, str(ROOT / "tests/converters/keras_files.py"), str(folder),
        KERAS_BACKEND="tensorflow", TRAP=str(folder / "trap"), KERAS_FILES="1",
    )  # fmt: skip
    (folder / "trap").unlink(missing_ok=True)
    yield folder


@pytest.fixture(autouse=True)
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAP", str(tmp_path / "trap"))
    return tmp_path / "trap"


def outputs(path: Path, array: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: array})[0]


def test_a_model_that_rescales_is_analysed_without_flags(made: Path, tmp_path: Path) -> None:
    path, record = to_onnx(made / "rescaling.keras", output=tmp_path / "model.onnx")
    assert (record.route, record.format, record.opset) == (
        "TensorFlow with tf2onnx", "Keras file", 18,
    )  # fmt: skip
    assert [attempt.outcome for attempt in record.attempts] == ["used"]
    assert record.inputs == {"pixels": ("batch", 16, 20, 3)}
    assert record.outputs == {"classes": ("batch", 5)}
    assert record.batch == "dynamic"
    assert record.parity.batch_sizes == (1, 3)
    assert record.parity.maximum < 1e-5
    assert record.parity.agreeing == record.parity.ranked == record.parity.inputs
    settings = json.loads(Path(record.sidecar).read_text(encoding="utf-8"))
    assert settings == {
        "layout": "NHWC", "size": [16, 20], "scale": 1.0, "mean": [0.0], "std": [1.0],
    }  # fmt: skip
    generator = np.random.default_rng(0)
    for number in range(3):
        pixels = generator.integers(0, 256, (16, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    result = analyze(path, [tmp_path / f"{number}.png" for number in range(3)])
    assert len(result.frame("nc", "unit"))
    assert str(tmp_path) not in path.read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("file", "weights", "network"),
    [
        ("keras2.h5", None, "functional"),
        ("keras2.json", "keras2_weights.h5", "sequential"),
    ],
)
def test_models_of_keras_2_compute_what_keras_2_computed(
    file: str, weights: str | None, network: str, tmp_path: Path
) -> None:
    path, record = to_onnx(
        DATA / file,
        weights=None if weights is None else DATA / weights,
        output=tmp_path / "model.onnx",
        backends=["tensorflow"],
    )
    kept = np.load(DATA / "outputs.npz")
    np.testing.assert_allclose(
        outputs(path, kept[f"{network}_in"]), kept[f"{network}_out"], rtol=1e-4, atol=1e-5
    )
    assert record.parity.magnitude > 0


def test_json_of_keras_22_finds_the_weights_of_its_name(tmp_path: Path) -> None:
    shutil.copy(DATA / "keras22.json", tmp_path / "net.json")
    shutil.copy(DATA / "keras2_weights.h5", tmp_path / "net.h5")
    path, record = to_onnx(tmp_path / "net.json", backends=["torch"])
    assert record.model == str(tmp_path / "net.onnx")
    assert record.route == "torch backend, dynamo exporter"
    kept = np.load(DATA / "outputs.npz")
    np.testing.assert_allclose(
        outputs(path, kept["sequential_in"]), kept["sequential_out"], rtol=1e-4, atol=1e-5
    )
    shutil.copy(DATA / "keras2_weights.h5", tmp_path / "net.hdf5")
    with pytest.raises(UsageError, match=r"Several files .*--weights"):
        to_onnx(tmp_path / "net.json")


def test_a_keras_3_hdf5_and_a_saved_model(made: Path, tmp_path: Path) -> None:
    _, record = to_onnx(made / "keras3.h5", output=tmp_path / "a.onnx", backends=["tensorflow"])
    assert record.format == "Keras HDF5 file"
    _, record = to_onnx(made / "saved_model", output=tmp_path / "b.onnx")
    assert record.format == "TensorFlow SavedModel"
    assert record.parameters > 0
    assert any("Erfc" in remark for remark in record.remarks)


LIVE = """
import json, sys
import keras
from tests.converters.keras_cases import CASES, trained
from cleanai_onnx.converters.keras import to_onnx  # noqa: E402
model = trained(CASES[sys.argv[1]][1](keras))
_, record = to_onnx(model, output=sys.argv[2])
found = [[a.route, a.outcome] for a in record.attempts]
facts = [record.route, found, record.parity.maximum, record.format, record.source_sha256]
print("\\n" + json.dumps(facts))
"""


@pytest.mark.parametrize(
    ("backend", "name", "route"),
    [
        ("torch", "batch_norm", "torch backend, dynamo exporter"),
        ("jax", "upsampling", "TensorFlow with tf2onnx"),
    ],
)
def test_a_live_model(backend: str, name: str, route: str, tmp_path: Path) -> None:
    (tmp_path / "live.py").write_text(LIVE, encoding="utf-8")
    run = child(tmp_path, "live.py", name, str(tmp_path / "live.onnx"), KERAS_BACKEND=backend)
    used, attempts, maximum, form, digest = json.loads(run.stdout.strip().splitlines()[-1])
    assert (used, form, digest) == (route, "live Keras model", "")
    assert attempts[-1] == [route, "used"]
    assert maximum < 1e-4
    assert (tmp_path / "live.onnx").is_file()


@pytest.mark.parametrize("file", FILES)
def test_what_could_run_code_is_refused(made: Path, tmp_path: Path, trap: Path, file: str) -> None:
    weights = DATA / "keras2_weights.h5" if file.endswith("json") else None
    with pytest.raises(ModelError, match="--trust") as caught:
        to_onnx(made / file, weights=weights, output=tmp_path / "model.onnx")
    assert any(word in str(caught.value) for word in ("Lambda", "TFSMLayer", "WriteFile"))
    assert not trap.exists()
    assert list(tmp_path.iterdir()) == []


def test_trust_runs_it(made: Path, tmp_path: Path, trap: Path) -> None:
    to_onnx(made / "lambda.keras", output=tmp_path / "m.onnx", trust=True, backends=["tensorflow"])
    assert trap.exists()


def test_a_class_of_ones_own_must_be_named(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="--class module:Class") as caught:
        to_onnx(made / "TwoFaced.keras", output=tmp_path / "m.onnx", backends=["jax"])
    # Loading it again for a fixed batch size would end in the same way.
    assert [attempt.route for attempt in caught.value.attempts] == ["JAX with jax2onnx"]


def test_a_crash_ends_one_attempt(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    _, record = to_onnx(
        "Crashing.keras", classes=["two_faced:Crashing"], output=tmp_path / "m.onnx"
    )
    first, second = record.attempts
    assert first.outcome == "failed" and "SIGSEGV" in first.reason
    assert second.outcome == "used" and second.route.startswith("torch")


def test_parity_rejects_what_the_exporter_changed(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    monkeypatch.setattr(converter, "with_fixed", list)
    with pytest.raises(ConversionError, match="does not compute what the source computes") as got:
        to_onnx(
            "TwoFaced.keras", classes=["two_faced:TwoFaced"], output=tmp_path / "m.onnx",
            backends=["tensorflow"],
        )  # fmt: skip
    assert got.value.exit_code == 3
    assert {attempt.outcome for attempt in got.value.attempts} == {"failed"}
    assert list(tmp_path.iterdir()) == []


def test_a_hang_is_ended(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    monkeypatch.setattr(converter, "with_fixed", list)
    with pytest.raises(ConversionError, match="--timeout"):
        to_onnx(
            "Sleeping.keras", classes=["two_faced:Sleeping"], output=tmp_path / "m.onnx",
            backends=["tensorflow"], timeout=20,
        )  # fmt: skip


def test_an_old_keras_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter.importlib.metadata, "version", lambda name: "3.12.0")
    with pytest.raises(UsageError, match=r"Keras 3\.12\.0 .* 3\.13\.2 or later"):
        to_onnx(made / "gelu.keras")


def test_nothing_installed_names_the_extra(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cleanai_onnx.converters import routes

    monkeypatch.setattr(routes, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"cleanai-onnx\[keras\]"):
        to_onnx(made / "gelu.keras")


TOLD = """
import json
import keras
from cleanai_onnx.converters.keras_preprocessing import told_by

L = keras.layers
conv = L.Conv2D(4, 3)

def told(*layers, shape=(8, 9, 3)):
    found = told_by(keras.Sequential([keras.Input(shape), *layers, L.Conv2D(4, 3)]))
    return [found.settings.get("scale"), found.settings.get("size"), len(found.remarks)]

branch = keras.Input((8, 9, 3))
both = L.Concatenate()([L.Rescaling(1 / 255)(branch), branch])
imagenet = L.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.0524, 0.0502, 0.0506])
grey = L.Normalization(mean=[123.7, 116.3, 103.5], variance=[3411.0, 3263.0, 3290.0])
per_pixel = L.Normalization(axis=(1, 2, 3))
per_pixel.adapt(__import__("numpy").random.rand(4, 8, 9, 3))
signed = L.Rescaling(1 / 127.5, offset=-1)
inner = keras.Sequential([keras.Input((8, 9, 3)), signed, L.Conv2D(3, 1)])
print("\\n" + json.dumps([
    told(), told(L.Rescaling(1 / 255)), told(L.Rescaling(2.0, offset=-1.0)),
    told(L.Rescaling(1 / 255), imagenet), told(imagenet), told(grey),
    told(L.Rescaling(0.3)), told(per_pixel),
    told(L.RandomFlip(), L.Dropout(0.5), L.Rescaling(1 / 255)),
    told(L.Conv2D(3, 1), L.Rescaling(1 / 255)), told(inner), told(shape=(None, None, 1)),
    told_by(keras.Model(branch, L.Conv2D(4, 3)(both))).settings.get("scale"),
    told_by(keras.Sequential([keras.Input((7,)), L.Dense(2)])).settings,
]))
"""


def test_what_first_layers_tell(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(TOLD, encoding="utf-8")
    run = child(tmp_path, "told.py", KERAS_BACKEND="torch")
    size = [8, 9]
    assert json.loads(run.stdout.strip().splitlines()[-1]) == [
        [None, size, 0],  # nothing
        [1.0, size, 1],  # 1/255: pixels of 0 to 255
        [1 / 255, size, 1],  # 2x - 1: pixels of 0 to 1
        [1.0, size, 1],  # 1/255, then ImageNet's statistics
        [1 / 255, size, 1],  # ImageNet's statistics alone: of pixels of 0 to 1
        [1.0, size, 1],  # the same in 0 to 255
        [None, size, 1],  # 0.3: neither
        [None, size, 0],  # statistics of each pixel
        [1.0, size, 1],  # augmentation and dropout do nothing in use
        [None, size, 0],  # a rescaling that is not the first layer
        [1.0, size, 1],  # in a model inside the model
        [None, None, 0],
        None,  # another branch reads the input as it is
        {},  # no image
    ]
