"""The subset of parts is that of one run over all images, from disk and after a kill too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx.coverage import ProfileParameters
from cleanai_onnx.errors import UsageError
from cleanai_onnx.jobs.combining import _paths, with_subset
from cleanai_onnx.states.merging import merge
from cleanai_onnx.states.part import Part
from cleanai_onnx.states.storage import load, save
from tests.states.parts import IMAGES, analyzer, images, made_result
from tests.states.test_storage import Members, array, changed, members, setting, written

OF_A_RUN = ("nbc/", "adds idc")
"""Scores that are known of one run only."""
MANY = ProfileParameters(sections=10, important=(2, 4), clusters=(3, 3))
"""More combinations than there are images, so that they are numbered as they come."""


def measured(first: int, last: int, **options: Any) -> Part:
    made = analyzer(**({"subset": True, "profile_parameters": MANY} | options))
    made.prepare((1, 8, 8), most=last - first)
    made.update(images()[first:last], [f"image {index}" for index in range(first, last)])
    return made.part(made_result(made), positions=last - first)


_PARTS: dict[tuple[int, int], Part] = {}


def part(first: int, last: int) -> Part:
    if (first, last) not in _PARTS:
        _PARTS[first, last] = measured(first, last)
    return _PARTS[first, last]


def found_in(one: Part) -> dict[str, Any]:
    """Return the subset of a part and what it says of each image, `adds` included."""
    one, columns = with_subset(one)
    assert one.result.subset is not None
    scores = [i for i, name in enumerate(one.facts.scores) if not name.startswith(OF_A_RUN)]
    model = np.concatenate([rows.model for rows in one.images.rows()])[:, scores]
    featured = [
        (
            image.path,
            image.role,
            {n: v for n, v in image.scores.items() if not n.startswith(OF_A_RUN)},
        )
        for image in one.result.featured
    ]
    return {
        "subset": one.result.subset,
        "columns": {name: repr(values.tolist()) for name, values in columns.items()},
        "scores": [one.facts.scores[i] for i in scores],
        "model": repr(model.tolist()),
        "featured": featured,
    }


def test_there_are_more_combinations_than_images() -> None:
    subset = with_subset(part(0, IMAGES))[0].result.subset
    assert subset is not None
    (idc,) = [one for one in subset.criteria if one.metric == "idc"]
    assert idc.total > IMAGES and idc.covered > 0
    assert part(0, IMAGES).covers.items.combinations  # type: ignore[union-attr]


@pytest.mark.parametrize("places", [(6,), (4, 7)])
def test_a_split_gives_the_subset_of_one_run(places: tuple[int, ...]) -> None:
    parts = [part(*pair) for pair in pairwise([0, *places, IMAGES])]
    wanted = found_in(part(0, IMAGES))
    assert found_in(merge(parts)) == wanted
    if len(parts) > 2:
        assert found_in(merge([parts[0], merge(parts[1:])])) == wanted


def test_stored_parts_give_the_subset_of_one_run(tmp_path: Path) -> None:
    stored = [
        load(save(part(*ends), tmp_path / f"{ends[0]}")) for ends in ((0, 4), (4, 7), (7, 11))
    ]
    left = load(save(merge(stored[:2]), tmp_path / "left"))
    wanted = found_in(part(0, IMAGES))
    assert found_in(merge([left, stored[2]])) == wanted
    # A state that is alone says what its run has said, and is written again as it is.
    whole = load(save(part(0, IMAGES), tmp_path / "whole"))
    assert found_in(merge([whole])) == wanted
    again = save(whole, tmp_path / "again")
    assert again.read_bytes() == (tmp_path / "whole").read_bytes()


def test_what_differs_is_named() -> None:
    for options, why in (
        ({"subset": ["kmnc"]}, r"--subset \(what it keeps\) is kmnc/channel there and nc-suite/"),
        ({"subset": False}, "is not set there"),
    ):
        with pytest.raises(UsageError, match=why):
            merge([part(0, 4), measured(4, 6, **options)])


NOT_FITTING: dict[str, tuple[Callable[[Members], Members], str]] = {
    "criteria": (
        changed("state.json", setting("covers", "criteria", 0, "metric", value="sc-suite")),
        "unknown scores|no such criterion",
    ),
    "parts": (
        changed("state.json", setting("covers", "criteria", 0, "parts", value=[10**9])),
        "something else than there is",
    ),
    "family": (
        changed("state.json", setting("covers", "criteria", 0, "family", value=1)),
        "something else than there is|unknown scores",
    ),
    "most": (changed("state.json", setting("covers", "most", value=0)), "something else"),
    "fewer": (changed("state.json", setting("covers", "most", value=1)), "none that there are"),
    "no list": (changed("metrics.json", setting("combinations", value=[])), "other parts"),
    "combinations": (
        array("metrics.combinations.0", np.array([0, 1, 10**6])),
        "none that there are",
    ),
    "twice": (array("metrics.combinations.0", np.array([0, 0])), "none that there are"),
    "not listed": (array("metrics.combinations.0", np.array([], np.int64)), "not listed"),
    "form": (array("covers.forms", np.full(6, 9, np.uint8)), "unknown form"),
    "counts": (array("covers.counts", np.full(6, 2**31, np.uint32)), "is wanted"),
    "fewer images": (array("covers.forms", np.zeros(5, np.uint8)), "is wanted"),
}


@pytest.mark.parametrize("name", NOT_FITTING)
def test_what_does_not_fit(name: str, tmp_path: Path) -> None:
    edit, why = NOT_FITTING[name]
    good = save(part(0, 6), tmp_path / "good.state")
    bad = written(tmp_path / "bad.state", edit(members(good)))
    with pytest.raises(UsageError, match=f"bad.state is no usable state: .*({why})"):
        with_subset(load(bad))


@pytest.mark.parametrize("word", [0, 10**6, 2**32 - 1])
def test_items_that_are_none(word: int, tmp_path: Path) -> None:
    """Every set says that its items are words, and these are not ascending, or too large."""
    made = part(0, 6)
    content = members(save(made, tmp_path / "good.state"))
    content |= array("covers.forms", np.zeros(6, np.uint8))(content)
    content |= array("covers.counts", np.full(6, 2, np.uint32))(content)
    words = np.full(12, word, np.uint32).view(np.uint8)
    bad = written(tmp_path / "bad.state", array("covers.content", words)(content))
    with pytest.raises(UsageError, match="no set of the items that there are"):
        with_subset(load(bad))


def test_facts_without_covers_are_those_of_before(tmp_path: Path) -> None:
    made = analyzer()
    made.update(images()[:4])
    path = save(made.part(made_result(made), positions=4), tmp_path / "one.state")
    content = members(path)
    facts = json.loads(content["state.json"])
    del facts["covers"]
    older = written(tmp_path / "older.state", {**content, "state.json": json.dumps(facts).encode()})
    assert load(older).facts == replace(load(path).facts)
    with pytest.raises(UsageError, match="do not have what each image covers"):
        cleanai_onnx.combine([older], subset_file=tmp_path / "keep.txt")


@pytest.mark.parametrize("name", ["a\\x0ab", "long…name"])
def test_names_that_are_no_paths_are_not_listed(name: str, tmp_path: Path) -> None:
    facts = replace(part(0, 6).facts, root="/data")
    assert _paths(facts, ["a/b.png"]) == ["/data/a/b.png"]
    with pytest.raises(UsageError, match="does not have the path of"):
        _paths(facts, ["a/b.png", name])
    with pytest.raises(UsageError, match=r"does not have the path of a/b\.png"):
        _paths(replace(facts, root=""), ["a/b.png"])
    path = save(part(0, 6), tmp_path / "one.state")  # of arrays
    with pytest.raises(UsageError, match="only its name"):
        cleanai_onnx.combine([path], subset_file=tmp_path / "k.txt", per_image=tmp_path / "i.csv")
    assert list(tmp_path.iterdir()) == [path]
