from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs import discover
from cleanai_onnx.result import SkippedImage


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def test_nested_folders_any_case_and_only_images(tmp_path: Path) -> None:
    _touch(
        tmp_path, "b/2.PNG", "b/10.jpg", "a.JPeG", "c.webp", "d.TIF", "e.tiff", "f.gif", "g.bmp",
        "h.jpe", "notes.txt", "x.pdf", ".hidden.png", ".git/x.png", "__MACOSX/._a.png",
    )  # fmt: skip
    suite = discover(tmp_path)
    assert suite.names == (
        "a.JPeG", "b/2.PNG", "b/10.jpg", "c.webp", "d.TIF", "e.tiff", "f.gif", "g.bmp", "h.jpe",
    )  # fmt: skip
    assert suite.found == len(suite) == 9
    assert Path(suite.path(1)) == tmp_path / "b" / "2.PNG"


def test_a_hidden_folder_may_be_the_source(tmp_path: Path) -> None:
    assert discover(_touch(tmp_path / ".data", "a.png")).names == ("a.png",)


def test_the_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch) -> None:
    _touch(tmp_path, "a/1.png", "a/2.png", "b/1.png", "c.png")
    expected = discover(tmp_path).names
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Reversed)
    assert discover(tmp_path).names == expected == ("a/1.png", "a/2.png", "b/1.png", "c.png")


def test_a_single_file_and_several(tmp_path: Path) -> None:
    _touch(tmp_path, "x/b.png", "x/a.png", "y/a.png", "y/c.txt")
    assert discover(tmp_path / "x" / "b.png").names == ("b.png",)
    several = discover([tmp_path / "y", tmp_path / "x" / "b.png", tmp_path / "x" / "b.png"])
    assert several.names == ("x/b.png", "y/a.png")
    assert all(os.path.exists(several.path(i)) for i in range(2))
    # a file that two sources name is one image
    assert discover([tmp_path / "x", str(tmp_path / "x" / "a.png")]).names == ("a.png", "b.png")


def test_relative_sources(tmp_path: Path, monkeypatch) -> None:
    _touch(tmp_path, "x/b.png", "c.png")
    monkeypatch.chdir(tmp_path)
    assert discover("x").source == "x"
    assert discover("c.png").names == ("c.png",)
    assert discover(["x/b.png", "c.png"]).names == ("c.png", "x/b.png")
    assert discover("*.png").names == ("c.png",)
    assert discover(".").names == ("c.png", "x/b.png")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ("1.png",)),
        ("**/*.png", ("1.png", "a/2.png", "a/b/3.png", "a/b/test/4.png")),
        ("**", ("1.png", "a/2.png", "a/b/3.png", "a/b/5.jpg", "a/b/test/4.png")),
        ("*/*.png", ("a/2.png",)),
        ("a/*/test/*.png", ("b/test/4.png",)),
        ("a/b/[35].*", ("3.png", "5.jpg")),
        ("a/**/test/**/*.png", ("b/test/4.png",)),
        ("**/**/?.jpg", ("a/b/5.jpg",)),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, names: tuple[str, ...]) -> None:
    _touch(tmp_path, "1.png", "a/2.png", "a/b/3.png", "a/b/test/4.png", "a/b/5.jpg", "a/n.txt")
    assert discover(f"{tmp_path}/{pattern}").names == names


def test_a_pattern_of_many_stars_costs_little(tmp_path: Path) -> None:
    deep = "/".join("abcdefghijklmnopqrst")
    _touch(tmp_path, f"{deep}/1.png")
    with pytest.raises(ImageError, match="matches no image"):
        discover(f"{tmp_path}/" + "**/*/" * 15 + "no.png")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    _touch(tmp_path, "a[1].png", "a1.png")
    assert discover(tmp_path / "a[1].png").names == ("a[1].png",)


def test_links_are_followed_once(tmp_path: Path) -> None:
    _touch(tmp_path, "real/1.png")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "all").symlink_to(tmp_path / "real")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    outside = _touch(tmp_path.parent / f"{tmp_path.name}-outside", "2.png")
    (tmp_path / "linked").symlink_to(outside)
    (tmp_path / "linked again").symlink_to(outside)
    assert discover(tmp_path).names == ("linked/2.png", "real/1.png", "self.png")


def test_what_is_called_like_an_image_is_found_so_that_it_can_be_reported(tmp_path: Path) -> None:
    _touch(tmp_path, "ok.png", "folder.png/inside.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        path = tmp_path / "s.png"
        if len(str(path)) > 100:
            pytest.skip("the temporary folder's path is too long for a socket")
        server.bind(str(path))
        assert discover(tmp_path).names == (
            "broken.png",
            "folder.png/inside.png",
            "ok.png",
            "s.png",
        )


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch) -> None:
    _touch(tmp_path, "ok.png", "secret/a.png")
    scandir = os.scandir

    def refuse(path: str):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    suite = discover(tmp_path)
    assert suite.names == ("ok.png",)
    assert suite.unreadable == (SkippedImage("secret/", "permission denied"),)


@pytest.mark.parametrize(
    ("make", "source", "message"),
    [
        ((), "gone", r"'.*gone' does not exist"),
        ((), "gone.npy", r"gone\.npy' does not exist"),
        ((), "gone/*.png", r"folder '.*gone' of the pattern .* does not exist"),
        (("a/b.txt",), "a", r"holds no image: 1 other file only \(supported: png, jpg"),
        (("a/b/c/.x.png",), "a", "holds no image: it is empty"),
        (("a.doc",), "a.doc", "not of a supported kind"),
        (("a.txt",), "a.txt", "names no image: write a path on each line"),
        (("a.png",), "*.jpg", "matches no image"),
    ],
)
def test_nothing_found(tmp_path: Path, make, source: str, message: str) -> None:
    _touch(tmp_path, *make)
    with pytest.raises(ImageError, match=message):
        discover(tmp_path / source)


@pytest.mark.parametrize("source", ["", [], [""]])
def test_no_source(source) -> None:
    with pytest.raises(ImageError, match="No images were named"):
        discover(source)


def test_names_are_harmless(tmp_path: Path) -> None:
    name = "a\x1b[2J\n\u202e.png"
    Image.new("L", (2, 2)).save(tmp_path / name)
    suite = discover(tmp_path)
    assert suite.name(0) == r"a\x1b[2J\x0a\u202e.png"
    assert os.path.exists(suite.path(0))


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    raw = os.path.join(os.fsencode(tmp_path), b"\xff\xfe.png")
    try:
        with open(raw, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    suite = discover(tmp_path)
    assert suite.names == (r"\xff\xfe.png",)
    assert os.path.exists(suite.path(0))


def test_limit_and_seed(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{n}.png" for n in range(30)))
    suite = discover(tmp_path, limit=5, seed=1)
    assert (len(suite), suite.found) == (5, 30)
    assert suite.names == discover(tmp_path, limit=5, seed=1).names
    assert suite.names != discover(tmp_path, limit=5, seed=2).names


class TestLists:
    def test_a_list_names_files_folders_and_patterns(self, tmp_path: Path, monkeypatch) -> None:
        _touch(tmp_path, "a/x.png", "a/y.png", "b/1.png", "b/2.jpg", "c [1].png")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "list.txt").write_text("a/x.png\r\n\nb\nc [1].png\nb/*.jpg\n")
        suite = discover("list.txt")
        assert suite.files == ("a/x.png", "b/1.png", "b/2.jpg", "c [1].png")
        assert suite.source == "list.txt"
        assert discover(["list.txt", "a"]).files[1] == "a/y.png"

    def test_what_is_no_list(self, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        for content, why in (
            (b"gone.png\n", r"'gone\.png' does not exist"),
            (b"a\0b\n", "zero byte"),
            (b" \n\n", "names no image"),
        ):
            path.write_bytes(content)
            with pytest.raises(ImageError, match=why):
                discover(path)
