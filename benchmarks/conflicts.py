"""Bias unknown: how well methods find the photographs whose style is not that of their class.

python benchmarks/conflicts.py --data DIR --weights FILE [--aligned 0.95] [--seeds 3] [--out conflicts.csv]

PACS-skew as `benchmarks/pacs.py` draws it, a linear head on frozen features. Each method scores training rows without
their style: `jtt` by the loss of its first model, `lff` by the weights that its rows end with, `ecs_ga` by its peers,
and `discover` by how rare a row's cluster is in its class.
All settings are the defaults of the recipe. `average_precision` is that of the score for rows of another style than
most of their class; `found` rows are those that the method itself takes for conflicting: what its first model gets
wrong, weights above one half, scores from the threshold on, and every cluster but the largest.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pacs import Drawn, draw, load
from runs import Table, mean_and_spread
from sklearn.metrics import average_precision_score
from torch.nn import functional

from mibias_cli.backbone.embed import embed
from mibias_cli.methods.conflict import conflicting_rows
from mibias_cli.methods.ecs_ga import GradientAlignment
from mibias_cli.methods.lff import FromFailure
from mibias_cli.progress import Silent
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run.assemble import Parts
from mibias_cli.run.cached import cached_parts
from mibias_cli.run.discover import fit_clusters
from mibias_cli.run.methods.build import build_method
from mibias_cli.run.methods.early import train_early
from mibias_cli.run.stages import Run, make_stage, start_heads
from mibias_cli.run_folder import RunFolder
from mibias_cli.training.fabric import make_fabric

Scores = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Of all training rows, and which of them are held to conflict."""
KEYS = ("score", "aligned", "seed")
VALUES = ("average_precision", "by_chance", "found", "precision", "recall")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with STYLE/CLASS/*.jpg")
    parser.add_argument("--weights", type=Path, required=True, help="weights of tf_efficientnet_lite0")
    parser.add_argument("--aligned", type=float, nargs="+", default=[0.95])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("conflicts.csv"))
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    for aligned in arguments.aligned:
        for seed in range(arguments.seeds):
            if any(not table.has(name, aligned, seed) for name in SCORES):
                with tempfile.TemporaryDirectory() as folder:
                    drawn = draw(arguments.data.resolve(), arguments.weights.resolve(), aligned, seed, Path(folder))
                    add(table, drawn, aligned)
    show(table)


def add(table: Table, drawn: Drawn, aligned: float) -> None:
    """Score the rows of a draw by all methods whose row is not there."""
    torch.set_num_threads(2)
    for name, of in SCORES.items():
        if table.has(name, aligned, drawn.seed):
            continue
        parts = linear(drawn, name if name in ("jtt", "lff", "ecs_ga") else "plain")
        train = parts.data.train
        truth = conflicting_rows(train.y, train.c["style"][:, 0])
        score, held = of(parts)
        figures = {
            "average_precision": float(average_precision_score(truth, score)),
            "by_chance": float(truth.mean()),
            "found": float(held.sum()),
            "precision": float(truth[held].mean()) if held.any() else 0.0,
            "recall": float(held[truth].mean()),
        }
        table.add((name, aligned, drawn.seed), figures)
        print(f"{aligned} {drawn.seed} {name}:", ", ".join(f"{k} {v:.3f}" for k, v in figures.items()), flush=True)


def linear(drawn: Drawn, method: str) -> Parts:
    """The parts of a draw for a linear head on frozen features, which are computed once."""
    parts = load(drawn, ("backbone.train=none", "debias.mix=null"))
    own = parts.recipe
    training = own.training.model_dump() | {"head_last": None, "head_weight_decay": 1.0}
    changed = {"method": method, "method_settings": {}, "representation": {}, "training": training}
    parts = replace(parts, recipe=Recipe.model_validate(own.model_dump() | changed))
    parts = replace(parts, fabric=make_fabric("cpu", own.training.precision, deterministic=True))
    splits = (parts.data.train, parts.data.validation, parts.data.audit)
    return cached_parts(parts, Silent(), {split.name: np.arange(len(split)) for split in splits})


def by_first_model(parts: Parts) -> Scores:
    """The loss of a model after one epoch, and what it gets wrong: the error set of JTT."""
    model, train = parts.first_model(), parts.data.train
    train_early(parts, model, epochs=1, progress=Silent())
    with torch.no_grad():
        logits = model.head(torch.from_numpy(embed(model.extractor, train, batch_size=500).features))
    losses = functional.cross_entropy(logits, torch.from_numpy(train.y), reduction="none")
    return losses.double().numpy(), (logits.argmax(dim=1).numpy() != train.y)


def by_failure(parts: Parts) -> Scores:
    """The weights ℓ_B / (ℓ_B + ℓ_D) of LfF after training."""
    model = parts.first_model()
    start_heads(model, parts, {}, Silent())
    method = build_method(parts, model, Silent())
    assert isinstance(method, FromFailure)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder=RunFolder(Path(folder)), progress=Silent())
        with run.log() as log:
            make_stage(parts, run, log, model, name="debias", method=method).fit()
    weight = method.row_weights().double().numpy()
    return weight, weight > 0.5


def by_peers(parts: Parts) -> Scores:
    """The scores of ECS."""
    method = build_method(parts, parts.first_model(), Silent())
    assert isinstance(method, GradientAlignment)
    method.prepare()
    return method.score.double().numpy(), method.conflicting.numpy()


def by_clusters(parts: Parts) -> Scores:
    """How rare a row's cluster is in its class, as `discover` finds two of them."""
    model, train = parts.first_model(), parts.data.train
    train_early(parts, model, epochs=1, progress=Silent())
    z, n_classes = embed(model.extractor, train, batch_size=500).features, len(parts.data.class_names)
    found = fit_clusters(z, train.y, n_classes=n_classes, n_clusters=2, seed=parts.recipe.seed)(z, train.y)
    share = np.stack([np.bincount(found[train.y == k], minlength=2) / (train.y == k).sum() for k in range(n_classes)])
    return 1 - share[train.y, found], found > 0


SCORES = {"jtt": by_first_model, "lff": by_failure, "ecs_ga": by_peers, "discover": by_clusters}


def show(table: Table) -> None:
    """Means and standard deviations over seeds, as Markdown."""
    print("\n| aligned | score | average precision | by chance | found | of them conflict, % | of all, % |")
    print("|---|---|---|---|---|---|---|")
    for (aligned, name), rows in sorted(table.groups("aligned", "score").items()):
        shown = [mean_and_spread(rows, column, digits=2) for column in VALUES[:2]]
        shown += [mean_and_spread(rows, "found", digits=0)]
        shown += [mean_and_spread(rows, column, scale=100, digits=0) for column in VALUES[3:]]
        print(f"| {aligned} | {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
