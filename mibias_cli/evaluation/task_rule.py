"""The one rule by which extractors are compared on the task: a logistic head on standardised training features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mibias_cli.evaluation.audit_types import Features

__all__ = ["Predictions", "predict_task"]


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
    n = len(features.audit)
    probabilities = np.zeros((n, n_classes))
    if len(np.unique(train_y)) == 1:
        probabilities[:, train_y[0]] = 1.0
        return Predictions(classes=np.full(n, train_y[0]), probabilities=probabilities)
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # separable training features: the last digit is no matter
        head.fit(np.asarray(features.train, dtype=np.float64), train_y)
    z = np.asarray(features.audit, dtype=np.float64)
    probabilities[:, head.classes_] = head.predict_proba(z)
    return Predictions(classes=np.asarray(head.predict(z)), probabilities=probabilities)
