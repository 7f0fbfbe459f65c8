"""Learning, storing, merging and using a profile, on the model that the README uses."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import cleanai_onnx
from cleanai_onnx import ModelError, Profile, ProfileParameters, UsageError, profiles
from cleanai_onnx.profiles.learning import chosen_layers
from tests.cli.material import DIGITS, LENET, build, node, relu

pytestmark = pytest.mark.skipif(not LENET.exists(), reason="models/lenet5.onnx is not here")


@pytest.fixture(scope="module")
def whole() -> Profile:
    return cleanai_onnx.learn(LENET, DIGITS)


def suite() -> tuple[np.ndarray, np.ndarray]:
    files = sorted(DIGITS.glob("*/*.png"))
    images = np.stack([np.asarray(Image.open(file), np.float32) / 255 for file in files])
    return images[:, None], np.array([int(file.parent.name) for file in files])


def test_what_was_learnt(whole: Profile) -> None:
    images, labels = suite()
    session = onnxruntime.InferenceSession(LENET)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    correct = logits.argmax(axis=1) == labels
    facts = whole.facts
    assert (facts.images, facts.labelled, facts.labels) == (200, 200, "folder names")
    assert facts.correct == correct.sum() and facts.classes == 10 and not facts.remarks
    assert whole.relevance is not None
    np.testing.assert_array_equal(
        whole.relevance.images, np.bincount(labels[correct], minlength=10)
    )
    # The sums are those of the relevance of each image that was classified as labelled.
    explained = cleanai_onnx.attribute(
        LENET, images[correct], composite="epsilon", layers=facts.traced
    )
    (layer,) = facts.traced
    np.testing.assert_allclose(
        whole.relevance.sums[layer].sum(axis=0), explained.layers[layer].sum(axis=0), rtol=1e-4
    )
    np.testing.assert_array_equal(np.sort(whole.sample.labels), np.sort(labels))


def test_the_rules_of_the_authors_of_idc() -> None:
    rng = np.random.default_rng(3)
    kernel, bias = rng.normal(size=(2, 1, 1, 1)), rng.normal(size=2)
    weights = rng.normal(size=(128, 3)) / 8
    nodes = [
        node("Conv", ["x", "k", "b"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    arrays = {"k": kernel, "b": bias, "w": weights}
    model = build(nodes, {name: array.astype(np.float32) for name, array in arrays.items()})
    images = rng.normal(size=(30, 1, 8, 8)).astype(np.float32)
    profile = cleanai_onnx.learn(model, images, composite="deepimportance-2020")
    # By LRP-0 what a neuron gives to a logit is its relevance, also where it is negative.
    convolved = images * kernel[:, 0] + bias[:, None, None]
    logits = convolved.reshape(30, 128) @ weights
    given = convolved.reshape(30, 128) * weights[:, logits.argmax(axis=1)].T
    assert profile.relevance is not None and profile.facts.composite == "deepimportance-2020"
    np.testing.assert_allclose(
        profile.relevance.sums["r"].sum(axis=0),
        given.reshape(30, 2, 64).sum(axis=(0, 2)),
        rtol=1e-4,
    )
    predicted = (np.maximum(convolved, 0).reshape(30, 128) @ weights).argmax(axis=1)
    assert (predicted != logits.argmax(axis=1)).any()
    np.testing.assert_array_equal(profile.relevance.images, np.bincount(predicted, minlength=3))


def test_units_are_every_scalar() -> None:
    images, _ = suite()
    learnt = cleanai_onnx.learn(LENET, images[:20], view="unit", composite="none")
    assert len(learnt.moments.low) == sum(layer.units for layer in learnt.layers)
    assert learnt.relevance is None and learnt.facts.labels == "none"
    # All images of the suite lie within the ranges that they set.
    result = cleanai_onnx.analyze(LENET, images[:20], profile=learnt)
    assert result.table("nbc-suite", "unit").coverage == 0
    total = result.table("kmnc", "unit").total
    assert total is not None and total[-1] == 0


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_shards_merge_into_one_pass(whole: Profile, tmp_path: Path, batch_size: int) -> None:
    parts = []
    for name, digits in (("low", range(4)), ("high", range(4, 10))):
        folders = [DIGITS / str(digit) for digit in digits]
        part = cleanai_onnx.learn(LENET, folders, batch_size=batch_size)
        parts.append(profiles.load(profiles.save(part, tmp_path / name)))
    for merged in (profiles.merge(parts), profiles.merge(parts[::-1])):
        assert merged.facts.images == 200 and merged.facts.correct == whole.facts.correct
        for name in ("count", "low", "high"):
            np.testing.assert_array_equal(
                getattr(merged.moments, name), getattr(whole.moments, name)
            )
        np.testing.assert_allclose(merged.moments.mean, whole.moments.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.moments.squares, whole.moments.squares, rtol=1e-9)
        np.testing.assert_array_equal(merged.sample.keys, whole.sample.keys)
        for layer in whole.facts.traced:
            np.testing.assert_array_equal(merged.sample.traces[layer], whole.sample.traces[layer])
        assert merged.relevance is not None and whole.relevance is not None
        for layer, sums in whole.relevance.sums.items():
            np.testing.assert_allclose(merged.relevance.sums[layer], sums, rtol=1e-4, atol=1e-4)


def test_a_stored_profile_is_read_back(whole: Profile, tmp_path: Path) -> None:
    path = profiles.save(whole, tmp_path / "made" / "lenet.profile")
    again = profiles.load(path)
    assert again.facts == whole.facts
    assert profiles.save(again, tmp_path / "second").read_bytes() == path.read_bytes()
    with np.load(path) as arrays:  # numpy alone can read it
        np.testing.assert_array_equal(arrays["low"], whole.moments.low)


def rewritten(path: Path, change: Any) -> Path:
    """Rewrite the members of a profile: `change` takes and returns a dict of their bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    target = path.with_name("changed")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in change(members).items():
            archive.writestr(name, content)
    return target


def facts_changed(**new: Any) -> Any:
    def change(members: dict[str, bytes]) -> dict[str, bytes]:
        facts = json.loads(members["profile.json"]) | new
        return members | {"profile.json": json.dumps(facts).encode()}

    return change


def pickled(members: dict[str, bytes]) -> dict[str, bytes]:
    content = io.BytesIO()
    np.save(content, np.array([{"a": 1}], object), allow_pickle=True)
    return members | {"low.npy": content.getvalue()}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: {k: v for k, v in m.items() if k != "profile.json"}, "has no profile.json"),
        (lambda m: {k: v for k, v in m.items() if k != "low.npy"}, "broken"),
        (lambda m: m | {"low.npy": m["low.npy"][:-4]}, "cut short"),
        (lambda m: m | {"low.npy": m["mean.npy"]}, "float64"),
        (lambda m: m | {"low.npy": b"no array"}, "broken"),
        (pickled, "object"),
        (lambda m: m | {"profile.json": b"{"}, "not valid JSON"),
        (facts_changed(format_version=99), "newer"),
        (facts_changed(images=10**12, traces=10**12), "traces_0"),
        (facts_changed(images=-5), "traces_0"),
        (facts_changed(traced=["no such layer"]), "contradict"),
        (facts_changed(view="both"), "not one of"),
    ],
)
def test_broken_profiles(whole: Profile, tmp_path: Path, change: Any, why: str) -> None:
    path = rewritten(profiles.save(whole, tmp_path / "good"), change)
    with pytest.raises(UsageError, match=why):
        profiles.load(path)


def test_a_compressed_profile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("profile.json", "{}" + " " * 10_000)
    with pytest.raises(UsageError, match="compressed"):
        profiles.load(path)


def test_files_that_are_no_profiles(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04", b"\x00" * 100):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is no profile"):
            profiles.load(path)
    with pytest.raises(UsageError, match="cannot read"):
        profiles.load(tmp_path / "missing")
    with pytest.raises(UsageError, match="cannot read"):
        profiles.load(tmp_path)


def test_a_profile_of_something_else_is_refused(whole: Profile) -> None:
    with pytest.raises(UsageError, match=r"the model \(SHA-256\)"):
        cleanai_onnx.analyze(LENET.with_name("lenet1.onnx"), DIGITS, profile=whole)
    with pytest.raises(UsageError, match="preprocessing: scale is 1/255 in the profile and 1/128"):
        cleanai_onnx.analyze(LENET, DIGITS, preprocessing={"scale": "1/128"}, profile=whole)
    with pytest.raises(UsageError, match=r"--taps"):
        cleanai_onnx.analyze(LENET, DIGITS, taps=("activations", "logits"), profile=whole)


@pytest.mark.parametrize(
    "change", [{"view": "unit"}, {"traces": 7}, {"composite": ""}, {"model_sha256": "0" * 64}]
)
def test_different_profiles_do_not_merge(whole: Profile, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot be merged"):
        profiles.merge([whole, replace(whole, facts=replace(whole.facts, **change))])


def test_a_small_sample_is_kept_of_many_images() -> None:
    images, _ = suite()
    learnt = cleanai_onnx.learn(LENET, images, traces=30, composite="none")
    assert len(learnt.sample) == 30 and learnt.facts.images == 200


def test_traces_keep_no_more_than_their_layer() -> None:
    profiler = profiles.Profiler(LENET, composite="none")
    profiler.update(suite()[0][:20])
    traces = [trace for part in profiler._sampler._parts for trace in part.traces.values()]
    assert sum(len(trace) for trace in traces) == 20
    assert all(trace.base is None for trace in traces)


def test_relevance_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    # TopK has no rule.
    model = build(
        [
            node("Flatten", ["x"], ["f"]),
            node("TopK", ["f", "k"], ["v", "i"]),
            node("Relu", ["v"], ["r"]),
            node("Neg", ["r"], ["y"]),
        ],
        {"k": np.array([4], np.int64)},
    )
    images = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    learnt = cleanai_onnx.learn(model, images)
    assert learnt.relevance is None
    assert any("relevance was not computed" in remark for remark in learnt.facts.remarks)
    assert profiles.load(profiles.save(learnt, tmp_path / "p")).relevance is None


def test_a_model_without_classes() -> None:
    images = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    learnt = cleanai_onnx.learn(relu(), images, composite="none")
    assert learnt.facts.classes is None and (learnt.sample.classes == 0).all()


def test_a_data_loader_brings_labels() -> None:
    images, labels = suite()
    batches = [(images[:50], labels[:50]), (images[50:], labels[50:])]
    learnt = cleanai_onnx.learn(LENET, batches, composite="none", limit=120)
    assert (learnt.facts.labels, learnt.facts.labelled) == ("batches", 120)


def test_options_that_cannot_be_used() -> None:
    for options, why in (
        ({"view": "both"}, "--view"),
        ({"traces": 0}, "--traces"),
        ({"layers": ("nope",)}, "matches no measured layer"),
        ({"preset": "unit"}, "preset"),
        ({"limit": 0}, "limit must be at least 1"),
    ):
        with pytest.raises(UsageError, match=why):
            cleanai_onnx.learn(LENET, suite()[0][:2], **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="sections"):
        ProfileParameters(sections=0)
    with pytest.raises(UsageError, match="margin"):
        ProfileParameters(margin=-1)
    with pytest.raises(ModelError):
        cleanai_onnx.learn(b"no model", suite()[0][:2])


def test_which_layers_are_chosen(whole: Profile) -> None:
    layers = whole.layers
    names = tuple(layer.name for layer in layers)
    assert chosen_layers(("last-hidden",), layers, {"logits"}) == names[-1:]
    assert chosen_layers(("last-hidden",), layers, {names[-1]}) == names[-2:-1]
    assert chosen_layers(("all",), layers, set()) == names
    assert chosen_layers((layers[1].label, names[0]), layers, set()) == names[:2]
    assert chosen_layers((f"{names[0][:3]}*",), layers, set()) == names
