"""The examples, run as their readers run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from cleanai_onnx import load_result
from tests.cli.material import DIGITS, LENET, ROOT, images

EXAMPLES = ROOT / "examples"
PLUGIN = "cleanai_onnx.validation.pytest_plugin"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def run(*arguments: str | Path, cwd: Path, **further: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT | further,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_each_is_in_the_readme() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        if path.is_file() and path.name != "README.md":
            assert f"]({path.name})" in text


def test_the_tests(tmp_path: Path) -> None:
    installed = any(one.value == PLUGIN for one in metadata.entry_points(group="pytest11"))
    plugin = () if installed else ("-p", PLUGIN)
    test = EXAMPLES / "test_model_coverage.py"
    options = ("-q", *plugin, "-p", "no:cacheprovider", f"--rootdir={tmp_path}")
    done = run("-m", "pytest", *options, test, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


@pytest.fixture
def steps() -> list[dict[str, Any]]:
    text = (EXAMPLES / "github-actions.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    return list(job["steps"])


class TestWorkflow:
    def test_what_it_installs_exists(self, steps: list[dict[str, Any]]) -> None:
        (install,) = (step["run"] for step in steps if step.get("name") == "Install")
        assert "'.[cpu]'" in install

    def test_its_commands(self, steps: list[dict[str, Any]], tmp_path: Path) -> None:
        (tmp_path / "models").symlink_to(ROOT / "models")
        programs = tmp_path / "bin"
        programs.mkdir()
        program = programs / "cleanai-onnx"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cleanai_onnx "$@"\n')
        program.chmod(0o755)
        environment = ENVIRONMENT | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(tmp_path / "step.md"),
        }
        for step in steps:
            if step.get("name") in ("Measure", "Show"):
                # As the runner does it.
                command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
                subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)
        assert "nc-suite" in (tmp_path / "step.md").read_text(encoding="utf-8")
        written = {path.name for path in (tmp_path / "coverage").iterdir()}
        assert written == {
            "Analysis_lenet5.csv", "Analysis_lenet5.json", "Analysis_lenet5.pdf",
            "gates.xml", "summary.md",
        }  # fmt: skip


CONFIG = """\
name: "digits"
platform: "onnxruntime_onnx"
max_batch_size: 64
input [
  {
    name: "input"
    data_type: TYPE_FP32
    dims: [ 1, 28, 28 ]
  }
]
output [
  {
    name: "logits"
    data_type: TYPE_FP32
    dims: [ 10 ]
  }
]
parameters {
  key: "cleanai.preset"
  value { string_value: "unit" }
}
"""


class TestDeployment:
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Path:
        for version in ("2", "10"):
            folder = tmp_path / "repository" / "digits" / version
            folder.mkdir(parents=True)
        (tmp_path / "repository" / "digits" / "config.pbtxt").write_text(CONFIG)
        (tmp_path / "repository" / "digits" / "2" / "model.onnx").write_text("never looked at")
        shutil.copy(LENET, folder / "model.onnx")
        return tmp_path / "repository"

    def check(self, repository: Path, suite: Path = DIGITS, *further: str) -> Any:
        script = EXAMPLES / "deployment_check.py"
        return run(script, repository, suite, *further, cwd=repository.parent)

    def test_what_may_be_deployed(self, repository: Path) -> None:
        done = self.check(repository)
        assert (done.returncode, done.stdout) == (0, "digits, version 10: ok\n"), done.stderr
        checks = repository.parent / "checks"
        assert sorted(path.name for path in checks.iterdir()) == ["digits.json", "digits.junit.xml"]
        result = load_result(checks / "digits.json")
        assert result.passed and result.images.used == 200

    def test_what_may_not(self, repository: Path) -> None:
        wrong = CONFIG.replace("dims: [ 10 ]", "dims: [ 11 ]").replace('"input"', '"image"')
        (repository / "digits" / "config.pbtxt").write_text(wrong)
        broken = repository / "broken" / "1"
        broken.mkdir(parents=True)
        (broken / "model.onnx").write_text("no model")
        (repository / "broken" / "config.pbtxt").write_text(CONFIG)
        few = Path(images(repository.parent / "few", 3, (28, 28)))
        done = self.check(repository, few, "--gates", "nc=90%")
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert lines[0] == "broken, version 1: REFUSED"
        assert lines[1].endswith("[model-file]")
        assert lines[2] == "digits, version 10: REFUSED"
        assert lines[3:5] == [
            "  config.pbtxt has no input 'input'",
            "  output 'logits' is [11] in config.pbtxt, [10] in the model",
        ]
        assert lines[5].startswith("  nc (units) is ")

    def test_an_empty_repository(self, tmp_path: Path) -> None:
        assert self.check(tmp_path).returncode == 2


def test_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    book = json.loads((EXAMPLES / "first_look.ipynb").read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") for cell in book["cells"])
    monkeypatch.chdir(EXAMPLES)
    scope: dict[str, Any] = {}
    for cell in cells:
        exec(compile(cell, "first_look.ipynb", "exec"), scope)
    shares = [part.table("nc-suite", "channel").coverage for part in scope["parts"].values()]
    assert list(scope["parts"]) == [25, 50, 100, 200]
    assert shares == sorted(shares)
    assert scope["judged"].passed
