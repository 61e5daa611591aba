"""The one rule by which extractors are compared on the task: a logistic head on standardised training features."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mibias_cli.evaluation.audit_types import Features

__all__ = ["predict_task"]


def predict_task(features: Features, train_y: np.ndarray) -> np.ndarray:
    """Predicted classes (n,) of the audited samples, by a logistic head (C = 1) fitted on the training features.

    A trained head depends on how long and with what it was trained; this rule is the same for every extractor.
    """
    if len(np.unique(train_y)) == 1:
        return np.full(len(features.audit), train_y[0])
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # separable training features: the last digit is no matter
        head.fit(np.asarray(features.train, dtype=np.float64), train_y)
    return np.asarray(head.predict(np.asarray(features.audit, dtype=np.float64)))
