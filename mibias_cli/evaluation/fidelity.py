"""Fidelity of features: effective rank and linear CKA. Constant features leak nothing and are worth nothing."""

from __future__ import annotations

import numpy as np

from mibias_cli.backbone.spectrum import centred, effective_rank
from mibias_cli.evaluation.findings import Similarity
from mibias_cli.evaluation.inputs import Features
from mibias_cli.evaluation.task.rule import predict_numbers

__all__ = ["compare_features", "linear_cka", "recovered_share"]

MAX_FIT_ROWS = 10_000


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Linear centred kernel alignment of two representations (n, d_a) and (n, d_b) of the same samples.

    Between 0 and 1; 1 for features equal up to rotation and scale; 0 where either is constant.

    References: Kornblith et al., arXiv 1905.00414.
    """
    a_centred, b_centred = centred(a), centred(b)
    if a_centred is None or b_centred is None:
        return 0.0
    # arXiv 1905.00414: ‖AᵀB‖² / (‖AᵀA‖ ‖BᵀB‖) of centred features, here with n × d work and no n × n matrix
    a_centred /= np.linalg.norm(a_centred)  # keeps the fourth powers below in range
    b_centred /= np.linalg.norm(b_centred)
    shared = float(((a_centred.T @ b_centred) ** 2).sum())
    own = float(np.linalg.norm(a_centred.T @ a_centred) * np.linalg.norm(b_centred.T @ b_centred))
    return shared / own


def recovered_share(before: Features, after: Features) -> float | None:
    """R² of a linear map from the audited features back to the original's, over all of the original's variance.

    Ridge regression (penalty 1) on standardised features, fitted on training samples (at most `MAX_FIT_ROWS` of them)
    and scored on the audited ones: what debiasing left of the original, up to a linear map. None where there are no
    training features, or where the original's are constant.
    """
    if not len(before.train) or not len(after.train):
        return None
    # rows spread evenly over the training samples: no draw, so no seed
    rows = np.unique(np.linspace(0, len(after.train) - 1, min(len(after.train), MAX_FIT_ROWS)).astype(np.int64))
    original = np.asarray(before.audit, dtype=np.float64)
    fitted = Features(train=after.train[rows], audit=after.audit)
    # the original's features are the numbers that are predicted from the audited ones
    error = predict_numbers(fitted, np.asarray(before.train[rows], dtype=np.float64)) - original
    spread = float(np.square(original - original.mean(axis=0)).sum())
    return 1 - float(np.square(error).sum()) / spread if spread > 0 else None


def compare_features(before: Features | None, after: Features, loaded: Features | None = None) -> Similarity:
    """Dimensions and effective ranks on the audited samples; of before and after their CKA, and the recovered share."""
    z = after.audit
    if before is None:
        return Similarity(n_features_after=z.shape[1], effective_rank_after=effective_rank(z))
    return Similarity(
        n_features_loaded=None if loaded is None else loaded.audit.shape[1],
        effective_rank_loaded=None if loaded is None else effective_rank(loaded.audit),
        original_r2=recovered_share(before, after),
        n_features_before=before.audit.shape[1],
        n_features_after=z.shape[1],
        effective_rank_before=effective_rank(before.audit),
        effective_rank_after=effective_rank(z),
        cka=linear_cka(before.audit, z),
    )
