"""Leakage budgets on coloured MNIST: what a run is told to leak, and what a fresh probe then finds.

python benchmarks/budget.py --data DIR [--budgets 0.05 0.12 0.3] [--seeds 3] [--out budget.csv] [--set KEY=VALUE …]

σ² = .020, 10,000 training and 10,000 validation images, conditional objective, 10 epochs. The validation split is
audited by the audit's own probes, fitted on one half of it and scored on the other; they share nothing with the meter
that steers λ, which fits its heads on training rows. A row per budget (`none`: no debiasing) and seed is appended to
the CSV as it is ready; rows that the file has are not run again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from runs import (
    NARROW,
    PENALTY_ALONE,
    RECIPE,
    Table,
    assembled,
    features_and_accuracy,
    mean_and_spread,
    train_alone,
)

from mibias_cli.backbone.embed import embed
from mibias_cli.data.batch import BiasedData
from mibias_cli.evaluation.leakage.channel import make_channel_task
from mibias_cli.evaluation.leakage.evidence import Evidence
from mibias_cli.evaluation.leakage.measure import Terms, answer
from mibias_cli.evaluation.statistics.partition import fit_and_score_rows, inner_folds
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.training.model import TaskModel

SETTINGS = (
    *NARROW,
    *PENALTY_ALONE,
    "data.n_train=20000",
    "data.validation_fraction=0.5",
    "debias.objective=conditional",
    "debias.balance=none",
    "original=null",
)
PROBES = ("logistic", "mlp")
"""Fresh probes of the validation split."""
NONE = "none"
KEYS = ("budget_bits", "seed")
VALUES = ("meter_bits", "probe_bits", "probe_lower", "probe_upper", "accuracy", "weight", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--budgets", nargs="+", default=["0.05", "0.12", "0.3"], help="in bits; none: no debiasing")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("budget.csv"))
    parser.add_argument("--set", action="append", default=[], help="further overrides of the recipe")
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    for seed in range(arguments.seeds):
        for budget in [*arguments.budgets, NONE]:
            if not table.has(budget, seed):
                table.add((budget, seed), run(arguments.data, budget, seed, arguments.set))
                print(budget, seed, table.rows[-1], flush=True)
    show(table)


def run(data: str, budget: str, seed: int, extra: Sequence[str]) -> dict[str, float]:
    """One training run and the audit of its validation split."""
    torch.set_num_threads(1)
    kept = ["debias.estimator=none"] if budget == NONE else [f"debias.budget_bits={budget}"]
    recipe = parse_recipe(
        RECIPE.read_text(encoding="utf-8"),
        path=str(RECIPE),
        overrides=[f"data.root={Path(data).resolve()}", f"seed={seed}", *SETTINGS, *kept, *extra],
    )
    parts = assembled(recipe)
    model, records = train_alone(parts)
    probe = validation_audit(recipe.seed, parts.data, model)
    measured = [r for r in records if r["kind"] == "budget"]
    used = [r["colour/mi_weight"] for r in records if "colour/mi_weight" in r and r["kind"] == "train"]
    return {
        "meter_bits": measured[-1]["colour/measured_bits"] if measured else float("nan"),
        "probe_bits": probe[0],
        "probe_lower": probe[1],
        "probe_upper": probe[2],
        "accuracy": features_and_accuracy(model, parts.data.audit)[1],
        "weight": used[-1] if used else 0.0,
        "seconds": records[-1]["elapsed_seconds"],
    }


def validation_audit(seed: int, data: BiasedData, model: TaskModel) -> tuple[float, float, float]:
    """Conditional leakage of a model's features by probes fitted and scored on validation rows, with its interval."""
    validation, colour = data.validation, data.attributes["colour"]
    z = embed(model.extractor, validation, batch_size=500).features
    c, y = validation.c["colour"], validation.y
    labels = np.concatenate([y[:, None], c], axis=1)
    fit, score = fit_and_score_rows(labels, fit_fraction=0.5, group=None, seed=seed)
    resamples = Resamples(len(score), 200, group=None, seed=seed)
    found = []
    for k, channel in enumerate(colour.channels):
        folds = inner_folds(np.stack([c[fit, k], y[fit]], axis=1), group=None, seed=seed)
        task = make_channel_task(
            channel, c[:, k], y, fit, score, folds, n_classes=colour.n_classes[k], n_y=10, seed=seed
        )
        terms = Terms(probes=PROBES, resamples=resamples, confidence=0.95, seed=seed)
        asked = answer(task, task.conditional, Evidence(z=z), (fit, score), terms)
        found.append(asked.finding)
    # the leakiest channel, as the audit takes it
    interval = max(found, key=lambda finding: finding.selection_bits).leakage_bits
    return interval.estimate, interval.lower, interval.upper


def show(table: Table) -> None:
    """The table in Markdown, with what is asked of the probe's mean beside it."""
    columns = ("budget, bits", "meter", "fresh probe", "asked of its mean", "accuracy, %", "λ", "seeds")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for (budget,), rows in table.groups("budget_bits").items():
        asked = ""
        if budget != NONE:
            low, high = 0.7 * float(budget), 1.2 * float(budget) + 0.01
            mean = statistics.fmean(float(row["probe_bits"]) for row in rows)
            asked = f"{low:.3f} to {high:.3f}: {'kept' if low <= mean <= high else '**missed**'}"
        cells = [
            mean_and_spread(rows, "meter_bits", digits=3) if budget != NONE else "",
            mean_and_spread(rows, "probe_bits", digits=3),
            asked,
            mean_and_spread(rows, "accuracy", scale=100),
            mean_and_spread(rows, "weight", digits=2),
            str(len(rows)),
        ]
        print("| " + " | ".join([budget, *cells]) + " |")


if __name__ == "__main__":
    main()
