"""Whole inspections: planted truth, several models, stopping early, and what the probe adds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.tree import DecisionTreeClassifier

from cleanai_onnx import inspect, inspect_models
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inspection import COLUMNS, MEASURES, Column, Function, Inspector
from cleanai_onnx.inspection.probes import held_out
from tests.cli.material import DIGITS, LENET, build, node, save
from tests.coverage.suites import thorough
from tests.inspection.planted import mlp, network, pictures

UNITWISE = ["pearson", "spearman", "mean-difference", "cohens-d", "auc", "jaccard",
            "mutual-information"]  # fmt: skip


def columns_for(shows: np.ndarray) -> list[Column]:
    return [
        Column(f"concept {k}", "binary", {str(i): float(v) for i, v in enumerate(shows[:, k])})
        for k in range(shows.shape[1])
    ]


@given(
    st.integers(0, 10**6),
    # Few shapes: each is compiled.
    st.sampled_from([([1, 0], 1), ([2, 0, 4, 1, 3], 6), ([0, 1, 2, 3, 4], 6)]),
    st.integers(3, 40),
    st.floats(0, 0.4),
)
@thorough(15)
def test_planted_concepts_are_found(
    seed: int, planted: tuple[list[int], int], images: int, noise: float
) -> None:
    order, size = planted
    x, shows = pictures(seed, images, len(order), size, noise)
    found = inspect(
        network(order, size), x, columns_for(shows), UNITWISE, layers=["planted"], batch_size=8
    )
    for channel, concept in enumerate(order):
        rows = found[(found.hypothesis == f"concept {concept}") & (found.unit == channel)]
        scores = rows.set_index("measure").score
        assert scores["auc"] == 1
        assert scores["jaccard"] == 1
        share = shows[:, concept].mean()
        entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
        assert scores["mutual-information"] <= entropy + 1e-9
        assert scores["pearson"] > 1 - noise - 1e-9
        if noise == 0:
            assert scores["pearson"] == pytest.approx(1, abs=1e-6)
            assert scores["spearman"] == pytest.approx(1, abs=1e-6)
            assert scores["mean-difference"] == pytest.approx(1, abs=1e-6)


def test_the_planted_channel_is_the_best() -> None:
    order = [2, 0, 4, 1, 3]
    x, shows = pictures(0, 300, 5, 6, 0.3)
    scale_free = [name for name in UNITWISE if name != "mean-difference"]
    found = inspect(network(order, 6), x, columns_for(shows), scale_free)
    for (hypothesis, measure), rows in found.groupby(["hypothesis", "measure"], observed=True):
        best = rows.loc[rows.score.idxmax()]
        concept = int(str(hypothesis)[-1])
        assert (best.layer, best.unit) == ("planted", order.index(concept)), measure
        assert best.q < 1e-10
        assert best.low < best.score <= best.high or best.score in (1, np.inf)


def test_the_table(tmp_path: Path) -> None:
    x, shows = pictures(0, 70, 3, 4, 0.3)
    found = inspect(network([0, 1, 2], 4), x, columns_for(shows), [*UNITWISE, "probe"])
    assert list(found.columns) == list(COLUMNS)
    # Two layers of three channels, and two layers, against three concepts.
    assert len(found) == 3 * (6 * len(UNITWISE) + 2)
    assert set(found.inputs) == {70}
    joint = found[found.measure == "probe"]
    assert set(joint.kind) == {"layer"}
    assert joint.unit.isna().all()
    assert (joint[joint.layer == "planted"].score == 1).all()
    for _, rows in found.groupby("measure", observed=True):
        assert (rows.q.dropna() >= rows.p.dropna()).all()
    assert "tests were made" in found.attrs["notes"][-1]


@pytest.mark.parametrize("view", ["channel", "unit"])
def test_batches_do_not_change_scores(view: str) -> None:
    x, shows = pictures(3, 150, 3, 4, 0.4)
    models = network([0, 1, 2], 4)
    once, parts = (
        inspect(models, x, columns_for(shows), UNITWISE, units=view, batch_size=size)
        for size in (64, 7)
    )
    pd.testing.assert_frame_equal(once, parts, rtol=1e-6, atol=1e-7)
    assert len(once) == 3 * len(UNITWISE) * (6 if view == "channel" else 96)


def test_a_stream_of_batches_is_an_array() -> None:
    x, shows = pictures(3, 100, 3, 4, 0.4)
    models = network([0, 1, 2], 4)
    batches = (x[first : first + 16] for first in range(0, 100, 16))
    pd.testing.assert_frame_equal(
        inspect(models, batches, columns_for(shows), "auc"),
        inspect(models, x, columns_for(shows), "auc"),
    )


def test_several_models_side_by_side() -> None:
    x, shows = pictures(0, 60, 3, 4, 0.2)
    found = inspect_models(
        [network([0, 1, 2], 4), network([2, 1, 0], 4)], iter([x[:30], x[30:]]), columns_for(shows)
    )
    assert found.names == ("g", "g (2)")
    frame = found.frame()
    auc = frame[(frame.measure == "auc") & (frame.layer == "planted") & (frame.score == 1)]
    places = {(one.model, one.hypothesis, one.unit) for one in auc.itertuples()}
    assert {("g", "concept 0", 0), ("g (2)", "concept 0", 2)} <= places


def test_functions_of_the_input() -> None:
    x = np.random.default_rng(0).random((90, 1, 8, 8)).astype(np.float32)
    model = build([node("Relu", ["x"], ["y"])])

    def mean(batch: np.ndarray) -> np.ndarray:
        return batch.mean(axis=(1, 2, 3))

    bright = Function("bright", lambda batch: mean(batch) > 0.5, "binary")
    found = inspect(model, x, [mean, "brightness", bright, "contrast"])
    scores = found.set_index(["hypothesis", "measure"]).score
    for name in ("mean", "brightness"):
        assert scores[name, "pearson"] == pytest.approx(1, abs=1e-6)
    assert scores["bright", "auc"] == 1
    assert abs(scores["contrast", "pearson"]) < 0.5


def test_masks(tmp_path: Path) -> None:
    """Channels that fire exactly where a concept is have an IoU of 1."""
    random = np.random.default_rng(0)
    for number in range(12):
        picture = random.integers(0, 100, (8, 8, 3), dtype=np.uint8)
        for channel, concept in enumerate(("red", "green")):
            mask = np.zeros((8, 8), np.uint8)
            top, left = random.integers(0, 5, 2)
            if number % 3:
                mask[top : top + 3, left : left + 3] = 255
            picture[mask > 0, channel] = 250
            path = tmp_path / "masks" / concept / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "images" / f"{number}.png")
    model = save(
        tmp_path / "m.onnx",
        build(
            [node("Sub", ["x", "t"], ["s"]), node("Relu", ["s"], ["y"])],
            {"t": np.float32(0.5)},
            inputs={"x": ("N", 3, 8, 8)},
        ),
    )
    found = inspect(model, tmp_path / "images", [], masks=tmp_path / "masks", preset="unit")
    iou = found[found.measure == "iou"].set_index(["hypothesis", "unit"]).score
    assert iou["red", 0] == pytest.approx(1)
    assert iou["green", 1] == pytest.approx(1)
    assert iou["red", 1] < 0.5
    auc = found[found.measure == "auc"].set_index(["hypothesis", "unit"]).score
    assert auc["red", 0] == 1


def test_the_values_beyond_keep_are_sampled() -> None:
    x, shows = pictures(0, 400, 2, 4, 2.0)
    found = inspect_models(network([0, 1], 4), x, columns_for(shows), UNITWISE, keep=100)
    frame = found.frame()
    inputs = frame.groupby("measure", observed=True).inputs.first()
    assert inputs["pearson"] == 400
    assert inputs["auc"] == 100
    assert "sampled" in [note.slug for note in found.notes]
    exact = inspect(network([0, 1], 4), x, columns_for(shows), ["auc"])
    sampled = frame[frame.measure == "auc"].score.to_numpy()
    assert np.abs(sampled - exact.score.to_numpy()).max() < 0.25


class TestStoppingEarly:
    """A run stops once all scores are within the error of those on all images."""

    IMAGES, ERROR = 4000, 0.1

    def dataset(self) -> tuple[np.ndarray, list[Column]]:
        random = np.random.default_rng(1)
        x = random.normal(size=(self.IMAGES, 6)).astype(np.float32)
        # In an order that would mislead: those with the concept come first.
        x = x[np.argsort(-x[:, 0])]
        numeric = x[:, 0] + random.normal(size=self.IMAGES)
        binary = x[:, 1] + random.normal(size=self.IMAGES) > 0.5
        return x, [
            Column("numeric", "numeric", {str(i): float(v) for i, v in enumerate(numeric)}),
            Column("binary", "binary", {str(i): float(v) for i, v in enumerate(binary)}),
        ]

    def test_the_error_holds_in_95_of_100_runs(self) -> None:
        x, columns = self.dataset()
        model, names = mlp(0, 6, 10), ["pearson", "spearman", "auc"]
        exact = inspect(model, x, columns, names).score.to_numpy()
        inside, seen = 0, []
        for seed in range(100):
            found = inspect_models(
                model, x, columns, names, error=self.ERROR, min_inputs=200, seed=seed,
                batch_size=256, threads=1,
            )  # fmt: skip
            (one,) = found.models
            seen.append(one.inputs)
            assert one.stopped
            difference = np.abs(one.frame().score.to_numpy() - exact)
            inside += bool(difference.max() <= self.ERROR)
        assert inside >= 95
        assert max(seen) < self.IMAGES

    def test_no_error_is_exact(self) -> None:
        x, columns = self.dataset()
        found = inspect_models(mlp(0, 6, 10), x, columns, "pearson")
        assert found.models[0].inputs == self.IMAGES
        assert not found.models[0].stopped

    def test_images_of_a_folder_come_in_random_order(self) -> None:
        found = inspect_models(
            LENET, DIGITS, ["folders"], ["pearson"], error=0.5, min_inputs=100, batch_size=10,
            layers=["last-hidden"],
        )  # fmt: skip
        (one,) = found.models
        assert one.stopped
        assert one.inputs < 200
        folders = {claim.name for claim in one.claims if claim.kind == "binary"}
        assert len(folders) == 10
        assert "stopped-early" in [note.slug for note in found.notes]


def test_a_probe_beats_every_single_unit_of_lenet() -> None:
    """No threshold or tree on one unit tells digits as well as the layer does."""
    layer = "relu_3"
    found = inspect_models(LENET, DIGITS, ["folders"], ["probe"], layers=[layer], units="unit")
    frame = found.frame()
    probe = float(frame[frame.hypothesis == "folder"].score.iloc[0])
    from cleanai_onnx import inputs

    suite = inputs.discover(DIGITS)
    images = np.stack(
        [np.asarray(Image.open(suite.path(n)), np.float32)[None] / 255 for n in range(len(suite))]
    )
    values = activations(layer, images)
    labels = np.array([int(name.split("/")[0]) for name in suite.names])
    train, tested = held_out(len(labels), 0)
    single = [
        DecisionTreeClassifier(random_state=0)
        .fit(values[train, unit : unit + 1], labels[train])
        .score(values[tested, unit : unit + 1], labels[tested])
        for unit in range(values.shape[1])
    ]
    assert probe > max(single) + 0.2
    assert probe > 0.9


def activations(layer: str, images: np.ndarray) -> np.ndarray:
    import onnx
    import onnxruntime

    model = onnx.load(LENET)
    model.graph.output.append(onnx.ValueInfoProto(name=layer))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run([layer], {session.get_inputs()[0].name: images})
    return found.reshape(len(images), -1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measures": "xyz"}, "is no measure"),
        ({"hypotheses": []}, "no hypothesis"),
        ({"hypotheses": ["folders"]}, "images of a folder"),
        ({"hypotheses": ["xyz"]}, "neither a table"),
        ({"hypotheses": [3]}, "not int"),
        ({"measures": "iou"}, "none of the measures takes"),
        ({"error": -1}, "--error"),
        ({"quantile": 2}, "--quantile"),
        ({"keep": 0}, "--keep"),
        ({"layers": ["zzz"]}, "matches no measured layer"),
        ({"models": []}, "no model"),
        ({"units": "x"}, "--view"),
        ({"masks": "x"}, "images of a folder"),
    ],
)
def test_what_is_refused(options: dict[str, object], message: str) -> None:
    x, shows = pictures(0, 10, 2, 4, 0.1)
    given = {"models": network([0, 1], 4), "dataset": x, "hypotheses": columns_for(shows)}
    with pytest.raises(UsageError, match=message):
        inspect(**{**given, **options})  # type: ignore[arg-type]


def test_no_images() -> None:
    with pytest.raises(ImageError):
        inspect(network([0, 1], 4), iter([]), columns_for(np.ones((1, 2))))


def test_a_table_that_names_none_of_the_images(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,a\nx.png,1\n")
    with pytest.raises(UsageError, match="no row names one of the images"):
        inspect(LENET, DIGITS, tmp_path / "t.csv")


def test_every_measure_says_what_it_is() -> None:
    for name, one in MEASURES.items():
        assert one.id == name
        assert one.title
        assert one.takes
        assert one.definition.endswith(".")


def test_progress_is_told_of_images_and_of_fits() -> None:
    x, shows = pictures(0, 40, 2, 4, 0.1)
    told: list[list[int]] = []

    def progress(total: int) -> Callable[[int], None]:
        told.append([total])
        return told[-1].append

    inspect(network([0, 1], 4), x, columns_for(shows), ["probe", "auc"], progress=progress)
    # Arrays are fed at once; two layers are fitted.
    assert told == [[2, 1, 2]]
    told.clear()
    inspect(LENET, DIGITS, "folders", "probe", limit=20, layers=["last-hidden"], progress=progress)
    assert [steps[0] for steps in told] == [20, 1]
    assert [steps[-1] for steps in told] == [20, 1]


def test_statistics_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, shows = pictures(0, 10, 2, 4, 0.1)
    monkeypatch.setattr(Inspector, "start", _with_little_memory(Inspector.start))
    with pytest.raises(UsageError, match="choose fewer layers"):
        inspect(network([0, 1], 4), x, columns_for(shows))


def _with_little_memory(start: Callable[[Inspector], None]) -> Callable[[Inspector], None]:
    def started(self: Inspector) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cleanai_onnx.inspection.gathering.available_memory", lambda: 10)
            start(self)

    return started


def test_units_have_no_maps(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for folder in sorted(DIGITS.iterdir())[:2]:
        for path in sorted(folder.iterdir())[:5]:
            mask = tmp_path / "masks" / folder.name / path.name
            mask.parent.mkdir(exist_ok=True)
            Image.open(path).convert("L").save(mask)
    found = inspect(
        LENET, DIGITS, (), ["iou", "pearson"], masks=tmp_path / "masks", units="unit",
        layers=["last-hidden"],
    )  # fmt: skip
    assert set(found.measure) == {"pearson"}
