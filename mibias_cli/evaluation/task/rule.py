"""The one rule by which extractors are compared on the task: a linear head on standardised training features."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mibias_cli.evaluation.inputs import AuditedAttribute, Features
from mibias_cli.evaluation.leakage_findings import Bounds, Interval
from mibias_cli.evaluation.probes.scaling import without_outliers
from mibias_cli.evaluation.statistics.resampling import SHARE, Resamples, bootstrap_interval

__all__ = ["RIDGE", "Predictions", "Terms", "predict_labels", "predict_numbers", "predict_task"]

RIDGE = 1.0
"""Penalty of the ridge regression on standardised features that predicts numbers."""
_CONSTANT = 1e-6
"""Of a feature's mean: a smaller spread is rounding, as the probes have it."""
_ROUNDED = 8.0
"""In rounding errors of the largest spread among the features: a smaller one is what a network or an eraser left."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What all figures of an audit share: whose groups are told apart, resamples of the samples, what counts."""

    attributes: Sequence[AuditedAttribute]
    resamples: Resamples
    min_cell: int
    confidence: float

    def interval(self, estimate: float, draws: np.ndarray, within: tuple[float, float] = SHARE) -> Interval:
        """By the bootstrap: over samples, or over groups where there are some."""
        return bootstrap_interval(estimate, draws, self.confidence, n_units=self.resamples.n_units, within=within)

    def share_bounds(self, hits: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
        """Wilson's interval of the share of hits among some rows, masks (n,): it stays inside [0, 1] in small cells.

        Of rows that come in groups, with as many as would tell as much if each stood alone.
        """
        # Wilson, "Probable inference, the law of succession, and statistical inference" (1927)
        n, share = self.resamples.effective_size(rows, hits), float(hits[rows].mean())
        z = NormalDist().inv_cdf((1 + self.confidence) / 2)
        middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        return max(middle - reach, 0.0), min(middle + reach, 1.0)

    def bounds(self, estimate: float | None, draws: np.ndarray | None) -> Bounds | None:
        """The bootstrap's interval of a share that is written beside it; None where there is no figure."""
        if estimate is None or draws is None:
            return None
        found = self.interval(estimate, draws)
        return Bounds(lower=found.lower, upper=found.upper)

    def counts(self, n: int) -> bool:
        """Whether a cell of n samples is large enough for the worst group."""
        return n > 0 and n >= self.min_cell


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predicted classes (n,) of the audited samples, and probabilities (n, K) over all classes of the target."""

    classes: np.ndarray
    probabilities: np.ndarray


def predict_task(features: Features, train_y: np.ndarray, n_classes: int) -> Predictions:
    """Predictions for the audited samples by a logistic head (C = 1) fitted on the training features.

    A trained head depends on how long and with what it was trained; this rule is the same for every extractor. A class
    that training does not hold has probability 0.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n = len(features.audit)
    probabilities = np.zeros((n, n_classes))
    # a single class leaves nothing to fit
    if len(np.unique(train_y)) == 1:
        probabilities[:, train_y[0]] = 1.0
        return Predictions(classes=np.full(n, train_y[0]), probabilities=probabilities)
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # separable training features: the last digit is no matter
        x, z = _live(features)
        head.fit(x, train_y)
    probabilities[:, head.classes_] = head.predict_proba(z)
    return Predictions(classes=np.asarray(head.predict(z)), probabilities=probabilities)


def _live(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Training and audited features in double precision, 0 where a feature is constant in training up to rounding.

    Standardised, the rounding of a dead or erased feature would count as much as anything that the extractor says.
    Outliers among the rest are cut, as in the probes. Double precision rounds little: there columns of a table may have
    units as far apart as they like.
    """
    rounding = _ROUNDED * np.finfo(np.result_type(features.train, np.float32)).eps
    x, z = (np.array(part, dtype=np.float64) for part in (features.train, features.audit))
    mean, spread = x.mean(axis=0), x.std(axis=0)
    # standardising would blow rounding errors of a constant feature up to the size of a real one
    dead = spread <= np.maximum(_CONSTANT * np.abs(mean), rounding * spread.max(initial=0.0))
    mean[dead], spread[dead], x[:, dead], z[:, dead] = 0.0, 0.0, 0.0, 0.0
    return without_outliers(x, mean, spread), without_outliers(z, mean, spread)


def predict_labels(features: Features, train_y: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) that each label is on, by a logistic head for each; train_y is (n_train, k), 0 or 1."""
    columns = [predict_task(features, label, 2).probabilities[:, 1] for label in train_y.astype(np.int64).T]
    return np.stack(columns, axis=1)


def predict_numbers(features: Features, train_y: np.ndarray) -> np.ndarray:
    """Numbers (n, k) for the audited samples, by ridge regression on standardised features; train_y is (n_train, k)."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = make_pipeline(StandardScaler(), Ridge(alpha=RIDGE))
    x, z = _live(features)
    predicted = head.fit(x, train_y).predict(z)
    return np.asarray(predicted, dtype=np.float64).reshape(len(features.audit), -1)
