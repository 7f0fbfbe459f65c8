from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx import graph
from cleanai_onnx.converters import routes
from cleanai_onnx.converters.conversion import Conversion, ConversionError
from cleanai_onnx.converters.routes import Origin, convert
from cleanai_onnx.converters.source import Route
from cleanai_onnx.converters.trial import Terms
from cleanai_onnx.errors import ModelError, UsageError


@pytest.fixture(autouse=True)
def sources_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def route(name: str, needs: tuple[str, ...] = (), batch: Any = "dynamic", **options: Any) -> Route:
    return Route(name, "fake_sources:load", needs, batch, options)


def run(folder: Path, *tried: Route, **terms: Any) -> tuple[Path, Conversion]:
    chosen = Terms(**{"rtol": 1e-5, "atol": 0.0, **terms})
    origin = Origin("double.x", "fake model", "ab" * 32, folder / "double.x")
    output = folder / "out.onnx"
    return convert(origin, tried, {}, output, chosen, extra="fake", timeout=60)


def test_the_first_route_that_works_is_used(tmp_path: Path) -> None:
    path, record = run(
        tmp_path,
        route("absent", ("surely_not_installed",)),
        route("raising", body="raise"),
        route("silent", body="nothing"),
        route("crashing", body="exit"),
        route("wrong", body="y = Mul(x, x)"),
        route("invalid", body="y = Nonsense(x)"),
        route("right"),
        route("never tried"),
    )
    assert [(a.route, a.outcome) for a in record.attempts] == [
        ("absent", "not installed"), *((name, "failed") for name in (
            "raising", "silent", "crashing", "wrong", "invalid")), ("right", "used"),
    ]  # fmt: skip
    words = ["surely_not_installed", "no way", "no file", "exit code 3", "does not compute",
             "checker"]  # fmt: skip
    for word, attempt in zip(words, record.attempts, strict=False):
        assert word in attempt.reason
    assert record.route == "right"
    assert record.parameters == 7
    assert record.remarks == ("A remark.",)
    assert record.versions["fake"] == "1"
    assert path == tmp_path / "out.onnx"
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]


def test_where_every_route_fails_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"no file was written.*raising: .*no way") as caught:
        run(tmp_path, route("raising", body="raise"), route("absent", ("surely_not_installed",)))
    assert [a.outcome for a in caught.value.attempts] == ["failed", "not installed"]
    assert list(tmp_path.iterdir()) == []


def test_where_no_route_is_installed_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pip install 'cleanai-onnx\[fake\]'") as caught:
        run(tmp_path, route("a", ("surely_not_installed",)),
            route("b", ("surely_not_installed", "numpy", "nor_this")))  # fmt: skip
    assert "(surely_not_installed, nor_this cannot be imported)" in str(caught.value)


def test_what_cannot_be_loaded_is_not_loaded_again_for_another_exporter(tmp_path: Path) -> None:
    other = replace(route("another framework"), environment={"FRAMEWORK": "another"})
    _, record = run(
        tmp_path,
        route("broken", broken=True),
        route("broken too", broken=True, exporter="another"),
        route("broken, fixed", broken=True, batch="fixed"),
        other,
    )
    assert [(a.route, a.outcome) for a in record.attempts] == [
        ("broken", "failed"), ("another framework", "used"),
    ]  # fmt: skip
    assert "the source cannot be loaded: KeyError" in record.attempts[0].reason


def test_what_is_not_installed_is_said_once(tmp_path: Path) -> None:
    missing = ("surely_not_installed",)
    _, record = run(
        tmp_path, route("a", missing), route("right", body="raise"),
        route("a, fixed", missing, batch="fixed"), route("fixed", batch="fixed", fixed=1),
    )  # fmt: skip
    assert [a.route for a in record.attempts] == ["a", "right", "fixed"]


def test_a_refusal_ends_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^This file is damaged\.$"):
        run(tmp_path, route("refusing", refuse=True), route("right"))
    assert list(tmp_path.iterdir()) == []


def test_a_fixed_batch_is_no_dynamic_one(tmp_path: Path) -> None:
    _, record = run(tmp_path, route("dynamic", fixed=2), route("fixed", batch="fixed", fixed=2))
    assert record.batch == "fixed"
    assert record.parity.batch_sizes == (2,)
    assert "batch size 2 is built into" in record.attempts[0].reason


def test_settings_of_the_model_are_written(tmp_path: Path) -> None:
    path, record = run(tmp_path, route("right", preprocessing={"scale": 1, "mean": 0, "std": 1}))
    assert record.sidecar == str(tmp_path / "out.preprocessing.json")
    assert "cleanai.preprocessing" in graph.load_model(path).metadata


def test_settings_of_the_user_come_before_those_of_the_model(tmp_path: Path) -> None:
    from cleanai_onnx.inputs.sidecars import sidecar

    path, _ = run(tmp_path, route("right", preprocessing={"scale": 1}),
                  preprocessing={"scale": "1/255"})  # fmt: skip
    found = sidecar(path)
    assert found is not None
    assert found.settings["scale"] == pytest.approx(1 / 255)


def test_images_need_an_input_that_takes_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--images"):
        run(tmp_path, route("right"), images=("somewhere",))


def test_nothing_installed_for_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cleanai_onnx.converters.pytorch import to_onnx

    monkeypatch.setattr(routes, "_is_installed", lambda name: False)
    (tmp_path / "x.pth").write_bytes(b"\x80\x02x")
    with pytest.raises(UsageError, match=r"pip install 'cleanai-onnx\[torch\]'"):
        to_onnx(tmp_path / "x.pth", input_shape=(3, 8, 8))
