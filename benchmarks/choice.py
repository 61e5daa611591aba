"""Choosing without unbiased data: how far a choice by biased validation data falls short of the best on unbiased ones.

python benchmarks/choice.py --data DIR [--variance 0.01 0.02 0.05] [--seeds 3] [--out choice.csv] [--jobs 2]

Coloured MNIST, 10,000 training images and 2,000 biased ones for validation, a narrow network, 8 epochs: a grid of
shares of the product of experts and of λ, plain training among them. Each rule takes the setting whose validation
figure is the highest; that of `mibias sweep` is what the scores tell of the digit beyond its colour less what the
features tell of the colour beyond the digit. A shortfall is the best accuracy on random colours in the grid minus that
of the setting taken. The random colours choose nothing: they say what a choice was worth. Rows that the CSV has are not
run again.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from runs import NARROW, RECIPE, WITHOUT_COPIES, Table, assembled, features_and_accuracy, mean_and_spread, train_alone

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.leakage.held_out import leakage_given_target
from mibias_cli.recipe.load import parse_recipe

GRID = tuple(itertools.product((0.0, 0.7, 1.0), (0.0, 0.01, 0.1, 1.0)))
"""Shares of the product, and λ; (0, 0) is plain training."""
GAIN, LEAKAGE = "gain", "leakage_given_target"
"""Bits told of the digit beyond its colour, and of the colour beyond the digit, on biased validation digits."""
RULES: dict[str, tuple[str, ...]] = {
    "net gain (`mibias sweep`)": (GAIN, LEAKAGE),
    "gain over the bias alone": (GAIN,),
    "weighted accuracy": ("weighted_accuracy",),
    "accuracy": ("validation_accuracy",),
}
"""Each rule's figure; of two, the first less the second."""
SHORT = (*NARROW, *WITHOUT_COPIES, "data.n_train=12000", "data.validation_fraction=0.16667", "original=null")
KEYS = ("variance", "seed", "share", "weight")
VALUES = ("accuracy", GAIN, LEAKAGE, "weighted_accuracy", "validation_accuracy")
Cell = tuple[float, int, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--variance", type=float, nargs="+", default=[0.01, 0.02, 0.05])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("choice.csv"))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    cells = [
        (v, seed, *cell) for seed, v in itertools.product(range(arguments.seeds), arguments.variance) for cell in GRID
    ]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        wanted = {pool.submit(run, arguments.data, cell): cell for cell in cells if not table.has(*cell)}
        for done in as_completed(wanted):
            table.add(wanted[done], done.result())
            print(*wanted[done], table.rows[-1], flush=True)
    show(table)


def run(data: Path, cell: Cell) -> dict[str, float]:
    """One setting: accuracy on random colours, and what each rule would go by."""
    torch.set_num_threads(1)
    variance, seed, share, weight = cell
    overrides = [*SHORT, f"data.root={data.resolve()}", f"data.variance={variance}", f"seed={seed}"]
    overrides += [f"debias.bias_product={share}", f"debias.weight={weight}"]
    recipe = parse_recipe(RECIPE.read_text(encoding="utf-8"), path=str(RECIPE), overrides=overrides)
    parts = assembled(recipe)
    model, records = train_alone(parts)
    last = [r for r in records if r["kind"] == "validation"][-1]
    _, accuracy = features_and_accuracy(model, parts.data.audit)
    biased, colour = parts.data.validation, parts.data.attributes["colour"]
    z, _ = features_and_accuracy(model, biased)
    attribute = AuditedAttribute(
        name="colour", channels=colour.channels, class_names=colour.class_names, c=biased.c["colour"],
        known=biased.known["colour"],
    )  # fmt: skip
    names = parts.data.class_names
    return {
        "accuracy": accuracy,
        GAIN: last["validation/gain_over_bias_bits"],
        LEAKAGE: leakage_given_target(z, biased.y, [attribute], class_names=names, seed=seed),
        "weighted_accuracy": last["validation/weighted_accuracy"],
        "validation_accuracy": last["validation/accuracy"],
    }


def taken_by(rule: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The setting that a rule takes among those of a variance and seed."""
    names = RULES[rule]

    def figure(row: dict[str, Any]) -> float:
        return float(row[names[0]]) - sum(float(row[name]) for name in names[1:])

    return max(rows, key=figure)


def shortfall(rule: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Accuracy of what a rule takes, and by how much that is not the best."""
    best, taken = max(float(row["accuracy"]) for row in rows), taken_by(rule, rows)
    return {"taken": float(taken["accuracy"]), "shortfall": best - float(taken["accuracy"])}


def show(table: Table) -> None:
    """Per variance and rule: accuracy of what it takes and its shortfall, means over seeds, in points, as Markdown."""
    columns = ("σ²", "rule", "accuracy of its choice", "shortfall", "the grid's best", "plain", "seeds")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    groups = table.groups("variance", "seed")
    for variance in sorted({key[0] for key in groups}, key=float):
        settings = [rows for key, rows in groups.items() if key[0] == variance and len(rows) == len(GRID)]
        best = statistics.fmean(max(100 * float(row["accuracy"]) for row in rows) for rows in settings)
        plain = statistics.fmean(
            100 * float(r["accuracy"])
            for rows in settings
            for r in rows
            if float(r["share"]) == float(r["weight"]) == 0
        )
        for rule in RULES:
            found = [shortfall(rule, rows) for rows in settings]
            cells = [mean_and_spread(found, key, scale=100) for key in ("taken", "shortfall")]
            print(f"| {variance} | {rule} | {' | '.join(cells)} | {best:.1f} | {plain:.1f} | {len(settings)} |")


if __name__ == "__main__":
    main()
