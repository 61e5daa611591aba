"""The verdict: what may honestly be said of an audit in a sentence or two."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection

from pydantic import Field

from mibias_cli.backbone.spectrum import has_collapsed
from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import QUESTIONS, AttributeFindings, Finding, QuestionName, Side
from mibias_cli.evaluation.record import Record
from mibias_cli.evaluation.task_findings import LabelFindings, RegressionFindings, TaskFindings
from mibias_cli.report.numbers import (
    ceil_bits,
    detectable_words,
    direction,
    format_bits,
    format_decimals,
    format_interval,
    format_p,
    format_percent,
)
from mibias_cli.report.summary import EMPTY_FEATURES, GIVEN, MAX_NAMED, listed, rises, summarise
from mibias_cli.report.task.score import format_score, has_before, kind_of, score_title, task_score

__all__ = ["Verdict", "collapse_reasons", "make_verdict"]

CHANCE_MARGIN = 0.05
_UNEVEN = 1.5
"""Times its even share from which on a class makes others rare: three quarters of two classes."""


class Verdict(Record):
    """What may honestly be said of the audit."""

    text: str = ""
    collapsed: bool = False
    reasons: tuple[str, ...] = ()
    """Of a collapse."""
    attributes: dict[str, str] = Field(default_factory=dict)
    """A sentence for each attribute."""
    headline: str = ""
    """The verdict in one sentence."""
    question: QuestionName = "marginal"
    """What headline and sentences speak of: I(z; c), or I(z; c | y) where the recipe's objective is conditional."""
    caution: str = ""
    """Said where features have lost most directions and yet tell the target; else empty."""
    summary: tuple[str, ...] = ()
    """The verdict in plain words: what was asked for, what fell, what it cost, the worst group, what nobody can say."""


def make_verdict(
    findings: AuditFindings,
    asked: QuestionName = "marginal",
    debiased: Collection[str] | None = None,
    *,
    shown: AuditFindings | None = None,
) -> Verdict:
    """The verdict on an audit, on the question that training was asked for (the marginal one without a target).

    `debiased` are the attributes that training was asked to remove; None: all. `shown` are the findings without what is
    not to be named (`evaluation.suppress_below`): sentences are of these, and whether features collapsed is of all.

    A probe that fails proves nothing about what a better probe would find: so the text says what was extracted, never
    that there is no leakage. Features that hold nothing leak nothing; that is named a collapse.
    """
    reasons = collapse_reasons(findings)
    caution = _caution(findings, reasons)
    findings = shown or findings
    question = asked if all(found.after.answer(asked) for found in findings.attributes.values()) else "marginal"
    sentences = {
        name: _attribute_sentence(name, found, findings, question) for name, found in findings.attributes.items()
    }
    # what rose though it was not asked for is as bad
    risen = [f"{rise[0].upper()}{rise[1:]}." for rise in rises(findings, [q for q in QUESTIONS if q != question])]
    parts = [*sentences.values(), *risen, _task_sentence(findings), _head_sentence(findings), caution]
    collapse = f"Collapsed, not debiased: {'; '.join(reasons)}." if reasons else ""
    if collapse:
        # first of all: whoever reads on must know that the low leakage below is worth nothing
        parts = [collapse, EMPTY_FEATURES, *parts]
    return Verdict(
        headline=collapse or _headline(findings, question),
        question=question,
        text=" ".join(part for part in parts if part),
        collapsed=bool(reasons),
        reasons=tuple(reasons),
        caution=caution,
        attributes=sentences,
        summary=summarise(findings, question, debiased, collapsed=bool(reasons)),
    )


def _headline(findings: AuditFindings, question: QuestionName) -> str:
    """The verdict in one sentence: what the leakiest attributes leak at most, and at which accuracy."""
    # shares of H(c), because attributes of many groups have more bits to leak
    shares = {
        name: _most(found, question) / whole if (whole := found.whole_bits(question)) else 0.0
        for name, found in findings.attributes.items()
    }
    worst = sorted(shares, key=lambda name: -shares[name])[:MAX_NAMED]
    unlimited: list[str] = []
    limited: list[str] = []
    for name in worst:
        found = findings.attributes[name]
        limit = _limit(found, question)
        what = _entropy(name, found, question)
        (unlimited if limit is None else limited).append(f"{limit or ''} of the {what}".strip())
    # the bad news first
    clauses = [f"Probes here may extract all {listed(unlimited)}"] if unlimited else []
    if limited:
        clauses.append(f"{'no' if clauses else 'No'} probe here extracts {listed(limited)}")
    text = "; ".join(clauses)
    if len(shares) > len(worst):
        text += f"; of {len(shares) - len(worst)} further attributes no larger share"
    # a rise anywhere, of any attribute and either question, is no detail
    text = "; ".join([text, *rises(findings, QUESTIONS)])
    score = task_score(findings, "after")
    if score is None:
        return f"{text}."
    return f"{text}; {score_title(findings, score)} is {format_score(findings, 'after')}{_before(findings)}"


def _entropy(name: str, found: AttributeFindings, question: QuestionName) -> str:
    """What there is to extract, and what was before."""
    text = f"{format_bits(found.whole_bits(question))} bits of {name}{GIVEN[question]}"
    before = None if found.before is None else found.before.answer(question)
    return text if before is None else f"{text} (before {format_bits(before.leakage_bits.estimate)})"


def _limit(found: AttributeFindings, question: QuestionName) -> str | None:
    """What no probe exceeds; None where that is no less than all there is, as intervals of small samples may reach."""
    most = _most(found, question)
    if most <= 0:
        return "any"
    return None if most >= found.whole_bits(question) else f"more than {ceil_bits(most)}"


def _most(found: AttributeFindings, question: QuestionName) -> float:
    """The upper end of the headline's interval, or what the strongest of all probes scored, if that is more."""
    # the strongest probe may be another than the headline, which was chosen on other rows
    answers = [channel.after.answer(question) for channel in (found, *found.channels.values())]
    there = [answer for answer in answers if answer is not None]
    scored = [probe.leakage_bits for answer in there for probe in answer.probes.values()]
    return max([there[0].leakage_bits.upper, *(value for value in scored if not math.isnan(value))])


def collapse_reasons(findings: AuditFindings) -> list[str]:
    """Why the audited features count as collapsed; empty where they do not.

    A fall of the effective rank counts where the task fell with it, see `has_collapsed`.
    """
    rank, rank_before = findings.similarity.effective_rank_after, findings.similarity.effective_rank_before
    n_classes = _n_classes(findings)
    before, after = _beyond_chance(findings, "before"), _beyond_chance(findings, "after")
    kept = None if before is None or after is None else (before, after)
    reasons = []
    # a low rank alone is no collapse: a good extractor of ten classes needs few directions
    if has_collapsed(rank, rank_before, n_classes=n_classes, kept=kept):
        if rank < 1:
            reasons.append("the features are constant (effective rank 0)")
        elif rank_before is not None:
            reasons.append(
                f"the effective rank fell from {format_decimals(rank_before, 2)} to {format_decimals(rank, 2)}"
            )
        else:
            reasons.append(f"the effective rank is {format_decimals(rank, 2)} for a target of {n_classes} classes")
    elif findings.fidelity.collapsed:
        reasons.append(
            f"the features have lost nearly all their directions (effective rank {format_decimals(rank, 2)})"
        )
    return reasons + _chance_reasons(findings)


def _caution(findings: AuditFindings, reasons: list[str]) -> str:
    """What is said where features have lost most directions and yet tell the target; else empty."""
    rank, rank_before = findings.similarity.effective_rank_after, findings.similarity.effective_rank_before
    if reasons or rank_before is None or not has_collapsed(rank, rank_before, n_classes=0):
        return ""
    return (
        f"The features have few directions left: their effective rank fell from {format_decimals(rank_before, 2)} to "
        f"{format_decimals(rank, 2)}. They tell the target still; for other tasks they may be poor."
    )


def _n_classes(findings: AuditFindings) -> int:
    """Classes of the target that the audited split holds; 0 where the target is no classes."""
    task = findings.task.after
    return len({row.y for row in task.groups if row.n}) if isinstance(task, TaskFindings) else 0


def _n_outcomes(findings: AuditFindings) -> int:
    """Outcomes to guess from: classes, or two of every label."""
    return 2 if isinstance(findings.task.after, LabelFindings) else _n_classes(findings)


def _beyond_chance(findings: AuditFindings, side: Side) -> float | None:
    """Balanced accuracy beyond chance, or R²; None where there is no such figure."""
    task, n = findings.task.at(side), _n_outcomes(findings)
    if task is None or isinstance(task, RegressionFindings):
        return None if task is None or math.isnan(task.r2.estimate) else task.r2.estimate
    return None if math.isnan(task.balanced_accuracy) or not n else task.balanced_accuracy - 1 / n


def _chance_reasons(findings: AuditFindings) -> list[str]:
    """Features that tell next to nothing of the target, or of the original where there is no target."""
    task = findings.task.after
    if task is None or isinstance(task, RegressionFindings):
        # an R² of 0 is chance: the mean does as well
        score = task_score(findings, "after")
        if score is None or not score.estimate < CHANCE_MARGIN:
            return []
        return [f"{score_title(findings, score)} is {format_score(findings, 'after')}"]
    # balanced accuracy, because always naming the largest class is far above chance in plain accuracy
    n = _n_outcomes(findings)
    # of uneven classes a head may never name the rare ones, and rank them well all the same
    if _is_uneven(task, n) and task.auroc_interval is not None and task.auroc_interval.lower > 0.5:
        return []
    if n > 1 and task.balanced_accuracy < 1 / n + CHANCE_MARGIN * (1 - 1 / n):
        reached, chance = format_percent(task.balanced_accuracy), format_percent(1 / n)
        return [f"balanced accuracy on the task is {reached}, chance is {chance}"]
    return []


def _is_uneven(task: TaskFindings | LabelFindings, n: int) -> bool:
    """Whether one class has so many more samples than its share that naming it always is hard to beat."""
    if not isinstance(task, TaskFindings) or not task.groups:
        return False
    first = task.groups[0]
    sizes = Counter[str]()
    for row in task.groups:
        if (row.attribute, row.channel) == (first.attribute, first.channel):
            sizes[row.y] += row.n
    return max(sizes.values()) * n > _UNEVEN * sizes.total()


def _attribute_sentence(name: str, found: AttributeFindings, findings: AuditFindings, question: QuestionName) -> str:
    before = None if found.before is None else found.before.answer(question)
    after = found.after.answer(question)
    change = None if found.change is None else found.change.answer(question)
    assert after is not None, "the question was asked"
    given = found.after.conditional
    known = (
        ""
        if given is None or not given.is_determined
        else (
            f" The target determines {name} on the audited samples: beyond the target nothing is left that could leak, "
            "exactly 0 bits."
        )
    )
    if after.is_determined:
        return known.strip()
    confidence = f"{100 * findings.settings.confidence:g} %"
    interval = after.leakage_bits
    limit = _limit(found, question)
    features = "audited" if before is None else "debiased"
    channel = f" on channel {after.headline_channel}" if found.channels else ""
    subject = "Probes here may extract all" if limit is None else f"No probe here extracts {limit}"
    text = (
        f"{subject} of the {format_bits(found.whole_bits(question))} bits of {name}{GIVEN[question]} "
        f"from the {features} features (headline probe: {after.headline_probe.replace('_', ' ')}{channel}, "
        f"{format_bits(interval.estimate)} bits, {confidence} interval {format_interval(interval)})"
    )
    if before is not None and change is not None:
        earlier = before.leakage_bits
        text += f"; before it was {format_bits(earlier.estimate)} ({format_interval(earlier)})"
        # a paired interval that holds 0 is no evidence of a change, and what no digit shows is none that counts
        if direction(change) > 0:
            text += ": leakage has risen"
        elif direction(change) == 0:
            text += ": not measurably less than before"
    return text + "." + _power_sentence(after, found.whole_bits(question)) + known


def _power_sentence(after: Finding, whole: float) -> str:
    """What would have gone unnoticed; empty where nobody worked it out."""
    # small leakage that shuffled labels reach as well is not distinguished from none
    detectable, p_value = after.detectable_bits, after.p_value_holm
    chance = "" if p_value is None else f" Shuffled labels reach this with p = {format_p(p_value)} (Holm)."
    if detectable is None:
        return chance
    return (
        f"{chance} Leakage below {detectable_words(detectable, whole)} may go unnoticed in a sample of this size (80 % "
        "power)."
    )


def _task_sentence(findings: AuditFindings) -> str:
    score = task_score(findings, "after")
    if score is None:
        return "Nothing was asked of a task."
    if kind_of(findings) == "none":
        return (
            "There is no task: a linear map from the audited features gives back the original ones with an R² of "
            f"{format_score(findings, 'after')}."
        )
    title = score_title(findings, score)
    name = title[0].upper() + title[1:]
    return f"{name} on the audited split: {format_score(findings, 'after')}{_before(findings)}"


def _head_sentence(findings: AuditFindings) -> str:
    """What the trained head itself does; empty without one."""
    if findings.head is None or kind_of(findings) == "none":
        return ""

    def said(side: Side) -> str:
        task = None if findings.head is None else findings.head.task.at(side)
        if task is None:
            return ""
        if isinstance(task, RegressionFindings):
            return f"R² {format_decimals(task.r2.estimate)}"
        worst = task.worst_group_accuracy
        group = "" if worst is None else f", {format_percent(worst)} in the worst group"
        return f"{format_percent(task.accuracy.estimate)}{group}"

    before = said("before")
    return f"The trained head itself: {said('after')}{before and f'; before {before}'}."


def _before(findings: AuditFindings) -> str:
    """What the score was before, and the full stop."""
    known = has_before(findings) and kind_of(findings) != "none" and task_score(findings, "before") is not None
    return f", before {format_score(findings, 'before')}." if known else "."
