"""Where the reference cases lie, and nets to explain."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture(scope="session")
def idc() -> Path:
    folder = SHARED / "golden" / "idc"
    if not folder.is_dir():
        pytest.skip("the reference cases (shared/golden/idc) are not beside the repository")
    return folder
