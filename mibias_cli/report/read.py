"""Reading a report that was written earlier: for gates, baselines and comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mibias_cli.errors import RunError
from mibias_cli.report.document import SCHEMA_VERSION

__all__ = ["FILES", "find_report", "read_report"]

FILES = {"json": "leakage.json", "html": "leakage.html", "markdown": "leakage.md"}
"""What a report's folder holds."""

_PARTS = {"attributes": dict, "task": dict, "similarity": dict, "provenance": dict}


def find_report(place: Path) -> Path:
    """The leakage.json that a path means: itself, the one in a report's folder, or the one of a run or an export.

    Raises:
        RunError: There is none.
    """
    name = FILES["json"]
    for candidate in (place, place / name, place / "report" / name):
        if candidate.is_file():
            return candidate
    what = "holds no report" if place.is_dir() else "there is no such file or folder"
    raise RunError(f"{place}: {what}; name a run, a report's folder or its {name}")


def read_report(path: Path) -> dict[str, Any]:
    """The content of a leakage.json.

    Raises:
        RunError: It cannot be read, is no leakage report, or is of a later version.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path}: is no JSON ({error})") from error
    whole = isinstance(report, dict) and all(isinstance(report.get(key), kind) for key, kind in _PARTS.items())
    if (
        not whole
        or not isinstance(report.get("schema_version"), int)
        or not isinstance(report["task"].get("after"), dict)
    ):
        raise RunError(f"{path}: is no leakage report; name the leakage.json that an audit wrote")
    if report["schema_version"] > SCHEMA_VERSION:
        raise RunError(
            f"{path}: version {report['schema_version']} of the report's form; this mibias reads {SCHEMA_VERSION}"
        )
    found: dict[str, Any] = report
    return found
