"""Hypotheses: built-in functions, tables, folders, masks, and what is refused."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx import inputs
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inspection import (
    FUNCTIONS,
    Function,
    Seen,
    folder_classes,
    read_masks,
    read_table,
)
from cleanai_onnx.inspection.claims import claims_of, columns_of, groups_of
from cleanai_onnx.inspection.features import HUES

READY = inputs.Unchanged((3, 8, 8), "float32")


def seen(pictures: np.ndarray) -> Seen:
    """Return pictures ``(B, height, width, channels)`` as the batch of a model."""
    data = np.moveaxis(pictures, -1, 1).astype(np.float32)
    return Seen(data, [str(n) for n in range(len(data))], READY)


def value(name: str, picture: np.ndarray) -> Any:
    return FUNCTIONS[name].values(seen(picture[None]))[0]


class TestFunctions:
    def test_brightness_and_contrast(self) -> None:
        picture = np.random.default_rng(0).random((6, 5, 3))
        luma = picture @ [0.299, 0.587, 0.114]
        assert value("brightness", picture) == pytest.approx(luma.mean(), abs=1e-6)
        assert value("contrast", picture) == pytest.approx(luma.std(), abs=1e-6)

    def test_saturation(self) -> None:
        picture = np.random.default_rng(0).random((6, 5, 3))
        chroma = [max(pixel) - min(pixel) for pixel in picture.reshape(-1, 3)]
        assert value("saturation", picture) == pytest.approx(np.mean(chroma), abs=1e-6)
        assert value("saturation", picture[..., :1]) == 0

    def test_edges(self) -> None:
        picture = np.random.default_rng(0).random((6, 7, 1))
        down, across = np.gradient(picture[..., 0])
        expected = np.hypot(down, across)[1:-1, 1:-1].mean()
        assert value("edge-density", picture) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("turn", range(12))
    def test_hue(self, turn: int) -> None:
        colour = colorsys.hsv_to_rgb((turn + 0.2) / 12, 0.8, 0.9)
        picture = np.broadcast_to(colour, (4, 4, 3))
        assert HUES[int(value("dominant-hue", picture))] == HUES[round((turn + 0.2) / 2) % 6]

    def test_no_hue(self) -> None:
        assert HUES[int(value("dominant-hue", np.full((4, 4, 3), 0.5)))] == "gray"
        assert HUES[int(value("dominant-hue", np.full((4, 4, 1), 0.5)))] == "gray"

    @pytest.mark.parametrize("size", [(8, 8), (9, 7)])
    def test_frequency(self, size: tuple[int, int]) -> None:
        picture = np.random.default_rng(1).random((*size, 1))
        power = np.abs(np.fft.fft2(picture[..., 0] - picture.mean())) ** 2
        radius = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None])
        expected = power[radius > 0.25].sum() / power.sum()
        assert value("high-frequency", picture) == pytest.approx(expected, abs=1e-6)
        assert value("high-frequency", np.full((*size, 1), 0.7)) == 0

    def test_the_preprocessing_is_undone(self) -> None:
        how = inputs.Preprocessing(
            (4, 4), "BGR", 1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), layout="NHWC"
        )
        pixels = np.random.default_rng(0).random((2, 4, 4, 3)).astype(np.float32)
        data = (pixels[..., ::-1] - np.float32(how.mean)) / np.float32(how.std)
        found = Seen(data.astype(np.float32), ["a", "b"], how).pictures
        np.testing.assert_allclose(found, pixels, atol=1e-6)

    @pytest.mark.parametrize(
        ("call", "kind", "message"),
        [
            (lambda x: x.mean(), "numeric", "gave the shape"),
            (lambda x: x[:, 0, 0, 0] + 0.5, "binary", "must give 0 or 1"),
            (lambda x: x[:, 0, 0, 0] / 0, "numeric", "not finite"),
            (lambda x: ["a"] * len(x), "numeric", "must give numbers"),
        ],
    )
    def test_a_function_that_does_not_fit(self, call: Any, kind: Any, message: str) -> None:
        with pytest.raises(UsageError, match=message), np.errstate(all="ignore"):
            Function("f", call, kind).values(seen(np.ones((2, 8, 8, 3))))

    def test_categories_of_a_function(self) -> None:
        words = Function("f", lambda x: ["b", "a"], "categorical", ("a", "b"))
        assert words.values(seen(np.ones((2, 8, 8, 3)))).tolist() == [1, 0]
        with pytest.raises(UsageError, match="none of its categories"):
            Function("f", lambda x: ["b", "z"], "categorical", ("a", "b")).values(
                seen(np.ones((2, 8, 8, 3)))
            )
        with pytest.raises(UsageError, match="names its categories"):
            Function("f", len, "categorical")


TABLE = """image,spots,weight,animal,digit:categorical
cats/a.png,1,0.5,cat,3
cats/b.png,no,,dog,12
c.png,true,-2e3,,3
d.png,,7,cat,NA
"""


class TestTables:
    def test_kinds_and_values(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text(TABLE, encoding="utf-8-sig")
        check(read_table(tmp_path / "t.csv"))

    def test_parquet(self, tmp_path: Path) -> None:
        pd = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        (tmp_path / "t.csv").write_text(TABLE)
        pd.read_csv(tmp_path / "t.csv").to_parquet(tmp_path / "t.parquet")
        found = read_table(tmp_path / "t.parquet")
        assert [one.name for one in found] == ["spots", "weight", "animal", "digit"]
        assert found[0].known == {"cats/a.png": 1, "cats/b.png": 0, "c.png": 1}
        (tmp_path / "broken.parquet").write_bytes(b"no")
        with pytest.raises(UsageError, match="cannot read"):
            read_table(tmp_path / "broken.parquet")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty"),
            ("name,a\nx,1\n", "must be called image"),
            ("image\nx\n", "nothing besides"),
            ("image,a\n", "nothing besides"),
            ("image,a\nx,1\nx,0\n", "another image"),
            ("image,a\nx,1,2\n", "row 1 has 3 cells"),
            ("image,a\nx,\n", "has no values"),
            ("image,a,a\nx,1,1\n", "two columns are called a"),
            ("image,a:binary\nx,2\n", "must hold 0 or 1"),
            ("image,a:numeric\nx,inf\n", "finite numbers"),
            ("image,a\nx,word\n", "categories of the hypothesis a is 1"),
            ("image,\nx,1\n", "has no name"),
        ],
    )
    def test_refused(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(UsageError, match=message):
            read_table(tmp_path / "t.csv")

    def test_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(UsageError, match="not a CSV file"):
            read_table(tmp_path / "t.csv")
        with pytest.raises(UsageError, match="cannot read"):
            read_table(tmp_path / "missing.csv")


def check(found: Any) -> None:
    spots, weight, animal, digit = found
    assert (spots.kind, weight.kind, animal.kind, digit.kind) == (
        "binary", "numeric", "categorical", "categorical",
    )  # fmt: skip
    assert spots.known == {"cats/a.png": 1, "cats/b.png": 0, "c.png": 1}
    assert weight.known == {"cats/a.png": 0.5, "c.png": -2000, "d.png": 7}
    assert animal.categories == ("cat", "dog")
    assert (digit.name, digit.categories) == ("digit", ("3", "12"))
    batch = Seen(np.zeros((3, 1)), ["d.png", "cats/b.png", "unknown.png"], READY)
    np.testing.assert_array_equal(digit.values(batch), [np.nan, 1, np.nan])


def test_folders() -> None:
    found = folder_classes(["x/cat/1.png", "x/dog/1.png", "x/cat/2.png"])
    assert found.categories == ("cat", "dog")
    assert list(found.known.values()) == [0, 1, 0]
    with pytest.raises(UsageError, match="do not lie in a folder"):
        folder_classes(["cat/1.png", "1.png"])


def test_claims_and_their_columns() -> None:
    digit = folder_classes(["1/a", "2/b"], "digit")
    claims = claims_of([digit, Function("f", len, "binary")])
    assert [(one.name, one.kind) for one in claims] == [
        ("digit", "categorical"), ("digit=1", "binary"), ("digit=2", "binary"), ("f", "binary"),
    ]  # fmt: skip
    columns = columns_of(claims, np.array([[0, 1], [1, 0], [np.nan, 1]]))
    np.testing.assert_array_equal(
        columns, [[0, 1, 0, 1], [1, 0, 1, 0], [np.nan, np.nan, np.nan, 1]]
    )
    groups = [(rows.tolist(), places) for rows, places in groups_of(columns)]
    assert groups == [([0, 1], [0, 1, 2]), ([0, 1, 2], [3])]
    with pytest.raises(UsageError, match="two hypotheses are called f"):
        claims_of([Function("f", len), Function("f", len)])
    with pytest.raises(UsageError, match="no hypothesis"):
        claims_of([])


class TestMasks:
    def images(self, folder: Path) -> inputs.Suite:
        for name in ("a.png", "sub/b.png", "c.png"):
            path = folder / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 4), (9, 9, 9)).save(path)
        return inputs.discover(folder / "images")

    def mask(self, path: Path, size: tuple[int, int] = (8, 4)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("L", size)
        picture.paste(255, (0, 0, size[0] // 2, size[1]))
        picture.save(path)

    def test_a_folder_for_each_concept(self, tmp_path: Path) -> None:
        suite = self.images(tmp_path)
        self.mask(tmp_path / "masks" / "left" / "a.png")
        self.mask(tmp_path / "masks" / "left" / "sub" / "b.png")
        self.mask(tmp_path / "masks" / "other" / "c.png")
        left, other = read_masks(tmp_path / "masks", suite.names)
        assert (left.name, other.name) == ("left", "other")
        assert set(left.files) == {"a.png", "sub/b.png"}
        how = inputs.Preprocessing((4, 4), "RGB", 1 / 255, resize="shorter-side")
        names = list(suite.names)
        batch = Seen(np.zeros((3, 3, 4, 4)), names, how, suite, range(3))
        pixels = left.pixels(batch)
        # The middle four of eight columns are left by the crop.
        expected = np.zeros((4, 4))
        expected[:, :2] = 1
        np.testing.assert_array_equal(pixels[names.index("a.png")], expected)
        assert np.isnan(pixels[names.index("c.png")]).all()
        values = dict(zip(names, left.values(batch), strict=True))
        assert values["a.png"] == 1
        assert np.isnan(values["c.png"])

    def test_a_folder_that_is_one_concept(self, tmp_path: Path) -> None:
        suite = self.images(tmp_path)
        self.mask(tmp_path / "left" / "a.png")
        (found,) = read_masks(tmp_path / "left", suite.names)
        assert found.name == "left"

    def test_refused(self, tmp_path: Path) -> None:
        suite = self.images(tmp_path)
        with pytest.raises(UsageError, match="no such folder"):
            read_masks(tmp_path / "nothing", suite.names)
        self.mask(tmp_path / "masks" / "left" / "zzz.png")
        with pytest.raises(UsageError, match="no mask is called like an image"):
            read_masks(tmp_path / "masks", suite.names)
        self.mask(tmp_path / "wrong" / "a.png", (4, 4))
        (wrong,) = read_masks(tmp_path / "wrong", suite.names)
        how = inputs.Preprocessing((4, 4), "RGB", 1 / 255)
        batch = Seen(np.zeros((1, 3, 4, 4)), ["a.png"], how, suite, [suite.find("a.png")])
        with pytest.raises(ImageError, match="4 x 4 pixels and its image"):
            wrong.pixels(batch)
        with pytest.raises(UsageError, match="images of a folder"):
            wrong.pixels(Seen(np.zeros((1, 3, 4, 4)), ["a.png"], READY))
