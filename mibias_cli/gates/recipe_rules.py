"""Gates of a recipe: from its section to the report's gates, and what can be said of them before anything runs."""

from __future__ import annotations

from dataclasses import replace

from mibias_cli.gates.rules import GateRules, check_gates, gate_results, make_gates
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.document import Report

__all__ = ["all_rules", "with_gates"]


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


def with_gates(report: Report, rules: GateRules) -> Report:
    """A report with what became of the gates."""
    return report.model_copy(update={"gates": gate_results(report, rules)})
