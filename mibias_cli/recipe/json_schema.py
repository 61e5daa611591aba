"""The recipe's JSON Schema: what editors complete and check recipes by."""

from __future__ import annotations

import json
from typing import Any

from mibias_cli.recipe.schema import Recipe

__all__ = ["json_schema", "schema_text"]


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe.

    Example:
        >>> json_schema()["title"]
        'mibias recipe'
    """
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mibias recipe"}


def schema_text() -> str:
    """The schema as `mibias schema` prints it and `recipes/recipe.schema.json` holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
