"""Whether some rows can be audited at all, which shows before any features are there."""

from __future__ import annotations

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditInput
from mibias_cli.evaluation.leakage.attribute import MIN_ROWS, check_varies, fit_and_score_parts, known_parts

__all__ = ["check_auditable", "check_rows"]


def check_rows(inputs: AuditInput) -> None:
    """Raise an EvaluationError where there are too few rows, or an attribute or column does not vary in them."""
    if len(inputs.audit_y) < 2 * MIN_ROWS:
        raise EvaluationError(
            f"audited split: {len(inputs.audit_y)} samples are too few, {2 * MIN_ROWS} are needed; audit a larger split"
        )
    # a constant attribute cannot leak, and no probe can be fitted to it
    for attribute in inputs.attributes:
        check_varies(attribute, "attribute")
    for column in inputs.columns:
        check_varies(column, "column")


def check_auditable(inputs: AuditInput, settings: AuditSettings, *, seed: int) -> None:
    """Raise what `audit` would of these rows, parts and attributes; features are not looked at.

    Args:
        inputs, settings, seed: As for `audit`, with features of any width.

    Raises:
        EvaluationError: Too few rows, also in a part; or an attribute that does not vary.
    """
    check_rows(inputs)
    parts = fit_and_score_parts(inputs, settings, seed)
    for attribute in (*inputs.attributes, *inputs.columns):
        known_parts(attribute, inputs, parts, seed)
