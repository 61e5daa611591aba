from __future__ import annotations

import numpy as np
from sklearn.metrics import confusion_matrix

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.task.groups import MAX_CLASSES, confusions


def attribute(rng: np.random.Generator, n: int) -> AuditedAttribute:
    return AuditedAttribute(
        name="place",
        channels=("ground", "sky"),
        class_names=(("land", "water", "never"), ("day", "night")),
        c=np.stack([rng.integers(0, 2, n), rng.integers(0, 2, n)], axis=1),
        known=rng.random(n) < 0.8,
    )


def test_counts_are_scikit_learns_in_every_group_that_occurs() -> None:
    rng = np.random.default_rng(0)
    y, predicted, a = rng.integers(0, 3, 200), rng.integers(0, 3, 200), attribute(np.random.default_rng(1), 200)
    found = list(confusions(predicted, y, a, class_names=("a", "b", "c")))
    assert [(row.channel, row.c) for row in found] == [
        ("ground", "land"), ("ground", "water"), ("sky", "day"), ("sky", "night"),
    ]  # fmt: skip
    for row in found:
        k = a.channels.index(row.channel)
        rows = a.known & (a.c[:, k] == a.class_names[k].index(row.c))
        assert row.counts == tuple(map(tuple, confusion_matrix(y[rows], predicted[rows], labels=[0, 1, 2]).tolist()))
        assert row.n == rows.sum()


def test_many_classes_have_none() -> None:
    y = np.zeros(5, dtype=np.int64)
    names = [str(k) for k in range(MAX_CLASSES + 1)]
    assert list(confusions(y, y, attribute(np.random.default_rng(0), 5), class_names=names)) == []
