"""States as trees of arrays, through a file and back."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from cleanai_onnx import container, coverage
from cleanai_onnx.container import UnfitError
from tests.coverage.measuring import PARAMETERS, measured
from tests.coverage.suites import TINY, small_suites, thorough


def through_a_file(tree: dict, path: Path) -> dict:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        container.add_tree(archive, "tree", tree)
    with container.opened(path, "tree", "none") as archive:
        return container.read_tree(archive, "tree")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stored") / "tree.zip"


@thorough(15)
@given(arrays=small_suites())
def test_a_state_goes_on_where_it_was_stored(path: Path, arrays: list[np.ndarray]) -> None:
    whole, _ = measured(TINY, arrays)
    half = len(arrays[0]) // 3 * 3 // 2
    before, _ = measured(TINY, [a[:half] for a in arrays])
    tree = through_a_file(coverage.stored(before), path)
    restored = coverage.restored(tree, TINY, PARAMETERS)
    assert coverage.compute(restored) == coverage.compute(before)
    after, _ = measured(TINY, [a[half:] for a in arrays], state=restored)
    # Of the whole suite in one sequence, nbc included.
    assert repr(coverage.compute(after)) == repr(coverage.compute(whole))
    assert coverage.firing(after) == coverage.firing(whole)
    assert (after.nan_values, after.nan_inputs) == (whole.nan_values, whole.nan_inputs)


def test_infinite_sums_are_stored(path: Path) -> None:
    arrays = [np.full((2, *layer.shape), math.inf, np.float32) for layer in TINY]
    state, _ = measured(TINY, arrays)
    tree = through_a_file(coverage.stored(state), path)
    assert tree["unit totals"]["top sum"][0] == "inf"
    restored = coverage.restored(tree, TINY, PARAMETERS)
    assert repr(coverage.compute(restored)) == repr(coverage.compute(state))


def test_a_state_of_other_layers_does_not_fit() -> None:
    tree = coverage.stored(coverage.init(TINY, PARAMETERS))
    for layers in (TINY[:-1], TINY[::-1], (*TINY[:-1], TINY[0])):
        with pytest.raises(UnfitError):
            coverage.restored(tree, layers, PARAMETERS)
