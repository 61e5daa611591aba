"""Bias unknown: what models learn first becomes a bias attribute."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mibias_cli.data.batch import Attribute, Split
from mibias_cli.errors import MibiasError, RunError
from mibias_cli.methods.conflict import scored
from mibias_cli.methods.ecs_ga import ConflictScores
from mibias_cli.methods.method import MethodSpec, sample_losses
from mibias_cli.output.whole_files import replaced
from mibias_cli.progress import Progress
from mibias_cli.recipe.sections.training import DISCOVERED, DiscoverSection
from mibias_cli.run.assemble import Parts
from mibias_cli.run.methods.build import method_spec
from mibias_cli.run.methods.early import train_early
from mibias_cli.run_folder import RunFolder
from mibias_cli.seeds import derive_seed
from mibias_cli.training.model import TaskModel

__all__ = ["Clusters", "discover", "fit_clusters", "with_discovered"]

PARTED = ("aligned", "conflicting")
"""Classes of an attribute that peers find."""
Found = tuple[dict[str, np.ndarray], np.ndarray]
"""By split the class (n,) int64 of each row, and of training rows how much they are held to conflict (n,)."""
_COMPONENTS = 20
_FIND_ANEW = "remove it, and they are found anew: mibias train --resume {run}"


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
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

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
    """Part the samples of each class by what is learnt first, and write the part of each into the run's folder.

    It is said how well that finds the rows that conflict with the attributes that are known.
    """
    section, train = parts.recipe.discover, parts.data.train
    assert section is not None, "only a recipe that asks for it discovers"
    progress.stage("looking for what divides the classes")
    spec = method_spec(parts, parts.first_model(), "ecs_ga", {}, progress)
    find = _by_peers if section.by == "peers" else _by_clusters
    found, score = find(parts, spec, section, progress)
    for split in (train, parts.data.audit):
        if len(np.unique(found[split.name])) < 2:
            raise MibiasError(
                f"discover: all rows of the split {split.name} are of one part: there is nothing to debias or audit; "
                "let it train longer or shorter (discover.epochs), or find it otherwise (discover.by)"
            )
    for name in parts.data.attributes:
        (domains,) = replace(spec, attributes=(name,)).domains(train)
        if said := scored(score, train.strata, domains):
            progress.note(f"discovered, against {name}{said}")
    # read from the file by every rank: rounding may have given another's clusters other rows
    if parts.ranks.is_first:
        with replaced(run.discovered) as partial:
            save_file(found, partial)
    parts.ranks.wait()


def _by_clusters(parts: Parts, spec: MethodSpec, section: DiscoverSection, progress: Progress) -> Found:
    """Clusters of an early model's features; rows of rare clusters of their class are held to conflict most."""
    data, y, n_classes = parts.data, parts.data.train.strata, len(parts.data.class_names)
    train_early(parts, spec.model, epochs=section.epochs or 1, progress=progress)
    splits = (data.train, data.validation, data.audit)
    features = {split.name: spec.embed(spec.model, split) for split in splits}
    # centres come from training rows alone; other rows go to the nearest centre of their own class
    seed = derive_seed(parts.recipe.seed, "discover") % 2**32
    clusters = fit_clusters(features[data.train.name], y, n_classes=n_classes, n_clusters=section.clusters, seed=seed)
    found = {split.name: clusters(features[split.name], split.strata) for split in splits}
    counts, own = np.zeros((n_classes, section.clusters)), found[data.train.name]
    np.add.at(counts, (y, own), 1)
    return found, 1 - counts[y, own] / counts.sum(axis=1)[y]


def _by_peers(parts: Parts, spec: MethodSpec, section: DiscoverSection, progress: Progress) -> Found:
    """Rows that two peers never learn (see `ecs_ga`); of the other splits, those that both miss in the end."""
    data = parts.data
    peers = spec.trained_by(ConflictScores, section.epochs or int(spec.settings["epochs"]))
    assert isinstance(peers, ConflictScores)
    scores = {data.train.name: peers.score().numpy()}
    for split in (data.validation, data.audit):
        scores[split.name] = 1 - np.mean([_probability(spec, model, split) for model in peers.models], axis=0)
    found = {name: (score >= spec.settings["threshold"]).astype(np.int64) for name, score in scores.items()}
    return found, scores[data.train.name]


@torch.no_grad()
def _probability(spec: MethodSpec, model: TaskModel, split: Split) -> np.ndarray:
    """Of the true class (n,), by a model in evaluation mode."""
    weight = next(model.head.parameters())
    logits = model.head(torch.from_numpy(spec.embed(model, split)).to(weight))
    return sample_losses(logits, torch.from_numpy(split.y).to(weight.device)).neg().exp().cpu().numpy()


def with_discovered(parts: Parts, run: RunFolder) -> Parts:
    """The parts with the attribute that the run discovered; as they are where the recipe asks for none."""
    if parts.recipe.discover is None:
        return parts
    data, section = parts.data, parts.recipe.discover
    names = tuple(f"cluster {i + 1}" for i in range(section.clusters)) if section.by == "clusters" else PARTED
    found = _read(run, parts, len(names))
    attribute = Attribute(
        name=DISCOVERED, kind="categorical", channels=(DISCOVERED,), n_classes=(len(names),), class_names=(names,)
    )

    def extended(split: Split) -> Split:
        c, known = found[split.name][:, None], np.ones(len(split), dtype=bool)
        return replace(split, c={**split.c, DISCOVERED: c}, known={**split.known, DISCOVERED: known})

    train, validation, audit = map(extended, (data.train, data.validation, data.audit))
    attributes = {**data.attributes, DISCOVERED: attribute}
    data = replace(data, attributes=attributes, train=train, validation=validation, audit=audit)
    return replace(parts, data=data)


def _read(run: RunFolder, parts: Parts, n_classes: int) -> dict[str, np.ndarray]:
    """By split the class (n,) int64 of each row, as the run found it; a RunError where it is not of these data."""
    try:
        found = load_file(run.discovered)
    except SafetensorError as error:
        raise RunError(f"{run.discovered}: damaged ({error}); {_FIND_ANEW.format(run=run.path)}") from error
    anew = _FIND_ANEW.format(run=run.path)
    for split in (parts.data.train, parts.data.validation, parts.data.audit):
        classes = found.get(split.name, np.empty(0))
        if len(classes) != len(split):
            raise RunError(
                f"{run.discovered}: has classes of {len(classes):,} {split.name} samples, and the data have "
                f"{len(split):,}: it is of the data that the run was trained on, and of no others"
            )
        if classes.dtype != np.int64 or not np.isin(classes, np.arange(n_classes)).all():
            raise RunError(f"{run.discovered}: damaged (the {split.name} samples have no classes); {anew}")
    return found
