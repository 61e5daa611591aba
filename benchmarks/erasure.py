"""Erasure after training without a target: style erased from stored features of all of PACS, and what it costs.

python benchmarks/erasure.py --data DIR --weights FILE [--seeds 3] [--features FILE.npz] [--out erasure.csv]

DIR and FILE are those of benchmarks/pacs.py, and so are a seed's audited images: 40 of every class × style. An eraser
is fitted on all others (8,871) by features and styles alone, and gives 1,280 features as the backbone does.
`leakage_bits` is the audit's headline of the style on the audited rows, by the one of five probes that is best on
held-out rows of the fitting half, and beside it each probe's;
`accuracy` that of fresh logistic probes for the class, fitted on one half of these balanced rows and scored on the
other, both ways, three times, the better of two penalties. `transport_0.5` goes half the way. Features are kept in
--features, and rows that the CSV has are not run again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pacs import BACKBONE, HOME, STYLES, VALIDATION_EVERY, rows_of
from runs import Table, assembled, mean_and_spread
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from mibias_cli.backbone.embed import embed
from mibias_cli.data.files.tabular import write_manifest
from mibias_cli.estimators.protocol import Sample
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.methods.erasers.linear_eraser import fit_leace
from mibias_cli.methods.erasers.transport import TransportFit
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.survey.first_recipe import first_recipe
from mibias_cli.survey.model_choice import choose_model
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey

Eraser = Callable[[torch.Tensor], torch.Tensor]
CLASSES = tuple(HOME)
STRENGTHS = (0.5, 0.75, 0.9, 1.0)
PENALTIES = (1e-3, 1e-2)
KEYS, PROBES = ("method", "seed"), ("logistic", "quadratic", "mlp", "knn", "gradient_boosting")
VALUES = ("accuracy", "leakage_bits", *PROBES, "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with STYLE/CLASS/*.jpg")
    parser.add_argument("--weights", type=Path, required=True, help=f"weights of {BACKBONE}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--features", type=Path, default=Path("erasure.npz"), help="where features are kept")
    parser.add_argument("--out", type=Path, default=Path("erasure.csv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = arguments.data.resolve()
    paths = sorted(path for path in data.glob("*/*/*.jpg"))
    if not arguments.features.exists():
        np.savez(arguments.features, z=embedded(data, arguments.weights.resolve(), paths))
    z = torch.from_numpy(np.load(arguments.features)["z"])
    c = np.array([STYLES.index(path.parts[-3]) for path in paths])
    y = np.array([CLASSES.index(path.parts[-2]) for path in paths])
    table = Table(arguments.out, KEYS, VALUES)
    for seed in range(arguments.seeds):
        held = audited(data, seed)
        test = np.array([path in held for path in paths])
        for name, fit in METHODS.items():
            if not table.has(name, seed):
                started = time.perf_counter()
                erased = fit(z[~test], torch.from_numpy(c[~test]))(z[test]).numpy()
                seconds = time.perf_counter() - started
                table.add((name, seed), {**leakage(erased, y[test], c[test], seed), "seconds": seconds,
                                         "accuracy": class_accuracy(erased, y[test], c[test])})  # fmt: skip
                print(seed, name, table.rows[-1], flush=True)
    show(table)


def audited(data: Path, seed: int) -> set[Path]:
    """The images of a seed's balanced audited split."""
    return {path for path, _, _, split in rows_of(data, 0.95, seed) if split == "test"}


def embedded(data: Path, weights: Path, paths: list[Path]) -> NDArray[np.float32]:
    """Pooled features (n, 1280) of all images by the recipe that `mibias init` writes, with nothing trained."""
    held = audited(data, 0)
    splits = [
        "test" if path in held else "train" if k % VALIDATION_EVERY else "validation" for k, path in enumerate(paths)
    ]
    columns = {
        "path": [path.relative_to(data).as_posix() for path in paths], "label": [path.parts[-2] for path in paths],
        "style": [path.parts[-3] for path in paths], "split": splits,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        manifest, recipe = Path(folder) / "pacs.csv", Path(folder) / "recipe.yaml"
        write_manifest(manifest, columns)
        found = survey(manifest, Wishes(attributes=("style",), root=data))
        model = choose_model(found, backbone=BACKBONE, weights=str(weights))
        text = first_recipe(found, model, source=manifest, out=recipe)[0]
        given = ["original=null", "backbone.train=none", "debias.mix=null", "backbone.cache=off"]
        parts = assembled(parse_recipe(text, path=str(recipe), overrides=given))
        extractor = parts.new_model().extractor.eval()
        z = np.empty((len(paths), extractor.n_features), dtype=np.float32)
        for split, name in (
            (parts.data.train, "train"),
            (parts.data.validation, "validation"),
            (parts.data.audit, "test"),
        ):
            z[np.array(splits) == name] = embed(extractor, split, batch_size=64).backbone_features
    return z


def nothing(z: torch.Tensor, c: torch.Tensor) -> Eraser:
    return lambda new: new


def leace(z: torch.Tensor, c: torch.Tensor) -> Eraser:
    known = torch.ones(len(c), dtype=torch.bool)
    return fit_leace(Sample(z=z.double(), c=c[:, None], y=None, weight=None, known=known), (len(STYLES),)).float()


def transport(z: torch.Tensor, c: torch.Tensor, strength: float) -> Eraser:
    fit = TransportFit(z.shape[1], strength=strength)
    fit.add(z, c[:, None])
    return fit.eraser()


METHODS: dict[str, Callable[[torch.Tensor, torch.Tensor], Eraser]] = {
    "none": nothing, "leace": leace,
    **{f"transport_{s:g}" if s < 1 else "transport": partial(transport, strength=s) for s in STRENGTHS},
}  # fmt: skip


def leakage(z: NDArray[np.float32], y: NDArray[np.int64], c: NDArray[np.int64], seed: int) -> dict[str, float]:
    """What the audit's probes find of the style."""
    style = AuditedAttribute(
        name="style", channels=("style",), class_names=(STYLES,), c=c[:, None], known=np.ones(len(c), dtype=bool)
    )
    inputs = AuditInput(
        before=None, after=Features(train=z, audit=z), train_y=y, audit_y=y, class_names=CLASSES, attributes=(style,)
    )
    settings = AuditSettings(probes=PROBES, n_permutations=0, n_bootstrap=100)
    found = audit(inputs, settings, seed=seed, progress=Silent()).attributes["style"].after
    told = {name: found.marginal.probes[name].leakage_bits for name in PROBES}
    return {"leakage_bits": found.leakage_bits.estimate, **told}


def class_accuracy(
    z: NDArray[np.float32], y: NDArray[np.int64], c: NDArray[np.int64], penalties: Sequence[float] = PENALTIES
) -> float:
    """Of fresh logistic probes for the class, on halves that are alike in class and style."""
    x = StandardScaler().fit_transform(z)
    halves = [
        h for k in range(3) for h in StratifiedKFold(2, shuffle=True, random_state=k).split(x, y * len(STYLES) + c)
    ]

    def mean(penalty: float) -> float:
        made = LogisticRegression(C=penalty, max_iter=500)
        return float(np.mean([made.fit(x[fit], y[fit]).score(x[held], y[held]) for fit, held in halves]))

    return max(map(mean, penalties))


def show(table: Table) -> None:
    """Means and standard deviations over seeds, as Markdown."""
    print(f"\n| eraser | style, bits | class, % | {' | '.join(PROBES)} | seconds |")
    print("|---" * (len(PROBES) + 4) + "|")
    for (method,), rows in table.groups("method").items():
        shown = [mean_and_spread(rows, "leakage_bits", digits=2), mean_and_spread(rows, "accuracy", scale=100)]
        shown += [mean_and_spread(rows, name, digits=2) for name in PROBES]
        print(f"| {method} | {' | '.join(shown)} | {mean_and_spread(rows, 'seconds', digits=0)} |")


if __name__ == "__main__":
    main()
