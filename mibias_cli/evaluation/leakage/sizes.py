"""Leakage by sample size: whether probes that are fitted on more audited samples find more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from mibias_cli.evaluation.inputs import AuditInput
from mibias_cli.evaluation.leakage.attribute import MIN_ROWS, Prepared, channel_task
from mibias_cli.evaluation.leakage.channel import ChannelTask
from mibias_cli.evaluation.leakage.evidence import Evidence
from mibias_cli.evaluation.leakage.jobs import Fitters
from mibias_cli.evaluation.leakage.measure import Answer, Measured, Terms, answered, asks
from mibias_cli.evaluation.leakage.scoring import Ask
from mibias_cli.evaluation.leakage_findings import AttributeFindings, QuestionName, SizeCurve, SizePoint
from mibias_cli.evaluation.statistics.partition import assign_parts
from mibias_cli.evaluation.statistics.resampling import bootstrap_interval

__all__ = ["SHARES", "TOLERANCE", "size_curve"]

SHARES = (1 / 8, 1 / 4, 1 / 2)
"""Of the fitting rows, beside all of them, for which the audit has the answer already."""
TOLERANCE = 0.01
"""Of H(c), or H(c | y): an estimate that grows by less from half of the rows to all of them has settled."""


def size_curve(
    prepared: Prepared,
    inputs: AuditInput,
    evidence: Evidence,
    measured: Mapping[str, Measured],
    findings: AttributeFindings,
    kind: QuestionName,
    fitters: Fitters,
) -> SizeCurve | None:
    """The headline's probe fitted on growing shares of the fitting rows; None where there are too few to halve.

    Rows of one group stay together. Every share is tuned, calibrated and compared with class shares of its own rows, as
    an audit of so many samples would be.

    Args:
        prepared: The attribute, with its fitted and scored rows.
        inputs: What is audited.
        evidence: What probes may read of the audited samples.
        measured: What the audit found of these features, by channel: it chose the probe and the channel.
        findings: The attribute's, which say how much there is to tell.
        kind: The question.
        fitters: What fits the probes.
    """
    answers = [answer for m in measured.values() if (answer := m.answer(kind)) is not None]
    told = max(answers, key=lambda answer: answer.finding.selection_bits, default=None)
    if told is None or told.finding.is_determined:
        return None
    channel = prepared.attribute.channels.index(told.finding.headline_channel)
    parts = [rows for rows in _nested(prepared, inputs, channel) if len(rows) >= 2 * MIN_ROWS]
    # the last share is the half: without it there is no step to judge
    if not parts or len(parts[-1]) < len(prepared.fit) / 4:
        return None
    tasks = [
        channel_task(channel, prepared.attribute, inputs, (rows, prepared.score), n_permutations=0, seed=prepared.seed)
        for rows in parts
    ]
    terms = Terms(
        probes=(told.finding.headline_probe,), resamples=prepared.resamples, confidence=prepared.settings.confidence,
        seed=prepared.seed,
    )  # fmt: skip
    scored = fitters.fit_all(
        _asks(tasks, parts, evidence, prepared.score, kind, terms), work=prepared.work(evidence), n_asks=len(parts)
    )
    smaller = [answered(task, task.question(kind), terms, scored) for task in tasks]
    whole = findings.whole_bits(kind, told.finding.headline_channel)
    return _curve(prepared, whole, kind, [len(rows) for rows in parts], [*smaller, told])


def _asks(
    tasks: Sequence[ChannelTask], parts: Sequence[np.ndarray], evidence: Evidence, score: np.ndarray,
    kind: QuestionName, terms: Terms,
) -> Iterator[Ask]:  # fmt: skip
    for task, rows in zip(tasks, parts, strict=True):
        views = evidence.views(rows, score, terms.probes, seed=terms.seed)
        yield from asks(task, task.question(kind), views, terms)


def _nested(prepared: Prepared, inputs: AuditInput, channel: int) -> list[np.ndarray]:
    """Rows of every share, each within the next, alike in target and attribute."""
    fit, group = prepared.fit, inputs.group
    labels = np.stack([inputs.audit_y[fit], prepared.attribute.c[fit, channel]], axis=1)
    steps = (SHARES[0], *(b - a for a, b in pairwise((*SHARES, 1.0))))
    part = assign_parts(
        labels, steps, group=None if group is None else group[fit],
        generator=np.random.default_rng([prepared.seed, 6]),
    )  # fmt: skip
    return [fit[part <= k] for k in range(len(SHARES))]


def _curve(
    prepared: Prepared, whole_bits: float, kind: QuestionName, sizes: Sequence[int], answers: Sequence[Answer]
) -> SizeCurve:
    half, whole = answers[-2:]
    # the same scored rows and resamples: what is hard to tell for both cancels in the difference
    step = bootstrap_interval(
        whole.finding.leakage_bits.estimate - half.finding.leakage_bits.estimate, whole.draws - half.draws,
        prepared.settings.confidence, n_units=prepared.resamples.n_units,
    )  # fmt: skip
    tolerance = TOLERANCE * whole_bits
    return SizeCurve(
        question=kind, probe=whole.finding.headline_probe, channel=whole.finding.headline_channel,
        points=tuple(
            SizePoint(n_fit=n, leakage_bits=answer.finding.leakage_bits)
            for n, answer in zip((*sizes, len(prepared.fit)), answers, strict=True)
        ),
        last_step_bits=step, tolerance_bits=tolerance, grows_with_n=step.lower > tolerance,
    )  # fmt: skip
