"""Every estimator × layer, and the best × objective, on coloured MNIST (σ² = .020, 10,000 images, 8 epochs).

python benchmarks/estimator_grid.py --data DIR [--seeds 3] [--out estimator_grid.csv] [--estimators …] [--layers …]

Each run takes about 45 s on one core, with 10 critic steps a step; rows that the CSV has are not run again. The two
gradients meet at a fixed ratio of norms for all (`debias.gradients: ratio`), since the estimators' scales differ; `sum`
rows show the three best as they are shipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import NARROW, PENALTY_ALONE, Table, mean_and_spread, measure

from mibias_cli.recipe.tables import ESTIMATORS

LAYERS = {
    "last": ("representation.layers=[features]",),
    "pooled": ("representation.layers=[pool2]", "representation.pool=mean"),
    "map": ("representation.layers=[pool2]",),
}
OBJECTIVES = {
    "marginal": ("debias.objective=marginal", "debias.balance=none"),
    "conditional": ("debias.objective=conditional", "debias.balance=none"),
    "balanced-critic": ("debias.objective=marginal", "debias.balance=critic"),
    "balanced-both": ("debias.objective=marginal", "debias.balance=both"),
}
SHORT = (
    *NARROW,
    *PENALTY_ALONE,
    "data.n_train=10000",
    "training.epochs=8",
    "debias.warmup_epochs=0.5",
    "debias.critic.steps=10",
    "debias.critic.batch_size=128",
)
KEYS = ("estimator", "layer", "objective", "gradients", "seed")
VALUES = ("accuracy", "leakage_bits", "conditional_leakage_bits", "seconds", "step_ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("estimator_grid.csv"))
    parser.add_argument("--estimators", nargs="*", default=list(ESTIMATORS))
    parser.add_argument("--layers", nargs="*", default=list(LAYERS))
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    for seed in range(arguments.seeds):
        fill(table, arguments.data, [("none", "last", "marginal", "sum", seed)])
        pairs = [(e, layer) for e in arguments.estimators for layer in arguments.layers]
        fill(table, arguments.data, [(*pair, "balanced-critic", "ratio", seed) for pair in pairs])
    for seed in range(arguments.seeds):
        objectives = [(e, layer, o, "sum", seed) for e, layer in best(table) for o in OBJECTIVES]
        fill(table, arguments.data, objectives)
    show(table)


def fill(table: Table, data: str, cells: list[tuple[str, str, str, str, int]]) -> None:
    """Run the cells that the table lacks."""
    for cell in cells:
        if not table.has(*cell):
            estimator, layer, objective, gradients, seed = cell
            overrides = [*SHORT, *LAYERS[layer], *OBJECTIVES[objective]]
            overrides += [f"debias.estimator={estimator}", f"debias.gradients={gradients}"]
            if layer == "last":
                overrides.append("debias.recycle_every_steps=null")
            table.add(cell, measure(data, overrides, seed))
            print(*cell, table.rows[-1]["accuracy"], flush=True)


def best(table: Table) -> list[tuple[str, str]]:
    """The three estimators whose best layer has the highest mean accuracy, each with that layer."""
    means: dict[str, tuple[float, str]] = {}
    for (estimator, layer, _, gradients), rows in table.groups("estimator", "layer", "objective", "gradients").items():
        if estimator != "none" and gradients == "ratio":
            mean = sum(float(r["accuracy"]) for r in rows) / len(rows)
            means[estimator] = max(means.get(estimator, (0.0, "")), (mean, layer))
    ranked = sorted(means, key=lambda e: means[e], reverse=True)
    return [(estimator, means[estimator][1]) for estimator in ranked[:3]]


def show(table: Table) -> None:
    """The table in Markdown."""
    columns = (*KEYS[:4], "accuracy, %", "leakage, bits", "given y, bits", "ms a step", "seeds")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for key, rows in table.groups("estimator", "layer", "objective", "gradients").items():
        cells = [
            mean_and_spread(rows, "accuracy", scale=100),
            mean_and_spread(rows, "leakage_bits", digits=3),
            mean_and_spread(rows, "conditional_leakage_bits", digits=3),
            mean_and_spread(rows, "step_ms", digits=0),
            str(len(rows)),
        ]
        print("| " + " | ".join([*key, *cells]) + " |")


if __name__ == "__main__":
    main()
