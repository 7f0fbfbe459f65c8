"""Reports from the command line: which, where, all of them or none; and the hashes they carry."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path

import pytest

from cleanai_onnx.formats import FORMATS
from cleanai_onnx.report import read
from tests.cli.material import Command, images, relu, save, strict_json

OWN = Path("cleanai-onnx.toml")
SHORT = ("--preset", "unit", "--no-relevance")


@pytest.fixture
def model(command: Command) -> Command:
    save("m.onnx", relu())
    images("im", 4)
    return command


def test_what_was_asked_for_where_it_was_asked_for(model: Command) -> None:
    Path("there").mkdir()
    outcome = model.done(
        *("m.onnx", "im", *SHORT, "--output", "out"),
        *("--report", "html", "--report", "markdown:a, b.md", "--report", "csv:there/"),
        *("--report", "junit:new/x.xml", "--report", "html", "--fail-under", "nc=1%", "--attest"),
    )
    assert outcome.new == {
        "out",
        "out/Analysis_m.csv",
        "out/Analysis_m.html",
        "out/Analysis_m.intoto.json",
        "a, b.md",
        "there/Analysis_m_tables.csv",
        "new",
        "new/x.xml",
    }
    for place in outcome.new - {"out", "new"}:
        assert place in outcome.out


def test_a_result_is_rendered_again_into_every_format(model: Command) -> None:
    model.done("m.onnx", "im", *SHORT, "--output", "out", "--fail-under", "nc=1%")
    others = [name for name in FORMATS if name != "json"]
    given = [part for name in others for part in ("--report", name)]
    outcome = model.done("report", "out/Analysis_m.json", *given)
    assert outcome.new == {
        f"out/Analysis_m{FORMATS[name].ending}" for name in others if name != "pdf"
    }
    # Rendered again, it is the same.
    direct = model.done("m.onnx", "im", *SHORT, "--output", "again", "--report", "html")
    assert "again/Analysis_m.html" in direct.new
    statement = strict_json(Path("out/Analysis_m.intoto.json"))
    assert statement["predicate"]["passedTests"] == ["nc=1%"]


def test_a_configuration_file_and_a_variable(
    model: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    OWN.write_text('report = ["html", "csv:t.csv"]\nattest = true\n')
    outcome = model.done("m.onnx", "im", *SHORT)
    assert outcome.new == {
        "Analysis_m.csv",
        "Analysis_m.html",
        "Analysis_m.intoto.json",
        "t.csv",
    }
    monkeypatch.setenv("CLEANAI_ONNX_REPORT", "junit,json")
    outcome = model.done("m.onnx", "im", *SHORT, "--attest", "mine.json")
    assert outcome.new == {"Analysis_m.junit.xml", "Analysis_m.json", "mine.json"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("--report", "htlm"), "(did you mean html?), not 'htlm'."),
        (("--report", "md"), "(did you mean markdown?)"),
        (("--report", "xml:a.xml"), "(did you mean junit?)"),
        (("--report", "html:"), "must have a path after the colon"),
        (("--report", "pdf:x", "--report", "html:./x"), "two files would be written to x"),
        (("--report", "pdf:Analysis_m.csv"), "two files would be written to Analysis_m.csv"),
        (("--report", "json", "--attest", "Analysis_m.json"), "two files would be written to"),
        (("--report", "pdf:m.onnx"), "m.onnx is read, and no report may replace it"),
        (("--attest", "m.onnx"), "must be the path of a .json file"),
        (("--report", "html:im/i0.png/x.html"), "cannot write im/i0.png/x.html"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    model: Command, given: tuple[str, ...], sentence: str
) -> None:
    assert sentence in model.refused(2, "m.onnx", "im", *SHORT, *given)
    assert Path("m.onnx").stat().st_size > 50


def test_a_package_that_is_missing_is_missed_before_anything_runs(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    # Neither is there a model, nor are there images.
    refused = command.refused(2, "m.onnx", "im", "--report", "parquet")
    assert refused.startswith("a Parquet report needs pyarrow: pip install")


def test_the_stored_result_is_not_replaced(model: Command) -> None:
    model.done("m.onnx", "im", *SHORT)
    before = Path("Analysis_m.json").read_bytes()
    refused = model.refused(2, "report", "Analysis_m.json", "--report", "json")
    assert "is read, and no report may replace it" in refused
    assert Path("Analysis_m.json").read_bytes() == before


def test_all_reports_or_none(model: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from cleanai_onnx.report import junit

    def fail(_: object) -> bytes:
        raise RuntimeError("a bug")

    monkeypatch.setattr(junit, "render", fail)
    outcome = model("m.onnx", "im", *SHORT, "--report", "html", "--report", "junit", "--attest")
    assert outcome.code == 4
    assert outcome.new == set()


def test_the_hashes_name_what_was_measured(model: Command) -> None:
    Path("im/broken.png").write_bytes(b"nothing")
    model.done("m.onnx", "im", *SHORT, "--attest", "--report", "json")
    stored = strict_json(Path("Analysis_m.json"))
    with open("Analysis_m.csv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    expected = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path("im").glob("i*")
    }
    assert {row["image"]: row["sha256"] for row in rows} == expected
    lines = sorted(f"{digest}  {name}" for name, digest in expected.items())
    manifest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    assert stored["images"]["manifest_sha256"] == manifest
    # As anyone can, from the JSON alone.
    configuration = {
        "options": stored["run"]["options"],
        "preprocessing": stored["preprocessing"],
    }
    text = json.dumps(configuration, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert stored["run"]["configuration_sha256"] == digest
    predicate = strict_json(Path("Analysis_m.intoto.json"))["predicate"]
    assert [one["digest"]["sha256"] for one in predicate["configuration"]] == [digest, manifest]
    assert predicate["result"] == "WARNED"


def test_the_configuration_decides_on_its_hash(model: Command) -> None:
    found = {}
    for name, further in (
        ("a", ()),
        ("b", ()),
        ("c", ("--threshold", "0.5")),
        ("d", ("--scale", "1/128")),
    ):
        model.done("m.onnx", "im", *SHORT, "--output", name, "--report", "json", *further)
        found[name] = read(f"{name}/Analysis_m.json").run.configuration_sha256
    assert found["a"] == found["b"]
    assert len(set(found.values())) == 3


def test_another_profile_is_another_configuration(model: Command) -> None:
    images("train", 6)
    images("train2", 7)
    found = set()
    for folder in ("train", "train2"):
        model.done("profile", "m.onnx", folder, "--preset", "unit", "-o", "p.profile")
        model.done("m.onnx", "im", *SHORT, "--profile", "p.profile", "--report", "json")
        run = read("Analysis_m.json").run
        assert len(run.options["profile SHA-256"]) == 64
        found.add(run.configuration_sha256)
    assert len(found) == 2
