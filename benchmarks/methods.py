"""The field's methods beside ours on coloured digits and on UCI Adult: a row per method, setting and seed.

python benchmarks/methods.py --on digits --data DIR --seeds 3 --out methods.csv      # MNIST's IDX files
python benchmarks/methods.py --on adult --data DIR --seeds 3 --out methods.csv       # UCI's files, see uci.py

Digits are 10,000 training images at σ² = .020. Rows that the file has are not run again. In seed 0 every setting of a
method runs; in the other seeds the one that its rule chooses by the biased validation split of seed 0. `accuracy` and
`worst_group_accuracy` are those of the trained head on the audited split; `leakage_bits` and `conditional_leakage_bits`
are what its features tell of the bias, and of the bias given the target, by the probe that is strongest within the
fitting half. Groups are (y, c) cells of at least ten rows, channel by channel, as audits count them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from colored_mnist import METHODS as DIGITS
from fairness import BIAS, PLAIN_EPOCHS, recipe_for
from numpy.typing import NDArray
from runs import RECIPE, Table, assembled, audit_rows, features_and_accuracy, mean_and_spread, train_alone
from uci import WRITERS

from mibias_cli.data.batch import Split
from mibias_cli.data.groups import balancing_weights
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.training.model import TaskModel

Right = NDArray[np.bool_]
N_PROBED = 4000
"""Audited rows on which probes are fitted and scored, half of them each."""
MIN_CELL = 10
ATTRIBUTE = {"digits": "colour", "adult": BIAS}
PROBES: dict[str, tuple[str, ...]] = {
    "digits": ("logistic", "quadratic", "mlp"),
    "adult": ("logistic", "quadratic", "mlp", "knn", "gradient_boosting"),
}

PLAINLY: dict[str, tuple[str, ...]] = {
    "digits": ("training.average_decay=null",),
    "adult": ("backbone.options.features=16", f"training.epochs={PLAIN_EPOCHS['adult']}"),
}
"""How all but ours train: without what is ours in the recipe beside `debias`."""
ON_ADULT = (*PLAINLY["adult"], "debias.balance=none", "representation.layers=[features]")
KEYED: dict[str, dict[str, tuple[str, ...]]] = {
    "digits": {
        name: DIGITS[name] for name in ("mibias", "auto_weight", "without_copies", "product", "reweight", "lntl")
    },
    "adult": {
        "mibias": (),
        "mibias_weight_1": ("debias.weight=1",),
        "mibias_given_target": ("debias.objective=conditional",),
        "product": (*ON_ADULT, "debias.bias_product=1", "debias.weight=0"),
        "reweight": (*ON_ADULT, "debias.weight=0", "debias.balance=task"),
        "lntl": (*ON_ADULT, "debias.estimator=lntl", "debias.weight=1", "debias.warmup_epochs=0"),
    },
}
"""Ours, and what is keys of `debias`."""
FIELD = (
    "plain", "group_dro", "dfr", "badd", "domain_independent", "end", "fair", "jtt", "weak_learner", "lff", "ecs_ga",
)  # fmt: skip

SETTINGS: dict[str, tuple[str, ...]] = {
    "lntl": ("", "debias.weight=0.1"),
    "dfr": ("", "method_settings.inverse_l1=0.1"),
    "end": ("", "method_settings.alpha=1 method_settings.beta=1"),
    "fair": ("", "method_settings.alpha=10"),
    "jtt": ("", "method_settings.upweight=10"),
}
"""Further overrides, the paper's defaults first; a method that is not here has none to choose among."""
SETTINGS_ON: dict[str, dict[str, tuple[str, ...]]] = {
    # strong decay is part of the method: Adam's own kind on digits, AdamW's on Adult
    "digits": {
        "group_dro": (
            "", "method_settings.step_size=0.1", "training.weight_decay=0.01", "training.weight_decay=0.001",
        ),
        "ecs_ga": ("method_settings.confidence=0.5 method_settings.gamma=1.6",),  # its authors', for digits
    },
    "adult": {"group_dro": ("", "method_settings.step_size=0.1", "training.weight_decay=1")},
}  # fmt: skip
BY_WORST_GROUP = ("group_dro", "dfr", "jtt")
"""Methods whose papers choose settings by the worst group; the others are chosen by balanced accuracy."""

KEYS = ("on", "method", "setting", "seed")
BALANCED, WORST = "validation_balanced_accuracy", "validation_worst_group_accuracy"
FIGURES = ("accuracy", "worst_group_accuracy", "leakage_bits", "conditional_leakage_bits")
VALUES = (*FIGURES, BALANCED, WORST, "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", choices=list(KEYED), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files, or with UCI's Adult")
    parser.add_argument("--methods", nargs="+", help="default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every-setting", action="store_true", help="in the other seeds, too")
    parser.add_argument("--out", type=Path, default=Path("methods.csv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    on, table = arguments.on, Table(arguments.out, KEYS, VALUES)
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data.resolve()
        if on == "adult":
            data = Path(folder) / "adult.csv"
            WRITERS["adult"](arguments.data, data)
        for seed in range(arguments.seeds):
            for method in arguments.methods or (*KEYED[on], *FIELD):
                every = arguments.every_setting or not seed
                for setting in settings_of(on, method) if every else (chosen(table, on, method),):
                    if not table.has(on, method, setting, seed):
                        figures = run(on, recipe_of(on, data, method, setting, seed), seed)
                        table.add((on, method, setting, seed), figures)
                        told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                        print(f"{on} {method} {setting} seed {seed}: {told}", flush=True)
    show(table, on)


def settings_of(on: str, method: str) -> tuple[str, ...]:
    """What runs in seed 0."""
    return SETTINGS_ON[on].get(method) or SETTINGS.get(method, ("",))


def chosen(table: Table, on: str, method: str) -> str:
    """The setting that is best on the validation split of seed 0 by the method's rule."""
    rows = [row for row in table.rows if (row["on"], row["method"], row["seed"]) == (on, method, "0")]
    first = WORST if method in BY_WORST_GROUP else BALANCED
    return max(rows, key=lambda row: (float(row[first]), float(row[BALANCED])))["setting"]


def recipe_of(on: str, data: Path, method: str, setting: str, seed: int) -> Recipe:
    """The shipped recipe with a method's overrides."""
    of_method = KEYED[on].get(method)
    overrides = (f"method={method}", *PLAINLY[on]) if of_method is None else of_method
    overrides = (*overrides, *setting.split())
    if on == "adult":
        return recipe_for(on, data, overrides, seed)
    given = [f"data.root={data}", "data.variance=0.02", "data.n_train=10000", "original=null", f"seed={seed}"]
    return parse_recipe(RECIPE.read_text(encoding="utf-8"), path=str(RECIPE), overrides=[*given, *overrides])


def run(on: str, recipe: Recipe, seed: int) -> dict[str, float]:
    """Train and measure."""
    parts, name = assembled(recipe), ATTRIBUTE[on]
    started = time.perf_counter()
    model, _ = train_alone(parts)
    seconds = time.perf_counter() - started
    held, split = parts.data.validation, parts.data.audit
    (_, on_held), (z, right) = rated(model, held), rated(model, split)
    weights = balancing_weights(
        held.y, held.c[name], held.known[name], n_y=len(parts.data.class_names),
        n_c=parts.data.attributes[name].n_classes, clip=recipe.debias.balance_clip, seed=seed,
    )  # fmt: skip
    rows = np.random.default_rng(seed).permutation(len(split))[:N_PROBED]
    settings = AuditSettings(probes=PROBES[on], n_permutations=0, n_bootstrap=100)
    told = audit_rows(parts.data, name, z, rows, settings, seed=seed).after
    assert told.conditional_leakage_bits is not None
    return {
        "accuracy": float(right.mean()),
        "worst_group_accuracy": worst_group(right, split.y, split.c[name]),
        "leakage_bits": told.leakage_bits.estimate,
        "conditional_leakage_bits": told.conditional_leakage_bits.estimate,
        BALANCED: float(np.average(on_held, weights=weights)),
        WORST: worst_group(on_held, held.y, held.c[name]),
        "seconds": seconds,
    }


def rated(model: TaskModel, split: Split) -> tuple[NDArray[np.floating], Right]:
    """Features (n, d) of a split, and which rows (n,) the trained head gets right."""
    z, _ = features_and_accuracy(model, split)
    with torch.no_grad():
        right: Right = model.head(torch.from_numpy(z)).argmax(dim=1).numpy() == split.y
    return z, right


def worst_group(right: Right, y: NDArray[np.int64], c: NDArray[np.int64]) -> float:
    """The least share of `right` (n,) in cells of y (n,) and a channel of c (n, channels), of those with ten rows."""
    groups = [y * (column.max() + 1) + column for column in c.T]
    cells = [right[group == g] for group in groups for g in np.unique(group)]
    return min(float(cell.mean()) for cell in cells if len(cell) >= MIN_CELL)


def show(table: Table, on: str) -> None:
    """Every method with the setting that was chosen, mean ± standard deviation over seeds, in Markdown."""
    print(
        "\n| method | setting | seeds | accuracy, % | worst group, % | bias, bits | given the target, bits | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for method in dict.fromkeys(row["method"] for row in table.rows if row["on"] == on):
        setting = chosen(table, on, method)
        rows: Sequence[dict[str, str]] = table.groups("on", "method", "setting")[on, method, setting]
        cells = [mean_and_spread(rows, column, scale=100) for column in FIGURES[:2]]
        cells += [mean_and_spread(rows, column, digits=2 if on == "digits" else 3) for column in FIGURES[2:]]
        cells.append(mean_and_spread(rows, "seconds", digits=0))
        print(f"| {method} | {setting} | {len(rows)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
