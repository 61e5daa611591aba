"""Bias unknown: the clusters of a model that is stopped early become a bias attribute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.trainable import parameter_groups
from mibias_cli.data.batch import Attribute, Split
from mibias_cli.methods.method import Method
from mibias_cli.output.whole_files import replaced
from mibias_cli.progress import Progress
from mibias_cli.recipe.sections.training import DISCOVERED
from mibias_cli.run.assemble import Parts
from mibias_cli.run.build import optim_settings
from mibias_cli.run_folder import RunFolder
from mibias_cli.seeds import derive_seed
from mibias_cli.training.loop import StageTrainer
from mibias_cli.training.model import TaskModel
from mibias_cli.training.run_log import NoLog, RunLog

__all__ = ["Clusters", "discover", "fit_clusters", "train_early", "with_discovered"]

_COMPONENTS = 20


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Centres of clusters within each target class: a fixed map from features and class to a cluster.

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
    """k-means on the principal components of standardised features (n, d), class by class, the larger cluster first.

    A class without samples has a single centre.

    References: Sohoni et al., No Subclass Left Behind, arXiv 2011.12945.
    """
    features = np.asarray(features, dtype=np.float64)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    # a constant feature is divided by infinity: it takes no part
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, np.inf)
    standard = (features - mean) / scale
    pca = PCA(min(_COMPONENTS, *standard.shape), svd_solver="full").fit(standard)
    components = pca.components_.T
    z = standard @ components
    centres = []
    for k in range(n_classes):
        own = z[y == k]
        # too few samples to divide: one centre, their mean
        if len(own) <= n_clusters:
            centres.append(own.mean(axis=0, keepdims=True) if len(own) else np.zeros((1, components.shape[1])))
            continue
        found = KMeans(n_clusters, n_init=10, random_state=seed).fit(own)
        # the larger cluster first, so that the clusters of two classes compare
        order = np.argsort(-np.bincount(found.labels_, minlength=n_clusters), kind="stable")
        centres.append(found.cluster_centers_[order])
    return Clusters(mean=mean, scale=scale, components=components, centres=tuple(centres))


def discover(parts: Parts, run: RunFolder, progress: Progress) -> None:
    """Train plainly for a few epochs, cluster, and write the cluster of every sample into the run's folder."""
    section, data = parts.recipe.discover, parts.data
    assert section is not None, "only a recipe that asks for it discovers"
    progress.stage("looking for what divides the classes")
    model = parts.first_model()
    train_early(parts, model, epochs=section.epochs, progress=progress)
    splits = (data.train, data.validation, data.audit)
    features = {split.name: embed(model.extractor, split, **parts.reading).features for split in splits}
    # centres come from training rows alone; other rows go to the nearest centre of their own class
    z, y, seed = features[data.train.name], data.train.strata, derive_seed(parts.recipe.seed, "discover") % 2**32
    clusters = fit_clusters(z, y, n_classes=len(data.class_names), n_clusters=section.clusters, seed=seed)
    found = {split.name: clusters(features[split.name], split.strata) for split in splits}
    # read from the file by every rank: rounding may have given another's clusters other rows
    if parts.ranks.is_first:
        with replaced(run.discovered) as partial:
            save_file(found, partial)
    parts.ranks.wait()


def train_early(
    parts: Parts, model: TaskModel, *, epochs: int, progress: Progress, method: Method | None = None
) -> None:
    """Train a model, and a method's second one alike, for a few epochs; log and checkpoints are thrown away."""
    recipe, settings = parts.recipe, optim_settings(parts.recipe.training, epochs=epochs)
    groups = []
    for one in (model, None if method is None else method.network):
        if one is not None:
            one.to(parts.fabric.device)
            rates = {"train": recipe.backbone.train, "learning_rate": settings.learning_rate}
            groups += parameter_groups(one.extractor, **rates)
            groups.append({"params": list(one.head.parameters()), "lr": settings.learning_rate, "weight_decay": 0.0})
    with TemporaryDirectory() as folder, RunLog(Path(folder)) if parts.ranks.is_first else NoLog() as log:
        trainer = StageTrainer(
            stage="discover",
            fabric=parts.fabric,
            model=model,
            groups=groups,
            debiaser=None,
            data=parts.data,
            weights={"train": {}, "validation": {}},
            settings=settings,
            run=Path(folder),
            out_path=Path(folder) / "early.safetensors",
            run_log=log,
            progress=progress,
            seed=recipe.seed,
            ranks=parts.ranks,
            method=method,
        )
        trainer.fit()


def with_discovered(parts: Parts, run: RunFolder) -> Parts:
    """The parts with the attribute that the run discovered; as they are where the recipe asks for none."""
    if parts.recipe.discover is None:
        return parts
    found, data, k = load_file(run.discovered), parts.data, parts.recipe.discover.clusters
    names, channels = tuple(f"cluster {i + 1}" for i in range(k)), (DISCOVERED,)
    attribute = Attribute(name=DISCOVERED, kind="categorical", channels=channels, n_classes=(k,), class_names=(names,))

    def extended(split: Split) -> Split:
        c, known = found[split.name][:, None], np.ones(len(split), dtype=bool)
        return replace(split, c={**split.c, DISCOVERED: c}, known={**split.known, DISCOVERED: known})

    train, validation, audit = map(extended, (data.train, data.validation, data.audit))
    attributes = {**data.attributes, DISCOVERED: attribute}
    data = replace(data, attributes=attributes, train=train, validation=validation, audit=audit)
    return replace(parts, data=data)
