"""The JSON Schema of leakage.json: made from the report's types, kept as a file so that gates are checked at once.

python -m mibias_cli.report.schema          # writes leakage.schema.json anew
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue

from mibias_cli.evaluation.record import written_schema
from mibias_cli.report.document import Report
from mibias_cli.report.schema_file import FILE

__all__ = ["report_schema"]


def report_schema() -> dict[str, JsonValue]:
    """The schema (draft 2020-12) of what a `Report` writes, made from its types and their docstrings."""
    plain = _without_titles(written_schema(Report))
    assert isinstance(plain, dict)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mibias leakage report"} | plain


def _without_titles(node: JsonValue) -> JsonValue:
    """pydantic repeats every name as a title; and a default says nothing of what is always written."""
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_titles(item) for key, item in node.items() if key not in ("title", "default")}


def main() -> None:
    """Write the file anew."""
    path = Path(__file__).with_name(FILE)
    path.write_text(json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
