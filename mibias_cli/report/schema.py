"""The JSON Schema of leakage.json, shipped with the package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = ["load_schema"]


def load_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) that every leakage.json of this version obeys."""
    schema: dict[str, Any] = json.loads(files("mibias_cli.report").joinpath("leakage.schema.json").read_text("utf-8"))
    return schema
