"""Audits of a run whose data have changed since it was trained."""

from __future__ import annotations

from pathlib import Path

from layouts import write
from told import Told

from mibias_cli.recipe.begun import load_run_recipe
from mibias_cli.recipe.load import load_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import workflow

RECIPE = """
version: 1
data: { source: table, path: t.csv, columns: { target: kind }, features: [x, z], attributes: { sex: } }
backbone: { name: mlp, options: { hidden: [4], features: 2 } }
debias: { estimator: closed_form }
training: { epochs: 1, batch_size: 128, device: cpu }
evaluation: { n_bootstrap: 100, n_permutations: 0, probes: [logistic], random_control: false }
"""
HEADER = ["x", "z", "kind", "sex", "age"]


def test_rows_that_trained_a_run_may_be_audited_where_the_table_has_changed(tmp_path: Path) -> None:
    """Splits are drawn by a row's place, so that in a sorted or longer table others are audited."""
    rows = [[k % 7, k % 11, "ab"[k % 2], "fm"[k // 2 % 2], k % 3] for k in range(300)]
    (tmp_path / "r.yaml").write_text(RECIPE)
    write(tmp_path / "t.csv", HEADER, rows)
    run = tmp_path / "run"
    workflow.train(load_recipe(tmp_path / "r.yaml"), out=run, offline=True)
    recipe = load_run_recipe(run)

    def said(name: str, recipe: Recipe) -> list[str]:
        told = Told()
        report = workflow.evaluate(run, recipe=recipe, out=tmp_path / name, offline=True, progress=told).report
        warned = [text for text in told.warnings if "not what this run was trained on" in text]
        assert [text for text in report.data_warnings if "trained on" in text] == warned
        return warned

    assert said("same", recipe) == []
    kept = recipe.evaluation.model_copy(update={"fidelity_columns": ["age"]})
    assert said("kept", recipe.model_copy(update={"evaluation": kept})) == []
    # a split that is drawn anew, by another seed or in other shares
    assert len(said("seed", recipe.model_copy(update={"seed": 1}))) == 1
    splits = recipe.data.splits.model_copy(update={"fractions": (0.5, 0.1, 0.4)})
    shares = recipe.model_copy(update={"data": recipe.data.model_copy(update={"splits": splits})})
    assert "train rows: 210 → 150" in said("shares", shares)[0]
    # the table itself
    write(tmp_path / "t.csv", HEADER, sorted(rows))
    assert "targets of the train rows differ" in said("sorted", recipe)[0]
    write(tmp_path / "t.csv", HEADER, rows + rows[:100])
    assert "train rows: 210 → 280" in said("grown", recipe)[0]
    # another table is one of new rows
    write(tmp_path / "u.csv", HEADER, sorted(rows))
    other = recipe.data.model_copy(update={"path": tmp_path / "u.csv"})
    assert said("other", recipe.model_copy(update={"data": other})) == []
