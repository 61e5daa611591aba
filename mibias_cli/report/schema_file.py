"""The JSON Schema of leakage.json as the package ships it: `validate` reads it at once, without the report's types."""

from __future__ import annotations

import json
from importlib.resources import files

from pydantic import JsonValue

__all__ = ["FILE", "load_schema"]

FILE = "leakage.schema.json"


def load_schema() -> dict[str, JsonValue]:
    """The schema (draft 2020-12) that every leakage.json of this version obeys; `report.schema` makes it."""
    schema: dict[str, JsonValue] = json.loads(files("mibias_cli.report").joinpath(FILE).read_text("utf-8"))
    return schema
