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
    assert [(pair.old, pair.new, pair.by, pair.title) for pair in found.pairs] == [
        ("a", "a", "name", "a"),
        ("c", "x", "label", "m.2"),
        ("b", "y", "label", "m.1"),
        ("d", "z", "position", "z"),
    ]
    assert (found.only_old, found.only_new) == ((), ())


def test_no_position_where_the_counts_differ() -> None:
    found = match_layers([layer("a"), layer("b")], [layer("b"), layer("c"), layer("d")])
    assert found.old_of == {"b": "b"}
    assert (found.only_old, found.only_new) == (("a",), ("c", "d"))


def test_what_a_quantiser_appends_is_no_other_name() -> None:
    old = [layer("relu", "m.relu"), layer("relu_1"), layer("gone"), layer("out")]
    new = [
        layer("relu_QuantizeLinear_Output"),
        layer("relu_1_DequantizeLinear_Output"),
        layer("out_quantized"),
    ]
    found = match_layers(old, new)
    assert [(pair.old, pair.by, pair.title) for pair in found.pairs] == [
        ("relu", "name", "m.relu"),
        ("relu_1", "name", "relu_1"),
        ("out", "name", "out"),
    ]
    assert (found.only_old, found.only_new) == (("gone",), ())
    both = [layer("relu"), layer("relu_QuantizeLinear_Output")]
    assert match_layers(both, both).old_of == {one.name: one.name for one in both}


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
