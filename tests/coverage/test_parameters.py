from __future__ import annotations

import math

import pytest

from cleanai_onnx.coverage import Parameters
from cleanai_onnx.errors import UsageError


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"threshold": math.nan}, "--threshold"),
        ({"threshold": math.inf}, "--threshold"),
        ({"value_threshold": math.nan}, "--value-threshold"),
        ({"value_threshold": -0.1}, "--value-threshold"),
        ({"top_k": 0}, "--top-k"),
        ({"bounds_from": 0}, "--bounds-from"),
        ({"intervals": ()}, "--intervals"),
        ({"intervals": ((0.2, 0.1),)}, "--intervals"),
        ({"intervals": ((math.nan, 1),)}, "--intervals"),
    ],
)
def test_values_without_a_meaning_are_refused_by_flag(values: dict, flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        Parameters(**values)


def test_the_edges_are_allowed() -> None:
    edge = Parameters(
        threshold=-1.0,
        value_threshold=0.0,
        top_k=1,
        bounds_from=1,
        intervals=((0.5, 0.5), (-math.inf, math.inf)),
    )
    assert hash(edge) == hash(Parameters(**vars(edge)))
