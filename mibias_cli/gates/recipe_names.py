"""Names of figures in a recipe's gates, checked without the report's types: `mibias validate` answers at once."""

from __future__ import annotations

from collections.abc import Iterator

from mibias_cli.errors import GateError
from mibias_cli.gates.figure_names import check_name
from mibias_cli.recipe.checks import written_gates
from mibias_cli.recipe.gate_expression import parse_gate
from mibias_cli.recipe.messages import Fault
from mibias_cli.recipe.yaml_source import YamlMapping
from mibias_cli.report.schema_file import load_schema

__all__ = ["gate_name_faults"]


def gate_name_faults(data: YamlMapping) -> Iterator[Fault]:
    """A cross check of parsed recipes: gates whose names no report can have."""
    schema = load_schema()
    for place, text in written_gates(data):
        try:
            expression = parse_gate(text)
        except GateError:
            continue  # the recipe's schema says so already
        try:
            check_name(schema, expression)
        except GateError as error:
            yield place, error.message
