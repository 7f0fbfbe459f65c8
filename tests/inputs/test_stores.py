"""Archives as sources of images: the same suite, the same pixels, and no way to harm."""

from __future__ import annotations

import io
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs import discover, stored, stores, thumbnail
from cleanai_onnx.inputs.decoding import UnusableImageError, load_image

NAMES = ("b/2.png", "b/10.PNG", "a.png", "notes.txt", ".hidden.png", "__MACOSX/._a.png")
IMAGES = ("a.png", "b/2.png", "b/10.PNG")


def _png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((5, 4, 3), value, np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def _bytes(name: str) -> bytes:
    return _png(sum(name.encode()) % 256)


def _zip(path: Path, names: tuple[str, ...] = NAMES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("empty")
        for name in names:
            archive.writestr(name, _bytes(name))
    return path


def _tar(path: Path, names: tuple[str, ...] = NAMES, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name in names:
            member = tarfile.TarInfo(f"./{name}")
            data = _bytes(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


def _folder(path: Path) -> Path:
    for name in NAMES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(_bytes(name))
    return path


@pytest.mark.parametrize("make", [_zip, _tar])
def test_an_archive_is_the_folder_that_was_packed(make, tmp_path: Path) -> None:
    suffix = make.__name__.removeprefix("_")
    suite = discover(make(tmp_path / f"images.{suffix}"))
    folder = discover(_folder(tmp_path / "folder"))
    assert suite.names == folder.names == IMAGES
    assert suite.found == 3
    for index in range(3):
        ours, theirs = load_image(suite, index, "RGB"), load_image(folder, index, "RGB")
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
        assert thumbnail(suite, index) == thumbnail(folder, index)


@pytest.mark.parametrize("make", [_zip, _tar])
def test_threads_read_the_same_archive(make, tmp_path: Path) -> None:
    names = tuple(f"{number}.png" for number in range(60))
    suite = discover(make(tmp_path / f"x.{make.__name__[1:]}", names))
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda index: load_image(suite, index, "RGB"), range(60)))
    for name, image in zip(suite.names, images, strict=True):
        assert np.asarray(image)[0, 0, 0] == sum(name.encode()) % 256


def test_shards_are_one_suite_and_keep_their_names(tmp_path: Path) -> None:
    for number in range(9, 12):
        _tar(tmp_path / f"shard-{number:03d}.tar", (f"{number}.png",))
    expected = ("shard-009.tar/9.png", "shard-010.tar/10.png", "shard-011.tar/11.png")
    assert discover(tmp_path / "shard-*.tar").names == expected
    assert discover(f"{tmp_path}/shard-{{009..011}}.tar").names == expected
    assert discover([tmp_path / f"shard-{number:03d}.tar" for number in (11, 9, 10)]).names == (
        expected
    )
    suite = discover(f"{tmp_path}/shard-{{010..011}}.tar")
    assert suite.names == expected[1:]
    assert np.asarray(load_image(suite, 1, "RGB"))[0, 0, 0] == sum(b"11.png") % 256


def test_archives_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _zip(tmp_path / folder / "x.zip", (f"{folder}.png",))
    suite = discover([tmp_path / "a" / "x.zip", tmp_path / "b" / "x.zip"])
    assert suite.names == ("a/x.zip/a.png", "b/x.zip/b.png")
    assert discover([suite.path(1)]).names == ("b.png",)
    assert np.asarray(load_image(suite, 1, "RGB"))[0, 0, 0] == sum(b"b.png") % 256


def test_members_can_be_named_one_by_one_and_listed(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "x.zip")
    assert discover(f"{archive}/b/2.png").names == ("b/2.png",)
    listing = tmp_path / "list.txt"
    suite = discover(archive)
    listing.write_text("".join(f"{suite.path(index)}\n" for index in (2, 0)))
    assert discover(listing).names == ("a.png", "b/10.PNG")
    with pytest.raises(ImageError, match=r"has no 'c\.png'"):
        discover(f"{archive}/c.png")


def test_what_is_broken_in_an_archive_is_one_image(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", ("a.png", "b.png"))
    data = bytearray(path.read_bytes())
    start = data.find(b"IDAT") if b"IDAT" in data else 60
    data[start : start + 4] = b"\0\0\0\0"
    path.write_bytes(data)
    suite = discover(path)
    with pytest.raises(UnusableImageError, match="truncated or damaged"):
        load_image(suite, 0, "RGB")
    assert load_image(suite, 1, "RGB").size == (4, 5)


def test_a_truncated_tar_says_so_of_the_image(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x.tar", tuple(f"{number}.png" for number in range(100)))
    suite = discover(path)
    path.write_bytes(path.read_bytes()[:50_000])
    assert load_image(suite, 0, "RGB").size == (4, 5)
    with pytest.raises(UnusableImageError, match="truncated"):
        load_image(suite, 99, "RGB")


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(stores, "MOST_BYTES", 50)
    for path in (_zip(tmp_path / "x.zip"), _tar(tmp_path / "x.tar")):
        with pytest.raises(UnusableImageError, match="more than the limit of 50"):
            load_image(discover(path), 0, "RGB")


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", ("a.png",))
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rfind(signature) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(UnusableImageError, match="encrypted"):
        load_image(discover(path), 0, "RGB")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.zip", b"no zip", "is not a zip file"),
        ("x.tar", b"no tar" * 200, "is not a tar file"),
        ("x.tar.gz", b"\x1f\x8b", "compressed tar"),
        ("x.tgz", b"\x1f\x8b", "compressed tar"),
    ],
)
def test_what_is_no_archive(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=message):
        discover(tmp_path / name)


def test_archives_that_hold_nothing_or_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no image"):
        discover(_zip(tmp_path / "x.zip", ("notes.txt",)))
    with pytest.raises(ImageError, match="No such file"):
        discover(tmp_path / "gone.zip")
    with pytest.raises(ImageError, match="matches no file"):
        discover(tmp_path / "*.tar")


def test_archives_and_files_are_not_mixed(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "folder")
    with pytest.raises(ImageError, match="give either the one kind or the other"):
        discover([_zip(tmp_path / "x.zip"), folder])


def test_a_pattern_of_countless_shards_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(stored, "_MOST_SHARDS", 5)
    with pytest.raises(ImageError, match="more than 5 files"):
        discover(f"{tmp_path}/{{0..9999999999}}.tar")


def test_a_folder_called_like_an_archive_is_a_folder(tmp_path: Path) -> None:
    assert discover(_folder(tmp_path / "x.zip")).names == IMAGES


def test_limit_takes_a_part(tmp_path: Path) -> None:
    suite = discover(_zip(tmp_path / "x.zip"), limit=2, seed=1)
    assert (len(suite), suite.found) == (2, 3)
    assert set(suite.names) < set(IMAGES)
