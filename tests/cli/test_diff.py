"""The command ``diff``."""

from __future__ import annotations

from pathlib import Path

from cleanai_onnx.result import Result
from tests.cli.material import Command, strict_json
from tests.report.results import hostile_result, resnet50_like, small_result
from tests.validation.made import coverage, layer, result


def stored(name: str, one: Result) -> str:
    one.to_json(Path(name))
    return name


def test_what_is_printed(command: Command) -> None:
    layers = (layer("a", channels=3), layer("b", channels=2))
    old = result(
        coverage({"a": (1, 2), "b": (1, 2)}, parameters={"t": 0.5}),
        coverage({"a": (1, 2), "b": (1, 2)}, "tc"),
        coverage({"a": (1, 2), "b": (1, 2)}, "sc"),
        layers=layers,
        firing=((1, 1, 1), (0, 1)),
    )
    new = result(
        coverage({"a": (1, 2), "b": (1, 2)}, parameters={"t": 0.75}),
        coverage({"a": (3, 4), "b": (1, 2)}, "tc"),
        coverage({"a": (1, 2), "b": (1, 2)}, "sc"),
        layers=layers,
        firing=((0, 1, 0), (1, 1)),
    )
    outcome = command.done("diff", stored("old.json", old), stored("new.json", new))
    out = outcome.out
    lines = [line.split() for line in out.splitlines()]
    assert ["tc", "units", "50.00", "%", "66.67", "%", "+16.67"] in lines
    assert ["a", "tc,", "units", "50.00", "%", "75.00", "%", "+25.00"] in lines
    assert "Not comparable: nc; t is 0.5 there and 0.75 here" in out
    assert "1 other figure is the same" in out
    assert "2 layers correspond (2 by name)" in out
    assert "Channels that never fire any more: 2\n  a: 0, 2\n" in out
    assert "Channels that fire now: 1\n  b: 0\n" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_the_same(command: Command) -> None:
    stored("a.json", small_result())
    assert "All figures are the same." in command.done("diff", "a.json", "a.json").out


def test_the_file(command: Command) -> None:
    stored("a.json", small_result())
    stored("b.json", resnet50_like())
    outcome = command.done("diff", "a.json", "b.json", "--output", "o/d.json", "--quiet")
    assert (outcome.out, outcome.new) == ("", {"o", "o/d.json"})
    found = strict_json(Path("o/d.json"))
    assert found["format_version"] == 1
    assert [found[side]["model"] for side in ("old", "new")] == ["lenet5", "resnet50"]


def test_hostile_results(command: Command) -> None:
    stored("a.json", small_result())
    stored("b.json", hostile_result())
    out = command.done("diff", "a.json", "b.json").out
    assert not [c for c in out if c != "\n" and not c.isprintable()]


def test_what_is_refused(command: Command) -> None:
    stored("a.json", small_result())
    Path("broken.json").write_text("{")
    assert command.refused(2, "diff", "a.json", "no.json").startswith("cannot read")
    assert "broken.json" in command.refused(2, "diff", "broken.json", "a.json")
    assert "the following arguments are required" in command.refused(2, "diff", "a.json")
