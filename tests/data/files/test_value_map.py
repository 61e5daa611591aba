"""`data.values`: old values are found to the letter, as numbers and inside lists; what is not there is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import layouts
import numpy as np
import pytest

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.files.coded import Coded
from mibias_cli.data.files.value_map import LEFT_OUT, map_cells
from mibias_cli.errors import DataError, RecipeError
from mibias_cli.recipe.load import dump_recipe, parse_recipe
from mibias_cli.run.build import build_data

RECIPE = """
version: 1
name: t
data:
  source: table
  path: {path}
  columns: {{ target: {target} }}
  {more}
  values: {values}
  attributes: {{ sex: {{}} }}
backbone: {{ name: mlp }}
"""
Load = Callable[..., BiasedData]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(target: str, cells: list[object], values: object, more: str = "features: [x]") -> BiasedData:
        rows = [[cell, "fm"[k % 2], k * 0.5, (k * 7) % 13] for k, cell in enumerate(cells)]
        path = layouts.write(tmp_path / "t.csv", [target, "sex", "x", "free"], rows)
        text = RECIPE.format(path=path, target=f'"{target}"', values=json.dumps(values), more=more)
        recipe = parse_recipe(text, path=str(tmp_path / "r.yaml"))
        # what is saved beside a run loads to the same
        assert parse_recipe(dump_recipe(recipe), path=str(tmp_path / "r.yaml")) == recipe
        return build_data(recipe, offline=True)

    return loaded


def test_to_the_letter_then_as_numbers_then_in_lists() -> None:
    cells = ["-1.0", "1", "01", "", "NA", "A|B", "B;C", "C"]
    new, changed, absent = map_cells(
        Coded.of(cells), {"-1": "u", "1": "one", "(missing)": "0", "B": "b", "Z": "z"}, frozenset({"NA"})
    )
    assert new.cells.tolist() == ["u", "one", "01", "0", "0", "A|b", "b;C", "C"]
    assert dict(changed) == {"-1": 1, "1": 1, "(missing)": 2, "B": 2}
    assert absent == ["Z"]


def test_what_is_written_for_a_missing_value_may_be_one() -> None:
    new, _, _ = map_cells(Coded.of(["NA", "DE", ""]), {"NA": "Namibia"}, frozenset({"NA"}))
    assert new.cells.tolist() == ["Namibia", "DE", None]


def test_lists_without_a_label_and_with_one_that_leaves_the_row_out() -> None:
    new, _, _ = map_cells(Coded.of(["A|B", "A", "U|A"]), {"A": "|", "U": LEFT_OUT}, frozenset())
    assert new.cells.tolist() == ["B", "|", LEFT_OUT]


def test_chexpert_uncertain_and_blank(load: Load) -> None:
    cells = ["1.0", "0.0", "-1.0", ""] * 30
    ones = load("Edema", cells, {"Edema": {"-1": 1, "(missing)": 0}})
    assert ones.class_names == ("0.0", "1.0")
    counts = sum(np.bincount(s.y, minlength=2) for s in (ones.train, ones.validation, ones.audit))
    assert counts.tolist() == [60, 60]
    assert any("'-1' as '1' in 'Edema' (30 rows), '(missing)' as '0' in 'Edema' (30 rows)" in n for n in ones.notes)
    ignored = load("Edema", cells, {"Edema": {"-1": "(left out)", "(missing)": 0}})
    assert sum(map(len, (ignored.train, ignored.validation, ignored.audit))) == 90
    assert any("30 row(s) left out by data.values: rows 4, 8, 12" in note for note in ignored.notes)
    # without a rule for it, an empty target is an error as ever
    with pytest.raises(DataError, match="30 row.s. have no target in 'Edema'"):
        load("Edema", cells, {"Edema": {"-1": 1}})


def test_nih_lists_are_labels(load: Load) -> None:
    cells = ["No Finding", "Effusion", "Effusion|Mass", "Mass"] * 30
    data = load("Finding Labels", cells, {"Finding Labels": {"No Finding": []}}, "target_kind: multilabel")
    assert (data.target.kind, data.target.columns) == ("multilabel", ("Effusion", "Mass"))
    labels = np.concatenate([s.y for s in (data.train, data.validation, data.audit)])
    rows = np.concatenate(
        [[int(n.split()[1]) - 2 for n in s.row_names] for s in (data.train, data.validation, data.audit)]
    )
    assert labels[np.argsort(rows)][:4].tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert any("holds lists (| between): 2 labels: Effusion, Mass" in note for note in data.notes)
    # the list is no feature, and neither are its labels
    assert data.input_shape == (2,)
    kept = load("Finding Labels", cells, {}, "target_kind: multilabel")
    assert kept.target.columns == ("Effusion", "Mass", "No Finding")


def test_cells_that_are_no_lists_are_no_labels(load: Load) -> None:
    with pytest.raises(DataError, match=r"neither 0 and 1 nor lists .A.B.: they hold 'a', 'b'; set data.target_kind"):
        load("y", ["a", "b"] * 30, {}, "target_kind: multilabel")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"Edema": {"-2": 1}}, r"Edema: no cell is '-2'.*it has '1.0', '0.0'"),
        ({"Edma": {"-1": 1}}, r"Edma: no column 'Edma', did you mean 'Edema'"),
    ],
)
def test_what_is_not_there_is_refused(load: Load, values: object, words: str) -> None:
    with pytest.raises(DataError, match="data.values names what is not there") as caught:
        load("Edema", ["1.0", "0.0", "-1.0"] * 30, values)
    assert caught.match(words)


@pytest.mark.parametrize("values", [3, {"y": 3}, {"y": {"a": True}}, {"y": {"a": {"b": 1}}}, {"y": {"a": [1]}}])
def test_values_of_another_shape_are_refused(load: Load, values: object) -> None:
    with pytest.raises(RecipeError, match="data.values"):
        load("y", ["a", "b"] * 30, values)


def test_values_that_differ_only_in_their_spelling_are_said(load: Load) -> None:
    data = load("y", ["A", "a", "b", "1", "1.0"] * 30, {})
    (note,) = [note for note in data.notes if "differ only" in note]
    assert "'1' and '1.0', 'A' and 'a'; data.values" in note
    assert not any("differ only" in note for note in load("y", ["A", "a", "b"] * 30, {"y": {"a": "A"}}).notes)
