"""Gates as JUnit XML, which GitLab, Jenkins and most other CI systems show as tests."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from mibias_cli.report.document import GateResult, Report

__all__ = ["render_junit"]

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Report, *, seconds: float = 0.0) -> str:
    """One test case per gate: failed, skipped where it is inconclusive and only warns, an error where nothing was
    there to compare.

    Args:
        report: With its gates.
        seconds: How long the audit took.
    """
    results = report.gates
    failures = sum(result.is_failure for result in results)
    errors = sum(result.status == "error" for result in results)
    skipped = sum(result.status == "inconclusive" and not result.is_failure for result in results)
    counts = {
        "tests": str(len(results)),
        "failures": str(failures),
        "errors": str(errors),
        "skipped": str(skipped),
        "time": f"{seconds:.3f}",
    }
    suites = ET.Element("testsuites", {"name": "mibias", **{k: v for k, v in counts.items() if k != "skipped"}})
    suite = ET.SubElement(suites, "testsuite", {"name": "mibias gates", **counts})
    for result in results:
        _case(suite, result)
    ET.SubElement(suite, "system-out").text = _legal(report.verdict.text)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(suite: ET.Element, result: GateResult) -> None:
    name, message = _legal(result.expression), _legal(result.message)
    case = ET.SubElement(suite, "testcase", {"classname": f"mibias.{result.source}", "name": name, "time": "0"})
    kinds = {"pass": "", "fail": "failure", "error": "error", "inconclusive": "skipped"}
    kind = "failure" if result.is_failure else kinds[result.status]
    if kind:
        found = ET.SubElement(case, kind, {"message": message})
        if kind != "skipped":
            found.set("type", result.status)
            found.text = f"{name}\n{message}"
    else:
        ET.SubElement(case, "system-out").text = message


def _legal(text: str) -> str:
    """The text without what XML cannot hold."""
    return _FORBIDDEN.sub("\ufffd", str(text))
