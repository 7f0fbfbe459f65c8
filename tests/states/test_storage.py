"""States on disk: what is written is read again, and what does not fit is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cleanai_onnx.coverage import ADDS
from cleanai_onnx.errors import UsageError
from cleanai_onnx.profiles import learnt_from
from cleanai_onnx.report.json import text_of
from cleanai_onnx.states.images import REMEDY
from cleanai_onnx.states.merging import merge
from cleanai_onnx.states.part import Part
from cleanai_onnx.states.storage import described, load, save
from cleanai_onnx.surprise import ClassDensity
from tests.states.parts import IMAGES, cut, found_in, part, rows_of

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(part(0, 6, (1, 9)), tmp_path_factory.mktemp("states") / "good.state")


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path: Path, content: Mapping[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def same(one: Part, other: Part) -> bool:
    """Return whether they say the same; in text, since JSON has no tuples."""
    texts = [text_of(found_in(part.result, order_free=False)) for part in (one, other)]
    return texts[0] == texts[1] and rows_of(one) == rows_of(other)


def test_what_is_written_is_read_again(good: Path, tmp_path: Path) -> None:
    made, found = part(0, 6, (1, 9)), load(good)
    assert same(found, made)
    assert found.facts == replace(made.facts, name_bytes=found.facts.name_bytes)
    assert [(one.index, one.place, one.name) for one in found.pair] == [(1, 0, "image 1")]
    again = save(found, tmp_path / "again.state")
    assert again.read_bytes() == good.read_bytes()
    facts, model = described(good)
    assert facts == found.facts and model == made.result.model


def test_the_densities_of_a_profile_are_computed_once_for_all_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 2,048 channels one takes seconds.
    paths = [save(part(*ends), tmp_path / f"{ends[0]}.state") for ends in ((0, 4), (4, 6))]
    of, computed = ClassDensity.of, []

    def counted(traces: np.ndarray) -> ClassDensity | None:
        computed.append(len(traces))
        return of(traces)

    monkeypatch.setattr(ClassDensity, "of", counted)
    parts = [load(path) for path in paths]
    assert not computed
    merge(parts)
    profile = parts[0].profile
    assert profile is not None
    assert sum(computed) == sum(len(layer.traces) for layer in learnt_from(profile).traces)


def test_stored_parts_merge_as_the_parts_do(tmp_path: Path) -> None:
    parts = cut([2, 7], (9, 1))
    stored = [load(save(one, tmp_path / f"{n}.state")) for n, one in enumerate(parts)]
    whole = merge(stored)
    assert same(whole, merge(parts))
    merged = load(save(whole, tmp_path / "merged.state"))
    assert same(merged, whole)
    assert not any(name.startswith((ADDS, "nbc/")) for name in merged.facts.scores)
    # Merged states merge again, from disk too.
    left = load(save(merge(stored[:2]), tmp_path / "left.state"))
    whole = part(0, IMAGES, (9, 1))
    assert text_of(found_in(merge([left, stored[2]]).result)) == text_of(found_in(whole.result))


# What is refused.


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        for _ in load(path).images.rows():
            pass
    assert path.name in str(caught.value)
    return str(caught.value)


def test_no_file_and_no_state(tmp_path: Path, good: Path) -> None:
    assert "No such file" in refusal(tmp_path / "gone.state")
    for content in (b"", b"x" * 1000, b"PK\x03\x04" + bytes(100)):
        (tmp_path / "x.state").write_bytes(content)
        assert REMEDY in refusal(tmp_path / "x.state")
    assert "has no state.json" in refusal(written(tmp_path / "y.state", {"a": b"b"}))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated(share: float, tmp_path: Path, good: Path) -> None:
    data = good.read_bytes()
    path = tmp_path / "cut.state"
    path.write_bytes(data[: int(len(data) * share)])
    refusal(path)


@pytest.mark.parametrize("seed", range(12))
def test_one_byte_that_flipped_is_noticed_or_changes_nothing(
    seed: int, tmp_path: Path, good: Path
) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(good.read_bytes())
    data[random.integers(len(data))] ^= 1 << random.integers(8)
    path = tmp_path / "flipped.state"
    path.write_bytes(bytes(data))
    try:
        found = load(path)
        assert same(found, load(good))
    except UsageError as error:
        assert "flipped.state" in str(error)


def changed(member: str, change: Callable[[Any], Any]) -> Callable[[Members], Members]:
    def edit(content: Members) -> Members:
        tree = json.loads(content[member])
        change(tree)
        return {**content, member: json.dumps(tree).encode()}

    return edit


def array(name: str, value: np.ndarray) -> Callable[[Members], Members]:
    def edit(content: Members) -> Members:
        file = io.BytesIO()
        np.save(file, value, allow_pickle=True)
        assert f"{name}.npy" in content
        return {**content, f"{name}.npy": file.getvalue()}

    return edit


def setting(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        assert path[-1] in tree or isinstance(tree, list)
        tree[path[-1]] = value

    return change


NOT_FITTING: dict[str, tuple[Callable[[Members], Members], str]] = {
    "newer": (changed("state.json", setting("format_version", value=99)), "newer than version"),
    "positions": (changed("state.json", setting("positions", value=2)), "contradict"),
    "scores": (changed("state.json", setting("scores", value=["=cmd()"])), "unknown scores"),
    "parameters": (changed("state.json", setting("parameters", "top_k", value=-1)), "--top-k"),
    "adjacency": (changed("state.json", setting("adjacency", value=[[0, 9]])), "contradict"),
    "pair": (changed("state.json", setting("pair", value=["one"])), "contradict"),
    "names": (changed("state.json", setting("name_bytes", value=3)), "is wanted"),
    "used": (
        changed("result.json", setting("images", "used", value=5)),
        "different numbers of images",
    ),
    "huge layer": (
        changed("result.json", setting("layers", 0, "units", value=10**15)),
        "contradicts its size",
    ),
    "huge shape": (
        lambda content: changed("result.json", setting("layers", 0, "shape", value=[2, 10**9, 9]))(
            changed("result.json", setting("layers", 0, "units", value=18 * 10**9))(content)
        ),
        # The profile has the same layers, and so it is what does not fit first.
        "a layer",
    ),
    "profile": (lambda content: {n: d for n, d in content.items() if n != "profile"}, "profile"),
    "no profile": (lambda content: {**content, "profile": b"x" * 99}, "broken one"),
    "no metrics": (
        lambda content: {n: d for n, d in content.items() if n != "metrics.json"},
        "has no metrics.json",
    ),
    "inputs": (changed("metrics.json", setting("measured", "inputs", value=-1)), "inputs is no"),
    "more inputs": (
        changed("metrics.json", setting("measured", "inputs", value=7)),
        "different numbers",
    ),
    "fewer inputs": (
        changed("metrics.json", setting("measured", "inputs", value=1)),
        "on more images than there are",
    ),
    "total": (
        changed("metrics.json", setting("measured", "unit totals", "counted", 0, 0, value="x")),
        "no whole number",
    ),
    "infinite total": (
        changed("metrics.json", setting("measured", "unit totals", "top sum", 0, value="1e9")),
        "a sum is no number",
    ),
    "array twice": (
        changed(
            "metrics.json",
            setting("measured", "fired", 1, value={"array": "metrics.measured.fired.0"}),
        ),
        "has it twice",
    ),
    "no array": (
        changed("metrics.json", setting("measured", "fired", 1, value={"array": "gone"})),
        "has no array gone",
    ),
    "deep": (
        lambda content: {**content, "metrics.json": b'{"a":' * 10**5},
        "broken one|nested too deeply",
    ),
    "shape": (array("metrics.measured.fired.0", np.zeros(9, np.int64)), "no array of int64"),
    "type": (array("metrics.measured.fired.0", np.zeros(2)), "no array of int64"),
    "negative": (array("metrics.measured.fired.0", np.array([0, -1])), "on more images"),
    "pickle": (
        array("metrics.measured.fired.0", np.array([{}, None], dtype=object)),
        "is of objects",
    ),
    "sections": (
        array("metrics.against.1.hit", np.full((7, 2), 255, np.uint8)),
        "more sections are covered than there are",
    ),
    "combinations": (
        array("metrics.against.2.covered.0", np.array([10**6])),
        "none of those that there are",
    ),
    "order": (array("images.indexes", np.array([0, 1, 2, 5, 4, 3])), "not in the order"),
    "beyond": (array("images.indexes", np.array([0, 1, 2, 3, 4, 6])), "not in the order"),
    "fewer images": (array("images.digests", np.zeros((5, 32), np.uint8)), "is wanted"),
    "name lengths": (
        array("images.name_lengths", np.full(6, 10**6, np.uint32)),
        "names are cut short",
    ),
    "short names": (array("images.name_lengths", np.full(6, 2, np.uint32)), "longer than they say"),
    "text": (array("images.names", np.full(42, 255, np.uint8)), "broken one"),
}


@pytest.mark.parametrize("name", NOT_FITTING)
def test_what_does_not_fit(name: str, tmp_path: Path, good: Path) -> None:
    edit, why = NOT_FITTING[name]
    found = refusal(written(tmp_path / "bad.state", edit(members(good))))
    assert any(part in found for part in why.split("|")), found


def test_bombs_are_refused(tmp_path: Path, good: Path) -> None:
    content = members(good)
    packed = written(tmp_path / "packed.state", content, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(packed)
    with pytest.warns(UserWarning, match="Duplicate"):
        path = written(tmp_path / "twice.state", content)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("state.json", b"{}")
    assert "one name" in refusal(path)
