"""The field's methods on stored features of PACS-skew, and which of them find the pictures that conflict with the bias.

python benchmarks/pacs_stored.py --data DIR --weights FILE [--aligned 0.95] [--seeds 3] [--features DIR]
    [--out pacs_stored.csv]

PACS-skew as `benchmarks/pacs.py` draws it, as stored features: those of tf_efficientnet_lite0, standardised, without
augmentation. `--features` keeps them. One recipe for all: an MLP with 64 features behind them, 20 epochs, weight decay
1; methods with their defaults, nothing is tuned.

`average_precision` is that of a score of training rows, made without their style, for rows of another style than most
of their class: of `jtt` and `weak_learner` the loss of the first model, of `lff` the weights that rows end with, of
`ecs_ga` the scores of its peers, of `clusters` how rare a row's cluster is in its class (`discover` with its defaults).
`precision` and `recall` are those of rows that the method takes for conflicting: what its first model gets wrong,
weights above one half, scores from the threshold on, all clusters but the largest. `accuracy` and
`worst_group_accuracy` are on balanced audited rows, `leakage_bits` is what the MLP's features tell of the style given
the class, by the stronger of a logistic and an MLP probe, fitted on one half of these rows and scored on the other.
`clusters` and `discovered` are Group DRO on what `discover` finds by clusters and by peers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pacs import draw, encoded
from pacs_peers import worst_group
from runs import Table, audit_rows, features_and_accuracy, mean_and_spread
from safetensors.numpy import load_file, save_file
from sklearn.metrics import average_precision_score
from torch.nn import functional

from mibias_cli.backbone.embed import embed
from mibias_cli.data.files.tabular import write_manifest
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.methods.conflict import conflicting_rows
from mibias_cli.methods.ecs_ga import GradientAlignment
from mibias_cli.methods.lff import FromFailure
from mibias_cli.methods.method import Method
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.assemble import Parts, assemble
from mibias_cli.run.discover import discover, with_discovered
from mibias_cli.run.methods.build import build_method
from mibias_cli.run.methods.early import train_early
from mibias_cli.run.stages import Run, make_stage
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.model import TaskModel

Scores = tuple[NDArray[np.floating], NDArray[np.bool_]]
"""Of all training rows, and which of them are held to conflict."""
RECIPE = """
version: 1
data:
  source: embeddings
  path: FOLDER/features.safetensors
  manifest: FOLDER/rows.csv
  columns: {target: label, split: split}
  attributes: {style: {}}
backbone: {name: mlp, options: {hidden: [], features: 64}}
training: {epochs: 20, batch_size: 64, learning_rate: 1e-3, weight_decay: 1}
"""
METHODS: dict[str, tuple[str, ...]] = {
    "mibias": (
        "debias.estimator=closed_form", "debias.objective=conditional", "debias.bias_product=1",
        "debias.class_prior=uniform", "debias.weight=auto", "debias.balance=none",
    ),
    "plain": ("method=plain",),
    "jtt": ("method=jtt",),
    "weak_learner": ("method=weak_learner",),
    "lff": ("method=lff",),
    "ecs_ga": ("method=ecs_ga",),
    "clusters": ("method=group_dro", "discover={by: clusters}", "debias.attributes=[discovered]"),
    "discovered": ("method=group_dro", "discover={by: peers}", "debias.attributes=[discovered]"),
    "group_dro": ("method=group_dro",),
    "dfr": ("method=dfr",),
    "product": ("debias.bias_product=1", "debias.weight=0", "debias.balance=none"),
    "reweight": ("debias.balance=task", "debias.weight=0", "debias.bias_product=0"),
    "badd": ("method=badd",),
    "domain_independent": ("method=domain_independent",),
    "fair": ("method=fair",),
    "end": ("method=end",),
}  # fmt: skip
KEYS = ("method", "aligned", "seed")
VALUES = ("average_precision", "precision", "recall", "accuracy", "worst_group_accuracy", "leakage_bits", "seconds")
NOTHING = dict.fromkeys(VALUES[:3], float("nan"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with STYLE/CLASS/*.jpg")
    parser.add_argument("--weights", type=Path, required=True, help="weights of tf_efficientnet_lite0")
    parser.add_argument("--aligned", type=float, nargs="+", default=[0.95])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--features", type=Path, help="folder that keeps the features of each draw")
    parser.add_argument("--out", type=Path, default=Path("pacs_stored.csv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(arguments.out, KEYS, VALUES)
    with tempfile.TemporaryDirectory() as scratch:
        for aligned in arguments.aligned:
            for seed in range(arguments.seeds):
                wanted = [name for name in arguments.methods if not table.has(name, aligned, seed)]
                folder = (arguments.features or Path(scratch)) / f"{aligned}_{seed}"
                if wanted and not folder.is_dir():
                    store(arguments.data.resolve(), arguments.weights.resolve(), aligned, seed, folder)
                for name in wanted:
                    figures = run(name, folder.resolve(), seed)
                    table.add((name, aligned, seed), figures)
                    print(f"{aligned} {seed} {name}:", {k: round(v, 3) for k, v in figures.items()}, flush=True)
    show(table)


def store(data: Path, weights: Path, aligned: float, seed: int, folder: Path) -> None:
    """Write the features of a draw and a table of its rows."""
    with tempfile.TemporaryDirectory() as scratch:
        found, _ = encoded(draw(data, weights, aligned, seed, Path(scratch)))
    splits = found.parts.data.train, found.parts.data.validation, found.parts.data.audit
    folder.mkdir(parents=True)
    save_file(
        {"features": np.concatenate([found.x, found.validation_x, found.audit_x])}, folder / "features.safetensors"
    )
    y, style = (np.concatenate(parts) for parts in zip(*((s.y, s.c["style"][:, 0]) for s in splits), strict=True))
    names = np.repeat(["train", "validation", "test"], [len(s) for s in splits])
    columns = {"label": [f"y{k}" for k in y], "style": [f"c{k}" for k in style], "split": names.tolist()}
    write_manifest(folder / "rows.csv", columns)


def run(name: str, folder: Path, seed: int) -> dict[str, float]:
    """Train one method and measure it."""
    started = time.perf_counter()
    given = [f"seed={seed}", "original=null", *METHODS[name]]
    recipe = parse_recipe(RECIPE.replace("FOLDER", str(folder)), path="pacs_stored", overrides=given)
    parts = assemble(recipe, offline=True)
    with tempfile.TemporaryDirectory() as scratch:
        files = RunFolder(Path(scratch))
        if recipe.discover is not None:
            discover(parts, files, Silent())
            parts = with_discovered(parts, files)
        model = parts.first_model()
        method = build_method(parts, model, Silent())
        if method is not None:
            method.prepare()
        stage = Run(folder=files, progress=Silent())
        with stage.log() as log:
            make_stage(parts, stage, log, model, name="debias", method=method).fit()
        if method is not None:
            method.finish()
        seconds = time.perf_counter() - started
        held = None if recipe.discover is None else load_file(files.discovered)[parts.data.train.name]
    return found(name, parts, method, held) | after(model, parts, seed) | {"seconds": seconds}


def found(name: str, parts: Parts, method: Method | None, held: NDArray[np.int64] | None) -> dict[str, float]:
    """How well a method's score finds conflicting rows; where it has none, nothing."""
    train = parts.data.train
    if isinstance(method, FromFailure):
        score = method.row_weights().double().numpy()
        taken = score > 0.5
    elif isinstance(method, GradientAlignment):
        score, taken = method.score.double().numpy(), method.conflicting.numpy()
    elif name in ("jtt", "weak_learner"):
        score, taken = by_first_model(parts)
    elif held is not None:
        taken = held > 0
        # how rare the row's part is in its class; of peers there is the better score of ecs_ga
        share = np.array([np.mean(held[train.y == y] == k) for y, k in zip(train.y, held, strict=True)])
        score = 1 - share
    else:
        return NOTHING
    truth = conflicting_rows(train.y, train.c["style"][:, 0])
    return {
        "average_precision": float(average_precision_score(truth, score)),
        "precision": float(truth[taken].mean()) if taken.any() else 0.0,
        "recall": float(taken[truth].mean()),
    }


def by_first_model(parts: Parts) -> Scores:
    """The loss of JTT's first model, and what it gets wrong."""
    model, train = parts.first_model(), parts.data.train
    train_early(parts, model, epochs=1, progress=Silent())
    with torch.no_grad():
        logits = model.head(torch.from_numpy(embed(model.extractor, train, batch_size=500).features))
    losses = functional.cross_entropy(logits, torch.from_numpy(train.y), reduction="none")
    return losses.double().numpy(), logits.argmax(dim=1).numpy() != train.y


def after(model: TaskModel, parts: Parts, seed: int) -> dict[str, float]:
    """Accuracy on all audited rows and in the worst class × style group, and what the features tell of the style."""
    split = parts.data.audit
    z, accuracy = features_and_accuracy(model.eval(), split)
    with torch.no_grad():
        right = model.head(torch.from_numpy(z)).argmax(dim=1).numpy() == split.y
    settings = AuditSettings(probes=("logistic", "mlp"), n_permutations=0, n_bootstrap=100)
    told = audit_rows(parts.data, "style", z, np.arange(len(split)), settings, seed=seed).after
    assert told.conditional_leakage_bits is not None
    return {
        "accuracy": accuracy,
        "worst_group_accuracy": worst_group(right, split.y, split.c["style"][:, 0]),
        "leakage_bits": told.conditional_leakage_bits.estimate,
    }


def show(table: Table) -> None:
    """Means and standard deviations over seeds, as Markdown."""
    print("\n| aligned | method | average precision | precision, % | recall, % |", end="")
    print(" accuracy, % | worst group, % | leakage, bits | seconds |\n|---|---|---|---|---|---|---|---|---|")
    for (aligned, name), rows in sorted(table.groups("aligned", "method").items()):
        shown = [""] * 3
        if rows[0]["recall"] != "nan":
            shown = [mean_and_spread(rows, "average_precision", digits=2)]
            shown += [mean_and_spread(rows, column, scale=100, digits=0) for column in ("precision", "recall")]
        shown += [mean_and_spread(rows, column, scale=100) for column in ("accuracy", "worst_group_accuracy")]
        shown += [mean_and_spread(rows, "leakage_bits", digits=2), mean_and_spread(rows, "seconds", digits=0)]
        print(f"| {aligned} | {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
