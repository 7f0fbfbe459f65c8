"""JUnit XML: one test case for each gate, as CI systems read it.

There is no one schema of the format; this keeps to what Jenkins' ``junit-10.xsd``, GitLab, Azure
and GitHub's actions have in common: ``testsuites``, ``testsuite``, ``properties``, ``testcase``,
``failure``. The coverages are properties of the suite.
"""

from __future__ import annotations

from xml.etree import ElementTree

from cleanai_onnx.report import figures
from cleanai_onnx.report.digest import verdicts
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.result import GateOutcome, Result

__all__ = ["render"]

_MOST_CHARACTERS = 1000


def render(result: Result) -> bytes:
    """Return the gates of `result` as the bytes of a JUnit XML file."""
    failed = sum(not gate.passed for gate in result.gates)
    totals = {
        "tests": str(len(result.gates)),
        "failures": str(failed),
        "errors": "0",
        "time": f"{_seconds(result):.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "cleanai-onnx", **totals})
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": _text(result.model.name),
            **totals,
            "skipped": "0",
            "timestamp": _text(result.run.started.partition("+")[0]),
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(result):
        ElementTree.SubElement(properties, "property", {"name": _text(name), "value": _text(value)})
    for gate in result.gates:
        _add_case(suite, result, gate)
    ElementTree.indent(root, " ")
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _properties(result: Result) -> list[tuple[str, str]]:
    found = [
        ("tool", f"cleanai-onnx {result.run.tool_version}"),
        ("run", result.run.id),
        ("model sha256", result.model.sha256),
        ("images used", str(result.images.used)),
        ("images skipped", str(len(result.images.skipped))),
    ]
    found += [
        (f"{verdict.metric}/{view}", repr(figure.coverage))
        for verdict in verdicts(result)
        for view, figure in verdict.views.items()
        if figure.coverage is not None
    ]
    return found


def _add_case(suite: ElementTree.Element, result: Result, gate: GateOutcome) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "classname": f"cleanai-onnx.{_text(result.model.name)}",
            "name": _text(gate.gate),
            # The gates are judged in no time, after the one run of the suite.
            "time": "0.000",
        },
    )
    if gate.passed:
        return
    failure = ElementTree.SubElement(
        case, "failure", {"type": _text(gate.metric), "message": _text(gate.text)}
    )
    facts = [
        ("value", figures.value(gate.value)),
        (gate.comparison, figures.value(gate.limit)),
        *([] if gate.baseline is None else [("baseline", figures.value(gate.baseline))]),
        ("gate", named(gate.gate)),
        ("written in", gate.origin),
    ]
    failure.text = _text(gate.text) + "".join(f"\n{name}: {_text(said)}" for name, said in facts)


def _seconds(result: Result) -> float:
    spent = sum(result.run.seconds.values())
    return spent if 0 <= spent < float("inf") else 0.0


def _text(text: str) -> str:
    """Return text without what XML has no form for: controls, surrogates, unassigned characters."""
    return printable(named(text), _MOST_CHARACTERS)
