"""Which layers correspond."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.validation.matching import match_layers
from tests.validation.made import layer


def test_by_name_then_label_then_position() -> None:
    old = [layer("a"), layer("b", "m.1"), layer("c", "m.2"), layer("d")]
    new = [layer("a"), layer("x", "m.2"), layer("y", "m.1"), layer("z")]
    found = match_layers(old, new)
    assert [(pair.old, pair.new, pair.by) for pair in found.pairs] == [
        ("a", "a", "name"),
        ("c", "x", "label"),
        ("b", "y", "label"),
        ("d", "z", "position"),
    ]
    assert (found.only_old, found.only_new) == ((), ())


def test_no_position_where_the_counts_differ() -> None:
    found = match_layers([layer("a"), layer("b")], [layer("b"), layer("c"), layer("d")])
    assert found.old_of == {"b": "b"}
    assert (found.only_old, found.only_new) == (("a",), ("c", "d"))


def test_a_label_of_several_layers_decides_nothing() -> None:
    old = [layer("a", "act"), layer("b", "act")]
    new = [layer("x", "act"), layer("y", "act"), layer("z", "act")]
    assert match_layers(old, new).pairs == ()


names = st.lists(st.text("ab", max_size=2), max_size=6, unique=True)
labels = st.sampled_from(["", "m", "n", "o"])


@given(names, names, st.data())
def test_each_layer_is_matched_once_or_named(
    old_names: list[str], new_names: list[str], data: st.DataObject
) -> None:
    old = [layer(name, data.draw(labels)) for name in old_names]
    new = [layer(name, data.draw(labels)) for name in new_names]
    found = match_layers(old, new)
    assert sorted([*(pair.old for pair in found.pairs), *found.only_old]) == sorted(old_names)
    assert sorted([*(pair.new for pair in found.pairs), *found.only_new]) == sorted(new_names)
    common = {*old_names} & {*new_names} - {""}
    assert {pair.new for pair in found.pairs if pair.by == "name"} == common
