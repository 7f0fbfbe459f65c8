import hashlib
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

MODELS = Path(__file__).resolve().parents[2] / "models"
DATA = MODELS.parent.parent / "shared" / "real" / "mnist_10k.npz"
NAMES = ["lenet1", "lenet4", "lenet5"]
REQUIRED = {"lenet1": 0.97, "lenet4": 0.98, "lenet5": 0.98}
PARAMETERS = {"lenet1": 7_206, "lenet4": 69_362, "lenet5": 107_786}
ROW = re.compile(
    r"^\| `(?P<name>lenet\d)\.onnx` \| [\d,]+ \| (?P<torch>[\d,]+) \| (?P<onnx>[\d,]+) \|"
    r" (?P<percent>[\d.]+) % \| (?P<digits>\d+) \|$",
    re.MULTILINE,
)


@cache
def readme() -> dict[str, dict[str, float]]:
    """The rows of the accuracy table in models/README.md."""
    text = (MODELS / "README.md").read_text(encoding="utf-8")
    rows = {}
    for match in ROW.finditer(text):
        values = match.groupdict()
        name = values.pop("name")
        rows[name] = {key: float(value.replace(",", "")) for key, value in values.items()}
    return rows


@cache
def split() -> dict:
    return json.loads((MODELS / "split.json").read_text(encoding="utf-8"))


@cache
def digits() -> list[tuple[Path, int, int]]:
    """Path, class and index in the 10,000 digits of every bundled image."""
    paths = sorted((MODELS / "digits").rglob("*.png"))
    return [(path, int(path.parent.name), int(path.stem.removeprefix("mnist_"))) for path in paths]


def session(name: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODELS / f"{name}.onnx", providers=["CPUExecutionProvider"])


def correct(name: str, images: np.ndarray, labels: np.ndarray) -> int:
    """How many (N, 28, 28) uint8 images the model classifies correctly."""
    pixels = images.astype(np.float32)[:, None] / np.float32(255)
    (logits,) = session(name).run(["logits"], {"input": pixels})
    return int((logits.argmax(axis=1) == labels).sum())


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data():
    if not DATA.is_file():
        pytest.skip("mnist_10k.npz, the data that the models were trained on, is not here")
    return script("digits_data").load(DATA)


def test_bundled_digits_are_twenty_of_each_class_as_28x28_gray():
    labels = np.array([label for _, label, _ in digits()])
    assert np.bincount(labels).tolist() == [20] * 10
    assert len({index for _, _, index in digits()}) == 200
    for path, _, _ in digits():
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (28, 28))


@pytest.mark.parametrize("name", NAMES)
def test_bundled_digits_are_classified_as_the_readme_says(name):
    images = np.stack([np.asarray(Image.open(path)) for path, _, _ in digits()])
    labels = np.array([label for _, label, _ in digits()])
    assert correct(name, images, labels) == readme()[name]["digits"]


@pytest.mark.parametrize("name", NAMES)
def test_test_split_is_classified_as_the_readme_says(name, data):
    count = correct(name, data.images[data.test], data.labels[data.test])
    assert count == readme()[name]["onnx"]


@pytest.mark.parametrize("name", NAMES)
def test_readme_accuracy_is_enough_and_adds_up(name):
    row = readme()[name]
    assert row["onnx"] / split()["test_count"] >= REQUIRED[name]
    assert row["percent"] == round(100 * row["onnx"] / split()["test_count"], 2)


def test_bundled_digits_are_all_from_the_test_split():
    assert {index for _, _, index in digits()} <= set(split()["test_indices"])


def test_split_file_is_consistent():
    test = np.array(split()["test_indices"], dtype="<i8")
    assert len(np.unique(test)) == len(test) == split()["test_count"] == 2_000
    train = np.setdiff1d(np.arange(10_000, dtype="<i8"), test)
    assert len(train) == split()["train_count"] == 8_000
    for indices, key in ((test, "test_indices"), (train, "train_indices")):
        assert hashlib.sha256(indices.tobytes()).hexdigest() == split()["sha256"][key]


def test_bundled_digits_are_the_images_their_names_say_and_none_was_trained_on(data):
    trained = {data.images[index].tobytes() for index in data.train}
    for path, label, index in digits():
        pixels = np.asarray(Image.open(path))
        np.testing.assert_array_equal(pixels, data.images[index])
        assert data.labels[index] == label
        assert pixels.tobytes() not in trained


def test_other_data_than_the_split_was_made_for_is_refused(tmp_path):
    other = tmp_path / "other.npz"
    np.savez(other, images=np.zeros((10_000, 28, 28), np.uint8), labels=np.zeros(10_000, np.uint8))
    with pytest.raises(ValueError, match="SHA-256 of the images"):
        script("digits_data").load(other)


@pytest.mark.parametrize("name", NAMES)
def test_models_are_valid_single_files_that_describe_themselves(name):
    model = onnx.load(MODELS / f"{name}.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    weights = model.graph.initializer
    assert all(weight.data_location == onnx.TensorProto.DEFAULT for weight in weights)
    floats = [weight for weight in weights if weight.data_type == onnx.TensorProto.FLOAT]
    assert sum(int(np.prod(weight.dims)) for weight in floats) == PARAMETERS[name]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["cleanai.preprocessing"]) == {
        "scale": 1 / 255,
        "mean": [0.0],
        "std": [1.0],
        "channel_order": "gray",
        "resize": "stretch",
        "interpolation": "bilinear",
    }
    assert json.loads(properties["cleanai.labels"]) == list("0123456789")
    assert "MIT" in properties["license"]
    assert "MNIST" in properties["source"]


@pytest.mark.parametrize("name", NAMES)
def test_models_take_any_batch_and_name_their_modules(name):
    model = onnx.load(MODELS / f"{name}.onnx")
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, logits.name) == ("input", "logits")
    assert image.type.tensor_type.shape.dim[0].dim_param
    for count in (1, 3):
        pixels = np.zeros((count, 1, 28, 28), np.float32)
        assert session(name).run(None, {"input": pixels})[0].shape == (count, 10)
    relus = [node for node in model.graph.node if node.op_type == "Relu"]
    scopes = [{entry.key: entry.value for entry in node.metadata_props} for node in relus]
    expected = {"lenet1": 2, "lenet4": 3, "lenet5": 4}[name]
    assert len(relus) == expected
    for number, properties in enumerate(scopes, start=1):
        assert f"'relu{number}'" in properties["pkg.torch.onnx.name_scopes"]


@pytest.mark.parametrize("name", NAMES)
def test_models_hold_no_path_of_the_machine_that_made_them(name):
    content = (MODELS / f"{name}.onnx").read_bytes()
    for trace in (b"stack_trace", b"site-packages", b'.py"', b"/home/", b"/work/", b"/tmp/"):
        assert trace not in content


def test_the_folder_is_small():
    files = [p for p in MODELS.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(path.stat().st_size for path in files) < 3_000_000
