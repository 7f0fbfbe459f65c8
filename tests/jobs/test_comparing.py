"""Two models over the same images, against onnxruntime alone and against two analyses."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import cleanai_onnx
from cleanai_onnx import inputs
from cleanai_onnx.difference import FORMAT_VERSION, Comparison
from cleanai_onnx.errors import CleanAIError, UsageError
from cleanai_onnx.jobs import comparing
from cleanai_onnx.report import pdf_comparison
from cleanai_onnx.report.difference import as_json
from cleanai_onnx.report.json import record_from
from cleanai_onnx.validation import diff
from tests.cli.material import build, images, node, save
from tests.validation.quantised import float_and_int8, float_model

COUNT = 13


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("compare")
    images(made / "im", COUNT)
    float_and_int8(made)
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> Comparison:
    return compare(folder, "float.onnx", "int8.onnx", per_image=folder / "rows.csv")


def compare(folder: Path, old: str, new: str, **options: Any) -> Comparison:
    options = {"preset": "unit"} | options
    return cleanai_onnx.compare(folder / old, folder / new, folder / "im", **options)


def outputs(folder: Path, model: str) -> np.ndarray:
    """Return the outputs of all images, from onnxruntime and Pillow alone."""
    files = [folder / "im" / f"i{number}.png" for number in range(COUNT)]
    data = np.stack([np.asarray(Image.open(file), np.float32)[None] / 255 for file in files])
    session = onnxruntime.InferenceSession(str(folder / model))
    return np.asarray(session.run(None, {session.get_inputs()[0].name: data})[0])


def test_the_outputs(folder: Path, found: Comparison) -> None:
    old, new = (outputs(folder, f"{name}.onnx") for name in ("float", "int8"))
    facts = found.outputs
    assert facts is not None
    apart = np.abs(old - new).max(axis=1)
    assert facts.images == COUNT
    assert facts.classes == 10
    assert facts.agreeing == (old.argmax(axis=1) == new.argmax(axis=1)).sum()
    assert facts.maximum == pytest.approx(apart.max(), rel=1e-4)
    assert facts.maximum_image == f"i{apart.argmax()}.png"
    assert facts.relative == pytest.approx((apart / np.abs(old).max(axis=1)).max(), rel=1e-4)
    assert facts.mean == pytest.approx(apart.mean(), rel=1e-4)
    assert facts.maximum > 0


def test_a_row_for_each_image(folder: Path, found: Comparison) -> None:
    old, new = (outputs(folder, f"{name}.onnx") for name in ("float", "int8"))
    with (folder / "rows.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == [f"i{number}.png" for number in range(COUNT)]
    assert [int(row["old class"]) for row in rows] == old.argmax(axis=1).tolist()
    assert [int(row["new class"]) for row in rows] == new.argmax(axis=1).tolist()
    told = [float(row["difference"]) for row in rows]
    np.testing.assert_allclose(told, np.abs(old - new).max(axis=1), rtol=1e-4)
    assert found.per_image_table == "rows.csv"


def test_the_images_on_which_they_disagree_most(folder: Path, found: Comparison) -> None:
    old, new = (outputs(folder, f"{name}.onnx") for name in ("float", "int8"))
    other = old.argmax(axis=1) != new.argmax(axis=1)
    relative = np.abs(old - new).max(axis=1) / np.abs(old).max(axis=1)
    order = sorted(range(COUNT), key=lambda i: (not other[i], -relative[i]))[:10]
    assert [one.index for one in found.disagreements] == order
    assert all(one.thumbnail for one in found.disagreements)


def test_what_is_measured_is_what_two_analyses_measure(folder: Path, found: Comparison) -> None:
    old, new = (
        cleanai_onnx.analyze(folder / f"{name}.onnx", folder / "im", preset="unit", relevance=False)
        for name in ("float", "int8")
    )
    expected = diff(old, new)
    assert found.difference.metrics == expected.metrics
    assert found.difference.layers == expected.layers
    assert found.difference.pairs == expected.pairs
    assert len(found.difference.pairs) == 2
    assert found.difference.settings == ()


def test_batches_change_nothing(folder: Path, found: Comparison) -> None:
    small = compare(folder, "float.onnx", "int8.onnx", batch_size=4)
    assert small.outputs is not None
    assert found.outputs is not None
    assert small.outputs.agreeing == found.outputs.agreeing
    assert small.outputs.maximum == pytest.approx(found.outputs.maximum, rel=1e-4)
    assert small.difference.metrics[0] == found.difference.metrics[0]


def test_a_batch_size_that_is_built_in(folder: Path, found: Comparison) -> None:
    model: Any = float_model()
    for value in (model.graph.input[0], model.graph.output[0]):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 3
    save(folder / "threes.onnx", model)
    fixed = compare(folder, "threes.onnx", "int8.onnx")
    assert fixed.outputs is not None
    assert found.outputs is not None
    assert fixed.outputs.images == COUNT
    assert fixed.outputs.agreeing == found.outputs.agreeing
    assert fixed.difference.metrics[0] == found.difference.metrics[0]


def test_each_image_is_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    load = inputs.streaming._load

    def counting(suite: Any, index: int, *rest: Any) -> Any:
        decoded.append(index)
        return load(suite, index, *rest)

    monkeypatch.setattr(inputs.streaming, "_load", counting)
    assert compare(folder, "float.onnx", "int8.onnx").decoded_once
    assert sorted(decoded) == list(range(COUNT))


def test_a_model_and_itself(folder: Path) -> None:
    found = compare(folder, "float.onnx", "float.onnx")
    facts = found.outputs
    assert facts is not None
    assert (facts.agreeing, facts.maximum, facts.relative) == (COUNT, 0.0, 0.0)
    assert found.disagreements == ()
    assert {one.change for one in found.difference.metrics} == {0.0}
    assert found.difference.same_model


def with_input_of_bytes(folder: Path) -> str:
    """Return the float model behind a division: it takes pixel values from 0 to 255."""
    model: Any = float_model()
    model.graph.input[0].name = "pixels"
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array(255, np.float32), "largest")
    )
    model.graph.node.insert(0, node("Div", ["pixels", "largest"], ["x"]))
    entry = model.metadata_props.add()
    entry.key, entry.value = "cleanai.preprocessing", '{"scale": 1}'
    return save(folder / "bytes.onnx", model)


def test_models_that_take_other_inputs(folder: Path) -> None:
    with_input_of_bytes(folder)
    model = onnx.load(folder / "float.onnx")
    entry = model.metadata_props.add()
    entry.key, entry.value = "cleanai.preprocessing", '{"scale": "1/255"}'
    save(folder / "scaled.onnx", model)
    found = compare(folder, "scaled.onnx", "bytes.onnx", preset=None, batch_size=4)
    assert not found.decoded_once
    assert [one.name for one in found.difference.settings] == ["scale", "input"]
    facts = found.outputs
    assert facts is not None
    assert (facts.images, facts.agreeing) == (COUNT, COUNT)
    assert facts.relative is not None
    assert facts.relative < 1e-5
    assert {pair.by for pair in found.difference.pairs} == {"name"}


def test_batches_of_ones_own(folder: Path, found: Comparison) -> None:
    files = [folder / "im" / f"i{number}.png" for number in range(COUNT)]
    data = np.stack([np.asarray(Image.open(file), np.float32)[None] / 255 for file in files])
    for given in (data, [data[:5], data[5:5], (data[5:], np.arange(8))]):
        own = cleanai_onnx.compare(folder / "float.onnx", folder / "int8.onnx", given)
        assert own.outputs is not None
        assert found.outputs is not None
        assert own.outputs.agreeing == found.outputs.agreeing
        assert own.outputs.maximum == pytest.approx(found.outputs.maximum, rel=1e-4)
        assert [one.index for one in own.disagreements] == [o.index for o in found.disagreements]
        assert own.disagreements[0].path == f"input {own.disagreements[0].index}"
        assert own.difference.metrics[0] == found.difference.metrics[0]
        assert own.found == COUNT
    with pytest.raises(UsageError, match="batches of your own are fed"):
        cleanai_onnx.compare(folder / "float.onnx", folder / "int8.onnx", data, preset="unit")
    with pytest.raises(CleanAIError, match="no input was measured"):
        cleanai_onnx.compare(folder / "float.onnx", folder / "int8.onnx", [])
    with pytest.raises(CleanAIError, match="takes shape"):
        cleanai_onnx.compare(folder / "float.onnx", folder / "int8.onnx", [np.float32(3)])


def test_images_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    images(tmp_path / "im", 3)
    (tmp_path / "im" / "i1.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    found = cleanai_onnx.compare(
        folder / "float.onnx", folder / "int8.onnx", tmp_path / "im", preset="unit"
    )
    assert found.outputs is not None
    assert found.outputs.images == 2
    assert [image.path for image in found.skipped] == ["i1.png"]
    with pytest.raises(CleanAIError, match=r"i1\.png"):
        cleanai_onnx.compare(
            folder / "float.onnx", folder / "int8.onnx", tmp_path / "im", preset="unit", strict=True
        )


def test_outputs_that_cannot_be_compared(folder: Path) -> None:
    save(folder / "map.onnx", build([node("Relu", ["x"], ["y"])]))
    found = compare(folder, "float.onnx", "map.onnx")
    assert found.outputs is None
    assert found.outputs_remark == "the first outputs have different shapes, [10] and [1, 8, 8]"
    assert found.disagreements == ()
    same = compare(folder, "map.onnx", "map.onnx")
    assert same.outputs is not None
    assert (same.outputs.classes, same.outputs.agreeing) == (None, None)


def test_an_axis_of_length_one_is_no_other_shape(folder: Path) -> None:
    model: Any = float_model()
    model.graph.node[-1].output[0] = "flat"
    shape = onnx.numpy_helper.from_array(np.array([-1, 10, 1, 1], np.int64), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(node("Reshape", ["flat", "shape"], ["logits"]))
    save(folder / "tall.onnx", model)
    found = compare(folder, "float.onnx", "tall.onnx")
    assert found.outputs is not None
    assert (found.outputs.shape, found.outputs.maximum) == ((10,), 0.0)


def test_gates_judge_the_new_model_against_the_old(folder: Path) -> None:
    gates = {
        "agreement": "1%",
        "difference": 1e9,
        "relative-difference": 0.0,
        "nc": {"max-drop": "50%"},
    }
    found = compare(folder, "float.onnx", "int8.onnx", gates=gates)
    assert [outcome.passed for outcome in found.gates] == [True, True, False, True]
    assert found.outputs is not None
    assert found.outputs.agreeing is not None
    assert found.gates[0].value == found.outputs.agreeing / COUNT
    assert found.gates[3].baseline == found.difference.metrics[0].old
    assert not found.passed
    with pytest.raises(UsageError, match="did you mean agreement"):
        compare(folder, "none.onnx", "none.onnx", gates="agrement=1%")
    alone = cleanai_onnx.analyze(folder / "float.onnx", folder / "im", preset="unit")
    outcome = alone.judged("agreement=1%").gates[0]
    assert not outcome.passed
    assert "cleanai-onnx compare" in outcome.text


def test_it_is_stored_and_drawn(found: Comparison) -> None:
    stored = record_from(Comparison, as_json(found).decode(), FORMAT_VERSION)
    assert stored == found
    assert pdf_comparison.render(stored) == pdf_comparison.render(found)
    without = replace(found, outputs=None, outputs_remark="they differ", disagreements=())
    assert pdf_comparison.render(without).startswith(b"%PDF-")


def test_a_stream_that_skips_images_waits_for_the_other() -> None:
    def batches(indexes: range, size: int) -> Any:
        parts = (indexes[i : i + size] for i in range(0, len(indexes), size))
        return iter([SimpleNamespace(indexes=tuple(part)) for part in parts])

    every, tenth = range(300), range(0, 300, 10)
    seen: tuple[list[int], list[int]] = ([], [])
    ahead = 0
    for step in comparing._in_step([batches(every, 4), batches(tenth, 4)]):
        for side, batch in enumerate(step):
            seen[side].extend(() if batch is None else batch.indexes)
        ahead = max(ahead, sum(index > seen[0][-1] for index in seen[1]))
    assert [list(side) for side in seen] == [list(every), list(tenth)]
    assert ahead <= 4


def test_nothing_is_left_after_a_failure(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CleanAIError):
        compare(folder, "float.onnx", "missing.onnx", per_image=tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []
