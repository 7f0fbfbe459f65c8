"""The search against the outcome of DeepXplore's own, seed by seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

from cleanai_onnx import graph
from cleanai_onnx.exploration.search import ALREADY, FOUND, NOTHING, Rules
from cleanai_onnx.exploration.searched import SearchedModel, prepare
from cleanai_onnx.exploration.space import View
from tests.exploration.small import search, seeds_of

NAMES = {"already": ALREADY, "found": FOUND, "none": NOTHING}
BATCH = 32
RULES = Rules(constraint="light", step=10.0, iterations=20, valid=False)


def networks(idc: Path) -> tuple[SearchedModel, ...]:
    models = []
    for number in (1, 2, 3):
        model = graph.load_model(idc / "models" / f"dx_model{number}.logits.onnx")
        image_input = graph.find_image_input(model)
        view = View(channels_first=True)
        models.append(prepare(model, image_input, (BATCH, 1, 28, 28), view, ()))
    return tuple(models)


def test_light_without_coverage(idc: Path) -> None:
    golden = json.loads((idc / "json" / "deepxplore_light.json").read_text())
    cases = next(v for k, v in golden.items() if k.startswith("npm_test_first100"))["per_seed"]
    stored = np.load(idc / "arrays" / "deepxplore_light_wnc0_step10.npz")
    points = np.moveaxis(stored["input_first100"], 1, -1)
    outcome = search(networks(idc), RULES, seeds_of(points), BATCH)
    wanted = np.array([NAMES[case["kind"]] for case in cases])
    assert (outcome.became == ALREADY).tolist() == (wanted == ALREADY).tolist()
    assert abs(int((outcome.became == FOUND).sum()) - 77) <= 1
    both = (outcome.became == FOUND) & (wanted == FOUND)
    same = [cases[i]["iter"] == outcome.steps[i] for i in np.flatnonzero(both)]
    assert np.mean(same) >= 0.95
    assert all(cases[i]["orig"] == outcome.label[i] for i in np.flatnonzero(both))
    equal = np.array([case.get("iter", -1) for case in cases]) == outcome.steps
    compared = [k for k, seed in enumerate(stored["seeds"]) if both[seed] and equal[seed]]
    np.testing.assert_allclose(
        outcome.points[stored["seeds"][compared]][..., 0],
        stored["images"][compared],
        atol=1e-4,
    )
    # What onnxruntime says of the same points, as they are and as 8 bits hold them.
    raw = np.moveaxis(outcome.points[np.flatnonzero(both & equal)], -1, 1)
    held = np.clip(raw, 0, 1) * np.float32(255)
    sessions = [
        onnxruntime.InferenceSession(idc / "models" / f"dx_model{n}.logits.onnx") for n in (1, 2, 3)
    ]
    wanted_of = [cases[seed] for seed in np.flatnonzero(both & equal)]
    for points, key in (
        (raw, "preds"),
        (held.astype(np.uint8) / np.float32(255), "preds_after_clip_uint8"),
    ):
        said = np.stack([s.run(None, {"input": points})[0].argmax(axis=1) for s in sessions], 1)
        assert np.mean(said == [case[key] for case in wanted_of]) >= 0.99, key


def test_light_on_500_test_images(idc: Path) -> None:
    golden = json.loads((idc / "json" / "deepxplore_light.json").read_text())
    wanted = next(v for k, v in golden.items() if k.startswith("mnist_test_perm0"))["summary"]
    images = np.load(idc / "data" / "mnist_test10k_recovered.npz")["X"]
    # "perm0" is the legacy generator of NumPy.
    chosen = np.random.RandomState(0).permutation(len(images))[: wanted["n"]]
    points = images[chosen].reshape(-1, 28, 28, 1).astype(np.float32) / np.float32(255)
    outcome = search(networks(idc), RULES, seeds_of(points), BATCH)
    found = outcome.became == FOUND
    assert (outcome.became == ALREADY).sum() == wanted["already"]
    assert abs(int(found.sum()) - wanted["found"]) <= 1
    # A seed more or less may have taken all of the steps.
    assert abs(outcome.steps[found].mean() - wanted["mean_iter"]) <= 20 / wanted["found"]
    ends = [outcome.points[found].min(), outcome.points[found].max()]
    np.testing.assert_allclose(ends, wanted["pixel_range"], atol=1e-4)
