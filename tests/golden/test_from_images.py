"""The reference figures from image files: preprocessing, onnxruntime, surgery, metrics, tables."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx.coverage import Parameters
from tests.golden.references import (
    CHOICES,
    FILES,
    NETS,
    PRESETS,
    covered_and_total,
    net,
    parameters,
)

LAST_CALL = ("last-call",)


def batch_size(file: str, choice: tuple[str, str, str] = CHOICES[0]) -> int | None:
    """The model's own if it is fixed, else 1; 3 in some cases only, because it compiles anew."""
    if file == "model.onnx":
        return None
    return 3 if (file, choice) == ("model_dynbatch.onnx", CHOICES[0]) else 1


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("choice", CHOICES, ids="-".join)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", NETS)
def test_every_image(name: str, file: str, choice: tuple[str, str, str], tmp_path: Path) -> None:
    threshold, k, intervals = choice
    golden, chosen = net(name), parameters(*choice)
    result = cleanai_onnx.analyze(
        golden.folder / file,
        golden.folder / "images",
        parameters=chosen,
        taps=LAST_CALL,
        preset=PRESETS[name],
        batch_size=batch_size(file, choice),
        per_image=tmp_path / "images.csv",
        per_layer=tmp_path / "layers.csv",
    )
    wanted = dict(zip(golden.inputs, golden.metrics["per_input"], strict=True))
    assert [layer.units for layer in result.layers] == [layer.units for layer in golden.layers]
    units = sum(layer.units for layer in result.layers)

    images = rows(tmp_path / "images.csv")
    assert sorted(row["image"] for row in images) == sorted(golden.inputs)
    for row in images:
        figures = wanted[row["image"]]
        assert count(row["nc/unit"], units) == figures["nc"]["covered"]
        assert count(row["tc/unit"], units) == figures["tc"][threshold]["covered"]
        assert float(row["tknc/unit"]) == pytest.approx(figures["tknc"][k]["mean"], abs=1e-5)
        mnc = [count(row[f"mnc[{low:g},{high:g}]/unit"], units) for low, high in chosen.intervals]
        assert mnc == figures["mnc"][intervals]["counts"]

    of_layers = rows(tmp_path / "layers.csv")
    assert len(of_layers) == len(images) * len(result.layers)
    for number, row in enumerate(of_layers):
        place = number % len(result.layers)
        size = result.layers[place].units
        figures = wanted[row["image"]]["layers"][place]
        assert row["layer"] == result.layers[place].name
        assert count(row["nc/unit"], size) == figures["nc_covered"]
        assert count(row["tc/unit"], size) == figures["tc_covered"][threshold]

    inputs = len(images)
    last = golden.metrics["multi_input_nc"][f"first_{inputs}"]
    assert covered_and_total(result.table("nc")) == last
    assert result.table("tknc").total[1] == pytest.approx(
        sum(one["tknc"][k]["sum"] for one in wanted.values()), rel=1e-5, abs=1e-5
    )
    assert result.table("tknc").total[2] == sum(
        one["tknc"][k]["selected"] for one in wanted.values()
    )


def count(share: str, total: int) -> int:
    """Return the count that a share in a table of nine digits stands for."""
    value = float(share) * total
    assert value == pytest.approx(round(value), abs=1e-5)
    return round(value)


@pytest.mark.parametrize("name", NETS)
def test_images_become_the_inputs_of_the_reference(name: str) -> None:
    from cleanai_onnx import graph, inputs

    golden = net(name)
    suite = inputs.discover(golden.folder / "images", None, 0)
    model = graph.load_model(golden.folder / "model_dynbatch.onnx")
    resolved = inputs.resolve_preprocessing(
        graph.find_image_input(model, None),
        given={},
        config=None,
        preset=PRESETS[name],
        file=None,
        model_path=None,
        metadata={},
        suite=suite,
    )
    stored = dict(zip(golden.inputs, np.load(golden.folder / "inputs.npy"), strict=True))
    seen = []
    with inputs.stream(suite, resolved.preprocessing, 4, strict=True) as batches:
        for batch in batches:
            for image, data in zip(batch.names, batch.data[: batch.valid], strict=True):
                np.testing.assert_allclose(data, stored[image], atol=1e-6, err_msg=image)
                seen.append(image)
    assert sorted(seen) == sorted(golden.inputs)


def fed(name: str, file: str, order: list[int], chosen: Parameters) -> cleanai_onnx.Result:
    """Analyse preprocessed images in the given order, four at a time whatever the model takes."""
    golden = net(name)
    analyzer = cleanai_onnx.Analyzer(
        golden.folder / file, parameters=chosen, taps=LAST_CALL, batch_size=batch_size(file)
    )
    images = np.load(golden.folder / "inputs.npy")[order]
    for first in range(0, len(images), 4):
        analyzer.update(images[first : first + 4])
    return analyzer.result()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", NETS)
def test_boundaries(name: str, file: str) -> None:
    chosen = parameters(*CHOICES[0])
    cases = [nbc for nbc in net(name).metrics["nbc"] if len(nbc["bound_inputs"]) == 5]
    assert len(cases) == 2
    for wanted in cases:
        order = [*wanted["bound_inputs"], wanted["test_input"]]
        table = fed(name, file, order, chosen).table("nbc")
        assert table.total[3:5] == (wanted["outside"], wanted["total"])
        for number, row in enumerate(table.rows):
            assert row[1:3] == pytest.approx(wanted["bounds"][str(number)], abs=1e-5)


@cache
def chosen_pairs(name: str) -> list[dict]:
    """Of each net the first pairs of different images at 0.25, and those where most is covered."""
    pairs = [pair for pair in net(name).metrics["pairs"] if "ss" in pair]
    different = [pair for pair in pairs if pair["inputs"][0] != pair["inputs"][1]]
    return sorted(different, key=lambda pair: -pair["ss"]["covered"] - pair["vv@0.25"]["covered"])[
        :3
    ]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", NETS)
def test_pairs_by_name(name: str, file: str) -> None:
    golden = net(name)
    for wanted in chosen_pairs(name):
        first, second = (golden.inputs[index] for index in wanted["inputs"])
        result = cleanai_onnx.analyze(
            golden.folder / file,
            golden.folder / "images",
            parameters=parameters(*CHOICES[0]),
            taps=LAST_CALL,
            preset=PRESETS[name],
            batch_size=batch_size(file),
            pair=(first, second),
        )
        for key, metric in (
            ("sign", "sc"),
            ("value@0.25", "vc"),
            ("ss", "ss"),
            ("sv@0.25", "sv"),
            ("vs@0.25", "vs"),
            ("vv@0.25", "vv"),
        ):
            table = result.table(metric)
            assert covered_and_total(table) == wanted[key], (key, first, second)
            assert f"{first} and {second}" in " ".join(table.notes)
