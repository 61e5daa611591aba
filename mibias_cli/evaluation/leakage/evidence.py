"""What probes may read of a representation: its features, and the scores of the head that was trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.probes.families import HEAD, make_sight
from mibias_cli.evaluation.probes.scaling import Seen, Sight

__all__ = ["Evidence", "View", "head_scores"]

MOST_SCORES = 100
"""Scores of more classes than this are no shorter a summary than features are."""
LEAST = 1e-6  # a probability: below it scores would be outliers that no linear probe can use


@dataclass(frozen=True, kw_only=True)
class View:
    """One matrix as probes see it: fitted rows, and the scored ones by the same scaling."""

    sight: Sight
    scored: Seen


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Features z (n, d) of the audited samples, and the scores (n, k) of a trained head on them, or None."""

    z: np.ndarray
    scores: np.ndarray | None = None

    def probes(self, families: Sequence[str]) -> tuple[str, ...]:
        """Those of these families that have something to read."""
        return tuple(name for name in families if name != HEAD or self.scores is not None)

    def equals(self, other: Evidence) -> bool:
        """Whether probes would find the same."""
        if self.scores is None or other.scores is None:
            return self.scores is other.scores and np.array_equal(self.z, other.z)
        return np.array_equal(self.z, other.z) and np.array_equal(self.scores, other.scores)

    def views(self, fit: np.ndarray, score: np.ndarray, families: Sequence[str], *, seed: int) -> dict[str, View]:
        """By family, of those in `probes`, what it reads of the fitted and of the scored rows."""
        others = [name for name in families if name != HEAD]
        views = dict.fromkeys(others, _view(self.z, fit, score, others, seed)) if others else {}
        if self.scores is not None and HEAD in families:
            views[HEAD] = _view(self.scores, fit, score, [HEAD], seed)
        return views


def _view(x: np.ndarray, fit: np.ndarray, score: np.ndarray, families: Sequence[str], seed: int) -> View:
    fitted, scored = (np.asarray(x[rows], dtype=np.float64) for rows in (fit, score))
    sight = make_sight(fitted, families, seed=seed)
    return View(sight=sight, scored=sight.scaling.see(scored))


def head_scores(predicted: np.ndarray | None, *, kind: str) -> np.ndarray | None:
    """Scores (n, k) of what a head predicts; None without a head, and of many classes.

    Args:
        predicted: Probabilities of classes (n, K) or of labels (n, k), or numbers (n, k).
        kind: Of the target: classes, multilabel or regression.

    Example:
        >>> head_scores(np.array([[0.5, 0.5]]), kind="multilabel").round(3).tolist()
        [[0.0, 0.0]]
    """
    if predicted is None or predicted.shape[1] > MOST_SCORES:
        return None
    if kind == "regression":
        return predicted
    p = np.clip(predicted, LEAST, 1 - LEAST)
    return np.log(p) if kind == "classes" else np.log(p) - np.log1p(-p)
