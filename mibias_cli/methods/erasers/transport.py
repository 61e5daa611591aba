"""Non-linear erasure without a target: what each class of the attribute looks like is carried to a look between all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mibias_cli.errors import TrainingError
from mibias_cli.methods.erasers.shared_groups import shared_groups

__all__ = ["MOST_ROWS", "TransportEraser", "TransportFit", "barycentre", "check_classes", "transport_map"]

Array = NDArray[np.float64]

MOST_ROWS, MOST_DIRECTIONS, MOST_GROUPS = 10_000, 256, 9
"""Rows that are fitted on; principal directions that are kept; groups of alike rows."""
ROWS_PER_DIRECTION, ROWS_PER_GROUP = 4, 20
"""Rows of the smallest class that a direction and a group take at least: fewer give no covariance and no mean."""
N_SQUARED = 8
"""Directions of every class whose squares tell classes from each other, beside the components."""
PENALTY_CLASS, PENALTY_GROUP = 3e-3, 3e-2
"""Ridge penalties of the two classifiers, in shares of the mean loss."""
SHRINKAGE = 0.005
GAIN = 1.3
"""By how much groups are drawn apart, over what is left of rows inside them."""


class TransportEraser(nn.Module):
    """The map that `TransportFit` found, frozen: a last layer (n, d) → (n, d) that travels with the extractor.

    Args:
        state: Its buffers by name: `mean`, `scale` (d,); `basis` (d, r); `squared` (r, m), directions
            whose squares tell classes; `tell_class` (r + m + 1, C) and `tell_group` (r + 1, K), classifiers with their
            intercept as the last row; `middles` (C, r), each class's mean; `centres` (C, K, r), its mean in each group;
            `common` (K, r), what these become; `maps` (C, r, r), what is done to the rest; `strength` (), from 0,
            nothing, to 1.
    """

    mean: Tensor
    scale: Tensor
    basis: Tensor
    squared: Tensor
    tell_class: Tensor
    tell_group: Tensor
    middles: Tensor
    centres: Tensor
    common: Tensor
    maps: Tensor
    strength: Tensor

    NAMES = (
        "mean", "scale", "basis", "squared", "tell_class", "tell_group", "middles", "centres", "common", "maps",
        "strength",
    )  # fmt: skip

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in self.NAMES:
            self.register_buffer(name, state[name].detach().clone())

    @classmethod
    def of_file(cls, state: Mapping[str, Tensor], prefix: str, n_features: int) -> TransportEraser:
        """The eraser of d features whose tensors a file holds under a prefix.

        Raises:
            KeyError, ValueError: A tensor is missing, or its shape is that of another eraser.
        """
        found = {name: state[prefix + name] for name in cls.NAMES}
        (d, r), m = found["basis"].shape, found["squared"].shape[1]
        n_classes, n_groups = found["tell_class"].shape[1], found["tell_group"].shape[1]
        wanted = {
            "mean": (d,), "scale": (d,), "squared": (r, m), "tell_class": (r + m + 1, n_classes),
            "tell_group": (r + 1, n_groups), "middles": (n_classes, r), "centres": (n_classes, n_groups, r),
            "common": (n_groups, r), "maps": (n_classes, r, r), "strength": (),
        }  # fmt: skip
        wrong = [name for name, shape in wanted.items() if tuple(found[name].shape) != shape]
        if d != n_features or wrong:
            raise ValueError(f"{', '.join(wrong) or 'basis'}: a shape that does not fit {n_features} features")
        return cls(found)

    @property
    def n_erased(self) -> int:
        """How many of the d directions are gone whole: all but the principal ones that are kept."""
        return len(self.basis) - self.basis.shape[1]

    def forward(self, z: Tensor) -> Tensor:
        """Erased z (n, d)."""
        x = (z - self.mean) / self.scale @ self.basis
        # which class a row looks like, and which group, by z alone
        classes = torch.softmax(_affine(torch.cat([x, (x @ self.squared) ** 2], dim=1), self.tell_class), dim=1)
        groups = torch.softmax(_affine(x - classes @ self.middles, self.tell_group), dim=1)
        joint = (classes[:, :, None] * groups[:, None, :]).flatten(1)
        rest = x - joint @ self.centres.flatten(0, 1)
        moved = groups @ self.common
        for k in range(len(self.maps)):
            moved = moved + classes[:, k : k + 1] * (rest @ self.maps[k])
        erased = moved @ self.basis.T * self.scale + self.mean
        return z + self.strength * (erased - z)


class TransportFit:
    """Erases what no linear map can: every class of the attribute gets the same mean and covariance, group by group.

    LEACE leaves all classes the same mean, and with it what a linear probe reads. Their covariances differ still, and
    other probes read them. Gaussian optimal transport to the barycentre of the classes makes these equal as well, but
    tears apart what belongs together: a dog in a photograph is no longer where a drawn dog is. So rows of all classes
    are grouped first by whom they resemble (`shared_groups`), which needs no target; means are made equal in each
    group, and covariances inside them. What class and group a row is of is told from z by two classifiers, so that the
    map is a function of z alone.

    A bias that is in neither means nor covariances of these groups stays, such as a checkerboard of clusters.

    With x the leading principal components of standardised z, p_c(x) and q_k(x) the two classifiers, m_ck the mean of
    class c in group k, m_k its mean over classes, r = x − Σ p_c q_k m_ck, S_c the covariance of r in class c under
    weights that make groups alike in all classes, and B the barycentre of the S_c:

        x′ = 1.3 Σ q_k m_k + Σ p_c T_c r,   T_c = S_c^(−½) (S_c^½ B S_c^½)^½ S_c^(−½)

    r is multiplied by the deviations of x before T_c, and divided by them after: where features vary most, a change
    counts most. At most 256 components are kept, fewer where the smallest class has fewer than 1,024 rows. Rows are
    held on the CPU, at most 10,000, the first ones: of more, the caller marks those that are left out as unknown.

    Args:
        n_features: Features d.
        strength: From 0, nothing, to 1: the share of the way that features go.
        seed: Of the groups.

    References: Agueh and Carlier, Barycenters in the Wasserstein space (2011), and Álvarez-Esteban et al., arXiv
    1511.05355, whose fixed point finds it, for B; Knott and Smith (1984) for T_c; soft groups in which a batch effect
    is taken off follow Harmony (Korsunsky et al., 2019). That non-linear erasure costs utility, and how much, is the
    matter of Obliviator (arXiv 2603.07529), which works on kernels of the features instead. The whole is ours.
    """

    def __init__(self, n_features: int, *, strength: float = 1.0, seed: int = 0) -> None:
        self.n_features = n_features
        self.strength = strength
        self.seed = seed
        self._z: list[Array] = []
        self._c: list[NDArray[np.int64]] = []

    def add(self, z: Tensor, classes: Tensor) -> None:
        """Take in a batch of features (n, d), if finite (else a TrainingError), and its classes (n, 1); −1: unknown."""
        if not bool(torch.isfinite(z).all()):
            raise TrainingError("transport: features are not finite; train with a lower learning rate")
        room = MOST_ROWS - sum(map(len, self._z))
        known = torch.nonzero(classes[:, 0] >= 0)[:room, 0]
        self._z.append(z.detach().cpu().double().numpy()[known])
        self._c.append(classes[known, 0].long().numpy())

    def eraser(self, dtype: torch.dtype = torch.float32) -> TransportEraser:
        """The eraser of all rows so far."""
        z, c = np.concatenate(self._z), np.concatenate(self._c)
        check_classes(c)
        _, c, counts = np.unique(c, return_inverse=True, return_counts=True)
        state: dict[str, Array] = {"strength": np.asarray(self.strength), "mean": z.mean(axis=0)}
        deviation = z.std(axis=0)
        state["scale"] = np.where(deviation > 1e-6 * max(deviation.max(), 1e-300), deviation, 1.0)
        fewest = int(counts.min())
        x, state["basis"] = _principal((z - state["mean"]) / state["scale"], fewest // ROWS_PER_DIRECTION)
        state["middles"] = _means(x, np.eye(len(counts))[c])
        state["squared"] = _telling_directions(x, c)
        seen = np.hstack([x, (x @ state["squared"]) ** 2])
        state["tell_class"] = _classifier(seen, c, PENALTY_CLASS)
        classes = _probabilities(seen, state["tell_class"])
        centred = x - classes @ state["middles"]
        n_groups = min(MOST_GROUPS, fewest // ROWS_PER_GROUP)
        state["tell_group"] = _classifier(centred, shared_groups(centred, c, n_groups, seed=self.seed), PENALTY_GROUP)
        self._transport(x, c, _probabilities(centred, state["tell_group"]), state)
        return TransportEraser({name: torch.from_numpy(np.asarray(state[name])).to(dtype) for name in state})

    def _transport(self, x: Array, c: NDArray[np.int64], groups: Array, state: dict[str, Array]) -> None:
        """Means of groups and maps of what is left of rows inside them."""
        n_classes = int(c.max()) + 1
        of_class = np.eye(n_classes)[c]
        centres = np.stack([_means(x, groups * of_class[:, [k]]) for k in range(n_classes)])
        rest = x - np.einsum("nk,nkr->nr", groups, centres[c])
        # groups count alike in every class, whatever their shares in it are: at most ten times the median row
        shares = of_class.T @ groups / of_class.sum(axis=0)[:, None]
        weight = (groups / np.maximum(shares, 1e-3)[c]).sum(axis=1)
        weight = np.minimum(weight, 10 * np.median(weight))
        variance = np.maximum(x.var(axis=0), 1e-12)
        covariances = [_covariance(rest * variance**0.5, weight * of_class[:, k]) for k in range(n_classes)]
        middle = barycentre(covariances)
        # a map of what was scaled, as a map of what was not
        scaled = [transport_map(one, middle) for one in covariances]
        state["maps"] = np.stack([variance[:, None] ** 0.5 * one / variance**0.5 for one in scaled])
        state["centres"] = centres
        state["common"] = GAIN * centres.mean(axis=0)


def check_classes(classes: NDArray[np.int64]) -> None:
    """Raise a TrainingError where one of the classes (−1: unknown) has too few rows to be carried anywhere."""
    _, counts = np.unique(classes[classes >= 0], return_counts=True)
    least = int(counts.min()) if len(counts) > 1 else 0
    if least < 2 * ROWS_PER_GROUP:
        raise TrainingError(
            f"transport: a class of the attributes has {least} training rows, and {2 * ROWS_PER_GROUP} are "
            "needed; join rare classes, erase fewer attributes at once, or set debias.erase to leace"
        )


def barycentre(covariances: list[Array], n_steps: int = 8) -> Array:
    """The covariance B of the Wasserstein barycentre of Gaussians, all counting alike.

    References: Álvarez-Esteban et al., arXiv 1511.05355: the fixed point of B ← B^(−½) (mean of (B^½ S B^½)^½)² B^(−½).

    Example:
        >>> barycentre([np.diag([1.0, 4.0]), np.diag([9.0, 4.0])]).round(6).tolist()
        [[4.0, 0.0], [0.0, 4.0]]
    """
    found = np.mean(covariances, axis=0)
    for _ in range(n_steps):
        root, inverse = _power(found, 0.5), _power(found, -0.5)
        mean = np.mean([_power(root @ one @ root, 0.5) for one in covariances], axis=0)
        found = inverse @ mean @ mean @ inverse
    return np.asarray(found)


def transport_map(covariance: Array, wanted: Array) -> Array:
    """The symmetric T that carries N(0, S) to N(0, B) at the least mean squared change (Knott and Smith, 1984).

    Example:
        >>> transport_map(np.diag([1.0, 4.0]), np.diag([4.0, 4.0])).round(6).tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    return np.asarray(inverse @ _power(root @ wanted @ root, 0.5) @ inverse)


def _power(symmetric: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray(vectors * np.maximum(values, 1e-9 * values[-1]) ** exponent @ vectors.T)


def _principal(z: Array, most: int) -> tuple[Array, Array]:
    """Leading components (n, r) of standardised features, and their directions (d, r)."""
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    varies = int((values > 1e-6 * values[-1]).sum())
    basis = vectors[:, ::-1][:, : max(1, min(varies, most, MOST_DIRECTIONS))]
    return z @ basis, np.ascontiguousarray(basis)


def _telling_directions(x: Array, c: NDArray[np.int64]) -> Array:
    """Directions (r, m) along which some class varies least or most, scaled such that squares deviate by 1."""
    # in units of what varies in all classes together
    whiten = _power(x.T @ x / len(x), -0.5)
    found = []
    for k in range(int(c.max()) + 1):
        part = x[c == k] @ whiten
        values, vectors = np.linalg.eigh(np.cov(part.T, bias=True).reshape(x.shape[1], -1))
        found.append(vectors[:, np.argsort(-np.abs(values - 1))[:N_SQUARED]])
    directions = whiten @ np.hstack(found)
    return np.asarray(directions / np.maximum(((x @ directions) ** 2).std(axis=0), 1e-12) ** 0.5)


def _means(x: Array, weight: Array) -> Array:
    """Weighted means (k, r) of rows x (n, r) by weights (n, k)."""
    return np.asarray(weight.T @ x / np.maximum(weight.sum(axis=0), 1e-12)[:, None])


def _covariance(x: Array, weight: Array) -> Array:
    """Weighted covariance, with a small share of a round one, so that it has an inverse."""
    share = weight / weight.sum()
    centred = x - share @ x
    found = (centred * share[:, None]).T @ centred
    return np.asarray((1 - SHRINKAGE) * found + SHRINKAGE * np.trace(found) / len(found) * np.eye(len(found)))


def _classifier(x: Array, labels: NDArray[np.int64], penalty: float) -> Array:
    """Weights (r + 1, K) of a logistic regression, the intercept last; two classes have two columns as well."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if labels.max() == 0:  # one group is all that there is
        return np.zeros((x.shape[1] + 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an early stop leaves a classifier that is good enough
        found = LogisticRegression(C=1 / (penalty * len(x)), max_iter=300).fit(x, labels)
    weights = np.vstack([found.coef_.T, found.intercept_])
    return np.hstack([np.zeros_like(weights), weights]) if weights.shape[1] == 1 else weights


def _probabilities(x: Array, weights: Array) -> Array:
    return np.asarray(torch.softmax(_affine(torch.from_numpy(x), torch.from_numpy(weights)), dim=1).numpy())


def _affine(x: Tensor, weights: Tensor) -> Tensor:
    return x @ weights[:-1] + weights[-1]
