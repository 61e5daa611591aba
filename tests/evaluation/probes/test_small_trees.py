from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from mibias_cli.evaluation.probes.boosting import SMALL, GradientBoosting
from mibias_cli.evaluation.probes.links import class_targets, softmax
from mibias_cli.evaluation.probes.small_trees import SmallTrees


def test_trees_are_scikit_learns() -> None:
    """Both halves are split once more, wherever that gains most."""
    g = np.random.default_rng(0)
    x = g.integers(0, 8, (300, 6)).astype(np.float32)
    c = np.where((x[:, 0] > 5) | ((x[:, 1] > 2) & (x[:, 2] > 3)), 2, g.integers(0, 3, 300))
    _, targets = class_targets(c)
    ours = SmallTrees(x, targets, start=np.log(targets.mean(axis=0)), rate=0.15, min_leaf=15)
    ours.grow_to(20, further=20)
    theirs = HistGradientBoostingClassifier(
        max_iter=20, max_depth=2, learning_rate=0.15, min_samples_leaf=15, l2_regularization=1.0,
        early_stopping=False,
    ).fit(x, c)  # fmt: skip
    assert np.allclose(softmax(ours.scores(x, 20)), theirs.predict_proba(x), atol=1e-4)


def test_scores_of_training_rows_are_what_the_trees_were_grown_by() -> None:
    g = np.random.default_rng(2)
    x, c = g.normal(size=(200, 10)).astype(np.float32), g.integers(0, 4, 200)
    _, targets = class_targets(c)
    trees = SmallTrees(x, targets, start=np.zeros(4), rate=0.15, min_leaf=10)
    trees.grow_to(15, further=15)
    assert np.allclose(trees.scores(x, 15), trees._scores, atol=1e-4)
    assert not np.allclose(trees.scores(x, 10), trees._scores, atol=1e-2)


def test_small_and_large_trees_find_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out bits of 20 draws: the mean difference is within three of its standard errors, or .02 bits above."""
    differences = []
    for seed in range(20):
        g = np.random.default_rng(seed)
        c = g.integers(0, 4, 300)
        x = g.normal(size=(300, 20)) + 1.5 * np.eye(20)[c]
        bits = []
        for small in (SMALL, 0):
            monkeypatch.setattr("mibias_cli.evaluation.probes.boosting.SMALL", small)
            trees = GradientBoosting(x[:200], c[:200], n_extra=0, seed=seed)
            trees.fit_to(4)
            bits.append(trees.answer(x[200:])[np.arange(100), c[200:]].mean() / np.log(2))
        differences.append(bits[0] - bits[1])
    error = np.std(differences) / np.sqrt(20)
    assert -3 * error < np.mean(differences) < 3 * error + 0.02
