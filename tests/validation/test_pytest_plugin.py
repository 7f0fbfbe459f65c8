"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from tests.cli.material import images, relu, save

pytest_plugins = "pytester"
MODULE = "cleanai_onnx.validation.pytest_plugin"
INSTALLED = any(one.value == MODULE for one in metadata.entry_points(group="pytest11"))

COUNTED = """
import functools
import os
from pathlib import Path
from cleanai_onnx.jobs import analysis
original = analysis.analyze

@functools.wraps(original)
def counted(*arguments, **options):
    with open(Path(__file__).with_name("runs.txt"), "a") as file:
        print(os.getpid(), file=file)
    return original(*arguments, **options)

analysis.analyze = counted
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    save(pytester.path / "m.onnx", relu())
    images(pytester.path / "im", 3)
    pytester.makeconftest(COUNTED)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    plugin = () if INSTALLED else ("-p", MODULE)
    return project.runpytest_subprocess(*plugin, "-p", "no:cacheprovider", *arguments)


def runs(project: pytest.Pytester) -> list[str]:
    return (project.path / "runs.txt").read_text().split()


def test_it_is_an_entry_point() -> None:
    import tomllib

    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    points = tomllib.loads(text)["project"]["entry-points"]["pytest11"]
    assert points == {"cleanai-onnx": MODULE}


def test_starting_costs_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_modules():
            assert sorted(name for name in sys.modules if name.startswith("cleanai_onnx")) == [
                "cleanai_onnx",
                "cleanai_onnx._version",
                "cleanai_onnx.validation",
                "cleanai_onnx.validation.pytest_plugin",
            ]
            assert not {"jax", "onnx", "onnxruntime", "pandas", "rich"} & set(sys.modules)
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_a_failure_is_readable(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import cleanai_onnx

        def test_helper():
            cleanai_onnx.assert_coverage("m.onnx", "im", nc=0.999, tc=0, preset="unit")

        def test_fixture(cleanai):
            cleanai.assert_coverage("m.onnx", "im", nc=0.999, tc=0, preset="unit")

        def test_passes(cleanai):
            assert cleanai.assert_coverage("m.onnx", "im", nc=0, preset="unit").passed
        """
    )
    result = run(project, "--junitxml=junit.xml")
    result.assert_outcomes(passed=1, failed=2)
    lines = result.outlines
    assert lines.count("E       AssertionError: m over 3 images of im: 1 of 2 gates failed") == 2
    # Where CI is set, or pytest is told so, its short summary says each sentence once more.
    said = [line for line in lines if line.startswith("E ") and "failed: nc (units) is" in line]
    assert len(said) == 2 and "at least 99.9 % is asked for" in said[0]
    # Only the line of the test, not our own.
    assert not [line for line in lines if "asserting.py" in line or "pytest_plugin.py" in line]
    junit = (project.path / "junit.xml").read_text()
    assert '<property name="cleanai nc = 0.999" value="0.' in junit


def test_workers_of_xdist_analyze_once_each(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(10))
        def test_many(cleanai, number):
            cleanai.assert_coverage("m.onnx", "im", nc=number / 100, preset="unit")
        """
    )
    run(project, "-n", "2").assert_outcomes(passed=10)
    assert len(runs(project)) == len(set(runs(project))) <= 2


TWICE = """
    def test_one(cleanai):
        cleanai.assert_coverage("m.onnx", "im", **{})

    def test_two(cleanai):
        cleanai.assert_coverage("m.onnx", "im")
        cleanai.assert_coverage("m.onnx", "im", nc=0)
"""


def test_settings_and_gates_of_the_project(project: pytest.Pytester) -> None:
    project.makepyfile(TWICE)
    project.makefile(
        ".toml",
        pyproject="""
        [tool.cleanai-onnx]
        preset = "unit"
        limit = 2
        [tool.cleanai-onnx.gates]
        nc = "10%"
        [tool.pytest.ini_options]
        cleanai_onnx_reports = "out"
        """,
    )
    run(project).assert_outcomes(passed=2)
    assert len(runs(project)) == 1
    stored = sorted((project.path / "out").iterdir())
    name = "test_settings_and_gates_of_the_project.py"
    assert [path.name for path in stored] == [
        f"{name}-test_one.json",
        f"{name}-test_two.json",
        f"{name}-test_two_2.json",
    ]
    result = json.loads(stored[0].read_text())
    assert result["images"]["used"] == 2
    assert [(one["metric"], one["origin"]) for one in result["gates"]] == [("nc", "pyproject.toml")]


def test_tests_whose_names_are_alike_have_their_own_reports(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("text", ["a/b", "a:b", "c" * 150, "c" * 151])
        def test_many(cleanai, text):
            cleanai.assert_coverage("m.onnx", "im", nc=0, preset="unit")
        """
    )
    project.makeini("[pytest]\ncleanai_onnx_reports = out\n")
    run(project).assert_outcomes(passed=4)
    assert len(list((project.path / "out").iterdir())) == 4


def test_another_file_and_no_cache(project: pytest.Pytester) -> None:
    project.makepyfile(TWICE)
    project.makefile(".toml", mine='preset = "unit"\nfail-under = "nc=99.9%"\n')
    project.makeini("[pytest]\ncleanai_onnx_config = mine.toml\ncleanai_onnx_cache_results = no\n")
    result = run(project)
    result.assert_outcomes(failed=2)
    assert len(runs(project)) == 2


def test_without_any_limit(project: pytest.Pytester) -> None:
    project.makepyfile("def test_one(cleanai):\n    cleanai.assert_coverage('m.onnx', 'im')")
    result = run(project)
    result.assert_outcomes(failed=1)
    assert "give nc=0.3, or a table gates in the configuration file" in result.stdout.str()
