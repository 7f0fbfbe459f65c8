from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cleanai_onnx import inputs
from cleanai_onnx.inputs import decoding
from cleanai_onnx.inputs.manifest import Manifest

HOW = inputs.Preprocessing((8, 8), "gray", 1.0, resize="stretch")


def folder_of_images(folder: Path) -> Path:
    for number, name in enumerate(("b/2.png", "b/10.png", "a.png", "c/twice.png", "c/again.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), min(number, 3) * 60, np.uint8)).save(path)
    return folder


def hashed(suite: inputs.Suite, how: object, **options: object) -> tuple[list[str], str]:
    manifest = Manifest()
    found: dict[int, str] = {}
    with inputs.stream(suite, how, 2, hashing=True, **options) as batches:  # type: ignore[arg-type]
        for batch in batches:
            assert len(batch.hashes) == batch.valid
            manifest.add(batch.indexes, batch.hashes)
            found |= dict(zip(batch.indexes, batch.hashes, strict=True))
    return [found[index] for index in sorted(found)], manifest.sha256(suite.full_name)


@pytest.mark.parametrize("threads", [0, 3])
def test_a_folder_has_the_hash_that_the_shell_gives(tmp_path: Path, threads: int) -> None:
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum")
    suite = inputs.discover(folder_of_images(tmp_path))
    hashes, manifest = hashed(suite, HOW, threads=threads)
    assert hashes == [
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in suite.files
    ]
    program = "(find * -type f | xargs sha256sum) | LC_ALL=C sort | sha256sum"
    done = subprocess.run(program, shell=True, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().split()[0] == manifest


def test_a_large_file_is_hashed_without_being_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = inputs.discover(folder_of_images(tmp_path))
    expected = hashed(suite, HOW)
    monkeypatch.setattr(decoding, "_READ_AT_ONCE", 10)
    assert hashed(suite, HOW) == expected


def test_skipped_images_are_not_part_of_it(tmp_path: Path) -> None:
    suite = inputs.discover(folder_of_images(tmp_path))
    _, expected = hashed(suite, HOW)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    assert hashed(inputs.discover(tmp_path), HOW)[1] == expected


@pytest.mark.parametrize("side", [2, 80])  # hashed at once, and in threads
def test_rows_of_arrays_are_hashed_as_they_are(tmp_path: Path, side: int) -> None:
    rows = np.random.default_rng(1).normal(size=(5, 1, side, side)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    suite = inputs.discover(tmp_path / "x.npy")
    ready = inputs.Unchanged((1, side, side), "float32")
    hashes, manifest = hashed(suite, ready)
    assert hashes == [hashlib.sha256(row.tobytes()).hexdigest() for row in rows]
    lines = sorted(f"{one}  x.npy[{number}]\n".encode() for number, one in enumerate(hashes))
    assert manifest == hashlib.sha256(b"".join(lines)).hexdigest()


def test_pixels_are_hashed_before_anything_is_done_to_them(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    np.save(tmp_path / "x.npy", pixels)
    hashes, _ = hashed(inputs.discover(tmp_path / "x.npy"), HOW)
    assert hashes == [hashlib.sha256(row.tobytes()).hexdigest() for row in pixels]


def test_nothing_is_hashed_unless_it_is_asked_for(tmp_path: Path) -> None:
    with inputs.stream(inputs.discover(folder_of_images(tmp_path)), HOW, 5) as batches:
        assert next(batches).hashes == ()


NAMES = st.lists(st.text(st.characters(exclude_characters="\0"), max_size=8), max_size=12)


@given(NAMES, st.randoms())
def test_the_order_does_not_matter_and_the_lines_are_sorted(names, random) -> None:
    names = [name.encode("utf-8", "replace").decode() for name in names]
    # Few different hashes, so that copies occur.
    hashes = [hashlib.sha256(bytes([random.randrange(3)])).hexdigest() for _ in names]
    order = list(range(len(names)))
    random.shuffle(order)
    manifest = Manifest()
    for index in order:
        manifest.add([index], [hashes[index]])
    escaped = [os.fsencode(n).replace(b"\\", b"\\\\").replace(b"\n", b"\\n") for n in names]
    lines = sorted(one.encode() + b"  " + name for one, name in zip(hashes, escaped, strict=True))
    expected = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    assert manifest.sha256(names.__getitem__) == expected
    assert len(manifest) == len(names)
