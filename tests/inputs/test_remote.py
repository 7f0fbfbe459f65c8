"""Images at URLs, from servers on this machine's loopback."""

from __future__ import annotations

import http.server
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inputs import discover, remote
from cleanai_onnx.inputs.decoding import UnusableImageError, load_image

fsspec = pytest.importorskip("fsspec", reason="needs the extra `remote`")
pytest.importorskip("aiohttp", reason="needs the extra `remote`")


def _png(value: int, noise: bool = False) -> bytes:
    stream = io.BytesIO()
    rng = np.random.default_rng(value)
    pixels = rng.integers(0, 256, (64, 64, 3), np.uint8) if noise else np.full((5, 4, 3), value)
    Image.fromarray(pixels.astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and parts of files where `ranges` is set."""

    ranges = True
    sent: list[int]
    fail: dict[str, int]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            (super().do_GET if body else super().do_HEAD)()
            return
        if body and self.fail.get(path.name, 0) > 0:
            self.fail[path.name] -= 1
            self.send_error(503)
            return
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        whole = len(data)
        if match and self.ranges:
            first, last = int(match[1]), int(match[2] or whole - 1)
            data = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{whole}")
        else:
            self.send_response(200)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
            self.sent.append(len(data))

    def log_message(self, *_: object) -> None:
        pass


class Site:
    """A folder and the URL at which it is served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Ports are reused, and fsspec remembers what it listed.
        fsspec.filesystem("http").invalidate_cache()
        self.handler = type("Own", (Handler,), {"sent": [], "fail": {}})
        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), lambda *args: self.handler(*args, directory=str(folder))
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.server.shutdown()
    site.server.server_close()


def test_a_folder_over_http(site: Site) -> None:
    (site.folder / "a").mkdir()
    for number in (2, 10):
        (site.folder / "a" / f"{number}.png").write_bytes(_png(number))
    (site.folder / "notes.txt").write_text("x")
    suite = discover(f"{site.url}/")
    assert suite.names == ("a/2.png", "a/10.png")
    assert np.asarray(load_image(suite, 1, "RGB"))[0, 0, 0] == 10


def test_single_objects_and_lists_of_them(site: Site, tmp_path: Path) -> None:
    for number in (1, 2):
        (site.folder / f"{number}.png").write_bytes(_png(number))
    single = discover(f"{site.url}/2.png")
    assert single.names == ("2.png",)
    assert single.path(0) == f"{site.url}/2.png"
    suite = discover([f"{site.url}/2.png", f"{site.url}/1.png"])
    assert suite.names == ("1.png", "2.png")
    listing = tmp_path / "list.txt"
    listing.write_text(f"{site.url}/1.png\n{site.url}/2.png\n")
    assert discover(listing).names == ("1.png", "2.png")


def test_of_a_zip_file_only_what_is_used_comes_over(site: Site) -> None:
    with zipfile.ZipFile(site.folder / "x.zip", "w") as archive:
        for number in range(900):
            archive.writestr(f"{number}.png", _png(number, noise=True))
    size = (site.folder / "x.zip").stat().st_size
    assert size > 10_000_000
    suite = discover(f"{site.url}/x.zip")
    assert len(suite) == 900
    expected = Image.open(io.BytesIO(_png(450, noise=True)))
    assert np.array_equal(np.asarray(load_image(suite, 450, "RGB")), np.asarray(expected))
    # fsspec reads blocks of five megabytes: one at the end for the directory, one for the image.
    assert sum(site.handler.sent) < size


def test_a_server_that_sends_files_only_whole_is_refused(site: Site) -> None:
    site.handler.ranges = False
    with zipfile.ZipFile(site.folder / "x.zip", "w") as archive:
        archive.writestr("1.png", _png(1))
    with pytest.raises(ImageError, match="download it first"):
        discover(f"{site.url}/x.zip")


def test_a_failure_of_the_moment_is_asked_again_and_a_lasting_one_named(site: Site) -> None:
    (site.folder / "1.png").write_bytes(_png(1))
    suite = discover(f"{site.url}/1.png")
    site.handler.fail["1.png"] = 2
    assert load_image(suite, 0, "RGB").size == (4, 5)
    site.handler.fail["1.png"] = 3
    with pytest.raises(UnusableImageError, match="cannot be fetched"):
        load_image(suite, 0, "RGB")
    (site.folder / "1.png").unlink()
    with pytest.raises(UnusableImageError, match="does not exist"):
        load_image(suite, 0, "RGB")


def test_nothing_there_and_nobody_there(site: Site) -> None:
    with pytest.raises(ImageError, match=r"nothing at|cannot be read"):
        discover(f"{site.url}/gone.png")
    with pytest.raises(ImageError, match=r"cannot be read|nothing at"):
        discover("http://127.0.0.1:9/x.png")


def test_kinds_of_urls_that_nobody_knows() -> None:
    with pytest.raises((ImageError, UsageError), match="nosuch"):
        discover("nosuch://bucket/images")


def test_passwords_and_tokens_stay_out_of_the_report(site: Site) -> None:
    (site.folder / "1.png").write_bytes(_png(1))
    assert remote.without_secrets("https://me:secret@host/a?token=b") == "https://host/a"
    assert remote.without_secrets("s3://bucket/a@b.png") == "s3://bucket/a@b.png"
    with_secret = site.url.replace("http://", "http://me:secret@")
    suite = discover(f"{with_secret}/1.png?token=hidden")
    assert "secret" not in suite.source
    assert "hidden" not in suite.source


def test_memory_and_patterns() -> None:
    files = fsspec.filesystem("memory")
    for name in ("/m/a/1.png", "/m/a/2.png", "/m/b/3.png"):
        files.pipe(name, _png(1))
    assert discover("memory://m").names == ("a/1.png", "a/2.png", "b/3.png")
    assert discover("memory://m/a/*.png").names == ("1.png", "2.png")
    assert discover("memory://m/**/*.png").names == ("a/1.png", "a/2.png", "b/3.png")


def test_an_object_store(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("s3fs", reason="needs s3fs")
    server_module = pytest.importorskip("moto.server", reason="needs moto")
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        files = s3fs.S3FileSystem()
        files.mkdir("bucket")
        for number in (2, 10):
            files.pipe(f"bucket/images/{number}.png", _png(number))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("7.png", _png(7))
        files.pipe("bucket/x.zip", packed.getvalue())

        suite = discover("s3://bucket/images")
        assert suite.names == ("2.png", "10.png")
        assert np.asarray(load_image(suite, 1, "RGB"))[0, 0, 0] == 10
        assert suite.path(0) == "s3://bucket/images/2.png"
        zipped = discover("s3://bucket/x.zip")
        assert np.asarray(load_image(zipped, 0, "RGB"))[0, 0, 0] == 7
        with pytest.raises(ImageError, match=r"nothing at|cannot be read"):
            discover("s3://bucket/gone")
    finally:
        server.stop()
