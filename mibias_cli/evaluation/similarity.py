"""Fidelity of features: effective rank and linear CKA. Constant features leak nothing and are worth nothing."""

from __future__ import annotations

import numpy as np

from mibias_cli.backbone.spectrum import centred, effective_rank
from mibias_cli.evaluation.audit_types import Similarity

__all__ = ["LOW_RANK", "RANK_DROP", "compare_features", "effective_rank", "has_collapsed", "linear_cka"]

LOW_RANK, RANK_DROP = 2.0, 0.1


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Linear centred kernel alignment of two representations (n, d_a) and (n, d_b) of the same samples.

    Returns:
        Between 0 and 1; 1 for features equal up to rotation and scale; 0 where either is constant.

    References: Kornblith et al., arXiv 1905.00414.
    """
    a_centred, b_centred = centred(a), centred(b)
    if a_centred is None or b_centred is None:
        return 0.0
    a_centred /= np.linalg.norm(a_centred)  # keeps the fourth powers below in range
    b_centred /= np.linalg.norm(b_centred)
    shared = float(((a_centred.T @ b_centred) ** 2).sum())
    own = float(np.linalg.norm(a_centred.T @ a_centred) * np.linalg.norm(b_centred.T @ b_centred))
    return shared / own


def compare_features(before: np.ndarray | None, after: np.ndarray) -> Similarity:
    """Dimensions and effective ranks of both, and their CKA."""
    return Similarity(
        n_features_before=None if before is None else before.shape[1],
        n_features_after=after.shape[1],
        effective_rank_before=None if before is None else effective_rank(before),
        effective_rank_after=effective_rank(after),
        cka=None if before is None else linear_cka(before, after),
    )


def has_collapsed(similarity: Similarity, n_classes: int) -> bool:
    """Whether features have lost nearly all their directions, so that low leakage is no success.

    They are constant; or their effective rank fell below a tenth of what it was (or below 2) and below half of it; or,
    with nothing to compare with, it is below 2 for a target of more than three classes. A binary task needs one
    direction only, so that a low rank alone is no collapse there.

    Args:
        similarity: What was measured.
        n_classes: Classes of the target.
    """
    rank, before = similarity.effective_rank_after, similarity.effective_rank_before
    if rank < 1:
        return True
    if before is None:
        return rank < LOW_RANK and n_classes > 3
    return rank < max(RANK_DROP * before, LOW_RANK) and rank < before / 2
