"""Group-robust unlearning on scikit-learn's digits: what is forgotten, and what becomes of the group that loses rows.

python benchmarks/unlearning.py [--seeds 3] [--ratios 0.5 0.8] [--out benchmarks/results/unlearning.csv]

1,797 digits as 64 numbers each; the target is whether a digit is odd, the attribute its ink, which is inverted in .15
of the odd digits and in .85 of the even ones. A share of the training rows of odd inverted digits, a rare group, are to
be forgotten. `original` is trained on all rows, `left out` and `retrain` anew without them, the latter drawn in the
original groups' proportions, `miu` unlearns them; `finetune` is `miu` without its forgetting and its penalty, `forget`
without its penalty alone. Mean and standard deviation over seeds of the data and of all draws.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from runs import mean_and_spread
from sklearn.datasets import load_digits

from mibias_cli.backbone.embed import embed
from mibias_cli.data.batch import Split
from mibias_cli.data.groups import target_groups
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditInput, Features, TrainedRows
from mibias_cli.evaluation.task.forgetting import forgetting_findings
from mibias_cli.evaluation.task_findings import ForgettingFigures
from mibias_cli.heads.target import TargetHead
from mibias_cli.methods.method import Method, MethodSpec
from mibias_cli.methods.unlearn import Retrain, Unlearn
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.methods.build import method_spec
from mibias_cli.run.stages import Run, fit_original, make_stage
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.model import TaskModel

RECIPE = """
version: 1
seed: {seed}
data: {{source: table, path: {path}, columns: {{target: odd, split: split, forget: gone}}, attributes: {{ink: {{}}}}}}
backbone: {{name: mlp, options: {{hidden: [128], features: 32}}}}
original: {{epochs: 30}}
method: {method}
training: {{epochs: {epochs}, batch_size: 64, device: cpu, learning_rate: 2e-3, weight_decay: 1e-3}}
"""
FIGURES = ("forgotten_accuracy", "alike_accuracy", "retained_accuracy", "audit_accuracy", "membership_auroc")
SETTINGS: Mapping[str, Mapping[str, float]] = {
    "miu": {},
    "forget": {"weight": 0.0},
    "finetune": {"weight": 0.0, "forget_epochs": 0},
}


class LeftOut(Retrain):
    """Retained rows drawn as they occur: what leaving the others out does without reweighting."""

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        assert self.sample_by is not None
        self.sample_by = np.sign(self.sample_by)


def write_table(file: Path, seed: int, ratio: float) -> None:
    """The digits, half of them to train on and two fifths audited."""
    g = np.random.default_rng(seed)
    pixels, digit = load_digits(return_X_y=True)
    odd = digit % 2
    inverted = g.random(len(odd)) < np.where(odd == 1, 0.15, 0.85)
    pixels = np.where(inverted[:, None], 16 - pixels, pixels)
    split = g.choice(["train", "validation", "test"], size=len(odd), p=[0.5, 0.1, 0.4])
    cell = np.flatnonzero((split == "train") & (odd == 1) & inverted)
    gone = np.isin(np.arange(len(odd)), g.choice(cell, size=round(ratio * len(cell)), replace=False))
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow([*(f"p{k}" for k in range(64)), "odd", "ink", "split", "gone"])
        inks = np.where(inverted, "inverted", "plain")
        writer.writerows([*pixels[k], odd[k], inks[k], split[k], "yes" if gone[k] else "no"] for k in range(len(odd)))


def probabilities(model: TaskModel, split: Split) -> np.ndarray:
    """What the trained head says of a split's rows."""
    assert isinstance(model.head, TargetHead)
    z = torch.from_numpy(embed(model.extractor, split, batch_size=256).features)
    return np.asarray(model.head.cpu().predict(z).numpy())


def figures(model: TaskModel, parts: Parts) -> ForgettingFigures:
    """How well a model has forgotten the rows."""
    data = parts.data
    group, audited = target_groups([data.attributes["ink"]], data.train, data.audit)
    assert data.train.forget is not None
    trained = TrainedRows(
        forget=data.train.forget, y=data.train.y, group=group, audit_group=audited, unit=None,
        heads={"after": probabilities(model, data.train)},
    )  # fmt: skip
    nothing = Features(train=np.zeros((0, 1)), audit=np.zeros((len(data.audit), 1)))
    inputs = AuditInput(
        before=None, after=nothing, train_y=data.train.y, audit_y=data.audit.y, class_names=data.class_names,
        attributes=(), heads={"after": probabilities(model, data.audit)}, trained=trained,
    )  # fmt: skip
    found = forgetting_findings(inputs, AuditSettings(n_bootstrap=100), seed=0)
    assert found is not None
    return found.after


def runs(folder: Path, seed: int, ratio: float) -> dict[str, tuple[ForgettingFigures, float]]:
    """Figures and seconds of every model of one draw."""
    write_table(folder / "digits.csv", seed, ratio)
    found = dict[str, tuple[ForgettingFigures, float]]()

    def parts_of(method: str, epochs: int) -> Parts:
        text = RECIPE.format(seed=seed, path=folder / "digits.csv", method=method, epochs=epochs)
        return assemble(parse_recipe(text, path="unlearning.yaml"), offline=True)

    def trained(name: str, parts: Parts, model: TaskModel, method: Method | None) -> None:
        run = Run(folder=RunFolder(folder / name), progress=Silent())
        began = time.monotonic()
        with run.log() as log:
            if method is None:
                original.load_state_dict(fit_original(parts, run, log).state_dict())
            else:
                make_stage(parts, run, log, model, name="debias", method=method).fit()
        found[name] = figures(model, parts), time.monotonic() - began

    anew, unlearning = parts_of("retrain", 30), parts_of("miu", 10)
    original = anew.first_model()
    trained("original", anew, original, None)
    for name, make in (("left out", LeftOut), ("retrain", Retrain)):
        model = anew.retained.first_model()
        trained(name, anew, model, make(method_spec(anew, model, "retrain", {}, Silent())))
    for name, settings in SETTINGS.items():
        model = unlearning.new_model()
        model.load_state_dict(original.state_dict())
        torch.manual_seed(seed)
        trained(name, unlearning, model, Unlearn(method_spec(unlearning, model, "miu", settings, Silent())))
    return found


def value(found: ForgettingFigures, name: str) -> float:
    """A figure, of one with an interval the estimate."""
    figure = getattr(found, name)
    return float(getattr(figure, "estimate", figure))


def main() -> None:
    """Run all draws, write every row, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.5, 0.8])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    for ratio, seed in itertools.product(given.ratios, range(given.seeds)):
        with tempfile.TemporaryDirectory() as folder:
            for name, (found, seconds) in runs(Path(folder), seed, ratio).items():
                rows.append({"seed": seed, "ratio": ratio, "model": name, "seconds": seconds})
                rows[-1] |= {key: value(found, key) for key in FIGURES}
    if given.out is not None:
        with given.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    print("| share forgotten | model | " + " | ".join(FIGURES) + " | seconds |")
    for ratio, name in dict.fromkeys((row["ratio"], row["model"]) for row in rows):
        own = [row for row in rows if (row["ratio"], row["model"]) == (ratio, name)]
        cells = [mean_and_spread(own, key, scale=100) for key in FIGURES]
        print(f"| {ratio:g} | {name} | " + " | ".join(cells) + f" | {mean_and_spread(own, 'seconds')} |")


if __name__ == "__main__":
    main()
