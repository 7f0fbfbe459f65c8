"""The main job in one call, from paths and from batches."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import cleanai_onnx
from cleanai_onnx import ImageError, Result, UsageError, analyze
from tests.cli.material import DIGITS, LENET, images, relu, save

DATA = np.random.default_rng(0).random((10, 1, 8, 8), dtype=np.float32)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return relu()


def counts(result: Result, *left_out: str) -> list[tuple]:
    """Every exact number; sums of floats depend on their order."""
    return [
        (table.metric, table.view, table.rows, table.total)
        for table in result.tables
        if table.metric not in ("tknc", *left_out)
    ]


@pytest.fixture(scope="module")
def digits() -> list[Path]:
    if not LENET.exists():
        pytest.skip("models/lenet5.onnx is not here")
    return sorted(DIGITS.rglob("*.png"))[::9]


@pytest.fixture(scope="module")
def by_eight(digits: list[Path]) -> Result:
    return analyze(LENET, digits, batch_size=8)


class TestLenet:
    def test_the_layers(self, digits: list[Path], by_eight: Result) -> None:
        assert [layer.op for layer in by_eight.layers] == ["Relu"] * 4
        assert [layer.units for layer in by_eight.layers] == [4704, 3136, 120, 84]
        assert by_eight.table("tc").total[2] == 8044 * len(digits)
        assert by_eight.images.found == by_eight.images.used == len(digits)

    @pytest.mark.parametrize("size", [1, 3])
    def test_the_batch_size_changes_no_count(
        self, digits: list[Path], by_eight: Result, size: int
    ) -> None:
        result = analyze(LENET, digits, batch_size=size)
        assert result.run.batch_size == size
        assert counts(result) == counts(by_eight)
        assert result.firing == by_eight.firing
        assert [image.path for image in result.featured] == [i.path for i in by_eight.featured]

    def test_nor_does_the_order(self, digits: list[Path], by_eight: Result, tmp_path: Path) -> None:
        shuffled = random.Random(0).sample(digits, len(digits))
        for number, path in enumerate(shuffled):
            shutil.copy(path, tmp_path / f"{number:03}.png")
        first, second = (f"{shuffled.index(digits[n]):03}.png" for n in (0, 1))
        result = analyze(LENET, tmp_path, pair=(first, second), batch_size=8)
        # The bounds of nbc are set by whichever images come first.
        assert counts(result, "nbc") == counts(by_eight, "nbc")
        assert result.firing == by_eight.firing


@pytest.fixture(scope="module")
def expected(model: onnx.ModelProto) -> Result:
    return analyze(model, DATA)


class TestBatches:
    @pytest.mark.parametrize(
        "batches",
        [
            [DATA[:4], DATA[4:]],
            [(DATA, np.arange(10))],
            [[DATA[:5], "labels"], [DATA[5:], "labels"]],
            (DATA[n : n + 3] for n in range(0, 10, 3)),
            iter([DATA]),
        ],
        ids=["list", "with labels", "as lists", "generator", "iterator"],
    )
    def test_of_any_iterable(self, model: onnx.ModelProto, expected: Result, batches: Any) -> None:
        assert counts(analyze(model, batches)) == counts(expected)

    def test_a_tensor_is_one_array(self, model: onnx.ModelProto, expected: Result) -> None:
        class Tensor:
            def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
                return DATA

            def __iter__(self):
                raise AssertionError("not a batch of batches")

        assert counts(analyze(model, Tensor())) == counts(expected)

    def test_a_limit_ends_an_endless_loader(self, model: onnx.ModelProto) -> None:
        assert analyze(model, (DATA for _ in iter(int, 1)), limit=25).images.used == 25

    @pytest.mark.parametrize("batches", [[], iter(()), DATA[:0], [DATA[:0]]])
    def test_nothing(self, model: onnx.ModelProto, batches: Any) -> None:
        with pytest.raises(ImageError, match="no input was measured"):
            analyze(model, batches)

    @pytest.mark.parametrize("batches", [None, 5, {"x": DATA}, 1.5])
    def test_what_is_no_batches(self, model: onnx.ModelProto, batches: Any) -> None:
        with pytest.raises(UsageError, match="images must be a folder"):
            analyze(model, batches)

    @pytest.mark.parametrize("batches", [[()], [{"x": DATA}], [None], list(DATA)])
    def test_what_is_no_batch(self, model: onnx.ModelProto, batches: Any) -> None:
        with pytest.raises(ImageError):
            analyze(model, batches)

    @pytest.mark.parametrize(
        ("options", "what"),
        [
            ({"pair": ("a", "b")}, "pair names images of a folder"),
            ({"preset": "unit"}, "fed as they are"),
            ({"preprocessing": {"scale": 1}}, "fed as they are"),
            ({"preprocessing_file": "p.json"}, "fed as they are"),
            ({"limit": 0}, "limit must be at least 1"),
        ],
    )
    def test_options_of_folders(self, model: onnx.ModelProto, options: dict, what: str) -> None:
        with pytest.raises(UsageError, match=what):
            analyze(model, DATA, **options)

    def test_a_loader_that_fails_leaves_nothing(
        self, model: onnx.ModelProto, tmp_path: Path
    ) -> None:
        def loader():
            yield DATA
            raise RuntimeError("no more memory on the loader's side")

        with pytest.raises(RuntimeError, match="loader's side"):
            analyze(model, loader(), per_image=tmp_path / "i.csv", per_layer=tmp_path / "l.csv")
        assert list(tmp_path.iterdir()) == []


class TestPaths:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return Path(images(tmp_path / "im", 4))

    def test_of_every_type(self, folder: Path, tmp_path: Path) -> None:
        file = save(tmp_path / "m.onnx", relu())
        expected = counts(analyze(file, str(folder), preset="unit"))
        for source in (folder, [folder], sorted(folder.iterdir()), str(folder / "*.png")):
            assert counts(analyze(Path(file), source, preset="unit")) == expected
        assert counts(analyze(Path(file).read_bytes(), folder, preset="unit")) == expected

    def test_the_bar_reaches_its_end(self, model: onnx.ModelProto, folder: Path) -> None:
        (folder / "i1.png").write_bytes(b"text")
        steps: list[int] = []

        def progress(total: int):
            steps.append(total)
            return steps.append

        analyze(model, folder, preset="unit", batch_size=2, progress=progress)
        assert steps == [4, 3, 4]

    @pytest.mark.parametrize("pair", ["ab", ("i0.png",), ("i0.png", "i1.png", "i2.png"), ()])
    def test_a_pair_that_is_none(self, model: onnx.ModelProto, folder: Path, pair: Any) -> None:
        with pytest.raises(UsageError, match="pair must be the names of two images"):
            analyze(model, folder, preset="unit", pair=pair)

    def test_a_lost_image_has_no_thumbnail(
        self, model: onnx.ModelProto, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = analyze(model, folder, preset="unit")
        assert all(image.thumbnail for image in result.featured)

        def lost(*_: object) -> bytes:
            raise ImageError("gone")

        monkeypatch.setattr("cleanai_onnx.inputs.thumbnail", lost)
        result = analyze(model, folder, preset="unit")
        assert [image.thumbnail for image in result.featured] == [None] * 4

    def test_a_failed_run_leaves_nothing(self, model: onnx.ModelProto, folder: Path) -> None:
        (folder / "i3.png").write_bytes(b"text")
        table = folder / "new" / "i.csv"
        with pytest.raises(ImageError, match=r"i3\.png"):
            analyze(model, folder, preset="unit", strict=True, batch_size=1, per_image=table)
        assert not table.parent.exists()


def test_the_public_names_are_there() -> None:
    assert all(getattr(cleanai_onnx, name) is not None for name in cleanai_onnx.__all__)
    assert dir(cleanai_onnx) == sorted(cleanai_onnx.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = cleanai_onnx.nonsense
