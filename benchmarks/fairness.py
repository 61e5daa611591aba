"""Algorithmic fairness on UCI Adult and German credit: our default beside its peers, on the same columns.

python benchmarks/fairness.py --dataset adult --data FOLDER --seeds 5 --out adult.csv

FOLDER holds the files as UCI gives them (see uci.py). A row per method, setting and seed, appended as it is ready; rows
that the file has are not run again. All methods see the same inputs, training rows and test rows, predictions are taken
as they come (no threshold is moved), and figures are those of the test part. `probe_accuracy` is the strongest of five
probe families' on fresh rows of the test part, at predicting the bias from what the method's last layer sees;
`chance_accuracy` the largest group's share there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from fairness_peers import PEERS, Encoded, Predictions
from runs import Table, audit_rows, mean_and_spread, train_alone
from uci import WRITERS

from mibias_cli.data.batch import BiasedData, Split
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.task.fairness import fairness_figures
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import assemble

RECIPES = Path(__file__).parent.parent / "recipes"
BIAS = "sex"
GAPS = ("demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference")
KEYS = ("method", "setting", "seed")
VALUES = ("accuracy", "balanced_accuracy", *GAPS, "probe_accuracy", "chance_accuracy", "seconds")

PAPER = (
    "representation.layers=[features]",
    "backbone.options.features=16",
    "debias.estimator=mine",
    "debias.schedule=fresh",
    "debias.gradients=rescale",
    "debias.weight=1",
    "debias.warmup_epochs=0",
    "debias.critic.steps=20",
    "debias.critic.hidden=[64, 64, 64]",
    "debias.critic.learning_rate=1e-3",
    "training.learning_rate=1e-3",
    "training.batch_size=128",
    "training.schedule=constant",
)
"""The paper's equations: a MINE critic on the last layer, fresh batches, gradients capped at the task's."""
PLAIN_EPOCHS = {"adult": 6, "german": 60}
"""Of `plain` and `paper`: Adult's network fits its training rows by heart beyond them."""

OURS: dict[str, dict[str, tuple[str, ...]]] = {
    "plain": {"default": ("debias.estimator=none", "backbone.options.features=16")},
    "mibias": {
        "default": (),
        "weight 1": ("debias.weight=1",),
        "weight 3": ("debias.weight=3",),
        "weight 6": ("debias.weight=6",),
        "weight 15": ("debias.weight=15",),
    },
    "paper": {"default": PAPER},
}
METHODS = {name: tuple(settings) for name, settings in OURS.items()} | {n: s for n, (_, s) in PEERS.items()}


def recipe_for(dataset: str, table: Path, overrides: tuple[str, ...], seed: int) -> Recipe:
    """The dataset's shipped recipe on a converted table."""
    path = RECIPES / f"{dataset}.yaml"
    changes = [f"data.path={table.resolve()}", f"seed={seed}", *overrides]
    return parse_recipe(path.read_text(encoding="utf-8"), path=str(path), overrides=changes)


def train_ours(recipe: Recipe) -> Predictions:
    """Train by the package and predict the test part."""
    parts = assemble(recipe, offline=True)
    trained, _ = train_alone(parts)
    with torch.no_grad():
        found = trained(inputs(parts.data.audit))
    return Predictions(predicted=found["logits"].argmax(dim=1).numpy(), features=found["features"].numpy())


def inputs(split: Split) -> torch.Tensor:
    """All rows of a split (n, d)."""
    return split.reader.read(split.rows, None)


def measure(dataset: str, table: Path, method: str, setting: str, seed: int, probe_rows: int) -> dict[str, float]:
    """One method at one setting and seed: every figure of its row."""
    overrides = OURS.get(method, {}).get(setting, ())
    if method in ("plain", "paper"):
        overrides += (f"training.epochs={PLAIN_EPOCHS[dataset]}",)
    recipe = recipe_for(dataset, table, overrides, seed)
    data = assemble(recipe, offline=True).data
    started = time.perf_counter()
    if method in OURS:
        found = train_ours(recipe)
    else:
        encoded = Encoded(
            x=inputs(data.train).numpy(), y=data.train.y, c=data.train.c[BIAS][:, 0], test_x=inputs(data.audit).numpy()
        )
        found = PEERS[method][0](encoded, setting, seed)
    seconds = time.perf_counter() - started
    y, c = data.audit.y, data.audit.c[BIAS][:, 0]
    figures = fairness_figures(y, found.predicted, c, n_y=2)
    right = found.predicted == y
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[y == k].mean() for k in (0, 1)])),
        **{gap: figures[gap] or 0.0 for gap in GAPS},
        **probe(data, found.features, seed, probe_rows),
        "seconds": seconds,
    }


def probe(data: BiasedData, z: np.ndarray, seed: int, n_rows: int) -> dict[str, float]:
    """The strongest probe's accuracy at the bias from features of at most `n_rows` test rows, and chance."""
    rows = np.random.default_rng(seed).permutation(len(z))[:n_rows]
    settings = AuditSettings(n_permutations=0, n_bootstrap=100)
    found = audit_rows(data, BIAS, z, rows, settings, seed=seed).after
    strongest = max(p.accuracy for p in found.marginal.probes.values() if p.accuracy is not None)
    return {"probe_accuracy": strongest, "chance_accuracy": found.chance_accuracy}


def show(table: Table) -> None:
    """Every method and setting in Markdown, mean ± standard deviation over seeds, in %."""
    names = ("accuracy", "balanced", "parity", "opportunity", "odds", "sex by the strongest probe", "majority")
    print(f"| method | setting | {' | '.join(names)} | seconds |\n|---|---|{'---|' * (len(names) + 1)}")
    for (method, setting), rows in table.groups("method", "setting").items():
        cells = [mean_and_spread(rows, value, scale=100) for value in VALUES[:-1]]
        print(f"| {method} | {setting} | {' | '.join(cells)} | {mean_and_spread(rows, 'seconds', digits=0)} |")


def main() -> None:
    """Run what is missing, then show all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(WRITERS), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with UCI's files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="seeds are counted from it")
    parser.add_argument("--out", type=Path, required=True, help="CSV of rows")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--settings", nargs="+", help="only these settings; default: all of a method's")
    parser.add_argument("--probe-rows", type=int, default=10_000, help="most test rows on which probes are fitted")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = Table(arguments.out, KEYS, VALUES)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / f"{arguments.dataset}.csv"
        WRITERS[arguments.dataset](arguments.data, table)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            for method in arguments.methods:
                for setting in METHODS[method]:
                    if rows.has(method, setting, seed) or setting not in (arguments.settings or METHODS[method]):
                        continue
                    figures = measure(arguments.dataset, table, method, setting, seed, arguments.probe_rows)
                    rows.add((method, setting, seed), figures)
                    parity = figures["demographic_parity_difference"]
                    print(f"{method} {setting} seed {seed}: {figures['accuracy']:.4f} at {parity:.3f}", flush=True)
    show(rows)


if __name__ == "__main__":
    main()
