"""The verdict in plain words: a few sentences that an engineer repeats to whoever decides."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import product

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import QUESTIONS, SIDES, QuestionName, SizeCurve
from mibias_cli.report.numbers import SPACE, detectable_words, direction, format_bits, format_decimals, format_interval
from mibias_cli.report.tables import NAMES
from mibias_cli.report.task.score import has_before
from mibias_cli.report.task.summary import (
    MAX_NAMED,
    cost_sentence,
    forgetting_sentence,
    head_sentence,
    worse_clauses,
    worst_group_sentence,
)

__all__ = ["EMPTY_FEATURES", "GIVEN", "MAX_NAMED", "headline_note", "listed", "rises", "summarise"]

GIVEN: dict[QuestionName, str] = {"marginal": "", "conditional": " given the target"}
EMPTY_FEATURES = "Features that hold nothing leak nothing, so low leakage below is no success."
"""Said of every collapse."""
_MOST_CLAUSES = 6


def summarise(
    findings: AuditFindings, question: QuestionName, debiased: Collection[str] | None = None, *, collapsed: bool = False
) -> tuple[str, ...]:
    """What was asked for, what fell, what it cost, the worst group, what got worse, and what nobody can say.

    All speaks of one question, I(z; c) or I(z; c | y), but a rise of the other one. `debiased` are the attributes that
    features were asked to forget; None: all that are audited.
    """
    # a rise in the question that was asked has its own sentence
    rose = rises(findings, [name for name in QUESTIONS if name != question])
    worse = [*rose, *worse_clauses(findings)]
    changes = [found.change.answer(question) for found in findings.attributes.values() if found.change is not None]
    # what is paid for is less leakage, or rows that are forgotten
    bought = findings.forgetting is not None or any(change is not None and direction(change) < 0 for change in changes)
    sentences = (
        EMPTY_FEATURES if collapsed else "",
        _asked(findings, question, debiased),
        *_leakage(findings, question),
        cost_sentence(findings, bought=bought),
        head_sentence(findings, bought=bought),
        forgetting_sentence(findings),
        worst_group_sentence(findings),
        f"Worse than before: {'; '.join(worse)}." if worse else "",
        _limit(findings, question),
        *_growing(findings),
        *_pooled(findings),
    )
    return tuple(sentence for sentence in sentences if sentence)


def rises(findings: AuditFindings, questions: Sequence[QuestionName]) -> list[str]:
    """Leakage that is measurably more than before: the paired interval lies above 0, and digits show it."""
    return [
        f"leakage of {name}{GIVEN[question]} has risen by {format_bits(change.estimate)} bits "
        f"({format_interval(change)})"
        for name, found in findings.attributes.items()
        for question in questions
        if found.change is not None and (change := found.change.answer(question)) is not None and direction(change) > 0
    ]


def headline_note(findings: AuditFindings) -> str:
    """Where another probe finds more on the scored samples than the headline's, on either side; empty where none does.

    The headline's probe is the one that did best on held-out rows of the fitting part.
    """
    clauses = list(_above_headline(findings))
    if not clauses:
        return ""
    more = f"; and {len(clauses) - _MOST_CLAUSES} more" if len(clauses) > _MOST_CLAUSES else ""
    return (
        f"Other probes find more than the headline's on these samples, in bits: {'; '.join(clauses[:_MOST_CLAUSES])}"
        f"{more}. The headline's probe is chosen on other samples, so that no figure is picked for its luck."
    )


def _above_headline(findings: AuditFindings) -> Iterator[str]:
    """Each channel, question and side of which another probe finds more than the headline's, by the digits shown."""
    channels = (
        pair for name, found in findings.attributes.items() for pair in (found.channels or {name: found}).items()
    )
    for name, found in channels:
        for question, side in product(QUESTIONS, SIDES):
            leakage = found.at(side)
            answer = None if leakage is None else leakage.answer(question)
            if answer is None or not answer.probes:
                continue
            probe = max(answer.probes, key=lambda each: answer.probes[each].leakage_bits)
            most, headline = answer.probes[probe].leakage_bits, answer.leakage_bits.estimate
            if most > headline and format_bits(most) != format_bits(headline):
                yield (
                    f"{name}{GIVEN[question]}, {NAMES[side]}: {probe.replace('_', ' ')} {format_bits(most)} (headline: "
                    f"{answer.headline_probe.replace('_', ' ')} {format_bits(headline)})"
                )


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _asked(findings: AuditFindings, question: QuestionName, debiased: Collection[str] | None) -> str:
    beyond = " beyond what the target itself tells" if question == "conditional" else ""
    names = list(findings.attributes)
    asked = names if debiased is None else [name for name in names if name in debiased]
    # weights that nobody debiased were asked for nothing
    if not has_before(findings) or not asked:
        return f"What was measured: how much the features tell of {_few(names)}{beyond}."
    beside = [name for name in names if name not in asked]
    measured = f" Measured beside it, and not asked for: {_few(beside)}." if beside else ""
    return f"What was asked for: features that tell less of {_few(asked)}{beyond}.{measured}"


def _few(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return listed([*names[:MAX_NAMED], f"{more} more"] if more > 0 else list(names))


def _leakage(findings: AuditFindings, question: QuestionName) -> Iterator[str]:
    """What became of each attribute's leakage: those that rose, then those of which the largest share is left."""

    def rank(name: str) -> tuple[bool, float]:
        found = findings.attributes[name]
        change, answer = None if found.change is None else found.change.answer(question), found.after.answer(question)
        whole = found.whole_bits(question)
        left = 0.0 if answer is None or whole <= 0 else answer.leakage_bits.estimate / whole
        return change is None or direction(change) <= 0, -left

    names = sorted(findings.attributes, key=rank)
    # a rise is never left out
    shown = [name for k, name in enumerate(names) if k < MAX_NAMED or not rank(name)[0]]
    for name in shown:
        yield _attribute(name, findings, question)
    if len(names) > len(shown):
        yield f"Of {len(names) - len(shown)} further attributes no larger share is left."


def _attribute(name: str, findings: AuditFindings, question: QuestionName) -> str:
    found = findings.attributes[name]
    before, after = (None if at is None else at.answer(question) for at in (found.before, found.after))
    change = None if found.change is None else found.change.answer(question)
    assert after is not None, "the question was asked"
    if after.is_determined:
        return (
            f"The target determines {name} on the audited samples: beyond the target nothing is left that could leak."
        )
    confidence = f"{100 * findings.settings.confidence:g}{SPACE}% interval"
    now, whole = format_bits(after.leakage_bits.estimate), format_bits(found.whole_bits(question))
    if before is None or change is None:
        interval = format_interval(after.leakage_bits)
        return f"Leakage of {name}{GIVEN[question]} is {now} of {whole} bits ({confidence} {interval})."
    was = format_bits(before.leakage_bits.estimate)
    lower, upper = (format_decimals(end, signed=True) for end in (change.lower, change.upper))
    paired = f"change {format_decimals(change.estimate, signed=True)}, {confidence} {lower} to {upper}"
    # an interval that holds 0 is no evidence of a change
    way = direction(change)
    if not way or was == now:
        said = "hardly changed" if change.upper < 0 or change.lower > 0 else "did not measurably change"
        return f"Leakage of {name}{GIVEN[question]} {said}: it was {was} and is {now} of {whole} bits ({paired})."
    verb = "rose" if way > 0 else "fell"
    # an interval that holds 0 is no word on chance where shuffled labels hardly ever reach the figure
    by_chance = after.p_value_holm is None or after.p_value_holm > 1 - findings.settings.confidence
    is_none = after.leakage_bits.lower <= 0 and by_chance
    none = "; what is left is not told apart from nothing" if is_none else ""
    return f"Leakage of {name}{GIVEN[question]} {verb} from {was} to {now} of {whole} bits ({paired}){none}."


def _limit(findings: AuditFindings, question: QuestionName) -> str:
    """What would have gone unnoticed at this sample size, by the question that was asked."""
    limits = [
        f"{detectable_words(answer.detectable_bits, found.whole_bits(question))} of {name}"
        for name, found in findings.attributes.items()
        if (answer := found.after.answer(question)) is not None and answer.detectable_bits is not None
    ]
    start = f"What nobody can say from {findings.samples.audit} samples: "
    if not limits:
        return f"{start}other probes than these may find more."
    below = f"leakage{GIVEN[question]} below {_few(limits)}"
    return f"{start}{below} may go unnoticed (80{SPACE}% power), and other probes than these may find more."


def _growing(findings: AuditFindings) -> Iterator[str]:
    """Figures that more samples would raise."""
    for name, found in findings.attributes.items():
        sizes = found.sizes
        both = () if sizes is None else (("before, ", sizes.before), ("after, ", sizes.after))
        growing = [(side, curve) for side, curve in both if curve is not None and curve.grows_with_n]
        if sizes is None or not growing:
            continue
        told = "; ".join(f"{side if sizes.before else ''}the {_steps(curve)}" for side, curve in growing)
        yield (
            f"Unreliable: leakage of {name}{GIVEN[sizes.after.question]} still grows with n: {told}. Fitted on more "
            "samples, probes would find more."
        )


def _pooled(findings: AuditFindings) -> Iterator[str]:
    """Classes that are not told apart, of every channel: each has figures of its own, and may be a side's headline."""
    counted = "that probes counted together, as some have too few samples"
    for name, found in findings.attributes.items():
        channels = {f"{name}, {channel}": c.pooled for channel, c in found.channels.items()} or {name: found.pooled}
        rare = {place: _few(pooled) for place, pooled in channels.items() if pooled}
        for place, few in list(rare.items())[:MAX_NAMED]:
            yield f"Classes of {place} {counted}: {few}; H(c) and I(y; c) are of all classes as they are."
        if len(rare) > MAX_NAMED:
            yield f"So it is with {len(rare) - MAX_NAMED} more channels of {name}."
    for name, sides in findings.fidelity.columns.items():
        if sides.after.pooled:
            yield f"Classes of the column {name} {counted}: {_few(sides.after.pooled)}; its entropy is of these."


def _steps(curve: SizeCurve) -> str:
    half, whole = curve.points[-2:]
    return (
        f"{curve.probe.replace('_', ' ')} probe finds {format_bits(half.leakage_bits.estimate)} bits from {half.n_fit} "
        f"samples and {format_bits(whole.leakage_bits.estimate)} from {whole.n_fit}"
    )
