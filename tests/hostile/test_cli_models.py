"""Models that mislead, through the whole command line: one sentence, the code, nothing left."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.cli.material import LENET, Command, build, images, node, relu, save, strict_json

QUIET = ("--preset", "unit", "--quiet", "--output", "o")
TENSOR = TensorProto


def no_nodes() -> onnx.ModelProto:
    model = relu()
    del model.graph.node[:]
    return model


def cycle() -> onnx.ModelProto:
    return build([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])])


def microsoft(op: str) -> onnx.ModelProto:
    model = build([node(op, ["x"], ["z"], domain="com.microsoft"), node("Relu", ["z"], ["y"])])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def external(location: str) -> onnx.ModelProto:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])]
    model = build(nodes, {"w": np.zeros((2, 1, 3, 3), np.float32)})
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TENSOR.EXTERNAL
    weight.external_data.add(key="location", value=location)
    return model


def asks_for_160_gigabytes() -> onnx.ModelProto:
    nodes = [node("ConstantOfShape", ["s"], ["c"]), node("Relu", ["c"], ["r"])]
    nodes.append(node("Relu", ["x"], ["y"]))
    return build(nodes, {"s": np.array([200_000, 200_000])}, outputs=["y", "r"])


def two_inputs(op: str = "Mul", second: tuple[int | str, ...] = ()) -> onnx.ModelProto:
    nodes = [node(op, ["x", "k"], ["m"]), node("Relu", ["m"], ["y"])]
    return build(nodes, inputs={"x": ("N", 1, 8, 8), "k": second})


def typed(dtype: int) -> onnx.ModelProto:
    return build([node("Cast", ["x"], ["c"], to=TENSOR.FLOAT), node("Relu", ["c"], ["y"])],
                 dtype=dtype)  # fmt: skip


def reshaped(*shape: int) -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["r"]), node("Reshape", ["r", "s"], ["y"])]
    return build(nodes, {"s": np.array(shape)})


def gather_outside() -> onnx.ModelProto:
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("ReduceSum", ["r"], ["t"], keepdims=0),
        node("Cast", ["t"], ["ti"], to=TENSOR.INT64),
        node("Add", ["ti", "k"], ["tk"]),
        node("Gather", ["r", "tk"], ["y"], axis=1),
    ]
    return build(nodes, {"k": np.array(99)})


def width_follows_values() -> onnx.ModelProto:
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Mul", ["m", "seven"], ["m7"]),
        node("Cast", ["m7"], ["mi"], to=TENSOR.INT64),
        node("Unsqueeze", ["mi", "zero"], ["mu"]),
        node("Add", ["mu", "one"], ["k"]),
        node("Slice", ["x", "zero", "k", "axis"], ["s"]),
        node("Relu", ["s"], ["y"]),
    ]
    return build(nodes, {"seven": np.float32(7), "zero": [0], "one": [1], "axis": [3]})


def no_units_when_run() -> onnx.ModelProto:
    # The end of the slice is computed, so that only a run shows that nothing is left.
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Mul", ["m", "null"], ["n"]),
        node("Cast", ["n"], ["mi"], to=TENSOR.INT64),
        node("Unsqueeze", ["mi", "zero"], ["k"]),
        node("Slice", ["x", "zero", "k", "axis"], ["s"]),
        node("Relu", ["s"], ["y"]),
    ]
    return build(nodes, {"null": np.float32(0), "zero": [0], "axis": [3]})


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], int, str]] = {
    "empty graph": (no_nodes, 3, "'bad.onnx': the model's graph is empty"),
    "no activations": (lambda: build([node("Abs", ["x"], ["y"])]), 3, "has no activations"),
    "unknown operator": (
        lambda: build([node("Frobnicate", ["x"], ["y"])]), 3, "'bad.onnx': the Frobnicate node"),
    "custom domain": (
        lambda: build([node("Foo", ["x"], ["y"], domain="evil.corp")]), 3, "'evil.corp'"),
    "unknown to onnxruntime": (lambda: microsoft("Frob"), 3, "onnxruntime refuses the model: com"),
    "cycle": (cycle, 3, "the graph has a cycle"),
    "data outside": (lambda: external("../../etc/passwd"), 3, "outside the folder of the model"),
    "data missing": (lambda: external("weights.bin"), 3, "not in the folder of the model"),
    "160 GB": (asks_for_160_gigabytes, 3, "the model asks for 298.02 GiB"),
    "five channels": (lambda: relu(inputs={"x": ("N", 5, 8, 8)}), 3, "takes 5 channels"),
    "no input shape": (lambda: relu(inputs={"x": None}), 3, "has no shape"),
    "any size": (lambda: relu(inputs={"x": ("N", 1, "H", "W")}), 2, "give --size"),
    "bool input": (lambda: typed(TENSOR.BOOL), 3, "element type bool"),
    "text input": (lambda: typed(TENSOR.STRING), 3, "element type string"),
    "uint8 and a preset": (lambda: typed(TENSOR.UINT8), 2, "takes uint8 pixels as they are"),
    "input without a value": (two_inputs, 3, "--input-value k=VALUE"),
    "two image inputs": (lambda: two_inputs("Add", ("N", 1, 8, 8)), 3, "say which with --input"),
    "reshape that fails": (lambda: reshaped(7, 3), 3, "requested shape:{7,3}; if a batch size"),
    "batch size built in": (lambda: reshaped(1, 64), 3, "give that with --batch-size"),
    "index outside": (gather_outside, 3, "the model fails when it is run: Gather node"),
    "shape that follows values": (width_follows_values, 3, "leave it out with --taps"),
    "no units when run": (no_units_when_run, 3, "has no units when the model is run"),
    "no units": (
        lambda: build([node("Slice", ["x", "a", "b", "c"], ["s"]), node("Relu", ["s"], ["y"])],
                      {"a": [0], "b": [0], "c": [2]}), 3, "because it is empty"),
    "another first axis": (
        lambda: build([node("Transpose", ["x"], ["t"], perm=[1, 0, 2, 3]),
                       node("Relu", ["t"], ["y"])]), 3, "is not the batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(command: Command, case: str) -> None:
    model, code, what = REFUSED[case]
    save("bad.onnx", model())
    assert what in command.refused(code, "bad.onnx", "im", *QUIET)


def test_a_file_that_asks_for_160_gigabytes_is_small() -> None:
    assert len(asks_for_160_gigabytes().SerializeToString()) < 200


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"hello world, this is text", "not an ONNX file"),
        (b"PK\x03\x04" + b"\0" * 100, "a ZIP archive"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x08\x08", "no graph"),
        (os.urandom(1000), "'bad.onnx': "),
    ],
)
def test_what_is_no_model(command: Command, content: bytes, what: str) -> None:
    Path("bad.onnx").write_bytes(content)
    assert what in command.refused(3, "bad.onnx", "im", *QUIET)


@pytest.mark.skipif(not LENET.exists(), reason="models/lenet5.onnx is not here")
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated(command: Command, part: float) -> None:
    data = LENET.read_bytes()
    Path("bad.onnx").write_bytes(data[: int(part * len(data))])
    assert "bad.onnx" in command.refused(3, "bad.onnx", "im", *QUIET)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("im", "is a folder"),
        ("missing.onnx", "there is no model file"),
        ("missing/m.onnx", "there is no model file"),
        ("m.onnx/m.onnx", "cannot be read"),
        ("a\0b", "cannot be read"),
        ("new\nline.onnx", "there is no model file"),
        ("n" * 5000, "cannot be read"),
        ("/dev/null", "is not a file"),
    ],
)
def test_a_path_that_is_no_model_file(command: Command, path: str, what: str) -> None:
    assert what in command.refused(3, path, "im", *QUIET)


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (("--preset", "imagenet"), 2, "'imagenet' does not fit"),
        (("--preset", "nope"), 2, "must be one of unit"),
        ((), 2, "Nothing says how pixels are scaled"),
        (("--preset", "unit", "--size", "9x9"), 2, "takes 8 x 8"),
        (("--preset", "unit", "--crop", "100x100"), 2, "takes 8 x 8"),
        (("--preset", "unit", "--layout", "NHWC"), 2, "--layout"),
        (("--preset", "unit", "--channel-order", "BGR"), 2, "BGR has 3 channels"),
        (("--scale", "1/0"), 2, "--scale"),
        (("--preprocessing", "missing.json"), 2, "does not exist"),
        (("--preprocessing", "m.onnx"), 2, "not valid"),
        (("--preset", "unit", "--input", "nope"), 3, "the model has no input 'nope'"),
        (("--preset", "unit", "--input", "\x1b[31m"), 3, "the model has no input"),
        (("--preset", "unit", "--input-value", "k=1"), 2, "not another input of the model"),
        (("--preset", "unit", "--taps", "Nope"), 3, "--taps Nope"),
        (("--preset", "unit", "--taps", "re:("), 2, "not a regular expression"),
        (("--preset", "unit", "--taps", "a" * 5000), 2, "longer than"),
        (("--preset", "unit", "--threads", "100000"), 2, "--threads must be from 1 to"),
        (("--preset", "unit", "--device", "nope"), 2, "--device must be one of"),
    ],
)
def test_options_that_do_not_fit_the_model(
    command: Command, options: tuple[str, ...], code: int, what: str
) -> None:
    assert what in command.refused(code, "m.onnx", "im", "--output", "o", *options)


@pytest.mark.parametrize("value", ["k=zz", "k=" + "9" * 1000, "k=nan", "k=[1,2]", "k=", "k=[["])
def test_a_value_that_does_not_fit(command: Command, value: str) -> None:
    save("bad.onnx", two_inputs())
    assert "'k'" in command.refused(2, "bad.onnx", "im", *QUIET, "--input-value", value)


ACCEPTED: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[str, ...]]] = {
    "input with a value": (two_inputs, ("--input-value", "k=2")),
    "input by name": (
        lambda: two_inputs("Add", (1, 1, 8, 8)),
        ("--input", "x", "--input-value", "k=0"),
    ),
    "batch size built in": (lambda: reshaped(1, 64), ("--batch-size", "1")),
    "more at once than there are": (relu, ("--batch-size", "2000000000")),
    "half": (lambda: relu(dtype=TENSOR.FLOAT16, output_dtype=TENSOR.FLOAT16), ()),
    "double": (lambda: relu(dtype=TENSOR.DOUBLE, output_dtype=TENSOR.DOUBLE), ()),
    "channels last": (lambda: relu(inputs={"x": ("N", 8, 8, 3)}), ()),
    "a batch of four": (lambda: relu(inputs={"x": (4, 1, 8, 8)}), ()),
    "shape that lies": (
        lambda: build([node("Identity", ["x"], ["i"]), node("Relu", ["i"], ["y"])]), ()),
    "some layers cannot be measured": (
        lambda: build([node("Relu", ["x"], ["y"]), node("Relu", ["w"], ["z"])],
                      {"w": np.ones((3, 4), np.float32)}, outputs=["y", "z"]), ()),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(command: Command, case: str) -> None:
    model, options = ACCEPTED[case]
    save("good.onnx", model())
    command.done("good.onnx", "im", *QUIET, *options)
    assert strict_json(Path("o/Analysis_good.json"))["images"]["used"] == 3


def test_uint8_needs_no_preset(command: Command) -> None:
    save("good.onnx", typed(TENSOR.UINT8))
    command.done("good.onnx", "im", "--quiet")


@pytest.mark.parametrize("count", [1, 4, 10])
def test_a_fixed_batch_of_four(command: Command, count: int) -> None:
    save("four.onnx", relu(inputs={"x": (4, 1, 8, 8)}))
    images("some", count)
    command.done("four.onnx", "some", *QUIET, "--limit", "10")
    command.done("m.onnx", "some", *QUIET, "--batch-size", "1")
    four, one = (strict_json(Path(f"o/Analysis_{name}.json")) for name in ("four", "m"))
    assert four["run"]["batch_size"] == 4
    assert counts(four) == counts(one)


def counts(result: dict) -> list:
    tables = [t for t in result["tables"] if "tknc" not in t["metric"] or "suite" in t["metric"]]
    return [(table["metric"], table["view"], table["total"]) for table in tables]


def test_another_batch_size_than_the_fixed_one(command: Command) -> None:
    save("four.onnx", relu(inputs={"x": (4, 1, 8, 8)}))
    text = command.refused(2, "four.onnx", "im", *QUIET, "--batch-size", "8")
    assert text == "--batch-size 8: the model's batch size is fixed at 4."


class TestNotANumber:
    @pytest.fixture
    def result(self, command: Command) -> dict:
        nodes = [
            node("Sub", ["x", "half"], ["a"]),
            node("Sqrt", ["a"], ["q"]),  # NaN below a half
            node("Relu", ["q"], ["nan"]),
            node("Mul", ["x", "large"], ["l"]),
            node("Mul", ["l", "large"], ["i"]),
            node("LeakyRelu", ["i"], ["inf"]),
        ]
        weights = {"half": np.float32(0.5), "large": np.float32(1e30)}
        save("odd.onnx", build(nodes, weights, outputs=["nan", "inf"]))
        command.done("odd.onnx", "im", *QUIET, "--threshold", "0.5", "--per-image")
        return strict_json(Path("o/Analysis_odd.json"))

    def test_is_reported(self, result: dict) -> None:
        (note,) = (n for n in result["notes"] if n["slug"] == "not-a-number")
        assert "in 1 layers (first in nan) are not a number" in note["text"]

    def test_covers_nothing(self, result: dict) -> None:
        (table,) = (t for t in result["tables"] if (t["metric"], t["view"]) == ("tc", "unit"))
        rows = {row[0]: row[1] for row in table["rows"]}
        assert 0 < rows["nan"] < 3 * 64
        assert rows["inf"] > 0

    def test_the_report_can_be_rendered_again(self, result: dict, command: Command) -> None:
        command.done("report", "o/Analysis_odd.json")


class TestNames:
    EVIL = "[bold red]\x1b[31m\u202e</script>\n=1+1" + "N" * 5000

    @pytest.mark.parametrize(
        "model",
        [
            lambda evil: build([node("Relu", ["x"], [evil], name=evil)]),
            lambda evil: build([node("Relu", [evil], ["y"])], inputs={evil: ("N", 1, 8, 8)}),
            lambda evil: relu(inputs={"x": (evil, 1, 8, 8)}),
        ],
        ids=["layer", "input", "dimension"],
    )
    def test_in_the_model(self, command: Command, model: Callable[[str], onnx.ModelProto]) -> None:
        save("evil.onnx", model(self.EVIL))
        out = command.done("evil.onnx", "im", "--preset", "unit", "--per-image").out
        assert all(line.isprintable() and len(line) < 200 for line in out.splitlines())
        strict_json(Path("Analysis_evil.json"))
        table = Path("Analysis_evil_layers.csv").read_text(encoding="utf-8")
        assert all(line.isprintable() for line in table.split("\n"))

    def test_in_messages(self, command: Command) -> None:
        save("evil.onnx", build([node("Frob", ["x"], [self.EVIL], name=self.EVIL)]))
        command.refused(3, "evil.onnx", "im", *QUIET)

    def test_a_formula(self, command: Command) -> None:
        save("m.onnx", build([node("Relu", ["x"], ["=1+1|cmd"])]))
        command.done("m.onnx", "im", *QUIET, "--per-image")
        table = Path("o/Analysis_m_layers.csv").read_text(encoding="utf-8")
        assert ",'=1+1|cmd," in table

    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("m ö 😀.onnx", "m_ö__"),
            ("a\nb.onnx", "a_b"),
            ("..onnx", "model"),
            (".onnx", "onnx"),
            ("noending", "noending"),
            ("%s%n.onnx", "_s_n"),
            ("a.b.c.onnx", "a.b.c"),
            ("$(touch pwned).onnx", "__touch_pwned_"),
            ("=cmd.onnx", "_cmd"),
            ("x" * 200 + ".onnx", "x" * 100),
            (os.fsdecode(b"\xff.onnx"), "_"),
        ],
    )
    def test_of_the_file(self, command: Command, name: str, stem: str) -> None:
        save(name, relu())
        outcome = command.done(name, "im", *QUIET)
        assert outcome.new == {
            "o",
            f"o/Analysis_{stem}.csv",
            f"o/Analysis_{stem}.json",
            f"o/Analysis_{stem}.pdf",
        }

    @pytest.mark.parametrize("folder", ["ümlaut 😀", os.fsdecode(b"\xff"), "a\nb"])
    def test_of_the_folder(self, command: Command, folder: str) -> None:
        Path(folder).mkdir()
        save(Path(folder) / "m.onnx", relu())
        command.done(f"{folder}/m.onnx", "im", *QUIET)


def weights_beside(folder: str) -> None:
    Path(folder).mkdir(exist_ok=True)
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])]
    weight = np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3)
    path = f"{folder}/beside.onnx"
    onnx.save(build(nodes, {"w": weight}), path, save_as_external_data=True,
              location="w.bin", size_threshold=0)  # fmt: skip


def test_external_data_is_found_wherever_the_command_is_run(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_beside("ümlaut 😀")
    command.done("ümlaut 😀/beside.onnx", "im", *QUIET)
    monkeypatch.chdir("ümlaut 😀")
    command.done("beside.onnx", "../im", *QUIET)


@pytest.mark.skipif(os.name != "posix", reason="names are not bytes here")
def test_external_data_in_a_folder_whose_name_is_not_utf8(command: Command) -> None:
    weights_beside("plain")
    os.rename("plain", b"\xff")
    assert "w" in command.refused(3, os.fsdecode(b"\xff/beside.onnx"), "im", *QUIET)


def test_many_layers(command: Command) -> None:
    names = ["x", *(f"t{number}" for number in range(300))]
    nodes = []
    for before, after in pairwise(names):
        nodes.append(node("MaxPool", [before], [f"{after} pooled"], kernel_shape=[1, 1]))
        nodes.append(node("Relu", [f"{after} pooled"], [after]))
    save("many.onnx", build(nodes))
    out = command.done("many.onnx", "im", "--preset", "unit").out
    assert "coverage of 300 layers" in out
    assert len(strict_json(Path("Analysis_many.json"))["layers"]) == 300
