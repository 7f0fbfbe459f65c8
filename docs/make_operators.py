"""Write docs/operators.md: what of ONNX is lowered to JAX, judged by ONNX's own test suite.

Run from the repository: ``python docs/make_operators.py`` (about two minutes). A test that runs the
suite compares the page with this.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "operators.md"
sys.path.insert(0, str(REPOSITORY))

from cleanai_onnx.lowering import OPERATORS  # noqa: E402
from cleanai_onnx.lowering.operators.batch_last import BATCH_LAST  # noqa: E402
from tests.lowering import onnx_suite  # noqa: E402

INTRODUCTION = """\
# Operators

Relevance, gradients and generation need the model as a function that can be differentiated:
`cleanai_onnx.lowering` turns an ONNX graph into one of JAX. This page is written by
`docs/make_operators.py`, which runs ONNX's own backend test suite (onnx {version}).

What is not implemented is refused with a sentence that names the node, its operator and the
attribute or input; it is never computed approximately. The main analysis (coverage) runs models
with onnxruntime and takes every operator that it has.

- **Versions** are those of the operator set from which on a form of an operator is implemented.
  "definition" stands for operators that ONNX defines by other operators and that are computed so.
- Every case of the suite is compiled with its inputs traced, except those whose values an operator
  needs while it is traced, such as the shape of a Reshape; what can be folded is computed a second
  time by numpy alone and must agree.
- Not supported are sequences, optional values, strings, random numbers and training, numbers with
  less than 8 bits, and loops whose number of rounds, and so the shape of an output, depends on the
  input.
- 64-bit types are computed with 32 bits unless JAX's x64 is enabled; integer constants that do not
  fit are refused.

## Why not jaxonnxruntime

[jaxonnxruntime](https://github.com/google/jaxonnxruntime) also turns ONNX models into functions of
JAX. Its last release on PyPI, 0.3.0, is of August 2023: it has about 80 operators, pins onnx 1.12
where it pins anything, and needs a package (absl) that it does not ask for. Its speed and numbers
were not measured here. What we need is small: one function for each operator, judged by the suite
below.

"""


def main() -> None:
    """Run the suite and write the page."""
    outcomes = [*onnx_suite.run_node_cases(0, 1), *onnx_suite.run_data_cases()]
    PAGE.write_text(page(onnx_suite.tabulated(outcomes)), encoding="utf-8")


def page(table: Mapping[str, Mapping[str, int]]) -> str:
    """Return the page for the outcomes of the suite by operator."""
    totals: Counter[str] = Counter()
    for counts in table.values():
        totals.update(counts)
    operators = [name for name in table if not name.startswith("(")]
    supported = [name for name in operators if table[name].get(onnx_suite.PASSED)]
    head = (
        f"## ONNX's test suite\n\n{totals[onnx_suite.PASSED]:,} cases pass, "
        f"{totals[onnx_suite.UNSUPPORTED]:,} are not supported, {totals[onnx_suite.FAILED]:,} "
        f"fail. {len(supported)} of the {len(operators)} operators that the suite tests are "
        "supported.\n\n"
        "| operator | versions | passed | not supported | failed |\n|---|---|---:|---:|---:|\n"
    )
    rows = [_row(name, table.get(name, {})) for name in sorted({*table, *_untested(table)})]
    return INTRODUCTION.format(version=onnx_suite.onnx.__version__) + head + "".join(rows)


def _row(name: str, counts: Mapping[str, int]) -> str:
    kinds = (onnx_suite.PASSED, onnx_suite.UNSUPPORTED, onnx_suite.FAILED)
    cells = " | ".join(str(counts.get(kind, 0) or "") for kind in kinds)
    return f"| {name} | {_versions(name, counts)} | {cells} |\n"


def _versions(name: str, counts: Mapping[str, int]) -> str:
    domain, _, op = name.rpartition(".")
    registered = OPERATORS.get((domain, op))
    if registered is not None:
        return ", ".join(str(version.since) for version in reversed(registered))
    return "definition" if counts.get(onnx_suite.PASSED) and not name.startswith("(") else ""


def _untested(table: Mapping[str, object]) -> set[str]:
    """Return the operators that are implemented but end no case of the suite."""
    of_files = [(domain, op) for domain, op in OPERATORS if domain != BATCH_LAST]
    names = {f"{domain}.{op}" if domain else op for domain, op in of_files}
    return names - set(table)


if __name__ == "__main__":
    main()
