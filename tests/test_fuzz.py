"""Whatever a recipe, an override, a gate, a table or a report holds, it is read, or refused in plain words.

Hypothesis makes the input, the same in every run. More of it: `HYPOTHESIS_EXAMPLES=5000 pytest tests/test_fuzz.py`.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_by_hand import make_report

from mibias_cli.data.annotations import annotate
from mibias_cli.data.columns import AttributeColumn, Columns, SplitRule
from mibias_cli.data.files.tabular import read_table
from mibias_cli.errors import GateError, MibiasError, RecipeError, RunError
from mibias_cli.gates.rules import GateRules, make_gates, with_gates
from mibias_cli.recipe.gate_expression import parse_gate, write_name
from mibias_cli.recipe.load import dump_recipe, parse_recipe
from mibias_cli.report.markdown import render_markdown
from mibias_cli.report.read import read_report

fuzzed = settings(
    derandomize=True, database=None, deadline=None, max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "50"))
)
RECIPE = yaml.safe_load("""
version: 1
name: a
data: {source: table, path: a.csv, columns: {target: t, split: s, group: g}, missing: [x],
       values: {a: {b: c}}, attributes: {sex: {}, age: {kind: continuous, bins: 4, column: c}}}
backbone: {name: mlp, weights: none, options: {hidden: [8]}, train: all, layer_decay: .5}
representation: {layers: [features], bottleneck: {width: 3, hidden: [4]}}
original: {epochs: 2, learning_rate: 1.0e-3}
debias: {estimator: mine, attributes: [sex], weight: 1, budget_bits: {sex: 0.1}, critic: {hidden: [1, 2]}}
training: {epochs: 3, select: {metric: a, patience: 3}, clip_norm: 1}
evaluation: {probes: [mlp], confidence: .9, crossings: [[sex, age]]}
gates: [{fail_on: attributes.sex.after.leakage_bits > 1}]
export: {formats: [onnx]}
""")
REPORT = make_report(name="colour").to_dict()
# words of pydantic, torch, pyarrow and Python that mean nothing to a user
JARGON = re.compile(r"Input should|Value error|pydantic|function-before|Traceback|NoneType|<class |\bdict\[|\.list\[")

text = st.text(max_size=12)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), text,
    st.sampled_from(["mlp", "none", "auto", "sex", "y", "0", "1e400", "²", "\x1b[2J", "\u202e", "a.b", "/dev/null", "x://y"]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)


def places(data: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, value in items for place in ((*path, key), *places(value, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn, whole: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with some of its values replaced, taken out, or put beside a new one."""
    data = copy.deepcopy(dict(whole))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(data) or [("x",)]))
        holder: Any = data
        for key in place[:-1]:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                holder[place[-1]] = draw(values)
            case "remove" if isinstance(holder, dict):
                holder.pop(place[-1], None)
            case _ if isinstance(holder, dict):
                holder[draw(text)] = draw(values)
    return data


def refused_well(error: RecipeError) -> None:
    for problem in error.problems:
        assert not JARGON.search(f"{problem.key}: {problem.message}"), str(problem)
        assert problem.message


@fuzzed
@given(damaged(RECIPE))
def test_recipes_are_read_or_refused(data: dict[str, Any]) -> None:
    try:
        recipe = parse_recipe(yaml.safe_dump(data, allow_unicode=True), path="/x/r.yaml")
    except RecipeError as error:
        refused_well(error)
    else:
        assert parse_recipe(dump_recipe(recipe), path="/elsewhere/r.yaml") == recipe


@fuzzed
@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_recipe_or_refused(given_text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(given_text, path="r.yaml")
    refused_well(caught.value)


keys = st.lists(st.sampled_from([str(part) for place in places(RECIPE) for part in place]) | text, max_size=4)
overrides = st.builds(
    "{}={}".format, keys.map(".".join), values.map(lambda v: json.dumps(v, ensure_ascii=False)) | text
)


@fuzzed
@given(st.lists(overrides | text, min_size=1, max_size=3))
def test_overrides_are_taken_or_refused(given_overrides: list[str]) -> None:
    try:
        parse_recipe(yaml.safe_dump(RECIPE), path="/x/r.yaml", overrides=given_overrides)
    except RecipeError as error:
        refused_well(error)


# the first part is a key of the report: a gate that begins with a number is refused as turned around
names = st.lists(st.text(min_size=1, max_size=8), max_size=4).map(lambda parts: ("attributes", *parts))


@fuzzed
@given(names, st.sampled_from([">", ">=", "<", "<="]), st.floats(allow_nan=False, allow_infinity=False))
def test_a_gate_that_is_written_is_read_again(name: tuple[str, ...], comparison: str, number: float) -> None:
    read = parse_gate(f"{write_name(name)} {comparison} {number!r}")
    assert (read.name, read.comparison, read.threshold) == (name, comparison, number)


@fuzzed
@given(st.text(max_size=60) | st.builds("attributes.colour.after.{} > {}".format, text, text))
def test_any_text_is_a_gate_or_refused(expression: str) -> None:
    try:
        gates = make_gates([expression])
    except GateError:
        return
    # a name that the report does not have is an error of the gate, and never passes
    (result,) = with_gates(make_report(name="colour"), GateRules(gates=gates)).gates
    assert result.figure is not None or result.status == "error"


odd_cells = ["", "NA", "1e400", "=1+1", "a,b", '"', "\x00", "\x1b[2J", "train", "test", "validation"]
cells = st.text(max_size=8) | st.sampled_from(odd_cells)


@fuzzed
@given(st.lists(st.lists(cells, min_size=0, max_size=5), max_size=12), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_tables_are_read_or_refused(rows: list[list[str]], delimiter: str, quoted: bool) -> None:
    def cell(value: str) -> str:
        return '"' + value.replace('"', '""') + '"' if quoted else value

    lines = ["y,sex,split".replace(",", delimiter), *(delimiter.join(map(cell, row)) for row in rows)]
    # a folder of its own: fixtures of a function are shared by all examples
    path = _FOLDER / "m.csv"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace", newline="")
    attributes = {"sex": AttributeColumn()}
    try:
        table = read_table(path)
        annotate(table, columns=Columns(target="y", split="split"), attributes=attributes, splits=SplitRule(), seed=0)
        said = "m.csv"
    except MibiasError as error:
        said = str(error)
    assert "m.csv" in said


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    global _FOLDER
    _FOLDER = tmp_path


_FOLDER = Path()


@fuzzed
@given(damaged(REPORT))
def test_reports_are_read_or_refused(data: dict[str, Any]) -> None:
    path = _FOLDER / "leakage.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    try:
        report = read_report(path)
    except RunError:
        return
    # what is taken can be shown, and gated
    render_markdown(report)
    with_gates(report, GateRules(baseline=report))
