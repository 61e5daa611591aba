"""Gates as JUnit XML, which GitLab, Jenkins and most other CI systems show as tests."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from mibias_cli.output.text import shown
from mibias_cli.report.document import GateResult, Report

__all__ = ["render_junit"]

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Report, *, seconds: float = 0.0) -> str:
    """A test case per gate: failed, skipped if it only warns, an error if its figure is missing; all took `seconds`."""
    kinds = [_kind(result) for result in report.gates]
    counts = {
        "tests": str(len(kinds)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
        "time": f"{seconds:.3f}",
    }
    # <testsuites> has no attribute for skipped tests
    suites = ET.Element("testsuites", {"name": "mibias", **{k: v for k, v in counts.items() if k != "skipped"}})
    suite = ET.SubElement(suites, "testsuite", {"name": "mibias gates", **counts})
    for result, kind in zip(report.gates, kinds, strict=True):
        _case(suite, result, kind)
    # the verdict beside the gates, because viewers of test results do not show the report
    ET.SubElement(suite, "system-out").text = _legal(report.verdict.text)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _kind(result: GateResult) -> str:
    """What stands in a gate's test case; a gate that passed has only what it said."""
    if result.is_failure:
        return "failure"
    # what is inconclusive and no failure only warns: JUnit knows no warning, and `skipped` does not fail a pipeline
    if result.status == "inconclusive":
        return "skipped"
    return "error" if result.status == "error" else "system-out"


def _case(suite: ET.Element, result: GateResult, kind: str) -> None:
    name, message = _legal(result.expression), _legal(result.message)
    case = ET.SubElement(suite, "testcase", {"classname": f"mibias.{result.source}", "name": name, "time": "0"})
    found = ET.SubElement(case, kind, {} if kind == "system-out" else {"message": message})
    if kind in ("failure", "error"):
        found.set("type", result.status)
    if kind != "skipped":
        found.text = message if kind == "system-out" else f"{name}\n{message}"


def _legal(text: str) -> str:
    """The text with what steers escaped, and without what XML cannot hold."""
    return _FORBIDDEN.sub("\ufffd", shown(str(text)))
