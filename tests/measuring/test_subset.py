"""Which images to keep: measured again, the subset covers what the suite covers."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cleanai_onnx import Analyzer, Profile, ProfileParameters, Result, UsageError, analyze, learn
from cleanai_onnx.report import json
from tests.cli.material import DIGITS, LENET, relu

lenet = pytest.mark.skipif(not LENET.exists(), reason="models/lenet5.onnx is not here")
PARAMETERS = ProfileParameters(sections=20, important=(3, 5))


@pytest.fixture(scope="module")
def taught() -> Profile:
    return learn(LENET, f"{DIGITS}/[0-4]/*.png")


def kept_rows(result: Result) -> dict[str, list[tuple]]:
    """Return what the criteria's tables count, without what images outside the range do."""
    assert result.subset is not None
    return {
        f"{one.metric}/{one.view}": [row[:4] for row in result.table(one.metric, one.view).rows]
        for one in result.subset.criteria
    }


@lenet
class TestMeasuredAgain:
    def check(self, tmp_path: Path, subset: bool | tuple[str, ...], profile: Profile | None):
        keep, again = tmp_path / "keep.txt", tmp_path / "again.txt"
        shared = {"profile": profile, "profile_parameters": PARAMETERS, "subset": subset}
        whole = analyze(LENET, DIGITS, subset_file=keep, **shared)
        assert whole.subset is not None
        lines = keep.read_text().splitlines()
        assert len(lines) == len(whole.subset.images) < 200
        fewer = analyze(LENET, keep, subset_file=again, **shared)
        assert fewer.images.used == len(lines)
        assert kept_rows(fewer) == kept_rows(whole)
        assert fewer.subset is not None
        assert fewer.subset.criteria == whole.subset.criteria
        # A smaller subset of the subset would be one of the suite.
        assert len(fewer.subset.images) >= whole.subset.lower_bound
        without = analyze(LENET, lines[:-1], **shared)
        assert kept_rows(without) != kept_rows(whole)
        return whole

    def test_of_images_in_an_archive(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
            for path in sorted(DIGITS.rglob("*.png"))[::5]:
                archive.write(path, path.relative_to(DIGITS).as_posix())
        keep = tmp_path / "keep.txt"
        packed = analyze(LENET, tmp_path / "digits.zip", subset_file=keep)
        lines = keep.read_text().splitlines()
        assert lines[0].startswith(f"{tmp_path}/digits.zip/")
        assert kept_rows(analyze(LENET, keep, subset=True)) == kept_rows(packed)

        unpacked = analyze(LENET, sorted(DIGITS.rglob("*.png"))[::5])
        assert [t.rows for t in packed.tables] == [t.rows for t in unpacked.tables]
        assert [t.total for t in packed.tables] == [t.total for t in unpacked.tables]

    def test_of_channels(self, tmp_path: Path) -> None:
        whole = self.check(tmp_path, True, None)
        subset = whole.subset
        assert {one.view for one in subset.criteria} == {"channel"}
        assert subset.of == 200
        for one in subset.criteria:
            total = whole.table(one.metric, one.view).total
            assert (one.covered, one.total) == total[1:3]
        assert subset.images[-1].share == 1
        gains = [image.adds for image in subset.images]
        assert gains == sorted(gains, reverse=True) and gains[-1] > 0
        assert sum(gains) == sum(one.covered for one in subset.criteria)
        assert json.loads(json.dumps(whole)).subset == subset

    def test_of_units(self, tmp_path: Path) -> None:
        self.check(tmp_path, ("nc-suite/unit", "tknc-suite/unit"), None)

    def test_against_a_profile(self, tmp_path: Path, taught: Profile) -> None:
        whole = self.check(tmp_path, True, taught)
        assert {"nbc-suite", "snac", "kmnc", "idc"} <= {c.metric for c in whole.subset.criteria}
        for one in whole.subset.criteria:
            if one.metric in ("kmnc", "snac"):
                assert one.covered == whole.table(one.metric, one.view).total[1]
            if one.metric == "idc":
                rows = whole.table("idc", "channel").rows
                assert (one.covered, one.total) == tuple(sum(r[i] for r in rows) for i in (2, 3))

    def test_of_combinations_alone(self, tmp_path: Path, taught: Profile) -> None:
        whole = self.check(tmp_path, ("idc",), taught)
        assert whole.subset.proven

    def test_more_combinations_than_images_are_numbered_as_they_come(
        self, taught: Profile, tmp_path: Path
    ) -> None:
        parameters = ProfileParameters(important=(12,), clusters=(4, 6))
        digits = sorted(DIGITS.rglob("*.png"))[::7]
        whole = analyze(
            LENET, digits, profile=taught, profile_parameters=parameters, subset=["idc"]
        )
        (one,) = whole.subset.criteria
        assert one.covered == whole.table("idc", "channel").total[2] <= len(digits)
        assert one.total == whole.table("idc", "channel").total[3] > 4**12

    def test_the_table_of_images(self, tmp_path: Path) -> None:
        path = tmp_path / "images.csv"
        whole = analyze(LENET, DIGITS, subset=True, per_image=path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 200
        subset = whole.subset
        chosen = {row["image"] for row in rows if row["in subset"] == "1"}
        assert chosen == {image.path for image in subset.images}
        alone = {row["image"]: int(row["covers alone"]) for row in rows}
        assert all(alone[image.path] == image.only for image in subset.images)
        ranks = sorted(int(row["rank"]) for row in rows if row["rank"])
        assert ranks == list(range(1, len(ranks) + 1)) and len(ranks) >= len(chosen)
        covered = {f"{one.metric}/{one.view}": one.covered for one in subset.criteria}
        for name, count in covered.items():
            assert sum(int(row[f"adds {name}"]) for row in rows) == count
        assert sum(int(row["adds by rank"]) for row in rows) == sum(covered.values())
        assert list(tmp_path.iterdir()) == [path]


class TestBatches:
    def test_it_is_not_looked_for_unless_asked(self) -> None:
        assert analyze(relu(), np.zeros((2, 1, 8, 8), np.float32)).subset is None

    def test_of_batches(self, tmp_path: Path) -> None:
        data = np.zeros((4, 1, 8, 8), np.float32)
        data[1, 0, :4] = 2
        data[2, 0, :2] = 2
        data[3, 0, 5] = 2
        keep = tmp_path / "keep.txt"
        result = analyze(relu(), data, subset=["nc-suite/unit"], subset_file=keep)
        frame = result.subset.to_frame()
        assert frame["image"].tolist() == ["input 1", "input 3"]
        assert frame["adds"].tolist() == [32, 8]
        assert frame["cumulative share"].tolist() == [0.8, 1]
        # The first two rows are covered by input 2 as well.
        assert frame["covers alone"].tolist() == [16, 8]
        assert result.subset.proven
        assert result.subset.redundant == ("input 0", "input 2")
        assert keep.read_text() == "input 1\ninput 3\n"

    def test_a_suite_that_covers_nothing_needs_no_image(self) -> None:
        result = analyze(relu(), np.zeros((3, 1, 8, 8), np.float32), subset=["nc-suite"])
        assert result.subset.images == () and result.subset.proven

    def test_it_can_be_asked_for_as_it_grows_and_after_the_end(self) -> None:
        data = np.zeros((1, 1, 8, 8), np.float32)
        with Analyzer(relu(), subset=["nc-suite/unit"], batch_size=1) as analyzer:
            analyzer.update(data + 1)
            assert analyzer.result().subset.of == 1
            analyzer.update(data)
            before = analyzer.result().subset
        assert analyzer.result().subset == before
        assert before.of == 2 and len(before.images) == 1

    def test_with_values_that_are_not_numbers(self) -> None:
        data = np.full((3, 1, 8, 8), np.nan, np.float32)
        data[1, 0, 0, 0] = 3
        data[2] = 1
        result = analyze(relu(), data, subset=["nc-suite/unit", "tknc-suite/unit"])
        for one in result.subset.criteria:
            assert one.covered == result.table(one.metric, "unit").total[1]

    @pytest.mark.parametrize(
        ("subset", "why"),
        [
            (["sc-suite"], "sc-suite: no such criterion; choose from nc-suite"),
            (["nc-suite/pixel"], "no such criterion"),
            (["kmnc"], "kmnc needs --profile or --train"),
        ],
    )
    def test_refused(self, subset: list[str], why: str) -> None:
        with pytest.raises(UsageError, match=why):
            analyze(relu(), np.zeros((2, 1, 8, 8), np.float32), subset=subset)

    def test_too_many_items(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cleanai_onnx.measuring.cover_items.MOST_ITEMS", 3)
        with pytest.raises(UsageError, match="have 4 items to cover, more than 3"):
            analyze(relu(), np.zeros((2, 1, 8, 8), np.float32), subset=True)
