"""What features tell of bias attributes beyond the target, by one quick probe: for choosing, never for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.evaluation.leakage.attribute import check_varies, fit_and_score_parts, prepare

__all__ = ["leakage_given_target"]

# no permutations and two resamples: only the estimate is wanted
_SETTINGS = AuditSettings(probes=("logistic",), n_bootstrap=2, n_permutations=0)


def leakage_given_target(
    z: np.ndarray,
    y: np.ndarray,
    attributes: Sequence[AuditedAttribute],
    *,
    class_names: tuple[str, ...],
    group: np.ndarray | None = None,
    seed: int,
) -> float:
    """I(z; c | y) from below: logistic probes, fitted on half of the rows and scored on the other half.

    On rows with features (n, d), target classes (n,), and attributes, of which the leakiest channel counts; no group is
    in both halves. In bits, summed over the attributes; where nothing leaks it scatters around 0.

    Raises:
        EvaluationError: Features that are not finite, too few rows where an attribute is known, or one class alone.
    """
    if not np.isfinite(z).all():
        raise EvaluationError("validation features are NaN or infinite")
    for attribute in attributes:
        check_varies(attribute, "attribute")
    # there is no original and no task here: one set of features, one question
    nobody = Features(train=z[:0], audit=z)
    inputs = AuditInput(
        before=None, after=nobody, train_y=y[:0], audit_y=y, class_names=class_names, attributes=tuple(attributes),
        group=group,
    )  # fmt: skip
    parts = fit_and_score_parts(inputs, _SETTINGS, seed)
    with threadpool_limits(limits=1):
        ready = [prepare(attribute, inputs, _SETTINGS, parts, seed=seed) for attribute in attributes]
        found = [one.measure_given_target(z).estimate for one in ready]
    return math.fsum(found)
