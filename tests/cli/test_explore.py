"""The command ``explore``: what it writes, how it goes on, and what it refuses."""

from __future__ import annotations

import csv
import json as stdlib_json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from cleanai_onnx.errors import UsageError
from cleanai_onnx.exploration.perturbations import PERTURBATIONS
from cleanai_onnx.jobs.exploration_options import ExplorationOptions
from cleanai_onnx.jobs.exploring import explore
from cleanai_onnx.report import json
from tests.cli.material import Command, images, save, strict_json
from tests.exploration.small import classifier

FLAGS = ("--constraint", "l2", "--radius", "2", "--step", "0.5", "--iterations", "15",
         "--preset", "unit")  # fmt: skip


@pytest.fixture
def given(command: Command) -> tuple[str, ...]:
    """Two models and 24 seeds, in the folder of the command."""
    models = [save(f"m{number}.onnx", classifier(number)) for number in (1, 2)]
    return (*models, images("seeds", 24))


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "exploration.jsonl").read_text(encoding="utf-8")
    return [stdlib_json.loads(line) for line in text.splitlines()]


def record_in(folder: Path) -> dict[str, Any]:
    """Return what was written, which the schema describes in every mode."""
    record: dict[str, Any] = strict_json(folder / "Exploration.json")
    jsonschema.Draft202012Validator(json.schema("exploration")).validate(record)
    return record


def classes(model: str, file: Path) -> int:
    with Image.open(file) as image:
        pixels = np.asarray(image, np.float32)[None, None] / 255
    session = onnxruntime.InferenceSession(model)
    return int(session.run(None, {"x": pixels})[0].argmax())


def test_disagreements(command: Command, given: tuple[str, ...]) -> None:
    command.done("explore", *given, "-o", "found", *FLAGS)
    record = record_in(command.folder / "found")
    seeds = record["seeds"]
    assert record["searched"] == len(seeds) == 24
    found = [seed for seed in seeds if seed["became"] == "found"]
    assert len(found) == record["found"] > 3
    for seed in found:
        file = command.folder / "found" / seed["file"]
        assert [classes(model, file) for model in given[:2]] == seed["classes"]
        assert len(set(seed["classes"])) == 2
        assert len(set(seed["before"])) == 1
        with Image.open(file) as image, Image.open(Path("seeds") / seed["image"]) as before:
            change = (np.asarray(image, float) - np.asarray(before, float)) / 255
        assert seed["l2"] == pytest.approx(np.linalg.norm(change), rel=1e-4)
        assert seed["linf"] == pytest.approx(np.abs(change).max(), rel=1e-4)
        assert seed["l2"] <= 2.02
    for seed in seeds:
        assert (seed["became"] == "already") == (len(set(seed["before"])) == 2)
    with (command.folder / "found" / "Exploration.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == [seed["image"] for seed in seeds]
    assert (command.folder / "found" / "Exploration.pdf").read_bytes().startswith(b"%PDF")
    kept = {path.name for path in (command.folder / "found" / "images").iterdir()}
    assert kept == {Path(seed["file"]).name for seed in found}
    covered = record["growth"][-1][1]
    assert [model["covered"] for model in record["models"]] == covered


def test_it_goes_on_where_it_was(command: Command, given: tuple[str, ...]) -> None:
    flags = (*FLAGS, "--batch-size", "2", "--coverage-weight", "0.5", "--threshold", "0.2")
    command.done("explore", *given, "-o", "whole", *flags)
    command.done("explore", *given, "-o", "parts", *flags)
    whole = lines(command.folder / "whole")
    assert whole == lines(command.folder / "parts"), "the same seed, the same outcome"
    journal = command.folder / "parts" / "exploration.jsonl"
    text = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    # As an interruption leaves it: in the middle of a round, and of a line.
    journal.write_text("".join(text[:12]) + text[12][:20], encoding="utf-8")
    command.done("explore", *given, "-o", "parts", *flags)
    assert lines(command.folder / "parts") == whole


def test_it_goes_on_with_nothing_else(command: Command, given: tuple[str, ...]) -> None:
    few = (*given, "-o", "found", *FLAGS, "--iterations", "2", "--limit", "6")
    command.done("explore", *few)
    journal = command.folder / "found" / "exploration.jsonl"
    before = journal.read_bytes()
    text = command.refused(2, "explore", *few, "--batch-size", "4")
    assert "--batch-size is 8 there and 4 here" in " ".join(text.split())
    names = sorted(Path(given[2]).iterdir())
    for path in names:
        path.write_bytes(names[-1].read_bytes())
    text = command.refused(2, "explore", *few)
    assert "the images (a hash of their contents and names)" in " ".join(text.split())
    assert journal.read_bytes() == before


def test_a_profile_decides_what_is_sought(command: Command, given: tuple[str, ...]) -> None:
    model, seeds = given[0], given[2]
    for name, seed in (("a.profile", "1"), ("b.profile", "2")):
        command.done("profile", model, seeds, "--limit", "9", "--seed", seed, "-o", name,
                     "--preset", "unit")  # fmt: skip
    flags = (*FLAGS, "--iterations", "2", "--limit", "4", "-o", "found", "--sections", "5")
    searched = ("explore", model, seeds, *flags, "--objective", "kmnc", "--profile")
    command.done(*searched, "a.profile")
    text = " ".join(command.refused(2, *searched, "b.profile").split())
    assert "what --profile has learnt (SHA-256) is" in text
    text = command.refused(2, *searched, "a.profile", "--scale", "1/127")
    assert "preprocessing: scale" in " ".join(text.split())


def test_one_model(command: Command, given: tuple[str, ...]) -> None:
    command.done("explore", given[0], given[2], "-o", "found", *FLAGS, "--threshold", "0.9",
                 "--objective", "nc-suite")  # fmt: skip
    record = record_in(command.folder / "found")
    (model,) = record["models"]
    new = sum(seed["adds"] for seed in record["seeds"])
    assert model["covered"] - model["covered_before"] == new
    assert all((seed["adds"] > 0) == (seed["became"] == "found") for seed in record["seeds"])


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_perturbations(command: Command, given: tuple[str, ...], kind: str) -> None:
    flags = ("--perturb", kind, "--strength", "0.2", "--preset", "unit", "--limit", "5")
    command.done("explore", given[0], given[2], "-o", "found", *flags)
    record = record_in(command.folder / "found")
    assert record["found"] == 5
    for seed in record["seeds"]:
        assert 0 < seed["linf"] <= (0.203 if kind in ("fgsm", "bim") else 1)
        assert classes(given[0], command.folder / "found" / seed["file"]) == seed["classes"][0]


def test_compat_leaves_valid_pixels_and_says_what_stays(
    command: Command, given: tuple[str, ...]
) -> None:
    command.done("explore", *given, "-o", "found", "--compat", "deepxplore", "--step", "3",
                 "--constraint", "occlusion", "--patch-size", "6x6", "--preset",
                 "unit")  # fmt: skip
    record = record_in(command.folder / "found")
    found = [seed for seed in record["seeds"] if seed["became"] == "found"]
    assert found
    outside = 0
    for seed in found:
        file = command.folder / "found" / seed["file"]
        raw = np.load(file.with_suffix(".npy"))
        outside += raw.min() < 0 or raw.max() > 1
        stays = len({classes(model, file) for model in given[:2]}) == 2
        assert stays == seed["stays"]
    assert outside


def test_arrays_that_are_ready(command: Command, given: tuple[str, ...]) -> None:
    array = np.random.default_rng(0).uniform(-1, 1, (6, 1, 8, 8)).astype(np.float32)
    np.save("ready.npy", array)
    text = command.refused(2, "explore", *given[:2], "ready.npy", "-o", "out")
    assert "--input-range" in text
    command.done("explore", *given[:2], "ready.npy", "-o", "out", "--input-range", "-1", "1",
                 "--constraint", "linf", "--radius", "0.3")  # fmt: skip
    record = record_in(command.folder / "out")
    for seed in record["seeds"]:
        if seed["file"]:
            values = np.load(command.folder / "out" / seed["file"])
            assert values.shape == (1, 1, 8, 8)
            assert np.abs(values - array[seed["index"]]).max() <= 0.6 + 1e-5
            assert np.abs(values).max() <= 1


def test_what_is_refused(command: Command, given: tuple[str, ...]) -> None:
    one = (given[0], given[2], "-o", "out", "--preset", "unit")
    two = (*given, "-o", "out", "--preset", "unit")
    for words, *arguments in (
        ("one or more .onnx files", given[2]),
        ("one or more .onnx files", given[0]),
        ("needs two or more models", *one, "--objective", "disagreement"),
        ("is for one model", *two, "--objective", "kmnc"),
        ("needs --profile", *one, "--objective", "kmnc"),
        ("from 1 to 2", *two, "--target-model", "3"),
        ("does not fit", *two, "--constraint", "occlusion", "--patch-size", "9x9"),
        ("belongs to --constraint", *two, "--radius", "1"),
        ("is for one model", *two, "--perturb", "fgsm"),
        ("belongs to --perturb", *one, "--strength", "1"),
        ("none or deepxplore", *two, "--compat", "deepimportance-2020"),
        ("10x10", *two, "--patch-size", "5"),
    ):
        assert words in command.refused(2, "explore", *arguments)


def test_it_can_be_stopped_and_goes_on(command: Command, given: tuple[str, ...]) -> None:
    options = ExplorationOptions(constraint="l2", radius=2.0, step=0.5, iterations=15)
    keywords: Any = {"preset": "unit", "batch_size": 1}
    asked = iter([False, False, True])
    first = explore(given[:2], given[2], "out", options, stop=lambda: next(asked, True), **keywords)
    assert first.interrupted
    assert 0 < first.searched < 24
    whole = explore(given[:2], given[2], "out", options, **keywords)
    assert not whole.interrupted
    assert whole.searched == 24
    with pytest.raises(UsageError):
        ExplorationOptions(constraint="all")  # type: ignore[arg-type]
