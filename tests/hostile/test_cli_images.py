"""Images that mislead, through the whole command line."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx.inputs import streaming
from tests.cli.material import Command, images, strict_json

QUIET = ("--preset", "unit", "--quiet", "--output", "o")
RESULT = Path("o/Analysis_m.json")


def used_and_skipped() -> tuple[int, dict[str, str]]:
    facts = strict_json(RESULT)["images"]
    return facts["used"], {one["path"]: one["reason"] for one in facts["skipped"]}


def bomb(path: str) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("missing", "'missing' does not exist"),
        ("", "No images were named"),
        ("a\0b", "does not exist"),
        ("new\nline", "does not exist"),
        (os.fsdecode(b"\xff"), "does not exist"),
        ("m.onnx", "not of a supported kind"),
        ("/dev/null", "not of a supported kind"),
        ("im/*.jpg", "matches no image"),
        ("missing/*.png", "does not exist"),
        ("missing.npy", "does not exist"),
    ],
)
def test_a_source_that_is_none(command: Command, source: str, what: str) -> None:
    assert what in command.refused(3, "m.onnx", source, *QUIET)


def test_an_empty_folder(command: Command) -> None:
    Path("empty").mkdir()
    assert "'empty' holds no image: it is empty" in command.refused(3, "m.onnx", "empty", *QUIET)


def test_only_broken_images(command: Command) -> None:
    for number in range(3):
        Path(images("broken", 1), f"b{number}.png").write_bytes(b"text")
    Path("broken/i0.png").unlink()
    text = command.refused(3, "m.onnx", "broken", *QUIET)
    assert text.startswith("None of the 3 images of broken can be used; 'b0.png': ")


def test_an_image_bomb(command: Command) -> None:
    bomb("bomb.png")
    text = command.refused(3, "m.onnx", "bomb.png", *QUIET)
    assert text.startswith("The only image of bomb.png cannot be used; 'bomb.png': ")
    assert "100000 x 100000 pixels" in text


class TestSomeBroken:
    @pytest.fixture(autouse=True)
    def broken(self, command: Command) -> None:
        images("some", 6)
        Path("some/i1.png").write_bytes(b"text")
        Path("some/i2.png").write_bytes(b"")
        bomb("some/i3.png")
        cut = Path("some/i4.png")
        cut.write_bytes(cut.read_bytes()[:60])

    def test_are_skipped_and_named(self, command: Command) -> None:
        out = command.done("m.onnx", "some", "--preset", "unit", "--output", "o").out
        used, skipped = used_and_skipped()
        assert used == 2
        assert list(skipped) == ["i1.png", "i2.png", "i3.png", "i4.png"]
        assert "Skipped images: 4" in out
        assert "i1.png: it is not a PNG" in out
        rows = Path("o/Analysis_m.csv").read_text(encoding="utf-8").splitlines()
        assert [row.split(",")[:2] for row in rows[1:]] == [["0", "i0.png"], ["5", "i5.png"]]

    def test_fail_a_strict_run(self, command: Command) -> None:
        text = command.refused(3, "m.onnx", "some", *QUIET, "--strict")
        assert text.startswith("The image 'i1.png' cannot be used: ")

    def test_cannot_be_compared(self, command: Command) -> None:
        command.done("m.onnx", "some", *QUIET, "--pair", "i0.png", "i2.png")
        notes = {note["slug"] for note in strict_json(RESULT)["notes"]}
        assert "pair-not-used" in notes

    def test_are_no_part_of_the_first_pair(self, command: Command) -> None:
        command.done("m.onnx", "some", *QUIET)
        result = strict_json(RESULT)
        (table,) = (t for t in result["tables"] if (t["metric"], t["view"]) == ("sc", "unit"))
        assert table["total"][2] == 64


class TestPair:
    @pytest.mark.parametrize(
        ("pair", "what"),
        [
            (("i0.png", "nope.png"), "No image of im is called 'nope.png'"),
            (("i0.png", "i9.png"), "; did you mean"),
            (("i0.png", "i0.png"), "--pair needs two different images."),
            (("", "i0.png"), "No image of im is called ''"),
            (("\x1b[31m", "i0.png"), "No image of im is called"),
        ],
    )
    def test_that_is_none(self, command: Command, pair: tuple[str, str], what: str) -> None:
        assert what in command.refused(2, "m.onnx", "im", *QUIET, "--pair", *pair)

    def test_ambiguous(self, command: Command) -> None:
        images("two/a", 2)
        images("two/b", 2)
        text = command.refused(2, "m.onnx", "two", *QUIET, "--pair", "i0.png", "i1.png")
        assert "the end of 2 paths" in text
        command.done("m.onnx", "two", *QUIET, "--pair", "a/i0.png", "b/i0.png")

    def test_left_out_by_limit(self, command: Command) -> None:
        images("many", 12)
        names = [f"i{number}.png" for number in range(12)]
        # Whichever two the seed chose, the first ten of twelve hold one that it did not choose.
        refused = [
            pair
            for pair in zip(names[:4], names[4:8], strict=True)
            if command("m.onnx", "many", *QUIET, "--limit", "2", "--pair", *pair).code == 2
        ]
        assert len(refused) >= 2
        text = command.refused(2, "m.onnx", "many", *QUIET, "--limit", "2", "--pair", *refused[0])
        assert "among the 2 of 12 that --limit chose" in text

    def test_by_a_name_that_is_printed_otherwise(self, command: Command) -> None:
        os.rename("im/i0.png", "im/new\nline.png")
        command.done("m.onnx", "im", *QUIET, "--pair", "new\nline.png", "i1.png")
        first = strict_json(RESULT)["tables"]
        command.done("m.onnx", "im", *QUIET, "--pair", "new\\x0aline.png", "i1.png")
        assert strict_json(RESULT)["tables"] == first


@pytest.mark.parametrize("bounds", ["3", "4", "1000000"])
def test_more_bounds_than_images(command: Command, bounds: str) -> None:
    command.done("m.onnx", "im", *QUIET, "--bounds-from", bounds)
    notes = {note["slug"] for note in strict_json(RESULT)["notes"]}
    assert "no-image-after-bounds" in notes


@pytest.mark.parametrize("count", [1, 2])
def test_few_images(command: Command, count: int) -> None:
    images("few", count)
    command.done("m.onnx", "few", *QUIET)
    assert used_and_skipped() == (count, {})


def test_names_of_every_kind(command: Command) -> None:
    names = ["a b.png", "ü😀.png", "new\nline.png", "\x1b[31m.png", "[red]x.png", "=f.PNG",
             "x" * 200 + ".png", "q'uo\"te.png", os.fsdecode(b"\xff\xfe.png"),
             "\u202egnp.png"]  # fmt: skip
    Path("names").mkdir()
    for name in names:
        shutil.copy("im/i0.png", Path("names") / name)
    out = command.done("m.onnx", "names", "--preset", "unit", "--output", "o").out
    assert all(line.isprintable() for line in out.splitlines())
    assert used_and_skipped() == (len(names), {})
    table = Path("o/Analysis_m.csv").read_text(encoding="utf-8")
    assert all(line.isprintable() for line in table.split("\n"))
    assert "'=f.PNG" in table


def test_a_name_that_is_a_pattern(command: Command) -> None:
    shutil.copy("im/i0.png", "im/[a]*.png")
    command.done("m.onnx", "im/[a]*.png", *QUIET)
    assert used_and_skipped() == (1, {})


def test_pictures_of_every_kind(command: Command) -> None:
    folder = Path("kinds")
    folder.mkdir()
    kinds = {"L": "png", "LA": "png", "RGBA": "png", "P": "png", "1": "png", "I;16": "png",
             "CMYK": "jpg", "RGB": "gif", "YCbCr": "jpeg", "F": "tiff", "LAB": "tif"}  # fmt: skip
    for mode, suffix in kinds.items():
        Image.new(mode, (9, 7)).save(folder / f"{mode.replace(';', '_')}.{suffix}")
    command.done("m.onnx", "kinds", *QUIET)
    used, skipped = used_and_skipped()
    assert used == len(kinds) - 2
    assert set(skipped) == {"F.tiff", "LAB.tif"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_links_and_pipes(command: Command) -> None:
    os.symlink("../im", "im/self")
    os.symlink("loop.png", "im/loop.png")
    os.symlink("nothing", "im/dangling.png")
    os.mkfifo("im/pipe.png")
    command.done("m.onnx", "im", *QUIET)
    used, skipped = used_and_skipped()
    assert used == 3
    assert set(skipped) == {"loop.png", "dangling.png", "pipe.png"}


def test_several_sources(command: Command) -> None:
    images("more", 2)
    command.done("m.onnx", "im", "more", "im/i0.png", "mo*/i1.png", *QUIET)
    assert used_and_skipped() == (5, {})


def test_images_that_vanish_during_the_run(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("go", 6)
    load = streaming.load_image

    def vanishing(suite, index, *rest):
        if index == 5:
            Path(suite.path(index)).unlink()
        image = load(suite, index, *rest)
        Path(suite.path(index)).unlink()
        return image

    monkeypatch.setattr(streaming, "load_image", vanishing)
    command.done("m.onnx", "go", *QUIET)
    used, skipped = used_and_skipped()
    assert used == 5
    assert skipped == {"i5.png": "the file does not exist"}
    # Nor is there a file any more to make a thumbnail of.
    assert all(one["thumbnail"] is None for one in strict_json(RESULT)["featured"])


ARRAYS: dict[str, np.ndarray] = {
    "wrong shape": np.zeros((5, 3, 8, 8), np.float32),
    "objects": np.array([1, "a"], object),
    "complex": np.zeros((5, 1, 8, 8), np.complex64),
    "no rows": np.zeros((0, 1, 8, 8), np.float32),
    "integers": np.zeros((5, 1, 8, 8), np.int64),
    "one number": np.float32(3),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_an_array_that_does_not_fit(command: Command, case: str) -> None:
    np.save("a.npy", ARRAYS[case])
    assert "a.npy" in command.refused(3, "m.onnx", "a.npy", "--quiet")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\0", b"PK\x03\x04"])
def test_a_file_that_is_no_array(command: Command, name: str, content: bytes) -> None:
    Path(name).write_bytes(content)
    assert "cannot be read" in command.refused(3, "m.onnx", name, "--quiet")


def test_arrays_and_images_do_not_mix(command: Command) -> None:
    np.save("a.npy", np.zeros((2, 1, 8, 8), np.float32))
    assert "the only source" in command.refused(3, "m.onnx", "a.npy", "im", *QUIET)


class TestArrays:
    ready = np.random.default_rng(0).random((5, 1, 8, 8))

    def test_ready(self, command: Command) -> None:
        np.save("a.npy", self.ready.astype(np.float32))
        np.savez("b.npz", images=self.ready)
        command.done("m.onnx", "a.npy", "--quiet", "--output", "o")
        assert used_and_skipped() == (5, {})
        first = strict_json(RESULT)["tables"]
        command.done(
            "m.onnx", "b.npz", "--quiet", "--output", "o", "--pair", "b.npz[0]", "b.npz[1]"
        )
        totals = [table["total"] for table in strict_json(RESULT)["tables"]]
        assert totals == [table["total"] for table in first]

    def test_pixels_need_preprocessing(self, command: Command) -> None:
        np.save("p.npy", (self.ready[:, 0] * 255).astype(np.uint8))
        assert "--preset" in command.refused(2, "m.onnx", "p.npy", "--quiet")
        command.done("m.onnx", "p.npy", *QUIET)
        assert used_and_skipped() == (5, {})

    def test_not_a_number(self, command: Command) -> None:
        np.save("n.npy", np.full((5, 1, 8, 8), np.nan, np.float32))
        command.done("m.onnx", "n.npy", "--quiet", "--output", "o")
        assert "not-a-number" in {note["slug"] for note in strict_json(RESULT)["notes"]}
