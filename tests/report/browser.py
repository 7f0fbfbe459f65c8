"""Chromium without a screen, for the tests of pages; no driver is needed."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@dataclass(frozen=True)
class Opened:
    """The document as it is after all scripts, and what they said on the console."""

    document: str
    console: list[str]


def opened(page: bytes, folder: Path, hook: str = "", flags: tuple[str, ...] = ()) -> Opened:
    """Open a page, run `hook` after its own script, and return what became of it.

    The policy of the page is kept; it only gets the hash of the hook.
    """
    assert CHROMIUM is not None
    text = page.decode()
    if hook:
        digest = base64.b64encode(hashlib.sha256(hook.encode()).digest()).decode()
        assert text.count("script-src ") == 1
        text = text.replace("script-src ", f"script-src &#39;sha256-{digest}&#39; ")
        text = text.replace("</body>", f"<script>{hook}</script></body>")
    path = folder / "page.html"
    path.write_text(text)
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1280,900",
            "--virtual-time-budget=2000",
            *flags,
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Opened(done.stdout, said)
