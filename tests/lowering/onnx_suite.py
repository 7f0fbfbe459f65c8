"""ONNX's own backend test suite, run in one process: what passes, is not supported, or fails."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from cleanai_onnx.lowering.backend import JaxBackend, NotSupportedSkip

DATA_KINDS = ("simple", "pytorch-converted", "pytorch-operator")

PASSED, UNSUPPORTED, FAILED = "passed", "not supported", "failed"


class Outcome(NamedTuple):
    case: str
    kind: str
    domain: str
    op: str
    outcome: str
    reason: str


@cache
def node_cases() -> tuple[Any, ...]:
    with warnings.catch_warnings():
        # The cases are made with overflows on purpose.
        warnings.simplefilter("ignore")
        return tuple(load_model_tests(kind="node"))


def run_node_cases(part: int, parts: int) -> list[Outcome]:
    outcomes = []
    for case in node_cases()[part::parts]:
        node = _subject(case)
        data = [
            ([_array(x) for x in inputs], [_array(x) for x in outputs])
            for inputs, outputs in case.data_sets
        ]
        result = _run(case.model, data, case.rtol, case.atol)
        outcomes.append(Outcome(case.name, "node", node.domain, node.op_type, *result))
    return outcomes


def _subject(case: Any) -> onnx.NodeProto:
    """The node that a case is about: expanded definitions consist of many."""
    nodes = case.model.graph.node
    if case.name.endswith("_expanded") or "_expanded_" in case.name:
        return onnx.helper.make_node("(expanded definitions)", [], [])
    return nodes[-1]


def run_data_cases() -> list[Outcome]:
    outcomes = []
    for kind in DATA_KINDS:
        for case in load_model_tests(kind=kind):
            folder = Path(case.model_dir)
            model = onnx.load(folder / "model.onnx")
            data = list(_stored(folder, model))
            result = _run(model, data, case.rtol, case.atol)
            outcomes.append(Outcome(case.name, kind, "", f"({kind})", *result))
    return outcomes


def _stored(folder: Path, model: onnx.ModelProto) -> Iterator[tuple[list[Any], list[Any]]]:
    for data in sorted(folder.glob("test_data_set*")):
        yield tuple(
            [
                _loaded(data / f"{what}_{i}.pb", value.type)
                for i, value in enumerate(values)
                if (data / f"{what}_{i}.pb").exists()
            ]
            for what, values in (("input", model.graph.input), ("output", model.graph.output))
        )


def _loaded(path: Path, kind: onnx.TypeProto) -> Any:
    content = path.read_bytes()
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _run(model: onnx.ModelProto, data: list[Any], rtol: float, atol: float) -> tuple[str, str]:
    try:
        prepared = JaxBackend.prepare(model)
        for inputs, expected in data:
            outputs = prepared.run(inputs)
            Runner.assert_similar_outputs(expected, outputs, rtol=rtol, atol=atol)
    except NotSupportedSkip as skipped:
        return UNSUPPORTED, str(skipped)
    except Exception as error:  # whatever goes wrong is the answer
        return FAILED, f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    return PASSED, ""


def tabulated(outcomes: list[Outcome]) -> dict[str, Counter[str]]:
    table: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        name = f"{outcome.domain}.{outcome.op}" if outcome.domain else outcome.op
        table.setdefault(name, Counter())[outcome.outcome] += 1
    return dict(sorted(table.items()))


def light_models() -> list[Path]:
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return sorted(path for path in folder.glob("*.onnx"))


def ramp(value: onnx.ValueInfoProto) -> np.ndarray:
    """The input that the suite feeds the light models."""
    shape = tuple(size.dim_value or 1 for size in value.type.tensor_type.shape.dim)
    count = int(np.prod(shape))
    return (np.arange(count).reshape(shape) / count).astype(np.float32)
