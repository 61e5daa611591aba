"""Gates of a recipe: from its section to the report's gates, and what can be said of them before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mibias_cli.errors import GateError
from mibias_cli.gates.figure_names import check_name
from mibias_cli.gates.rules import GateRules, check_gates, gate_results, make_gates
from mibias_cli.recipe.checks import written_gates
from mibias_cli.recipe.gate_expression import parse_gate
from mibias_cli.recipe.messages import Fault
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.schema import load_schema

__all__ = ["all_rules", "gate_name_faults", "with_gates"]


def all_rules(recipe: Recipe, given: GateRules) -> GateRules:
    """The recipe's gates, followed by those that were given otherwise.

    Raises:
        GateError: One of them names what no report can have.
    """
    own = [
        gate
        for section in recipe.gates
        for gate in make_gates([section.fail_on], inconclusive=section.inconclusive, source="recipe")
    ]
    rules = replace(given, gates=(*own, *given.gates))
    check_gates(rules.gates)
    return rules


def with_gates(report: Mapping[str, Any], rules: GateRules) -> dict[str, Any]:
    """A report in the form of leakage.json with what became of the gates."""
    return {**report, "gates": gate_results(report, rules)}


def gate_name_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """A cross check of recipes: gates whose names no report can have.

    Args:
        data: The parsed recipe.
    """
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
