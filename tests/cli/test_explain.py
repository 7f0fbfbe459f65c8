"""The command ``explain``: heat maps, the record, and what is printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx import config
from cleanai_onnx.errors import UsageError
from cleanai_onnx.relevance import COMPOSITES, attribute
from tests.cli.material import DIGITS, LENET, Command, build, images, node, save, strict_json

RANDOM = np.random.default_rng(0)


def classifier(path: str, *before: object) -> str:
    """Save a model of 8 x 8 gray images with three classes."""
    nodes = [
        *before,
        node("Flatten", ["s" if before else "x"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    weights = {"w": RANDOM.standard_normal((64, 3), np.float32), "b": np.ones(3, np.float32)}
    return save(path, build(nodes, weights))


def test_the_files(command: Command) -> None:
    outcome = command.done("explain", LENET, DIGITS, "--limit", "11", "--layer", "relu_1",
                           "--layer", "relu_3", "--output", "out")  # fmt: skip
    record = strict_json(command.folder / "out" / "Relevance_lenet5.json")
    maps = [one["heat_map"] for one in record["images"]]
    assert len(set(maps)) == len(maps) == 11
    kept = {f"out/Relevance_lenet5/{name}" for name in (*maps, "relevance.npz")}
    assert outcome.new == {"out", "out/Relevance_lenet5", "out/Relevance_lenet5.json", *kept}
    for one in record["images"]:
        parts = one["arrived"] + one["biases"] + one["others"] + one["residual"]
        assert one["value"] == pytest.approx(parts, rel=1e-5)
        with Image.open(command.folder / "out" / "Relevance_lenet5" / one["heat_map"]) as picture:
            assert picture.format == "PNG" and not picture.info
    assert record["rules"][0]["rule"] == "z-plus"
    assert [layer["tensor"] for layer in record["layers"]] == ["relu_1", "relu_3"]


def test_the_arrays_are_those_of_the_api(command: Command) -> None:
    command.done("explain", LENET, DIGITS, "--limit", "5", "--layer", "relu_1", "--target", "7",
                 "--batch-size", "2")  # fmt: skip
    arrays = np.load(command.folder / "Relevance_lenet5" / "relevance.npz")
    record = strict_json(command.folder / "Relevance_lenet5.json")
    batch = np.stack(
        [np.asarray(Image.open(DIGITS / one["path"]), np.float32)[None] / 255
         for one in record["images"]]
    )  # fmt: skip
    wanted = attribute(str(LENET), batch, target=7, layers=["relu_1"])
    size = np.abs(wanted.relevance).max()
    np.testing.assert_allclose(arrays["input"], wanted.relevance, atol=1e-4 * size)
    np.testing.assert_allclose(arrays["relu_1"], wanted.layers["relu_1"], atol=1e-4 * size)
    assert arrays["index"].tolist() == [one["index"] for one in record["images"]]
    assert arrays["target"].tolist() == [7] * 5


def test_what_is_printed(command: Command) -> None:
    out = command.done("explain", LENET, DIGITS, "--limit", "12", "--output", "out").out
    lines = out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "lenet5: relevance by epsilon-plus"
    assert lines[1].startswith("12 of 200 images from ")
    assert "and 2 more, in the JSON file" in lines
    assert lines[-2:] == ["Written: out/Relevance_lenet5.json", "         out/Relevance_lenet5"]
    assert command.done("explain", LENET, DIGITS, "--limit", "1", "--quiet").out == ""


def test_a_second_run_replaces_the_first(command: Command) -> None:
    for target in ("1", "2"):
        command.done("explain", LENET, DIGITS, "--limit", "2", "--target", target)
    record = strict_json(command.folder / "Relevance_lenet5.json")
    assert [one["target"] for one in record["images"]] == [2, 2]


def test_images_that_cannot_be_used_are_named(command: Command) -> None:
    model, folder = classifier("m.onnx"), images("im", 2)
    Path(folder, "a\x1b[31m.png").write_bytes(b"no image")
    out = command.done("explain", model, folder, "--scale", "1/255").out
    assert "Skipped images: 1" in out and "\x1b" not in out
    record = strict_json(command.folder / "Relevance_m.json")
    assert len(record["skipped"]) == 1 and len(record["images"]) == 2
    refused = command.refused(3, "explain", model, folder, "--scale", "1", "--strict",
                              "--output", "new")  # fmt: skip
    assert "cannot be used" in refused


def test_operators_without_a_rule(command: Command) -> None:
    model, folder = classifier("m.onnx", node("Sin", ["x"], ["s"], name="wave")), images("im", 2)
    refused = command.refused(3, "explain", model, folder, "--scale", "1")
    assert "Sin node 'wave'" in refused and "--fallback gradient" in refused
    out = command.done("explain", model, folder, "--scale", "1", "--fallback", "gradient").out
    assert "No rule is known for Sin node 'wave'" in " ".join(out.split())
    record = strict_json(command.folder / "Relevance_m.json")
    assert record["without_rule"] == ["Sin node 'wave'"]


def test_relevance_that_is_not_finite_has_no_heat_map(command: Command) -> None:
    model = classifier("m.onnx", node("Log", ["x"], ["l"]), node("Relu", ["l"], ["s"]))
    np.save("one.npy", np.full((1, 1, 8, 8), np.nan, np.float32))
    out = command.done("explain", model, "one.npy", "--fallback", "gradient").out
    assert "No heat map for 1 image" in out
    record = strict_json(command.folder / "Relevance_m.json")
    assert record["images"][0]["heat_map"] is None
    assert record["images"][0]["value"] == "NaN"


def test_arrays_of_any_shape(command: Command) -> None:
    model = save("m.onnx", build([node("Gemm", ["x", "w"], ["y"])],
                                 {"w": RANDOM.standard_normal((10, 3), np.float32)},
                                 inputs={"x": ("N", 10)}))  # fmt: skip
    np.save("rows.npy", RANDOM.standard_normal((3, 10), np.float32))
    command.done("explain", model, "rows.npy", "--target", "output")
    record = strict_json(command.folder / "Relevance_m.json")
    assert [one["target"] for one in record["images"]] == [None] * 3


def test_layer_names_from_outside_are_harmless(command: Command) -> None:
    name = "../../\x1b[31m"
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], [name]),
        node("Flatten", [name], ["y"]),
    ]
    model = save("m.onnx", build(nodes, {"w": RANDOM.standard_normal((2, 1, 3, 3), np.float32)}))
    command.done("explain", model, images("im", 1), "--scale", "1", "--layer", name)
    arrays = np.load(command.folder / "Relevance_m" / "relevance.npz")
    key = strict_json(command.folder / "Relevance_m.json")["layers"][0]["array"]
    assert arrays[key].shape == (1, 2, 6, 6)
    assert all("/" not in one and one.isprintable() for one in arrays.files)


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (2, ["--target", "10"], "classes are 0 to 9"),
        (2, ["--target", "cat"], "--target must be predicted, output or the number of a class"),
        (2, ["--composite", "lrp"], "--composite must be one of epsilon, "),
        (2, ["--layer", "none"], "the model has none so named"),
        (2, ["--gamma", "1"], "--composite epsilon-gamma-box"),
        (2, ["--input-range", "1", "0"], "the smaller one first"),
        (2, ["--model-output", "z"], "its outputs are"),
        (2, ["--epsilon", "0"], "above 0"),
        (2, ["--taps", "Relu"], "unrecognized arguments"),
        (2, ["--output", "file"], "part of that path is a file"),
        (2, ["--preset", "none"], "preset"),
        (2, ["--limit", "0"], "--limit"),
    ],
)  # fmt: skip
def test_refusals(command: Command, code: int, arguments: list[str], words: str) -> None:
    Path("file").write_text("")
    assert words in command.refused(code, "explain", LENET, DIGITS, *arguments)


def test_what_is_not_there(command: Command) -> None:
    assert "nowhere.onnx" in command.refused(3, "explain", "nowhere.onnx", DIGITS)
    command.refused(3, "explain", LENET, "nowhere")


def test_nothing_is_left_where_the_end_fails(command: Command) -> None:
    Path("Relevance_lenet5.json").mkdir()
    assert "that is a folder" in command.refused(2, "explain", LENET, DIGITS, "--limit", "1")


def test_the_range_of_arrays_must_be_given(command: Command) -> None:
    np.save("d.npy", RANDOM.random((2, 1, 28, 28), np.float32))
    box = ["explain", LENET, "d.npy", "--composite", "epsilon-gamma-box"]
    assert "--input-range LOW HIGH" in command.refused(2, *box)
    command.done(*box, "--input-range", "0", "1")
    command.done("explain", LENET, DIGITS, "--limit", "1", "--composite", "epsilon-gamma-box")


def test_options_of_a_file(command: Command) -> None:
    Path("cleanai-onnx.toml").write_text(
        'target = 3\nlayer = ["relu_1"]\ncomposite = "epsilon"\ninput-range = [0, 1]\n'
    )
    command.done("explain", LENET, DIGITS, "--limit", "1")
    record = strict_json(command.folder / "Relevance_lenet5.json")
    assert (record["target"], record["composite"]) == (3, "epsilon")
    assert record["layers"][0]["tensor"] == "relu_1"


@pytest.mark.parametrize(
    ("name", "value"),
    [("target", -1), ("target", 1.5), ("layer", []), ("layer", [1]), ("input-range", [1]),
     ("input-range", ["a", 2]), ("epsilon", -1), ("gamma", "x"), ("fallback", "yes")],
)  # fmt: skip
def test_values_that_are_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"--{name} must be"):
        config.gather({name: value}, {})


def test_every_named_composite_can_be_chosen() -> None:
    option = next(one for one in config.EXPLANATION if one.name == "composite")
    assert [option.parse(name) for name in COMPOSITES] == list(COMPOSITES)
