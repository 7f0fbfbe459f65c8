"""The loop for those who bring their own batches."""

from __future__ import annotations

import csv
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cleanai_onnx import Analyzer, ImageError, ModelError, OutputError, Result, UsageError
from tests.cli.material import build, node, relu

DATA = np.random.default_rng(0).random((10, 1, 8, 8), dtype=np.float32)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return relu()


def measured(model: onnx.ModelProto, *batches: Any, **options: Any) -> Result:
    analyzer = Analyzer(model, **options)
    for batch in batches:
        analyzer.update(batch)
    return analyzer.result()


def counts(result: Result) -> list[tuple]:
    """Every exact number; sums of floats depend on their order."""
    return [
        (table.metric, table.view, table.rows, table.total)
        for table in result.tables
        if table.metric != "tknc"
    ]


@pytest.fixture(scope="module")
def expected(model: onnx.ModelProto) -> Result:
    return measured(model, DATA)


class TestBatches:
    @pytest.mark.parametrize(
        "batches",
        [
            (DATA[:3], DATA[3:4], DATA[4:]),
            tuple(DATA[index : index + 1] for index in range(10)),
            (DATA[:0], DATA, DATA[:0]),
            (DATA.tolist(),),
            (DATA.astype(np.float64),),
            (np.asfortranarray(DATA),),
            (DATA[::2][:, :, ::-1][:, :, ::-1], DATA[1::2]),
            (DATA.astype(">f4"),),
            (np.ma.masked_array(DATA),),
        ],
        ids=["sizes", "one by one", "empty ones", "lists", "double", "fortran", "strides",
             "big endian", "masked"],
    )  # fmt: skip
    def test_of_any_form(self, model: onnx.ModelProto, expected: Result, batches) -> None:
        result = measured(model, *batches)
        assert result.images.used == 10
        suite = {"nc", "tc", "mnc", "nc-suite", "sc-suite", "vc-suite"}
        if np.shape(batches[0])[0] == 5:  # in another order, which pairs and bounds follow
            assert [c for c in counts(result) if c[0] in suite] == [
                c for c in counts(expected) if c[0] in suite
            ]
        else:
            assert counts(result) == counts(expected)

    def test_that_convert_themselves(self, model: onnx.ModelProto, expected: Result) -> None:
        class Tensor:
            def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
                return DATA

        assert counts(measured(model, Tensor())) == counts(expected)

    def test_that_want_a_gradient_or_lie_elsewhere(
        self, model: onnx.ModelProto, expected: Result
    ) -> None:
        class Tensor:
            """Refuses to convert, as torch's do, until it is detached and on the CPU."""

            def __init__(self, steps: tuple[str, ...] = ()) -> None:
                self.steps = steps

            def detach(self) -> Tensor:
                return Tensor((*self.steps, "detach"))

            def cpu(self) -> Tensor:
                return Tensor((*self.steps, "cpu"))

            def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
                if set(self.steps) != {"detach", "cpu"}:
                    raise TypeError("can't convert")
                return DATA

        assert counts(measured(model, Tensor())) == counts(expected)

    def test_that_may_not_be_written(self, model: onnx.ModelProto, expected: Result) -> None:
        data = DATA.copy()
        data.setflags(write=False)
        assert counts(measured(model, data)) == counts(expected)

    @pytest.mark.parametrize(
        ("batch", "what"),
        [
            (DATA[0], r"takes shape \(batch, 1, 8, 8\) and the batch has shape \(1, 8, 8\)"),
            (DATA[None], "has shape"),
            (np.repeat(DATA, 3, 1), r"has shape \(10, 3, 8, 8\)"),
            (DATA[..., :7], "has shape"),
            (DATA[..., :0], "has shape"),
            (np.float32(3), "has shape"),
            ((DATA * 9).astype(np.uint8), "takes float32 and the batch is uint8"),
            (DATA > 0.5, "takes float32 and the batch is bool"),
            (DATA.astype(np.complex64), "the batch is complex64"),
            ("text", "the batch is <U4"),
            (None, "type NoneType is not an array of numbers"),
            ({"x": DATA}, "type dict is not an array of numbers"),
            ([[1], [1, 2]], "type list is not an array"),
        ],
    )
    def test_that_do_not_fit(self, model: onnx.ModelProto, batch: Any, what: str) -> None:
        analyzer = Analyzer(model)
        with pytest.raises(ImageError, match=what):
            analyzer.update(batch)
        analyzer.update(DATA)  # nothing is spoilt
        assert analyzer.inputs == 10

    def test_whose_size_was_open_keep_the_first_one(self) -> None:
        analyzer = Analyzer(relu(inputs={"x": ("N", 1, "H", "W")}))
        analyzer.update(DATA)
        with pytest.raises(ImageError, match=r"takes shape \(batch, 1, 8, 8\)"):
            analyzer.update(np.zeros((1, 1, 9, 9), np.float32))

    @pytest.mark.parametrize("sizes", [(1,), (4,), (5,), (3, 4, 3)])
    def test_of_a_fixed_size(self, model: onnx.ModelProto, sizes: tuple[int, ...]) -> None:
        ends = np.cumsum(sizes)
        parts = [DATA[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        fixed = measured(relu(inputs={"x": (4, 1, 8, 8)}), *parts)
        assert fixed.run.batch_size == 4
        assert counts(fixed) == counts(measured(model, *parts))


class TestNamesAndPositions:
    def test_appear_in_the_result(self, model: onnx.ModelProto) -> None:
        analyzer = Analyzer(model, pair=(7, 5))
        analyzer.update(DATA[:2], (f"{n}.png" for n in "ab"), iter([5, 7]))
        result = analyzer.result()
        assert {image.path for image in result.featured} == {"a.png", "b.png"}
        (table,) = (t for t in result.tables if (t.metric, t.view) == ("sc", "unit"))
        assert "b.png and a.png" in " ".join(table.notes)

    def test_by_default_are_counted(self, model: onnx.ModelProto) -> None:
        result = measured(model, DATA[:1], DATA[1:3])
        assert {image.path for image in result.featured} == {"input 0", "input 1", "input 2"}

    @pytest.mark.parametrize(
        ("names", "indexes"), [(["a"], None), (None, [1]), (["a"] * 3, [1, 2]), ([], [])]
    )
    def test_of_another_number(self, model: onnx.ModelProto, names, indexes) -> None:
        analyzer = Analyzer(model)
        with pytest.raises(UsageError, match="2 inputs were given with"):
            analyzer.update(DATA[:2], names, indexes)
        assert analyzer.inputs == 0

    def test_given_twice(self, model: onnx.ModelProto) -> None:
        analyzer = Analyzer(model)
        analyzer.update(np.repeat(DATA[:1], 8, 0), list(range(8)), [3] * 8)
        assert analyzer.result().images.used == 8


class TestOrder:
    def test_no_result_before_a_batch(self, model: onnx.ModelProto) -> None:
        for batches in ((), (DATA[:0],)):
            with pytest.raises(ImageError, match="no input was measured"):
                measured(model, *batches)

    def test_no_start_before_a_shape(self, model: onnx.ModelProto) -> None:
        with pytest.raises(UsageError, match="prepare"):
            Analyzer(model).start()

    def test_a_result_in_between(self, model: onnx.ModelProto, expected: Result) -> None:
        analyzer = Analyzer(model)
        analyzer.update(DATA[:4])
        half = analyzer.result()
        assert analyzer.result().tables == half.tables
        analyzer.update(DATA[4:])
        assert half.images.used == 4
        assert counts(analyzer.result()) == counts(expected)

    def test_two_at_once(self, model: onnx.ModelProto, expected: Result) -> None:
        one, two = Analyzer(model), Analyzer(model)
        one.update(DATA[:5])
        two.update(DATA[::-1])
        one.update(DATA[5:])
        assert counts(one.result()) == counts(expected)

    def test_in_threads(self, model: onnx.ModelProto, expected: Result) -> None:
        found: list[Result] = []

        def work() -> None:
            found.append(measured(model, DATA[:5], DATA[5:]))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [counts(result) for result in found] == [counts(expected)] * 3

    @pytest.mark.parametrize("item", [(3, 3), (1, 8), (1, -8, 8), (1, 0, 8), (1, 10**10, 8), ()])
    def test_a_shape_that_does_not_fit(self, model: onnx.ModelProto, item) -> None:
        with pytest.raises(ImageError, match="takes shape"):
            Analyzer(model).prepare(item)


class TestTables:
    def rows(self, path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def test_have_a_row_for_each_image(self, model: onnx.ModelProto, tmp_path: Path) -> None:
        images, layers = tmp_path / "new" / "i.csv", tmp_path / "new" / "l.csv"
        result = measured(model, DATA[:4], DATA[4:], per_image=images, per_layer=layers)
        assert [row["index"] for row in self.rows(images)] == [str(n) for n in range(10)]
        assert [row["layer"] for row in self.rows(layers)] == ["y"] * 10
        assert result.images.per_image_table == "i.csv"

    def test_end_with_the_result(self, model: onnx.ModelProto, tmp_path: Path) -> None:
        analyzer = Analyzer(model, per_image=tmp_path / "i.csv")
        analyzer.update(DATA)
        assert not (tmp_path / "i.csv").exists()
        analyzer.result()
        with pytest.raises(UsageError, match="closed"):
            analyzer.update(DATA)
        assert analyzer.inputs == 10
        assert len(self.rows(tmp_path / "i.csv")) == 10
        assert analyzer.result().images.used == 10

    def test_of_a_closed_analyzer_are_gone(self, model: onnx.ModelProto, tmp_path: Path) -> None:
        with Analyzer(model, per_image=tmp_path / "i.csv") as analyzer:
            analyzer.update(DATA)
        analyzer.close()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(UsageError, match="closed"):
            analyzer.update(DATA)

    def test_of_a_forgotten_one_too(self, model: onnx.ModelProto, tmp_path: Path) -> None:
        analyzer = Analyzer(
            model, per_image=tmp_path / "new" / "i.csv", per_layer=tmp_path / "new" / "l.csv"
        )
        analyzer.update(DATA)
        del analyzer
        gc.collect()
        assert list(tmp_path.iterdir()) == []

    def test_if_one_cannot_be_written_the_other_is_not(
        self, model: onnx.ModelProto, tmp_path: Path
    ) -> None:
        analyzer = Analyzer(model, per_image=tmp_path / "i.csv", per_layer=tmp_path)
        with pytest.raises(OutputError, match="that is a folder"):
            analyzer.update(DATA)
        assert list(tmp_path.iterdir()) == []


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "what"),
        [
            ({"batch_size": 0}, "--batch-size must be a whole number"),
            ({"batch_size": 2.5}, "--batch-size must be a whole number"),
            ({"batch_size": "4"}, "--batch-size must be a whole number"),
            ({"batch_size": True}, "--batch-size must be a whole number"),
            ({"batch_size": 10**30}, "--batch-size must be a whole number"),
            ({"threads": 0}, "--threads must be a whole number"),
            ({"threads": "x"}, "--threads must be a whole number"),
            ({"threads": 10**9}, "--threads must be from 1 to"),
            ({"device": "gpu"}, "--device must be one of"),
            ({"pair": (0, 0)}, "two different images"),
            ({"pair": (0,)}, "positions of two images"),
            ({"pair": (-1, 3)}, "positions of two images"),
            ({"pair": "ab"}, "positions of two images"),
        ],
    )
    def test_that_have_no_meaning(self, model: onnx.ModelProto, options: dict, what: str) -> None:
        with pytest.raises(UsageError, match=what):
            measured(model, DATA, **options)

    def test_one_tap_needs_no_list(self, model: onnx.ModelProto, expected: Result) -> None:
        assert counts(measured(model, DATA, taps="Relu")) == counts(expected)

    @pytest.mark.parametrize("taps", [(), "Nope", ("*/conv9/*",)])
    def test_taps_that_select_nothing(self, model: onnx.ModelProto, taps) -> None:
        with pytest.raises(ModelError, match="no activations"):
            measured(model, DATA, taps=taps)

    def test_a_pair_that_never_comes(self, model: onnx.ModelProto) -> None:
        result = measured(model, DATA, pair=(0, 99))
        assert "pair-not-used" in {note.slug for note in result.notes}

    @pytest.mark.parametrize("size", [1, 3, 8])
    def test_the_batch_size_changes_no_count(
        self, model: onnx.ModelProto, expected: Result, size: int
    ) -> None:
        result = measured(model, DATA, batch_size=size)
        assert result.run.batch_size == size
        assert counts(result) == counts(expected)

    def test_more_memory_than_there_is(
        self, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cleanai_onnx.runtime.available_memory", lambda: 100)
        with pytest.raises(ModelError, match="asks for"):
            measured(model, DATA)


SOURCES: dict[str, Callable[[Path], Any]] = {
    "no bytes": lambda _: b"",
    "junk": lambda _: b"junk",
    "empty proto": lambda _: onnx.ModelProto(),
    "folder": lambda folder: folder,
    "missing": lambda folder: folder / "m.onnx",
    "missing, as text": lambda folder: str(folder / "m.onnx"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_no_model(tmp_path: Path, source: str) -> None:
    with pytest.raises(ModelError):
        Analyzer(SOURCES[source](tmp_path))


def test_not_a_number_from_the_caller(model: onnx.ModelProto) -> None:
    data = DATA.copy()
    data[0] = np.nan
    data[1, 0, 0, 0] = np.inf
    result = measured(model, data)
    (note,) = (note for note in result.notes if note.slug == "not-a-number")
    assert note.text.startswith("64 activations in 1 layers")


def test_constant_layers() -> None:
    nodes = [node("Mul", ["x", "zero"], ["z"]), node("Relu", ["z"], ["y"])]
    result = measured(build(nodes, {"zero": np.float32(0)}), DATA)
    totals = {(t.metric, t.view): t.total for t in result.tables}
    assert totals["nc", "unit"][1:3] == (0, 640)
    assert totals["sc-suite", "unit"][1:3] == (64, 64)
