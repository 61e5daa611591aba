from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mibias_cli.evaluation.inputs import Features
from mibias_cli.evaluation.task.rule import predict_task


def test_the_rule_is_a_standardised_logistic_head() -> None:
    g = np.random.default_rng(0)
    y = g.integers(0, 3, 300)
    x = 100.0 * (g.normal(size=(300, 5)) + np.eye(5)[y])
    scaler = StandardScaler().fit(x[:200])
    by_hand = (
        LogisticRegression(max_iter=500).fit(scaler.transform(x[:200]), y[:200]).predict(scaler.transform(x[200:]))
    )
    assert predict_task(Features(train=x[:200], audit=x[200:]), y[:200], 3).classes.tolist() == by_hand.tolist()


def test_constant_features_predict_the_majority() -> None:
    y = np.array([0, 1, 1, 1])
    predicted = predict_task(Features(train=np.ones((4, 3)), audit=np.ones((2, 3))), y, 2).classes
    assert predicted.tolist() == [1, 1]


def test_one_class_of_training_targets() -> None:
    predicted = predict_task(Features(train=np.zeros((4, 3)), audit=np.zeros((2, 3))), np.full(4, 2), 3).classes
    assert predicted.tolist() == [2, 2]
