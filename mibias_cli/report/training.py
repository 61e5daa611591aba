"""What training warned of, so that a report says it beside the figures that it explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import ValidationError

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import Count, QuestionName
from mibias_cli.evaluation.record import Record
from mibias_cli.report.illustrations import MetricsRecord
from mibias_cli.report.numbers import format_bits, format_interval
from mibias_cli.run_folder import WARNING

__all__ = ["TrainingWarning", "as_sentence", "missed_budgets", "training_warnings"]


class TrainingWarning(Record):
    """A warning of a run's training: a penalty without a signal, collapsed features, a task head at chance, a budget
    that was not kept.

    `signal_lost` is said only where the audit still finds the attribute, no less than before, and `no_signal` but where
    it finds measurably less: a penalty that works from the first step on leaves its critic nothing to find.
    """

    what: Literal["no_signal", "signal_lost", "collapse", "chance", "budget"]
    stage: str
    epoch: Count
    """Counted from 0, as in metrics.jsonl."""
    attribute: str | None = None
    text: str

    @property
    def told(self) -> str:
        """As training itself says it."""
        return f"{self.stage}: {self.text}"

    @property
    def line(self) -> str:
        """As a sentence."""
        return as_sentence(self.text)


def as_sentence(text: str) -> str:
    """A warning that begins with a small letter, and ends without a full stop, as a sentence."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def training_warnings(
    metrics: Sequence[MetricsRecord], findings: AuditFindings, asked: QuestionName
) -> tuple[TrainingWarning, ...]:
    """The warnings among the records of metrics.jsonl, without those that the audit shows to be none."""
    found = []
    for record in metrics:
        if record.kind != WARNING:
            continue
        try:
            said = {key: value for key, value in record.model_dump().items() if key in TrainingWarning.model_fields}
            warning = TrainingWarning.model_validate(said)
        except ValidationError:
            continue  # of a later version: train.log has it
        if warning.what == "signal_lost" and not _leaks_still(findings, warning.attribute, asked):
            continue
        if warning.what == "no_signal" and _leaks_less(findings, warning.attribute, asked):
            continue
        found.append(warning)
    return tuple(found)


def missed_budgets(
    findings: AuditFindings, budget_bits: Mapping[str, float], asked: QuestionName
) -> tuple[TrainingWarning, ...]:
    """Leakage budgets that the audit shows were not kept: the whole interval of what is left lies above them."""
    found = []
    for name in (name for name in budget_bits if name in findings.attributes):
        budget, after = budget_bits[name], findings.attributes[name].after
        left = (after.answer(asked) or after.marginal).leakage_bits
        if not left.lower > budget:
            continue
        text = (
            f"the budget of {budget:g} bits of {name} was missed: the audit finds {format_bits(left.estimate)} "
            f"({format_interval(left)}); train longer, or raise debias.budget.max_weight"
        )
        found.append(TrainingWarning(what="budget", stage="debias", epoch=0, attribute=name, text=text))
    return tuple(found)


def _leaks_still(findings: AuditFindings, name: str | None, asked: QuestionName) -> bool:
    """Whether an attribute leaks, and measurably no less than before: then its critic did not succeed."""
    if name not in findings.attributes:
        return False
    after = findings.attributes[name].after.answer(asked) or findings.attributes[name].after.marginal
    return after is not None and after.leakage_bits.lower > 0 and not _leaks_less(findings, name, asked)


def _leaks_less(findings: AuditFindings, name: str | None, asked: QuestionName) -> bool:
    """Whether an attribute leaks measurably less than before."""
    change = findings.attributes[name].change if name in findings.attributes else None
    if change is None:
        return False
    return (change.answer(asked) or change.leakage_bits).upper < 0
