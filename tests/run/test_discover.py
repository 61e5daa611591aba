"""Bias unknown: what divides the classes is found, debiased and audited like any attribute."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save
from told import Told

from mibias_cli.errors import MibiasError, RecipeError, RunError
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import workflow
from mibias_cli.run.assemble import assemble
from mibias_cli.run.discover import fit_clusters
from mibias_cli.run_folder import OWNED

TABLE = """
version: 1
data:
  source: table
  path: PATH
  columns: {target: y}
  features: [FEATURES]
  attributes: ATTRIBUTES
backbone: {name: mlp, options: {hidden: [16], features: 8}}
discover: {clusters: 2, epochs: 2}
debias: {objective: conditional, balance: none, attributes: [discovered], queue_batches: 4,
         critic: {hidden: [16], steps: 2}}
training: {epochs: 2, batch_size: 64, log_every_steps: 5}
evaluation: {probes: [logistic], n_bootstrap: 100, n_permutations: 0, random_control: false}
"""


def hidden_bias(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (n, 6), y and c: c agrees with y in 85 % and moves three columns by 3, y itself moves one by 1."""
    g = np.random.default_rng(seed)
    y = g.integers(2, size=n)
    c = np.where(g.random(n) < 0.85, y, 1 - y)
    x = g.standard_normal((n, 6))
    x[:, :3] += 3.0 * c[:, None]
    x[:, 3] += y
    return x, y, c


def agreement(found: np.ndarray, c: np.ndarray, y: np.ndarray) -> float:
    """Share of samples whose cluster is that of their c, within each class up to the clusters' names."""
    right = 0
    for k in np.unique(y):
        same = int((found[y == k] == c[y == k]).sum())
        right += max(same, int((y == k).sum()) - same)
    return right / len(y)


def recipe_for(
    folder: Path, attributes: str, erase: str = "none", discover: str = "{clusters: 2, epochs: 2}"
) -> Recipe:
    x, y, c = hidden_bias(900, 3)
    names = [f"x{i}" for i in range(6)]
    rows = [",".join([*names, "y", "c"])]
    rows += [",".join([*(f"{v:.4f}" for v in row), f"y{a}", f"c{b}"]) for row, a, b in zip(x, y, c, strict=True)]
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    text = TABLE.replace("PATH", str(folder / "table.csv")).replace("FEATURES", ", ".join(names))
    text = text.replace("queue_batches: 4,", f"queue_batches: 4, erase: {erase},")
    text = text.replace("{clusters: 2, epochs: 2}", discover)
    return parse_recipe(text.replace("ATTRIBUTES", attributes), path="table.yaml")


def test_clusters_are_the_hidden_attribute_within_each_class() -> None:
    x, y, c = hidden_bias(2000, 0)
    clusters = fit_clusters(x, y, n_classes=3, n_clusters=2, seed=0)  # a class without samples does no harm
    new_x, new_y, new_c = hidden_bias(1000, 1)
    assert agreement(clusters(x, y), c, y) > 0.98
    assert agreement(clusters(new_x, new_y), new_c, new_y) > 0.98
    assert np.bincount(clusters(x[y == 0], y[y == 0])).argmax() == 0  # the larger cluster is the first
    again = fit_clusters(x, y, n_classes=3, n_clusters=2, seed=0)
    assert np.array_equal(clusters(new_x, new_y), again(new_x, new_y))


def test_a_run_finds_debiases_and_audits_it_and_resumes_with_what_it_found(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, "{c: {}}")
    run = workflow.train(
        recipe, out=tmp_path / "run", resume=None, overwrite=False, offline=True, progress=Silent()
    )  # fmt: skip
    assert set(run.report.attributes) == {"c", "discovered"}
    # what a run writes is what --overwrite removes
    assert {path.name for path in run.folder.iterdir()} <= {*OWNED, ".lock"}
    found = (run.folder / "discovered.safetensors").read_bytes()
    metrics = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert any("discovered/mi_bits" in record for record in metrics)
    assert not any("c/mi_bits" in record for record in metrics)
    again = workflow.evaluate(str(run.folder), recipe=None, out=None, offline=True, progress=Silent())
    assert again.report.to_dict()["attributes"] == run.report.to_dict()["attributes"]
    workflow.train(recipe, out=None, resume=run.folder, overwrite=False, offline=True, progress=Silent())
    assert (run.folder / "discovered.safetensors").read_bytes() == found
    workflow.export(run.folder, out=None, formats=(), offline=True, progress=Silent())


def test_what_was_found_is_of_the_run_s_data_or_damaged(tmp_path: Path) -> None:
    run = workflow.train(recipe_for(tmp_path, "{c: {}}"), out=tmp_path / "run", offline=True).folder
    path = run / "discovered.safetensors"
    found, whole = load_file(path), path.read_bytes()
    bad = {
        "damaged": [
            whole[:-3],
            b"x",
            save({k: v + 57 for k, v in found.items()}),
            save({k: v / 2 for k, v in found.items()}),
        ],
        "has classes of": [save({k: v[:5] for k, v in found.items()}), save({"train": found["train"]})],
    }
    for text, contents in bad.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(RunError, match=rf"discovered.safetensors: {text}"):
                workflow.export(run, out=tmp_path / "out", offline=True)


def test_an_exported_folder_names_it_among_what_was_erased(tmp_path: Path) -> None:
    pytest.importorskip("concept_erasure")
    recipe = recipe_for(tmp_path, "{c: {}}", erase="leace")
    run = workflow.train(recipe, out=tmp_path / "run", offline=True)
    folder = workflow.export(run.folder, out=tmp_path / "out", offline=True)
    # no recipe holds the attribute: it is read from the run, or the folder would say that nothing was erased
    assert json.loads((folder / "mibias.json").read_text())["representation"]["erased"] == ["discovered"]


def test_no_attribute_at_all_is_enough_where_one_is_to_be_found(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, "{}")
    run = workflow.train(
        recipe, out=tmp_path / "run", resume=None, overwrite=False, offline=True, progress=Silent()
    )  # fmt: skip
    assert set(run.report.attributes) == {"discovered"}
    text = TABLE.replace("PATH", "t.csv").replace("FEATURES", "x0").replace("discover:", "# discover:")
    with pytest.raises(RecipeError, match=r"data.attributes: is empty; name an attribute, or let one be found"):
        parse_recipe(text.replace("ATTRIBUTES", "{}").replace("attributes: [discovered], ", ""), path="t.yaml")


def test_peers_find_the_rows_that_conflict_and_say_how_well(tmp_path: Path) -> None:
    """Of all three splits; the attribute that is known, and not used, says how well."""
    recipe = recipe_for(tmp_path, "{c: {}}", discover="{by: peers, epochs: 80}")
    progress = Told()
    run = workflow.train(recipe, out=tmp_path / "run", offline=True, progress=progress)
    assert run.report.attributes["discovered"].after is not None
    found, parts = load_file(run.folder / "discovered.safetensors"), assemble(recipe, offline=True)
    for split in (parts.data.train, parts.data.validation, parts.data.audit):
        against = split.y != split.c["c"][:, 0]
        share = {bool(k): found[split.name][against == k].mean() for k in (True, False)}
        assert share[True] > 0.4 > 0.05 > share[False], split.name
    (said,) = (text for text in progress.notes if "average precision" in text)
    assert float(re.search(r"precision of ([\d.]+)", said)[1]) > 0.8  # type: ignore[index]


def test_peers_that_have_learnt_nothing_end_the_run_before_it_trains(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, "{c: {}}", discover="{by: peers, epochs: 1}")
    with pytest.raises(MibiasError, match=r"discover: all rows of the split train are of one part.*discover.epochs"):
        workflow.train(recipe, out=tmp_path / "run", offline=True, progress=Silent())
    assert not (tmp_path / "run" / "discovered.safetensors").exists()


def test_clusters_do_not_go_with_peers(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"discover.clusters: has no effect with discover.by: peers"):
        recipe_for(tmp_path, "{c: {}}", discover="{by: peers, clusters: 3}")
