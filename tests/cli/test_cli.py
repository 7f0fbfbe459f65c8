"""The main job, from arguments to files, on the models that the README uses."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from cleanai_onnx import __version__, cli
from tests.cli.material import DIGITS, LENET, Command, build, images, node, relu, save, strict_json

pytestmark = pytest.mark.skipif(not LENET.exists(), reason="models/lenet5.onnx is not here")

LIMIT = 20


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lenet") / "made" / "for it"
    arguments = [str(LENET), str(DIGITS), "--limit", str(LIMIT), "--per-image", "--quiet"]
    assert cli.main([*arguments, "--output", str(folder)]) == 0
    return folder


def test_the_files(reports: Path) -> None:
    assert sorted(path.name for path in reports.iterdir()) == [
        "Analysis_lenet5.csv",
        "Analysis_lenet5.json",
        "Analysis_lenet5.pdf",
        "Analysis_lenet5_layers.csv",
    ]
    assert (reports / "Analysis_lenet5.pdf").read_bytes().startswith(b"%PDF-")


def test_the_json(reports: Path) -> None:
    result = strict_json(reports / "Analysis_lenet5.json")
    assert result["images"]["used"] == LIMIT
    assert result["images"]["found"] == 200
    assert result["images"]["per_image_table"] == "Analysis_lenet5.csv"
    assert [layer["op"] for layer in result["layers"]] == ["Relu"] * 4
    assert result["run"]["options"]["limit"] == LIMIT


def test_the_tables_of_images(reports: Path) -> None:
    with (reports / "Analysis_lenet5.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == LIMIT
    assert len({row["image"] for row in rows}) == LIMIT
    assert all((DIGITS / row["image"]).is_file() for row in rows)
    assert all(0 <= float(row["nc/unit"]) <= 1 for row in rows)
    with (reports / "Analysis_lenet5_layers.csv").open(encoding="utf-8", newline="") as stream:
        layers = list(csv.DictReader(stream))
    assert len(layers) == 4 * LIMIT
    assert [row["image"] for row in layers[::4]] == [row["image"] for row in rows]


def test_each_image_agrees_with_the_total(reports: Path) -> None:
    result = strict_json(reports / "Analysis_lenet5.json")
    units = sum(layer["units"] for layer in result["layers"])
    (table,) = (t for t in result["tables"] if (t["metric"], t["view"]) == ("nc", "unit"))
    with (reports / "Analysis_lenet5.csv").open(encoding="utf-8", newline="") as stream:
        counted = sum(round(float(row["nc/unit"]) * units) for row in csv.DictReader(stream))
    assert table["total"][1:3] == [counted, units * LIMIT]


def test_what_is_printed(command: Command) -> None:
    save("m.onnx", relu())
    images("im", 3)
    out = command.done("m.onnx", "im", "--preset", "unit", "--output", "o").out
    assert out.startswith("m: coverage of 1 layer")
    assert "3 of 3 images from im" in out
    assert [line[9:] for line in out.splitlines()[-3:]] == [
        "o/Analysis_m.pdf",
        "o/Analysis_m.json",
        "o/Analysis_m.csv",
    ]
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in out.splitlines()[:-3])


def test_quiet_prints_nothing_and_the_folder_is_the_current_one(command: Command) -> None:
    save("m.onnx", relu())
    images("im", 2)
    outcome = command.done("analyze", "m.onnx", "im", "--preset", "unit", "--quiet")
    assert outcome.out == ""
    assert outcome.new == {"Analysis_m.csv", "Analysis_m.json", "Analysis_m.pdf"}


def test_reports_are_replaced(command: Command) -> None:
    save("m.onnx", relu())
    images("im", 2)
    for name in ("csv", "json", "pdf"):
        Path(f"Analysis_m.{name}").write_text("old")
    assert command.done("m.onnx", "im", "--preset", "unit", "--quiet").new == set()
    assert not [name for name in ("csv", "json", "pdf") if read(f"Analysis_m.{name}") == "old"]


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def test_the_subset_follows_from_the_seed(command: Command) -> None:
    save("m.onnx", relu())
    images("im", 12)

    def chosen(seed: str) -> list[str]:
        options = ("--preset", "unit", "--quiet", "--limit", "3", "--seed", seed)
        command.done("m.onnx", "im", *options)
        return [line.split(",")[1] for line in read("Analysis_m.csv").splitlines()[1:]]

    first = chosen("0")
    assert len(first) == 3
    assert chosen("0") == first
    assert chosen("1") != first


class TestReport:
    def test_renders_again_beside_the_result(self, reports: Path, command: Command) -> None:
        stored = (reports / "Analysis_lenet5.json").read_bytes()
        Path("Analysis_lenet5.json").write_bytes(stored)
        outcome = command.done("report", "Analysis_lenet5.json")
        assert outcome.new == {"Analysis_lenet5.pdf"}
        assert outcome.out.startswith("lenet5: coverage of 4 layers")

    def test_into_another_folder(self, reports: Path, command: Command) -> None:
        outcome = command.done("report", reports / "Analysis_lenet5.json", "--output", "a/b")
        assert outcome.new == {"a", "a/b", "a/b/Analysis_lenet5.pdf"}

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"", "not valid JSON"),
            (b"\x00\xff", "not"),
            (b"{}", "no format_version"),
            (b"[" * 100_000, "nested too deeply"),
            (b'{"format_version": "9.0"}', "format"),
        ],
    )
    def test_what_is_no_result(self, command: Command, content: bytes, what: str) -> None:
        Path("r.json").write_bytes(content)
        assert what in command.refused(2, "report", "r.json")

    def test_no_such_file(self, command: Command) -> None:
        assert "missing.json" in command.refused(2, "report", "missing.json")

    def test_a_file_as_folder(self, reports: Path, command: Command) -> None:
        Path("file").write_text("keep")
        text = command.refused(2, "report", reports / "Analysis_lenet5.json", "--output", "file")
        assert "a part of that path is a file" in text
        assert read("file") == "keep"


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "what"),
        [
            ((), "required: model, images; see cleanai-onnx --help."),
            (("m.onnx",), "required: images"),
            (("m.onnx", "im", "--nonsense"), "--nonsense"),
            (("m.onnx", "im", "--thresh", "1"), "--thresh"),  # no abbreviations
            (("m.onnx", "im", "--pair", "one"), "--pair"),
            (("report",), "required: result; see cleanai-onnx report --help."),
            (("", "im"), "the name of the model file is empty"),
            (("m.onnx", "im", "--\x1b[31m"), "?[31m"),
        ],
    )
    def test_is_one_sentence(self, command: Command, arguments, what: str) -> None:
        assert what in command.refused(2, *arguments)

    @pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"], ["--version"]])
    def test_help_and_version(self, capsys: pytest.CaptureFixture[str], arguments) -> None:
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert "cleanai-onnx" in out
        assert arguments != ["--version"] or out == f"cleanai-onnx {__version__}\n"


def test_debug_shows_where_an_error_came_from(command: Command) -> None:
    outcome = command("missing.onnx", DIGITS, "--debug")
    assert outcome.code == 3
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("cleanai-onnx: error: there is no model file")


def test_a_bug_is_called_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines \x1b[31m")

    monkeypatch.setattr("cleanai_onnx.config.gather", broken)
    outcome = command("m.onnx", "im")
    assert outcome.code == 4
    assert outcome.err.startswith("cleanai-onnx: internal error: RuntimeError: two lines ?[31m\n")
    assert "report it" in outcome.err
    assert "Traceback" not in outcome.err


def test_memory_that_runs_out(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cleanai_onnx.config.gather", broken)
    assert "--batch-size" in command.refused(3, "m.onnx", "im")


def test_an_interrupted_call(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cleanai_onnx.config.gather", broken)
    outcome = command("m.onnx", "im")
    assert (outcome.code, outcome.err) == (130, "cleanai-onnx: interrupted.\n")


@pytest.mark.parametrize(
    "program",
    [[sys.executable, "-m", "cleanai_onnx"], [str(Path(sys.executable).with_name("cleanai-onnx"))]],
    ids=["module", "script"],
)
def test_as_a_program_from_another_folder(tmp_path: Path, program: list[str]) -> None:
    if not Path(program[0]).exists():
        pytest.skip("the script is not installed beside this Python")
    run = subprocess.run(
        [*program, "missing.onnx", str(DIGITS)], capture_output=True, text=True, cwd=tmp_path
    )
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr.startswith("cleanai-onnx: error: there is no model file 'missing.onnx'")
    assert list(tmp_path.iterdir()) == []


def test_why_there_are_no_heat_maps(command: Command) -> None:
    nodes = [node("Sin", ["x"], ["s"], name="wave"), node("Relu", ["s"], ["y"])]
    model, folder = save("m.onnx", build(nodes)), images("im", 12)
    text = " ".join(command.done(model, folder, "--preset", "unit").out.split())
    assert "No heat maps of relevance: " in text and "Sin node 'wave'" in text
    text = command.done(model, folder, "--preset", "unit", "--no-relevance").out
    assert "heat maps" not in text
    assert strict_json(command.folder / "Analysis_m.json")["notes"] == []
