"""Gates as JUnit XML, which GitLab, Jenkins and most other CI systems show as tests."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from mibias_cli.gates.rules import is_failure

__all__ = ["render_junit"]

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Mapping[str, Any], *, seconds: float = 0.0) -> str:
    """One test case per gate: failed, skipped where it is inconclusive and only warns, an error where nothing was
    there to compare.

    Args:
        report: In the form of leakage.json, with its gates.
        seconds: How long the audit took.
    """
    results: Sequence[Mapping[str, Any]] = report.get("gates", [])
    failures = sum(map(is_failure, results))
    errors = sum(result["status"] == "error" for result in results)
    skipped = sum(result["status"] == "inconclusive" and not is_failure(result) for result in results)
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
    ET.SubElement(suite, "system-out").text = _legal(report.get("verdict", {}).get("text", ""))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(suite: ET.Element, result: Mapping[str, Any]) -> None:
    name, message = _legal(result["expression"]), _legal(result["message"])
    case = ET.SubElement(suite, "testcase", {"classname": f"mibias.{result['source']}", "name": name, "time": "0"})
    if is_failure(result):
        kind = "failure"
    else:
        kind = {"error": "error", "inconclusive": "skipped"}.get(result["status"], "")
    if kind:
        found = ET.SubElement(case, kind, {"message": message})
        if kind != "skipped":
            found.set("type", str(result["status"]))
            found.text = f"{name}\n{message}"
    else:
        ET.SubElement(case, "system-out").text = message


def _legal(text: str) -> str:
    """The text without what XML cannot hold."""
    return _FORBIDDEN.sub("\ufffd", str(text))
