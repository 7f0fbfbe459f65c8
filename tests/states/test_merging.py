"""Parts that were measured apart are, merged, what one run over all images measures."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx import coverage
from cleanai_onnx.coverage.metric import Card
from cleanai_onnx.errors import UsageError
from cleanai_onnx.states.merging import merge
from cleanai_onnx.states.part import Part
from tests.coverage.suites import thorough
from tests.states.parts import IMAGES, cut, found_in, part, rows_of

cuts = st.lists(st.integers(1, IMAGES - 1), min_size=1, max_size=4, unique=True).map(sorted)
pairs = st.none() | st.sampled_from([(0, 1), (7, 2), (4, 9), (10, 0)])


def agree(one: Part, other: Part) -> bool:
    """Return whether two parts say the same; no comparison of huge texts where they do not."""
    return found_in(one.result) == found_in(other.result) and rows_of(one) == rows_of(other)


def slugs(one: Part) -> set[str]:
    return {note.slug for note in one.result.notes}


@thorough(25)
@given(cuts, pairs)
def test_any_split_gives_what_one_run_gives(
    places: list[int], pair: tuple[int, int] | None
) -> None:
    whole, merged = part(0, IMAGES, pair), merge(cut(places, pair))
    assert agree(merged, whole)
    assert merged.facts.positions == whole.facts.positions
    tables = {table.metric for table in merged.result.tables}
    assert tables == {table.metric for table in whole.result.tables} - {"nbc"}
    assert {"parts-without-bounds", "parts-without-order"} <= slugs(merged)
    assert ("not-a-number" in slugs(merged)) == ("not-a-number" in slugs(whole))


@thorough(10)
@given(cuts.filter(lambda places: len(places) > 1), pairs)
def test_merging_is_associative(places: list[int], pair: tuple[int, int] | None) -> None:
    parts = cut(places, pair)
    left = merge([merge(parts[:-1]), parts[-1]])
    right = merge([parts[0], merge(parts[1:])])
    flat = merge(parts)
    for one in (left, right):
        assert agree(one, flat)
        assert one.result.run.options["parts"] == len(parts)


def test_the_order_of_parts_matters_only_to_positions_and_the_first_pair() -> None:
    parts = cut([3, 7])
    wanted = found_in(merge(parts).result)["tables"]
    names = {metric for metric, card in _cards().items() if card.order_free}
    for order in permutations(parts):
        found = found_in(merge(order).result)["tables"]
        assert set(found) == set(wanted)
        for key, table in found.items():
            if key[0] in names:
                assert table == wanted[key], key


def _cards() -> dict[str, Card]:
    found = {metric.id: metric.card for metric in coverage.METRICS.values()}
    return found | {one.id: one.card for family in coverage.PROFILED for one in family.metrics}


def test_one_part_is_itself_with_all_its_figures() -> None:
    whole = part(0, IMAGES)
    assert merge([whole]) is whole
    assert "nbc" in {table.metric for table in whole.result.tables}


def test_images_of_one_part_in_another_are_noticed() -> None:
    (note,) = [n for n in merge(cut([6])).result.notes if n.slug == "images-in-several-parts"]
    assert note.text.startswith("1 images of one part") and "image 9, as image 4" in note.text
    assert "images-in-several-parts" not in slugs(merge(cut([2])))
    twice = merge([part(0, 6), part(0, 6)])
    (note,) = [n for n in twice.result.notes if n.slug == "images-in-several-parts"]
    assert note.text.startswith("6 images")


def test_a_pair_that_is_not_there_is_said_to_be_missing() -> None:
    merged = merge([part(0, 4, (1, 9)), part(4, 7, (1, 9))])
    assert "pair-not-used" in slugs(merged)
    for table in merged.result.tables:
        if table.metric in ("sc", "vc", "ss"):
            assert table.total is None or table.coverage is None


def test_names_and_positions_are_those_of_the_folder_that_all_share() -> None:
    one, other = (
        replace(made, facts=replace(made.facts, root=root))
        for made, root in ((part(0, 4), "/data/a/x"), (part(4, 7), "/data/b"))
    )
    merged = merge([one, other])
    assert merged.facts.root == "/data"
    names = [name for name, *_ in rows_of(merged)]
    assert names[0] == "a/x/image 0" and names[4] == "b/image 4"
    assert {image.path for image in merged.result.featured} <= set(names)
    assert [image.name for image in merged.pair] == names[:2]


def test_what_differs_is_named() -> None:
    made = part(0, 4)
    facts, result = made.facts, made.result
    for other, why in (
        (replace(facts, parameters=replace(facts.parameters, top_k=5)), "--top-k is 5 there and 3"),
        (replace(facts, profile_digest="x"), "--profile is x there"),
        (replace(facts, pair=("a", "b")), "--pair is a b there"),
        (replace(facts, adjacency=((0, 1),)), "--adjacency is dataflow there and rows here"),
        (replace(facts, layer_scores=()), "--per-image is False there"),
        (
            replace(facts, profile_parameters=replace(facts.profile_parameters, sections=11)),
            "--sections is 11 there and 10 here",
        ),
    ):
        with pytest.raises(UsageError, match=why):
            merge([made, replace(made, facts=other)])
    changed = replace(result, model=replace(result.model, sha256="0" * 64))
    with pytest.raises(UsageError, match=r"b\.state cannot be combined with a\.state: the model"):
        merge([made, replace(made, result=changed)], ["a.state", "b.state"])
    layers = (replace(result.layers[0], name="other"), *result.layers[1:])
    with pytest.raises(UsageError, match=r"layer 0 \(--taps\) is other \[2, 6, 6\] there"):
        merge([made, replace(made, result=replace(result, layers=layers))])


def test_other_versions_are_said() -> None:
    made = part(0, 4)
    run = replace(made.result.run, batch_size=99)
    merged = merge([made, replace(made, result=replace(made.result, run=run))])
    assert any("batch sizes (4; 99)" in note.text for note in merged.result.notes)


def test_sums_are_exact_whatever_the_parts() -> None:
    """Floats added in another order differ; these do not, to the last bit."""
    wanted = found_in(part(0, IMAGES).result)["tables"]["tknc", "unit"].total
    for places in ([1], [5], [2, 4, 6, 8, 10]):
        assert found_in(merge(cut(places)).result)["tables"]["tknc", "unit"].total == wanted
    assert np.isfinite(wanted[1])
