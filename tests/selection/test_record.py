"""What a record keeps, counts and refuses, and that nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanai_onnx.errors import OutputError
from cleanai_onnx.selection import CoverRecord
from tests.selection.brute_force import ITEMS, covered_by, record_of, suites

CATEGORIES = {"low": range(5), "high": range(8, ITEMS)}


@settings(deadline=None)
@given(sets=suites(), cut=st.integers(0, 9))
def test_what_each_image_added(sets, cut):
    added, by_category = [], []
    record = CoverRecord(ITEMS, CATEGORIES)
    for batch in (sets[:cut], sets[cut:]):
        # Unordered and repeated items are a set all the same.
        found = record.append(ragged=[np.array([*items, *items], np.int64) for items in batch])
        added += found.total.tolist()
        by_category += found.by_category.tolist()
    new = [items - covered_by(sets, range(image)) for image, items in enumerate(sets)]
    assert added == [len(items) for items in new]
    inside = [[len(items & set(part)) for part in CATEGORIES.values()] for items in new]
    assert by_category == inside
    whole = covered_by(sets, range(len(sets)))
    assert record.covered == len(whole)
    assert record.covered_by_category == {k: len(whole & set(v)) for k, v in CATEGORIES.items()}
    assert [set(items.tolist()) for items in record] == sets
    assert record.sizes.tolist() == [len(items) for items in sets]


def test_a_matrix_and_ragged_items_together():
    record = CoverRecord(10)
    matrix = np.array([[3, -1], [7, 2]], np.int32)
    assert record.append(matrix, [np.array([1, 3], np.uint64), []]).total.tolist() == [2, 2]
    assert [items.tolist() for items in record] == [[1, 3], [2, 7]]
    assert record.append(matrix).total.tolist() == [0, 0]


def test_by_number_in_any_order():
    record = record_of([{1}, {2, 3}, set()])
    assert [record[image].tolist() for image in (2, 1, 0, 1)] == [[], [2, 3], [1], [2, 3]]
    with pytest.raises(IndexError, match="image 3 of a record of 3"):
        record[3]


@pytest.mark.parametrize(
    ("matrix", "ragged", "sentence"),
    [
        (None, None, "no images were given"),
        (np.array([1]), None, r"shape \(1,\); it must be \(images, items\)"),
        (np.array([[1], [10]]), None, "covers item 10; the 10 items begin at 0"),
        (np.array([[1], [-2]]), None, "covers item -2"),
        (None, [np.array([0]), np.array([-1])], "covers item -1"),
        (None, [np.array([0.5])], "integers, not float64"),
        (None, [np.array([[1]])], r"shape \(1, 1\); give a flat array"),
        (np.array([[1], [2]]), [np.array([1])], "of 2 images, the ragged arrays are of 1"),
    ],
)
def test_a_batch_that_is_refused_leaves_no_trace(matrix, ragged, sentence):
    record = CoverRecord(10)
    with pytest.raises(ValueError, match=sentence):
        record.append(matrix, ragged)
    assert (len(record), record.covered, record.stored_bytes) == (0, 0, 0)


@pytest.mark.parametrize(
    ("items", "categories", "sentence"),
    [
        (-1, None, "number of items is -1"),
        (2**32 + 1, None, "number of items is 4294967297"),
        (5, {"a": range(6)}, "no range of the 5 items"),
        (5, {"a": range(-1, 3)}, "begins before item 0|no range"),
        (5, {"a": range(0, 4, 2)}, "no range of"),
        (5, {"a": range(2, 4), "b": range(3)}, "'a' overlaps another: it begins before item 3"),
    ],
)
def test_what_is_no_record(items, categories, sentence):
    with pytest.raises(ValueError, match=sentence):
        CoverRecord(items, categories)


class TestFile:
    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(OutputError, match="No such file or directory; set TMPDIR"):
            CoverRecord(5, folder=tmp_path / "none")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
    def test_a_full_disk(self, monkeypatch):
        record = CoverRecord(5)
        full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - the record closes it
        monkeypatch.setattr(record, "_file", full)
        with pytest.raises(OutputError, match="No space left on device"):
            record.append(np.array([[1]]))
        assert (len(record), record.covered) == (0, 0)
        record.close()

    @pytest.mark.skipif(os.name != "posix", reason="signals as in POSIX")
    @pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_nothing_is_left_behind(self, tmp_path, number):
        script = (
            "import os, sys, numpy as np\n"
            "from cleanai_onnx.selection import CoverRecord\n"
            "from cleanai_onnx.selection.index import ImageIndex\n"
            "record = CoverRecord(100)\n"
            "record.append(np.arange(100).reshape(2, 50) // 2)\n"
            "index = ImageIndex(record)\n"
            "if len(sys.argv) > 1: os.kill(os.getpid(), int(sys.argv[1]))\n"
        )
        arguments = [] if number is None else [str(int(number))]
        ended = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
        )
        assert (ended.returncode == 0) == (number is None)
        assert list(tmp_path.iterdir()) == []

    def test_closed(self, tmp_path):
        with CoverRecord(5, folder=tmp_path) as record:
            record.append(np.array([[1]]))
        assert list(tmp_path.iterdir()) == []
        assert record.covered == 1
        with pytest.raises(ValueError, match="closed"):
            record[0]


def test_memory_does_not_grow_with_what_images_cover():
    rng = np.random.default_rng(0)
    record = CoverRecord(10**6)
    tracemalloc.start()
    try:
        used = []
        for _ in range(2):
            for _ in range(30):
                record.append(rng.integers(0, 10**6, (10, 5_000)))
            used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # 300 images of 5,000 items are 3 MB in the file.
    assert record.stored_bytes > 5_000_000
    assert used[1] - used[0] < 100_000
