"""The report: what an audit found, where it comes from, what may be said of it, and what became of its gates.

One typed object: leakage.json, its schema, the names that gates know, tables, Markdown and HTML are all made from it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from pydantic import Field, JsonValue

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import QuestionName
from mibias_cli.evaluation.record import Real, Record
from mibias_cli.report.illustrations import MetricsRecord
from mibias_cli.report.suppression import without_small_cells
from mibias_cli.report.training import TrainingWarning, as_sentence, missed_budgets, training_warnings
from mibias_cli.report.verdict import Verdict, make_verdict

__all__ = ["SCHEMA_VERSION", "GateFigure", "GateResult", "Report", "make_report", "unfinished_line"]

SCHEMA_VERSION = 1
"""Raised whenever a reader of the older form would misread the newer one."""


class GateFigure(Record):
    """The figure that a gate looked at; of a baseline gate: by how much it is worse."""

    estimate: Real | None
    lower: Real | None
    upper: Real | None


class GateResult(Record):
    """One gate; it is an error where the report lacks the figure."""

    expression: str
    source: Literal["recipe", "option", "baseline"]
    status: Literal["pass", "fail", "inconclusive", "error"]
    inconclusive: Literal["fail", "warn"]
    """What an inconclusive gate counts as."""
    figure: GateFigure | None
    threshold: Real
    message: str

    @property
    def is_failure(self) -> bool:
        """Whether it fails the report: it failed, or was inconclusive where that counts as failing."""
        return self.status == "fail" or (self.status == "inconclusive" and self.inconclusive == "fail")


class Report(AuditFindings):
    """What an audit found: leakage in bits, task figures, fidelity, provenance."""

    schema_version: Literal[1] = 1
    provenance: dict[str, JsonValue] = Field(default_factory=dict)
    """Hashes, names, versions, times; null where unknown."""
    verdict: Verdict = Verdict()
    training_warnings: tuple[TrainingWarning, ...] = ()
    """What the run's training warned of; empty where nothing was trained."""
    data_warnings: tuple[str, ...] = ()
    """What differs between these data and those that the audited model was trained on, and which of the target's
    classes no audited row has; empty where nothing does."""
    unfinished: str | None = None
    """What the run had not done yet when it was audited; null where it had ended, and where it is no run."""
    gates: tuple[GateResult, ...] = ()
    """What became of the gates: conditions under which the audit fails; empty where none were given."""

    @property
    def data_sha256(self) -> JsonValue:
        """Which samples were audited; None where unknown."""
        return self.provenance.get("data_sha256")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever reads the figures should know first, as sentences."""
        unfinished = () if self.unfinished is None else (unfinished_line(self.unfinished),)
        # both stages may have warned of the same
        of_training = (warning.line for warning in self.training_warnings)
        lines = dict.fromkeys((*unfinished, *map(as_sentence, self.data_warnings), *of_training))
        least = self.settings.suppress_below
        hidden = (f"Cells and groups of fewer than {least} samples are left out.",) if least > 1 else ()
        return (*lines, *hidden)

    def to_json(self) -> str:
        """leakage.json: full precision, sorted keys, NaN and infinities as null."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"

    def to_dict(self) -> dict[str, JsonValue]:
        """The same as plain data."""
        # by way of JSON text, which makes NaN null and tuples lists as a file would
        plain: dict[str, JsonValue] = json.loads(self.model_dump_json())
        return plain


def make_report(
    findings: AuditFindings,
    provenance: Mapping[str, JsonValue],
    asked: QuestionName = "marginal",
    metrics: Sequence[MetricsRecord] = (),
    unfinished: str | None = None,
    debiased: Collection[str] | None = None,
    budget_bits: Mapping[str, float] | None = None,
    data_warnings: Sequence[str] = (),
) -> Report:
    """The report on an audit, with what was audited: hashes of recipe, data and weights, versions, seed, device.

    The verdict speaks of what was asked for: I(z; c), or I(z; c | y) where the recipe's objective is conditional. The
    records of a run's metrics.jsonl say what its training warned of; `unfinished` is what a run had not done yet, and
    `debiased` which attributes it was asked to remove (None: all), and `budget_bits` down to which leakage.
    `data_warnings` are what differs between the audited data and those of training, and what no audited row shows.
    """
    # parts are taken as they are: a dump would make mappings of typed records
    shown = without_small_cells(findings, findings.settings.suppress_below)
    own = {name: getattr(shown, name) for name in AuditFindings.model_fields}
    verdict = make_verdict(findings, asked, debiased, shown=shown)
    warnings = training_warnings(metrics, findings, asked) + missed_budgets(findings, budget_bits or {}, asked)
    return Report(
        **own, provenance=dict(provenance), verdict=verdict, training_warnings=warnings, unfinished=unfinished,
        data_warnings=tuple(data_warnings),
    )  # fmt: skip


def unfinished_line(lacking: str) -> str:
    """That a run had not ended, as a sentence for reports and model cards."""
    return f"The run had not ended ({lacking}): these are not the weights that it is for."
