"""The recipe's gates: their forms, and every problem at its line."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from mibias_cli.errors import GateError, RecipeError
from mibias_cli.gates.recipe_names import gate_name_faults
from mibias_cli.gates.rules import GateRules, all_rules, make_gates
from mibias_cli.recipe.load import dump_recipe, parse_recipe
from mibias_cli.recipe.schema import schema_text

BASE = "version: 1\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n"
BOTH = BASE + (
    "gates:\n"
    "  - attributes.colour.after.leakage_bits > 0.05\n"
    "  - {fail_on: task.after.accuracy < 0.8, inconclusive: fail}\n"
)


def test_a_gate_is_text_or_a_section() -> None:
    recipe = parse_recipe(BOTH, path="r.yaml", checks=[gate_name_faults])
    assert [(gate.fail_on, gate.inconclusive) for gate in recipe.gates] == [
        ("attributes.colour.after.leakage_bits > 0.05", "warn"),
        ("task.after.accuracy < 0.8", "fail"),
    ]
    assert parse_recipe(dump_recipe(recipe), path="r.yaml") == recipe
    jsonschema.validate(yaml.safe_load(BOTH), json.loads(schema_text()))


def test_the_recipes_gates_come_before_the_options() -> None:
    rules = all_rules(parse_recipe(BOTH, path="r.yaml"), GateRules(gates=make_gates(["similarity.cka < 0.2"])))
    assert [(gate.source, gate.expression.name[0], gate.inconclusive) for gate in rules.gates] == [
        ("recipe", "attributes", "warn"),
        ("recipe", "task", "fail"),
        ("option", "similarity", "warn"),
    ]


@pytest.mark.parametrize(
    ("gate", "column", "message"),
    [
        ("attributes.color.after.leakage_bits > 0.05", 5, "the data have no attribute 'color', did you mean 'colour'?"),
        ("fairness.size.after.bias_amplification > 0", 5, "the data have no attribute 'size'; they are colour"),
        ("attributes.colour.after.leakge_bits > 1", 5, "did you mean 'leakage_bits'?"),
        ("colour.after.leakage_bits > 1", 5, "did you mean 'attributes.colour.after.leakage_bits'?"),
        ("attributes.colour.after.headline_probe > 1", 5, "is no number"),
        ("task.after.accuracy", 5, "a comparison and a number are missing"),
        ("{fail_on: task.after.acuracy < 1}", 15, "did you mean 'accuracy'?"),
        ("{fail_on: task.after.accuracy < 1, inconclusive: maybe}", 54, "must be fail or warn, not 'maybe'"),
        ("{fail: x}", 6, "unknown key, did you mean 'fail_on'?"),
        ("3", 5, "must be a section"),
    ],
)
def test_a_wrong_gate_is_said_at_its_line(gate: str, column: int, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f"{BASE}gates:\n  - {gate}\n", path="r.yaml", checks=[gate_name_faults])
    problem = caught.value.problems[-1]
    assert (problem.line, problem.column) == (5, column)
    assert message in problem.message


def test_attributes_of_other_data_are_known_from_the_recipe() -> None:
    data = "data: {source: table, path: a.csv, attributes: {'skin tone': {}}}\nbackbone: {name: mlp}\n"
    good = f"version: 1\n{data}gates: ['attributes[\"skin tone\"].after.leakage_bits > 1']\n"
    assert len(parse_recipe(good, path="r.yaml", checks=[gate_name_faults]).gates) == 1
    with pytest.raises(RecipeError, match="did you mean 'skin tone'"):
        parse_recipe(good.replace('["skin tone"]', '["skin tones"]'), path="r.yaml", checks=[gate_name_faults])


def test_a_gate_that_is_given_names_an_attribute_of_the_data() -> None:
    recipe = parse_recipe(BOTH, path="r.yaml")
    given = GateRules(gates=make_gates(["attributes.shade.after.leakage_bits > 1"]))
    # before a step is taken, and not after the training that it was to gate
    with pytest.raises(GateError, match="the data have no attribute 'shade'"):
        all_rules(recipe, given)
