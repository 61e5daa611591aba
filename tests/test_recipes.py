"""Every shipped recipe loads, names things that exist, and takes steps."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import get_args

import lookalikes
import numpy as np
import pytest
import uci_lookalikes

from mibias_cli.evaluation.probes.families import PROBES
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import load_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.sections.data import DATA_SOURCES
from mibias_cli.recipe.sections.debias import DebiasSection
from mibias_cli.recipe.sections.evaluation import EvaluationSection
from mibias_cli.recipe.shipped import shipped_recipes
from mibias_cli.recipe.tables import METHODS
from mibias_cli.run import build
from mibias_cli.run import dry_run as dry_runs
from mibias_cli.run.dry_run import dry_run


def write_idx(folder: Path) -> None:
    """MNIST's four files, small and random."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 400), ("t10k", 100)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        for kind, magic, shape, data in (
            ("images-idx3-ubyte", 2051, (n, 28, 28), images),
            ("labels-idx1-ubyte", 2049, (n,), (np.arange(n) % 10).astype(np.uint8)),
        ):
            header = np.array([magic, *shape], dtype=">i4").tobytes()
            (folder / f"{part}-{kind}.gz").write_bytes(gzip.compress(header + data.tobytes()))


DRAWN = {
    "celeba": lookalikes.celeba,
    "imdb_eb1": lookalikes.imdb,
    "utkface_eb1": lookalikes.utkface,
    "utkface_eb1_age": lookalikes.utkface,
    "waterbirds": lookalikes.waterbirds,
}
"""Recipes on data that nobody may ship: what draws something in its form, and says where it is."""

TABLES = {"adult": uci_lookalikes.adult_table, "german": uci_lookalikes.german_table}
"""The same for tables."""

SMALL = ["backbone.weights=none", "backbone.input_size=32", "training.batch_size=8", "training.num_workers=0"]


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for every estimator to be fitted and to penalise; the time that more would tell is never read."""
    monkeypatch.setattr(dry_runs, "MOST_STEPS", 4)


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_takes_steps(name: str, tmp_path: Path) -> None:
    overrides = []
    path = shipped_recipes()[name]
    if "source: mnist" in path.read_text():
        write_idx(tmp_path)
        overrides = [f"data.root={tmp_path}"]
    if name in DRAWN:
        overrides = [*DRAWN[name](tmp_path), *SMALL]
    if name in TABLES:
        overrides = TABLES[name](tmp_path)
    found = dry_run(load_recipe(path, overrides), offline=True, progress=Silent())
    assert found["step_seconds"] > 0
    assert found["n_trainable"] > 0
    for split, n in found["splits"].items():
        for channel, rows in found["cells"][split].items():
            assert sum(sum(row.values()) for row in rows.values()) == n, (split, channel)


def test_the_tables_hold_what_the_schema_allows() -> None:
    estimators = get_args(DebiasSection.model_fields["estimator"].annotation)
    assert set(estimators) == {*build.ESTIMATORS, "none"}
    assert set(get_args(Recipe.model_fields["method"].annotation)) == {*METHODS, "mi"}
    assert set(DATA_SOURCES) == set(build.DATA_SOURCES)
    (probes,) = get_args(EvaluationSection.model_fields["probes"].annotation)
    assert set(get_args(probes)) == set(PROBES)


@pytest.mark.parametrize(
    "reference",
    [*build.ESTIMATORS.values(), *build.DATA_SOURCES.values(), *(row.code for row in METHODS.values())],
)
def test_the_tables_name_things_that_exist(reference: str) -> None:
    assert callable(build.resolve(reference))


@pytest.mark.parametrize("estimator", sorted(build.ESTIMATORS))
@pytest.mark.parametrize("schedule", ["queue", "fresh"])
def test_every_estimator_takes_steps_in_every_schedule(estimator: str, schedule: str) -> None:
    overrides = [
        "original=null",
        f"debias.estimator={estimator}",
        f"debias.schedule={schedule}",
        "debias.mix=null",
        "debias.critic.steps=2",
        "debias.warmup_epochs=0",
        "representation.layers=[features, output]",
    ]
    recipe = load_recipe(shipped_recipes()["quickstart"], overrides)
    assert dry_run(recipe, offline=True, progress=Silent())["step_seconds"] > 0
