"""Inputs that are the target or an attribute once more are told before a run, as `mibias init` tells them."""

from __future__ import annotations

from pathlib import Path

import layouts
import numpy as np
import pytest
import torch
from told import Told

from mibias_cli.recipe.load import load_recipe
from mibias_cli.run import workflow
from mibias_cli.run.assemble import assemble
from mibias_cli.run.before import proxies
from mibias_cli.run.before.files import tell
from mibias_cli.run.dry_run import dry_run
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey

RECIPE = """
version: 1
data:
  source: table
  path: t.csv
  columns: { target: TARGET }
  attributes: { ATTRIBUTE: }
backbone: { name: mlp, options: { hidden: [4], features: 2 } }
debias: { estimator: classifier, queue_batches: 2, critic: { steps: 1 } }
training: { epochs: 1, batch_size: 128, device: cpu }
evaluation: { n_bootstrap: 100, n_permutations: 0, probes: [logistic], random_control: false }
"""
AGAIN = "once more, spelt otherwise or binned, among the inputs; data.features leaves it out where it names the others"


def recipe_of(folder: Path, target: str, attribute: str) -> Path:
    (folder / "r.yaml").write_text(RECIPE.replace("TARGET", target).replace("ATTRIBUTE", attribute))
    return folder / "r.yaml"


def test_a_dry_run_a_run_and_an_audit_tell_what_init_tells(tmp_path: Path) -> None:
    table = layouts.proxies(tmp_path)
    table.rename(tmp_path / "t.csv")
    found = survey(tmp_path / "t.csv", Wishes())
    wanted = {note.split(": ")[1].split(" once")[0]: note for note in found.notes if "once more" in note}
    assert set(wanted) == {"sex", "the target"}
    recipe = load_recipe(recipe_of(tmp_path, str(found.columns.target), "sex"))
    for command in (
        lambda told: dry_run(recipe, offline=True, progress=told),
        lambda told: workflow.train(recipe, out=tmp_path / "run", offline=True, progress=told),
        lambda told: workflow.evaluate(tmp_path / "run", out=tmp_path / "again", offline=True, progress=told),
    ):
        told = Told()
        command(told)
        said = [note for note in told.notes if "once more" in note]
        assert len(said) == 2
        for what, note in wanted.items():
            (own,) = [each for each in said if f": {what} once more" in each]
            assert own.endswith(AGAIN)
            # the same columns, with associations that bins of other rows move by little
            assert {part.split(" (")[0] for part in own.split("): ")[0].split(", ")} == {
                part.split(" (")[0] for part in note.split("): ")[0].split(", ")
            }


def test_numbers_and_missing_values(tmp_path: Path) -> None:
    """A target of numbers in other units, an attribute with some rows unknown; what only resembles them is not told."""
    g = np.random.default_rng(0)
    size, noise = g.normal(size=(2, 600))
    inches = [f"{v / 2.54:.6f}" if k % 60 else "" for k, v in enumerate(size)]
    old = ["old" if v > 0 else "young" for v in noise]
    codes = [f"u{k % 200}" for k in range(600)]
    known = [c if k % 5 else "" for k, c in enumerate(old)]
    rows = zip(size.round(6), inches, (size + noise).round(6), known, noise.round(6), codes, strict=True)
    layouts.write(tmp_path / "t.csv", ["cm", "inches", "other", "old", "age", "code"], list(rows))
    told = Told()
    tell(assemble(load_recipe(recipe_of(tmp_path, "cm", "old"), ["data.target_kind=regression"]), offline=True), told)
    said = [note for note in told.notes if "once more" in note]
    assert [note.split(" (")[0] for note in said] == ["age", "inches"]
    assert [note.split("): ")[1] for note in said] == [f"old {AGAIN}", f"the target {AGAIN}"]


def test_columns_with_gaps(tmp_path: Path) -> None:
    """A score that is known for some rows, of which another column is a copy in other units: too few for many bins."""
    g = np.random.default_rng(0)
    score = g.normal(size=1200)
    gaps = [f"{v * 10 + 50:.4f}" if k % 10 == 0 else "" for k, v in enumerate(score)]
    rows = zip(score.round(4), gaps, g.normal(size=1200).round(4), "uv" * 600, strict=True)
    layouts.write(tmp_path / "t.csv", ["score", "gaps", "x", "sex"], list(rows))
    found = survey(tmp_path / "t.csv", Wishes(target="score", attributes=("sex",)))
    told = Told()
    tell(
        assemble(load_recipe(recipe_of(tmp_path, "score", "sex"), ["data.target_kind=regression"]), offline=True), told
    )
    for notes in (found.notes, told.notes):
        assert [note.split(" (")[0] for note in notes if "the target once more" in note] == ["gaps"]


def test_of_few_rows_with_a_label_nothing_is_told(tmp_path: Path) -> None:
    """Of numbers that go with the attribute somewhat, many bins tell two dozen labels nearly by themselves."""
    g = np.random.default_rng(1)
    place = g.integers(0, 2, 1000)
    x = (g.normal(size=(4, 1000)) + 1.5 * place).round(4)
    rows = [[*x[:, k], "ab"[k % 2], "uv"[place[k]] if k % 39 == 0 else ""] for k in range(1000)]
    layouts.write(tmp_path / "t.csv", ["p", "q", "r", "s", "y", "place"], rows)
    found = survey(tmp_path / "t.csv", Wishes(target="y", attributes=("place",)))
    told = Told()
    tell(assemble(load_recipe(recipe_of(tmp_path, "y", "place")), offline=True), told)
    assert not [note for note in (*found.notes, *told.notes) if "once more" in note]


def test_few_rows_of_many_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = layouts.proxies(tmp_path)
    table.rename(tmp_path / "t.csv")
    parts = assemble(load_recipe(recipe_of(tmp_path, "approved", "sex")), offline=True)
    monkeypatch.setattr(proxies, "SAMPLED_ROWS", 40)
    reader, read = parts.data.train.reader, list[int]()
    own = reader.read

    def counting(rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        read.append(len(rows))
        return own(rows, epoch)

    monkeypatch.setattr(reader, "read", counting)
    assert any("the target once more" in note for note in proxies.proxy_notes(parts))
    assert read == [40]
