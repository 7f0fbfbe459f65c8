from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from cleanai_onnx.report import junit
from cleanai_onnx.result import Result
from tests.report.results import GATES, hostile_result, small_result, tiny_result

# What Jenkins' junit-10.xsd allows: element -> (attributes, children), of those that we use.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time", "assertions", "status"}, {"failure", "skipped"}),
    "failure": ({"type", "message"}, set()),
}
REQUIRED = {
    "testsuite": {"name", "tests"},
    "property": {"name", "value"},
    "testcase": {"name", "classname"},
}


def tree(result: Result) -> ElementTree.Element:
    return ElementTree.fromstring(junit.render(result))


@pytest.mark.parametrize("factory", [tiny_result, small_result, hostile_result])
def test_the_shape_is_the_common_one(factory: object) -> None:
    root = tree(factory())  # type: ignore[operator]
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes
        assert REQUIRED.get(element.tag, set()) <= set(element.attrib)
        assert {child.tag for child in element} <= children


def test_one_case_for_each_gate_and_a_failure_for_each_that_failed() -> None:
    root = tree(small_result())
    (suite,) = root
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [gate.gate for gate in GATES]
    for case, gate in zip(cases, GATES, strict=True):
        failure = case.find("failure")
        assert (failure is None) == gate.passed
        if failure is not None:
            assert failure.get("message") == gate.text
            assert (failure.text or "").startswith(gate.text)
            assert f"written in: {gate.origin}" in (failure.text or "")
    for element in (root, suite):
        assert (element.get("tests"), element.get("failures")) == ("4", "3")


def test_the_coverages_are_exact_properties() -> None:
    found = {one.get("name"): one.get("value") for one in tree(small_result()).iter("property")}
    for table in small_result().tables:
        if table.coverage is not None:
            assert float(found[f"{table.metric}/{table.view}"] or "nan") == table.coverage


def test_without_gates_there_is_no_case() -> None:
    root = tree(replace(small_result(), gates=()))
    assert root.get("tests") == "0"
    assert not root.findall(".//testcase")


def test_no_character_that_xml_lacks() -> None:
    every = "".join(map(chr, [*range(0xD800), *range(0xD800, 0xE010), *range(0xFFF0, 0x10010)]))
    for start in range(0, len(every), 500):
        gate = replace(GATES[1], text=every[start : start + 500], gate="x\x00\ud800\uffff")
        root = tree(replace(small_result(), gates=(gate,)))
        assert root.find(".//failure") is not None
    text = junit.render(hostile_result()).decode("utf-8")
    assert "\x00" not in text
    assert "\u202e" not in text
