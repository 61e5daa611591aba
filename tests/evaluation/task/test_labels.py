from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, Features
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.fairness import fairness_findings
from mibias_cli.evaluation.task.labels import label_fairness, label_findings
from mibias_cli.evaluation.task.rule import Terms, predict_labels

N = 500
G = np.random.default_rng(0)
C = G.integers(0, 2, N)
Y = (G.random((N, 3)) < np.stack([0.2 + 0.3 * C, np.full(N, 0.5), 0.8 - 0.2 * C], axis=1)).astype(np.float64)
P = np.clip(0.25 + 0.5 * Y + 0.3 * G.normal(size=(N, 3)), 0.01, 0.99)
TARGET = AuditedTarget(kind="multilabel", names=("smiling", "young", "hat"), train=Y, audit=Y)
SEX = AuditedAttribute(
    name="sex", channels=("sex",), class_names=(("f", "m"),), c=C[:, None], known=G.random(N) > 0.1,
    train_c=C[:, None], train_known=np.ones(N, dtype=bool),
)  # fmt: skip


def terms(n_resamples: int) -> Terms:
    return Terms(attributes=[SEX], resamples=Resamples(N, n_resamples, seed=0), min_cell=10, confidence=0.95)


def test_figures_are_means_over_labels_of_scikit_learns() -> None:
    found = label_findings(P, TARGET, 1 - Y, terms(200))
    y, predicted = Y.astype(int), (P > 0.5).astype(int)
    labels = range(3)
    assert found.accuracy.estimate == pytest.approx(np.mean([accuracy_score(y[:, k], predicted[:, k]) for k in labels]))
    assert found.exact_match is not None
    assert found.exact_match.estimate == pytest.approx(accuracy_score(y, predicted))
    assert found.auroc == pytest.approx(roc_auc_score(y, P, average="macro"))
    recalls = [balanced_accuracy_score(y[:, k], predicted[:, k]) for k in labels]
    assert found.balanced_accuracy == pytest.approx(np.mean(recalls))
    assert found.labels["young"].balanced_accuracy == pytest.approx(recalls[1])
    assert found.labels["hat"].prevalence == pytest.approx(y[:, 2].mean())
    assert found.head_accuracy == 0.0
    cells = {(row.y, row.c): row for row in found.groups}
    assert set(cells) == {(label, c) for label in TARGET.names for c in "fm"}
    own = SEX.known & (C == 1)
    assert cells["hat", "m"].accuracy == pytest.approx((predicted[own, 2] == y[own, 2]).mean())
    worst = min(row.accuracy for row in found.groups if row.accuracy is not None)
    assert found.worst_group_accuracy == worst
    assert found.gap == pytest.approx(found.accuracy.estimate - worst)


def test_fairness_is_the_worst_labels() -> None:
    found, *_ = label_fairness(P, TARGET, SEX, min_cell=10)
    by_label = [
        fairness_findings(
            (P[:, k] > 0.5).astype(int), Y[:, k].astype(int), Y[:, k].astype(int), SEX, class_names=("0", "1"),
            min_cell=10,
        )[0]
        for k in range(3)
    ]  # fmt: skip
    differences = [each.demographic_parity_difference for each in by_label]
    ratios = [each.equalized_odds_ratio for each in by_label]
    assert found.demographic_parity_difference == max(d for d in differences if d is not None)
    assert found.equalized_odds_ratio == min(r for r in ratios if r is not None)


def test_each_label_has_a_logistic_head_of_its_own() -> None:
    x, other = G.normal(size=(300, 4)), G.normal(size=(60, 4))
    y = (x @ G.normal(size=(4, 2)) + G.normal(size=(300, 2)) > 0).astype(np.float64)
    found = predict_labels(Features(train=x, audit=other), y)
    for k in range(2):
        by_hand = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x, y[:, k])
        np.testing.assert_allclose(found[:, k], by_hand.predict_proba(other)[:, 1])


def test_a_label_that_the_audited_split_lacks_has_no_auroc() -> None:
    y = Y.copy()
    y[:, 0] = 0
    lacking = AuditedTarget(kind="multilabel", names=TARGET.names, train=Y, audit=y)
    found = label_findings(P, lacking, None, terms(20))
    assert found.labels["smiling"].auroc is None
    assert found.auroc == pytest.approx(np.mean([roc_auc_score(Y[:, k], P[:, k]) for k in (1, 2)]))
