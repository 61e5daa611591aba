from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from mibias_cli.gates.junit import render_junit
from mibias_cli.report.document import GateResult, Report


def result(status: str, **others: Any) -> GateResult:
    base: dict[str, Any] = {
        "expression": f"{status}.x > 1",
        "source": "option",
        "status": status,
        "inconclusive": "warn",
    }
    base |= {"figure": None, "threshold": 1.0, "message": f"said <{status}> & \x00 more"}
    return GateResult.model_validate(base | others)


def test_every_gate_is_a_test_case_of_its_kind(make: Callable[..., Report]) -> None:
    gates = (
        result("pass"),
        result("fail"),
        result("inconclusive"),
        result("inconclusive", inconclusive="fail"),
        result("error"),
    )
    root = ET.fromstring(render_junit(make().model_copy(update={"gates": gates}), seconds=1.5))
    (suite,) = root
    counts = {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped", "time")}
    assert counts == {"tests": "5", "failures": "2", "errors": "1", "skipped": "1", "time": "1.500"}
    cases = suite.findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [
        ["system-out"], ["failure"], ["skipped"], ["failure"], ["error"],
    ]  # fmt: skip
    assert cases[1].attrib["name"] == "fail.x > 1"
    assert cases[1][0].attrib["message"] == "said <fail> & \\u0000 more"


def test_without_gates_the_suite_is_empty(make: Callable[..., Report]) -> None:
    root = ET.fromstring(render_junit(make()))
    assert root[0].attrib["tests"] == "0"
    assert root.findall(".//testcase") == []
