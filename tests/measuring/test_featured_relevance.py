"""Heat maps of relevance in the main job: for the featured images, and never at its expense."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pypdf
import pytest
from onnx import TensorProto, numpy_helper
from PIL import Image

from cleanai_onnx import Result, analyze
from cleanai_onnx.errors import ModelError
from cleanai_onnx.jobs import analysis
from cleanai_onnx.relevance import Explainer, attribute
from cleanai_onnx.report import json, pdf
from tests.cli.material import DIGITS, LENET, build, images, node

RANDOM = np.random.default_rng(0)


def words(result: Result) -> str:
    reader = pypdf.PdfReader(io.BytesIO(pdf.render(result)))
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split())


def classifier(*before: onnx.NodeProto, **keywords: Any) -> onnx.ModelProto:
    """Return a model of 8 x 8 gray images with three classes; `before` makes s of x."""
    nodes = [*before, node("Relu", ["s"], ["r"]), node("Flatten", ["r"], ["f"]),
             node("Gemm", ["f", "w", "b"], ["y"])]  # fmt: skip
    weights = {"w": RANDOM.standard_normal((64, 3), np.float32), "b": np.ones(3, np.float32)}
    return build(nodes, weights, **keywords)


def slugs(result: Result) -> list[str]:
    """Return those of the notes on relevance; few images have others."""
    return [note.slug for note in result.notes if "relevance" in note.slug]


def without_relevance(result: Result) -> tuple:
    """Return everything that was measured."""
    featured = [replace(image, relevance=None) for image in result.featured]
    return result.tables, result.firing, featured, result.layers, result.images


@pytest.fixture(scope="module")
def digits() -> list[Path]:
    return sorted(DIGITS.rglob("*.png"))[::9]


@pytest.fixture(scope="module")
def explained(digits: list[Path]) -> Result:
    return analyze(LENET, digits)


class TestDigits:
    def test_relevance_is_that_of_the_featured_image(
        self, digits: list[Path], explained: Result
    ) -> None:
        assert len(explained.featured) == 10 and not slugs(explained)
        batch = np.stack(
            [np.asarray(Image.open(digits[one.index]), np.float32)[None] / 255
             for one in explained.featured]
        )  # fmt: skip
        wanted = attribute(LENET, batch)
        for row, one in enumerate(explained.featured):
            found = one.relevance
            assert found is not None and found.target == wanted.targets[row]
            assert found.value == pytest.approx(wanted.values[row], rel=1e-5)
            assert found.arrived == pytest.approx(wanted.conservation.arrived[row], rel=1e-4)
            assert found.biases == pytest.approx(wanted.conservation.biases[row], rel=1e-3)
            parts = found.arrived + found.biases + found.others + found.residual
            assert found.value == pytest.approx(parts, rel=1e-6)
            assert abs(found.residual) < 1e-4 * abs(found.value)
            size = np.quantile(np.abs(wanted.relevance[row]), 0.999)
            assert found.scale == pytest.approx(size, rel=1e-3)
            with Image.open(io.BytesIO(found.heat_map)) as picture:
                assert picture.format == "PNG" and picture.size == (28, 28)

    def test_the_facts(self, explained: Result) -> None:
        facts = explained.relevance
        assert facts is not None
        assert (facts.composite, facts.target) == ("epsilon-plus", "the predicted class")
        assert facts.start == "logits" and facts.parameters == {"epsilon": 1e-6}
        assert facts.rules == {"z-plus": 2, "epsilon": 3, "through": 4, "pool": 2, "move": 1}
        assert explained.run.seconds["relevance"] > 0
        assert explained.run.options["relevance"] is True

    def test_json_keeps_everything(self, explained: Result) -> None:
        read = json.loads(json.dumps(explained))
        assert (read.featured, read.relevance) == (explained.featured, explained.relevance)

    def test_the_report_shows_it(self, explained: Result) -> None:
        pages = pypdf.PdfReader(io.BytesIO(pdf.render(explained))).pages
        assert sum(len(page.images) for page in pages) == 20
        text = words(explained)
        assert "by the composite epsilon-plus" in text and "to pixels" in text
        for one in explained.featured:
            assert f"class {one.relevance.target}" in text

    def test_switched_off(self, digits: list[Path], explained: Result) -> None:
        plain = analyze(LENET, digits, relevance=False)
        assert plain.relevance is None and not slugs(plain)
        assert all(one.relevance is None for one in plain.featured)
        assert "relevance" not in plain.run.seconds
        assert "Heat maps of relevance were switched off." in words(plain)
        assert without_relevance(plain) == without_relevance(explained)

    def test_only_featured_images_are_explained_and_few_at_a_time(
        self, digits: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        explain = Explainer.explain

        def counted(self: Explainer, batch: Any, **keywords: Any) -> Any:
            sizes.append(len(batch))
            return explain(self, batch, **keywords)

        monkeypatch.setattr(Explainer, "explain", counted)
        result = analyze(LENET, digits)
        assert sum(sizes) == len(result.featured) < len(digits)
        assert max(sizes) <= 5


SIN = node("Sin", ["x"], ["s"], name="wave")
QUANTISED = [
    node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
    node("Constant", [], ["m"], value=numpy_helper.from_array(np.eye(8, dtype=np.uint8))),
    node("MatMulInteger", ["q", "m", "zero"], ["i"]),
    node("Cast", ["i"], ["s"], to=TensorProto.FLOAT),
]


@pytest.mark.parametrize(
    ("before", "reason"),
    [([SIN], "Sin node 'wave'"), (QUANTISED, "MatMulInteger")],
    ids=["no rule", "quantised"],
)
def test_a_model_that_cannot_be_explained_is_measured(
    tmp_path: Path, before: Sequence[onnx.NodeProto], reason: str
) -> None:
    model, folder = classifier(*before), images(tmp_path / "im", 6)
    result = analyze(model, folder, preset="unit")
    assert slugs(result) == ["no-relevance"]
    assert "No heat maps of relevance: " in result.notes[-1].text
    assert reason in result.notes[-1].text
    assert "bug" not in result.notes[-1].text
    assert result.relevance is None
    assert all(one.relevance is None for one in result.featured)
    assert words(result).count(reason) >= 2
    plain = analyze(model, folder, preset="unit", relevance=False)
    assert without_relevance(plain) == without_relevance(result)


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_inputs_of_other_types(tmp_path: Path, dtype: int) -> None:
    cast = node("Cast", ["x"], ["c"], to=TensorProto.FLOAT)
    model = classifier(cast, node("Identity", ["c"], ["s"]), dtype=dtype)
    result = analyze(model, images(tmp_path / "im", 6), preprocessing={"scale": 1.0})
    assert slugs(result) == (["relevance-widened"] if dtype == TensorProto.FLOAT16 else [])
    for one in result.featured:
        found = one.relevance
        assert found is not None and found.heat_map is not None
        assert abs(found.residual) < 1e-4 * (abs(found.arrived) + abs(found.biases))


def test_half_precision_is_explained_in_float32_with_a_note(tmp_path: Path) -> None:
    weights = {"w": RANDOM.standard_normal((64, 3)).astype(np.float16)}
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Relu", ["h"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("Cast", ["m"], ["y"], to=TensorProto.FLOAT),
    ]
    model, folder = build(nodes, weights), images(tmp_path / "im", 4)
    result = analyze(model, folder, preset="unit")
    assert slugs(result) == ["relevance-widened"]
    assert all(one.relevance.heat_map for one in result.featured)
    assert "half precision" in words(result)


@pytest.mark.parametrize(
    ("problem", "slug", "text"),
    [
        (RuntimeError("unforeseen \x1b[31m"), "relevance-failed", "This is a bug"),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), "no-relevance", "enough memory"),
        (MemoryError(), "no-relevance", "enough memory"),
        (OSError("disk gone"), "no-relevance", "disk gone"),
    ],
    ids=["bug", "memory of XLA", "memory", "disk"],
)
def test_nothing_stops_the_main_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, slug: str, text: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(Explainer, "explain", fail)
    model, folder = classifier(node("Identity", ["x"], ["s"])), images(tmp_path / "im", 4)
    result = analyze(model, folder, preset="unit")
    assert slugs(result) == [slug] and text in result.notes[-1].text
    assert text in words(result)
    assert result.featured and result.relevance is None


def made_in_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the thread of each explainer that is prepared."""
    threads: list[str] = []
    prepare = Explainer.prepare

    def noted(self: Explainer, item: tuple[int, ...]) -> None:
        threads.append(threading.current_thread().name)
        prepare(self, item)

    monkeypatch.setattr(Explainer, "prepare", noted)
    return threads


def test_an_explainer_is_ready_where_its_walk_was_compiled_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = classifier(node("Identity", ["x"], ["s"])), images(tmp_path / "im", 4)
    threads = made_in_threads(monkeypatch)
    cold = analyze(model, folder, preset="unit")
    assert not threads
    warm = analyze(model, folder, preset="unit")
    assert len(threads) == 1 and threads[0] != threading.main_thread().name
    assert warm.featured == cold.featured and warm.relevance == cold.relevance
    Path(folder, "i1.png").write_bytes(b"broken")
    # Another number of images at once than what was made ready.
    fewer = analyze(model, folder, preset="unit")
    assert len(threads) == 2 and len(fewer.featured) == 3
    by_path = {one.path: one.relevance for one in cold.featured}
    for one in fewer.featured:
        before = by_path[one.path]
        assert one.relevance is not None and before is not None
        assert one.relevance.value == pytest.approx(before.value, rel=1e-5)


def test_what_fails_in_the_thread_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = classifier(node("Identity", ["x"], ["s"])), images(tmp_path / "im", 4)
    analyze(model, folder, preset="unit")

    def fail(*_: Any) -> None:
        raise ModelError("the model cannot be explained today.")

    monkeypatch.setattr(Explainer, "prepare", fail)
    result = analyze(model, folder, preset="unit")
    assert slugs(result) == ["no-relevance"]
    assert "the model cannot be explained today." in result.notes[-1].text
    assert result.featured and result.relevance is None


def test_an_interruption_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Explainer, "explain", interrupt)
    with pytest.raises(KeyboardInterrupt):
        analyze(classifier(SIN), images(tmp_path / "im", 2), preset="unit")


def test_images_that_have_gone_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, folder = classifier(node("Identity", ["x"], ["s"])), images(tmp_path / "im", 4)
    added = analysis.with_relevance
    gone: list[str] = []

    def remove(*given: Any, **keywords: Any) -> Result:
        Path(folder, "i2.png").unlink()
        gone.append("i2.png")
        return added(*given, **keywords)

    monkeypatch.setattr(analysis, "with_relevance", remove)
    result = analyze(model, folder, preset="unit")
    assert gone and slugs(result) == ["relevance-incomplete"]
    assert "first i2.png" in result.notes[-1].text
    assert "cannot be read any more" in words(result)
    for one in result.featured:
        assert (one.relevance is None) == (one.path == "i2.png")


def test_relevance_that_is_not_finite_has_no_heat_map(tmp_path: Path) -> None:
    rows = RANDOM.standard_normal((4, 1, 8, 8), np.float32)
    rows[1, 0, 3, 3] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    result = analyze(classifier(node("Identity", ["x"], ["s"])), str(tmp_path / "rows.npy"))
    assert "relevance-incomplete" in slugs(result)
    for one in result.featured:
        assert (one.relevance.heat_map is None) == (one.index == 1)
    assert "its relevance is not finite" in words(result)
    assert json.dumps(json.loads(json.dumps(result))) == json.dumps(result)


def test_arrays_of_any_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", RANDOM.standard_normal((5, 10), np.float32))
    weights = {"w": RANDOM.standard_normal((10, 3), np.float32)}
    nodes = [node("Gemm", ["x", "w"], ["g"]), node("Relu", ["g"], ["y"])]
    model = build(nodes, weights, inputs={"x": ("N", 10)})
    result = analyze(model, str(tmp_path / "rows.npy"))
    assert not slugs(result)
    assert all(one.relevance.heat_map for one in result.featured)


def test_batches_are_not_kept() -> None:
    data = RANDOM.random((4, 1, 8, 8), np.float32)
    model = classifier(node("Identity", ["x"], ["s"]))
    result = analyze(model, data)
    assert slugs(result) == ["no-relevance"] and result.relevance is None
    assert "batches of your own are not kept" in words(result)
    assert not slugs(analyze(model, data, relevance=False))
