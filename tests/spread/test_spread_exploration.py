"""Workers search, and what they found is settled as one process settles it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx import Exploration, ImageError, UsageError
from cleanai_onnx.jobs.exploration_options import ExplorationOptions
from cleanai_onnx.jobs.exploring import explore
from tests.cli.material import images, save
from tests.exploration.small import classifier
from tests.spread.here import work_here

OPTIONS = ExplorationOptions(constraint="l2", radius=2.0, step=0.5, iterations=15)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    """Return two models and 22 seeds, two of them broken, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    models = [save(f"m{number}.onnx", classifier(number)) for number in (1, 2)]
    seeds = images("seeds", 22)
    for number in (3, 17):
        Path(seeds, f"i{number}.png").write_bytes(b"no image")
    return models, seeds


def found(models: Any, seeds: str, folder: str, **more: Any) -> tuple[Exploration, list[str]]:
    keywords: dict[str, Any] = {"options": OPTIONS, "preset": "unit", "batch_size": 2, **more}
    result = explore(models, seeds, folder, **keywords)
    return result, Path(folder, "exploration.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (2, OPTIONS),
        (2, ExplorationOptions(constraint="occlusion", patch_size=(4, 4), iterations=5)),
        (1, ExplorationOptions(perturb="gaussian")),
        (1, ExplorationOptions(perturb="fgsm")),
    ],
)
def test_workers_find_what_one_process_finds(
    number: int,
    options: ExplorationOptions,
    given: tuple[list[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models, seeds = given[0][:number], given[1]
    one, alone = found(models, seeds, "one", options=options)
    work_here(monkeypatch)
    told: list[int] = []
    ours, together = found(
        models, seeds, "ours", options=options, workers=3, progress=lambda _: told.append
    )
    assert together == alone
    assert replace(ours, folder="", run=one.run, seconds=0) == replace(one, folder="", seconds=0)
    assert ours.found == len(list(Path("one/images").iterdir()))
    for path in Path("one/images").iterdir():
        assert Path("ours/images", path.name).read_bytes() == path.read_bytes()
    assert told == sorted(told) and told[-1] == 3 * 22


def test_it_goes_on(given: tuple[list[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, alone = found(*given, "one")
    searched: list[int] = []

    def told(_: int) -> Any:
        return searched.append

    work_here(monkeypatch)
    stopped, _ = found(*given, "ours", workers=2, progress=told, stop=lambda: len(searched) > 13)
    assert stopped.interrupted and not stopped.searched
    found(*given, "ours", workers=2)
    journal = Path("ours/exploration.jsonl")
    kept = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    journal.write_text("".join(kept[:8]), encoding="utf-8")
    _, together = found(*given, "ours", workers=4)
    assert together == alone


def test_a_worker_that_dies(given: tuple[list[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, alone = found(*given, "one")
    work_here(monkeypatch, dies=lambda job: job.first == 0)
    with pytest.raises(ImageError, match="died 3 times"):
        found(*given, "ours", workers=2)
    ours, rest = found(*given, "ours", workers=2, allow_partial=True)
    assert [one.reason for one in ours.skipped].count("its worker died 3 times") == 11
    assert ours.searched == 10
    counted = {"adds", "covered"}  # these depend on what the lost seeds found

    def outcome(line: str) -> dict[str, Any]:
        return {name: value for name, value in json.loads(line).items() if name not in counted}

    assert [outcome(line) for line in rest[1:]] == [outcome(line) for line in alone[-10:]]


def test_what_depends_on_what_was_found_is_refused(given: tuple[list[str], str]) -> None:
    models, seeds = given
    with pytest.raises(UsageError, match=r"--objective nc-suite .* depends on what was found"):
        explore(models[0], seeds, "out", preset="unit", workers=2)
    weighted = replace(OPTIONS, coverage_weight=0.5)
    with pytest.raises(UsageError, match="--coverage-weight"):
        explore(models, seeds, "out", weighted, preset="unit", workers=2)
    assert not Path("out").exists()
