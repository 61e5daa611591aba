"""A task's audit by kinds of target: the figures of each side are those of its predictions, by the one rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, AuditInput, Features
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.audit import audit_task
from mibias_cli.evaluation.task.labels import label_findings
from mibias_cli.evaluation.task.numbers import regression_findings
from mibias_cli.evaluation.task.rule import Terms, predict_labels, predict_numbers

N = 300
G = np.random.default_rng(0)
Z = {part: G.standard_normal((N, 3)) for part in ("train", "audit")}
FEATURES = Features(train=Z["train"], audit=Z["audit"])
C = np.arange(N) % 2
SEX = AuditedAttribute(
    name="sex", channels=("sex",), class_names=(("f", "m"),), c=C[:, None], known=np.ones(N, dtype=bool),
    train_c=C[:, None], train_known=np.ones(N, dtype=bool),
)  # fmt: skip
SETTINGS = AuditSettings(n_bootstrap=100)
TERMS = Terms(
    attributes=(SEX,), resamples=Resamples(N, 100, seed=3), min_cell=SETTINGS.min_cell, confidence=SETTINGS.confidence
)


def inputs(target: AuditedTarget | None, head: np.ndarray) -> AuditInput:
    y = np.zeros(N, dtype=np.int64)
    return AuditInput(
        before=None, after=FEATURES, train_y=y, audit_y=y, class_names=("all",), attributes=(SEX,),
        heads={"after": head}, target=target,
    )  # fmt: skip


def test_labels() -> None:
    y = {part: (z[:, :2] + G.standard_normal((N, 2)) > 0).astype(np.float64) for part, z in Z.items()}
    target = AuditedTarget(kind="multilabel", names=("a", "b"), **y)
    head = G.random((N, 2))
    found = audit_task(inputs(target, head), SETTINGS, {"sex": "sex"}, seed=3)
    refitted = predict_labels(FEATURES, target.train)
    assert found.sides.after == label_findings(refitted, target, head > 0.5, TERMS)
    assert found.head is not None
    assert found.head.task.after == label_findings(head, target, None, TERMS)
    assert set(found.fairness) == {"sex"}


def test_numbers() -> None:
    y = {part: z[:, :1] + G.standard_normal((N, 1)) for part, z in Z.items()}
    target = AuditedTarget(kind="regression", names=("size",), **y)
    head = G.standard_normal((N, 1))
    found = audit_task(inputs(target, head), SETTINGS, {"sex": "sex"}, seed=3)
    refitted = predict_numbers(FEATURES, target.train)
    assert found.sides.after == regression_findings(refitted, target, head, TERMS)
    assert found.head is not None
    assert found.head.task.after == regression_findings(head, target, None, TERMS)


@pytest.mark.parametrize("lacks", ["target", "training rows"])
def test_nothing_without_a_target_or_training_rows(lacks: str) -> None:
    none = AuditedTarget(kind="none", names=(), train=np.zeros((N, 1)), audit=np.zeros((N, 1)))
    given = inputs(none if lacks == "target" else None, np.ones((N, 1)))
    if lacks != "target":
        given = replace(given, train_y=given.train_y[:0])
    found = audit_task(given, SETTINGS, {"sex": "sex"}, seed=3)
    assert (found.sides.before, found.sides.after, found.head) == (None, None, None)
