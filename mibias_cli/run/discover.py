"""Bias unknown: an early-stopped model's clusters become a bias attribute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.trainable import parameter_groups
from mibias_cli.data.batch import Attribute, BiasedData, Split
from mibias_cli.progress import Progress
from mibias_cli.recipe.schema import Recipe
from mibias_cli.recipe.sections.discover import DISCOVERED
from mibias_cli.run import build
from mibias_cli.seeds import derive_seed
from mibias_cli.training.loop import StageTrainer
from mibias_cli.training.run_log import RunLog

__all__ = ["DISCOVERED_FILE", "Clusters", "discover", "fit_clusters", "with_discovered"]

DISCOVERED_FILE = "discovered.safetensors"
"""Where a run keeps what it discovered, one tensor of clusters (n,) per split."""
_COMPONENTS = 20
_SPLITS = ("train", "validation", "audit")


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Centres of clusters within each target class; a frozen map from features and class to a cluster.

    Args:
        mean, scale: Of the features (d,).
        components: Principal directions (d, k).
        centres: By target class, (clusters, k).
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    centres: tuple[np.ndarray, ...]

    def __call__(self, features: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Cluster (n,) int64 of features (n, d) of samples of classes y (n,): the nearest centre of the own class."""
        z = ((features - self.mean) / self.scale) @ self.components
        found = np.zeros(len(z), dtype=np.int64)
        for k, centres in enumerate(self.centres):
            own = y == k
            found[own] = np.square(z[own][:, None, :] - centres[None]).sum(axis=2).argmin(axis=1)
        return found


def fit_clusters(features: np.ndarray, y: np.ndarray, *, n_classes: int, n_clusters: int, seed: int) -> Clusters:
    """k-means on the principal components of standardised features, class by class.

    Args:
        features: Features (n, d).
        y: Target classes (n,) int64.
        n_classes: Number of target classes; one without samples has a single centre.
        n_clusters: Clusters per class; the larger cluster comes first.
        seed: Of the starts.

    References:
        Sohoni et al., No Subclass Left Behind, arXiv 2011.12945.
    """
    features = np.asarray(features, dtype=np.float64)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, np.inf)
    standard = (features - mean) / scale
    pca = PCA(min(_COMPONENTS, *standard.shape), svd_solver="full").fit(standard)
    components = pca.components_.T
    z = standard @ components
    centres = []
    for k in range(n_classes):
        own = z[y == k]
        if len(own) <= n_clusters:
            centres.append(own.mean(axis=0, keepdims=True) if len(own) else np.zeros((1, components.shape[1])))
            continue
        found = KMeans(n_clusters, n_init=10, random_state=seed).fit(own)
        order = np.argsort(-np.bincount(found.labels_, minlength=n_clusters), kind="stable")
        centres.append(found.cluster_centers_[order])
    return Clusters(mean=mean, scale=scale, components=components, centres=tuple(centres))


def discover(recipe: Recipe, assembly: build.Assembly, run: Path, fabric: Any, progress: Progress) -> None:
    """Train plainly for a few epochs, cluster, and write what was found into the run's folder."""
    assert recipe.discover is not None, "only a recipe that asks for it discovers"
    progress.stage("looking for what divides the classes")
    data = assembly.data
    model = build.build_model(recipe, assembly).to(fabric.device)
    settings = build.optim_settings(recipe.training, epochs=recipe.discover.epochs)
    groups = parameter_groups(model.extractor, train=recipe.backbone.train, learning_rate=settings.learning_rate)
    groups.append({"params": list(model.head.parameters()), "lr": settings.learning_rate, "weight_decay": 0.0})
    with TemporaryDirectory() as folder, RunLog(Path(folder)) as run_log:
        trainer = StageTrainer(
            stage="discover", fabric=fabric, model=model, groups=groups, debiaser=None, data=data,
            weights={"train": {}, "validation": {}}, settings=settings, run=Path(folder),
            out_path=Path(folder) / "early.safetensors", run_log=run_log, progress=progress, seed=recipe.seed,
        )  # fmt: skip
        trainer.fit()
    splits = {name: getattr(data, name) for name in _SPLITS}
    features = {
        name: embed(
            model.extractor, split, batch_size=recipe.training.batch_size, device=fabric.device,
            num_workers=recipe.training.num_workers,
        ).features
        for name, split in splits.items()
    }  # fmt: skip
    clusters = fit_clusters(
        features["train"], data.train.strata, n_classes=len(data.class_names), n_clusters=recipe.discover.clusters,
        seed=derive_seed(recipe.seed, "discover") % 2**32,
    )  # fmt: skip
    save_file({n: clusters(features[n], split.strata) for n, split in splits.items()}, run / DISCOVERED_FILE)


def with_discovered(recipe: Recipe, assembly: build.Assembly, run: Path) -> build.Assembly:
    """The assembly with the attribute that the run discovered; as it is where the recipe asks for none."""
    if recipe.discover is None:
        return assembly
    found = load_file(run / DISCOVERED_FILE)
    data, k = assembly.data, recipe.discover.clusters
    attribute = Attribute(
        name=DISCOVERED,
        kind="categorical",
        channels=(DISCOVERED,),
        n_classes=(k,),
        class_names=(tuple(f"cluster {i + 1}" for i in range(k)),),
    )

    def extended(split: Split) -> Split:
        c, known = found[split.name][:, None], np.ones(len(split), dtype=bool)
        return replace(split, c={**split.c, DISCOVERED: c}, known={**split.known, DISCOVERED: known})

    changed: BiasedData = replace(
        data,
        attributes={**data.attributes, DISCOVERED: attribute},
        train=extended(data.train),
        validation=extended(data.validation),
        audit=extended(data.audit),
    )
    return replace(assembly, data=changed)
