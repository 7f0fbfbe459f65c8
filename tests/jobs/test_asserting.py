"""Coverage as a test: limits as keywords, what is said when they are not kept, and the cache."""

from __future__ import annotations

import functools
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx import assert_coverage
from cleanai_onnx.coverage import Parameters
from cleanai_onnx.errors import UsageError
from cleanai_onnx.jobs import analysis
from cleanai_onnx.jobs.asserting import RESULTS, split
from cleanai_onnx.jobs.caching import ResultCache
from cleanai_onnx.validation.gate import METRICS
from tests.cli.material import build, images, node, relu, save

UNIT = {"preset": "unit"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    nodes = [node("Relu", ["x"], ["high"]), node("Sub", ["x", "one"], ["below"])]
    nodes += [node("Relu", ["below"], ["never"])]
    save("m.onnx", build(nodes, {"one": np.float32(1)}, outputs=["high", "never"]))
    images("im", 3)
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were really analyzed."""
    found: list[str] = []
    original = analysis.analyze

    @functools.wraps(original)
    def counted(model: Any, images: Any, **options: Any) -> Any:
        found.append(str(model))
        return original(model, images, **options)

    monkeypatch.setattr(analysis, "analyze", counted)
    monkeypatch.setattr("cleanai_onnx.jobs.asserting.RESULTS", ResultCache())
    return found


def test_limits_and_options_have_different_names() -> None:
    options = inspect.signature(analysis.analyze).parameters
    assert not {metric.replace("-", "_") for metric in METRICS} & set(options)


def test_what_is_kept_returns_the_result() -> None:
    result = assert_coverage("m.onnx", "im", nc=0.1, dead_channels=1, **UNIT)
    assert [(one.metric, one.passed) for one in result.gates] == [
        ("nc", True), ("dead-channels", True),
    ]  # fmt: skip
    assert result.relevance is None
    expected = cleanai_onnx.analyze("m.onnx", "im", preset="unit").table("nc").coverage
    assert result.gates[0].value == pytest.approx(expected)


def test_a_failure_names_the_layers() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_coverage("m.onnx", "im", nc=0.9, nc_suite="1%", dead_channels=0, **UNIT)
    head, *lines = str(caught.value).splitlines()
    assert head == "m over 3 images of im: 2 of 3 gates failed"
    assert [line.split(":")[0] for line in lines] == ["  failed", "  failed", "  passed"]
    assert "nc (units) is " in lines[0] and "at least 90 % is asked for" in lines[0]
    assert "lowest in never (0.00 %), high (" in lines[0]
    assert "never (1)" in lines[1]


def test_names_from_outside_are_harmless() -> None:
    os.rename("m.onnx", "m\x1b[31m.onnx")
    with pytest.raises(AssertionError) as caught:
        assert_coverage("m\x1b[31m.onnx", "im", nc=0.9, **UNIT)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("gates", ["nc/channel=90%", ["nc=90%"], {"nc": {"min": 0.9}}])
def test_gates_in_every_form(gates: Any) -> None:
    with pytest.raises(AssertionError, match="1 of 2 gates failed"):
        assert_coverage("m.onnx", "im", gates=gates, nc_suite=0, **UNIT)


def test_against_a_baseline() -> None:
    old = cleanai_onnx.analyze("m.onnx", "im", preset="unit")
    drop = {"max-drop": 0.0}
    assert_coverage("m.onnx", "im", nc=drop, baseline=old, **UNIT)
    images("few", 1)
    with pytest.raises(AssertionError, match="the baseline is"):
        assert_coverage("m.onnx", "few", sc_suite=drop, baseline=old, **UNIT)


@pytest.mark.parametrize(
    ("keywords", "what"),
    [
        ({}, "needs a limit"),
        ({"nc_suit": 0.3}, "did you mean nc_suite?"),
        ({"presets": "unit", "nc": 1}, "did you mean preset?"),
        ({"nc": "a lot"}, "must be a number"),
        ({"nc": 2}, "must be a share"),
    ],
)
def test_what_is_refused(keywords: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        assert_coverage("m.onnx", "im", **{**UNIT, **keywords})
    assert what in str(caught.value)


def test_split() -> None:
    assert split({"nc": 1, "sc_strict": 2, "limit": 3}) == ({"nc": 1, "sc-strict": 2}, {"limit": 3})


class TestCache:
    def test_the_same_is_analyzed_once(self, runs: list[str]) -> None:
        for limit in (0, 0.1, 0.2):
            assert_coverage("m.onnx", "im", nc=limit, **UNIT)
        assert_coverage(Path("m.onnx"), ["im"], tc=0, taps=("*",), **UNIT)
        assert_coverage(Path("m.onnx"), ["im"], nc=0, taps=("*",), **UNIT)
        assert len(runs) == 2

    @pytest.mark.parametrize(
        "options",
        [
            {"taps": ("high",)},
            {"limit": 1},
            {"parameters": Parameters(top_k=2)},
            {"relevance": True},
            {"preset": "symmetric"},
        ],
    )
    def test_other_settings_are_not(self, runs: list[str], options: dict[str, Any]) -> None:
        for further in ({}, options, options):
            assert_coverage("m.onnx", "im", nc=0, **{**UNIT, **further})
        assert len(runs) == 2

    def test_a_file_that_changed_is_measured_again(self, runs: list[str]) -> None:
        def measured() -> Any:
            return assert_coverage("m.onnx", "im", nc=0, **UNIT)

        assert measured().images.used == 3
        images("im/more", 4)
        assert measured().images.used == 7
        save("m.onnx", relu())
        assert len(measured().layers) == 1
        Path("preprocessor_config.json").write_text("{}")
        measured()
        assert len(runs) == 4
        measured()
        assert len(runs) == 4

    def test_a_profile_that_changed(self, runs: list[str]) -> None:
        for count in (3, 2, 2):
            learnt = cleanai_onnx.learn("m.onnx", "im", preset="unit", limit=count)
            path = Path("elsewhere", "m.profile")
            if not path.exists() or cleanai_onnx.load_profile(path).facts.images != count:
                cleanai_onnx.save_profile(learnt, path)
            assert_coverage("m.onnx", "im", kmnc=0, profile=path, **UNIT)
        assert len(runs) == 2

    def test_what_has_no_lasting_identity(self, runs: list[str]) -> None:
        Path("list.txt").write_text("im/i0.png\n")
        data = Path("m.onnx").read_bytes()
        array = np.zeros((2, 1, 8, 8), np.float32)
        calls: list[tuple[Any, Any]] = [
            ("m.onnx", "im/*.png"),
            ("m.onnx", "list.txt"),
            (data, "im"),
        ]
        for model, suite in calls:
            for _ in range(2):
                assert_coverage(model, suite, nc=0, **UNIT)
        for _ in range(2):
            assert_coverage("m.onnx", array, nc=0)
        assert len(runs) == 8

    def test_what_writes_files(self, runs: list[str]) -> None:
        for _ in range(2):
            assert_coverage("m.onnx", "im", nc=0, per_image="rows.csv", **UNIT)
            Path("rows.csv").unlink()
        assert len(runs) == 2

    def test_only_the_last_ones_are_kept(self, runs: list[str]) -> None:
        cache = ResultCache(most=2)
        for limit in (1, 2, 1, 3, 1, 2):  # the third analysis pushes out 2
            cache.analyze("m.onnx", "im", {"limit": limit, **UNIT})
        assert len(runs) == 4
        off = ResultCache(most=0)
        for _ in range(2):
            off.analyze("m.onnx", "im", UNIT)
        assert len(runs) == 6

    def test_they_share_one(self) -> None:
        assert isinstance(RESULTS, ResultCache)
