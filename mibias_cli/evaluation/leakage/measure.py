"""Leakage in bits: what fresh probes extract of a bias attribute, with intervals and controls.

    leakage      I(z; c)     ≥  H(c) − CE(c given z)
    conditional  I(z; c | y) ≈≥ CE(c given y) − CE(c given z and y)

Both cross-entropies are those of probes that were fitted on other samples, so that each figure is a lower bound on what
the features hold, up to sampling error. Nothing is clamped: features without leakage scatter around 0.

H(c) − CE is measured as the mean gain of the probe over class shares that were estimated on the fitting part, less what
their estimation costs on average: so a figure is a mean over scored samples, and its interval is honest however small
the leakage is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mibias_cli.evaluation.leakage.channel import ChannelTask, Question
from mibias_cli.evaluation.leakage.evidence import Evidence, View
from mibias_cli.evaluation.leakage.scoring import Ask, Scored, fit_and_score
from mibias_cli.evaluation.leakage_findings import (
    NO_PROBE,
    Change,
    Finding,
    Interval,
    Leakage,
    ProbeFindings,
    QuestionName,
)
from mibias_cli.evaluation.probes.families import HEAD, screen
from mibias_cli.evaluation.statistics.partition import Fold
from mibias_cli.evaluation.statistics.permutation import null_band, permutation_p_value
from mibias_cli.evaluation.statistics.resampling import Resamples, bootstrap_interval

__all__ = ["Answer", "Measured", "Terms", "answer", "answered", "asks", "headline", "paired_change"]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How probes are put to features, whichever these are.

    The resamples are of the scored rows, and the same for all that is to be compared. `advance` is called after each
    fitted probe.
    """

    probes: Sequence[str]
    resamples: Resamples
    confidence: float
    seed: int
    advance: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question about one channel, answered by every probe, with the resampled values behind its interval."""

    finding: Finding
    draws: np.ndarray

    def renamed(self, channel: str) -> Answer:
        """The same of another channel that holds the same labels."""
        return replace(self, finding=self.finding.model_copy(update={"headline_channel": channel}))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Both answers about one channel; `conditional` is None where there is no target."""

    marginal: Answer
    conditional: Answer | None
    chance_accuracy: float

    def answer(self, kind: QuestionName) -> Answer | None:
        """The answer to one question; None where it was not asked."""
        return self.marginal if kind == "marginal" else self.conditional

    @property
    def leakage(self) -> Leakage:
        """What was found, without the resampled values."""
        return Leakage(
            marginal=self.marginal.finding,
            conditional=None if self.conditional is None else self.conditional.finding,
            chance_accuracy=self.chance_accuracy,
        )


def asks(task: ChannelTask, question: Question, views: Mapping[str, View], terms: Terms) -> Iterator[Ask]:
    """One question about one channel, to every probe family; none where there is nothing to ask.

    `views` is what each family reads.
    """
    if question.determined:
        return
    of_features = [family for family in terms.probes if family != HEAD]
    if of_features:
        screen(views[of_features[0]].sight, of_features, task.c_fit, task.folds)
    for family in terms.probes:
        view = views[family]
        yield Ask(
            family=family, task=task, question=question, sight=view.sight, scored=view.scored,
            seed=terms.seed + question.stream,
        )  # fmt: skip


def answer(task: ChannelTask, question: Question, evidence: Evidence, parts: Fold, terms: Terms) -> Answer:
    """Put one question about one channel to every probe family; `parts` are the rows of the task's two parts."""
    terms = replace(terms, probes=evidence.probes(terms.probes))
    views = evidence.views(*parts, terms.probes, seed=terms.seed)
    return answered(task, question, terms, map(fit_and_score, asks(task, question, views, terms)))


def answered(task: ChannelTask, question: Question, terms: Terms, found: Iterator[Scored]) -> Answer:
    """The answer to one question from what its probes found, of which as many are taken as were asked."""
    if question.determined:
        return _nothing(task, terms)
    scored: dict[str, Scored] = {}
    for name in terms.probes:
        scored[name] = next(found)
        terms.advance()
    # by held-out rows of the fitting part alone: the strongest on the scored part would be a winner's curse
    chosen = max(scored, key=lambda name: scored[name].findings.selection_bits)
    top = scored[chosen]
    # leakage is a mean over scored rows of log2 q(c | z) - log2 q(c), so a bootstrap of that mean is its interval;
    # the price is what q(c), itself estimated, makes of it on average
    draws = terms.resamples.means(top.gains[:, None])[:, 0] - top.price_bits
    interval = bootstrap_interval(
        float(top.gains.mean()) - top.price_bits, draws, terms.confidence, n_units=terms.resamples.n_units,
        extra_sd=top.price_sd_bits,
    )  # fmt: skip
    told = {}
    for name, s in scored.items():
        mean = float(s.gains.mean())
        p = permutation_p_value(mean, s.shuffled) if len(s.shuffled) else None
        told[name] = s.findings.model_copy(update={"leakage_bits": mean - s.price_bits, "p_value": p})
    null = null_band(top.shuffled - top.price_bits, terms.confidence) if len(top.shuffled) else None
    finding = Finding(
        leakage_bits=interval, probes=told, headline_probe=chosen, headline_channel=task.channel, null=null,
        p_value=told[chosen].p_value, detectable_bits=task.detectable_bits(top.n_features),
    )  # fmt: skip
    return Answer(finding=finding, draws=draws)


def _nothing(task: ChannelTask, terms: Terms) -> Answer:
    """The answer where the target determines c, so that H(c | y) = 0: exactly 0, as no probe's would be."""
    for _ in terms.probes:
        terms.advance()
    setting = "not asked: the target determines the attribute"
    finding = Finding(
        leakage_bits=Interval(estimate=0.0, lower=0.0, upper=0.0), headline_probe=NO_PROBE,
        probes={NO_PROBE: ProbeFindings(leakage_bits=0.0, selection_bits=0.0, setting=setting)},
        headline_channel=task.channel,
    )  # fmt: skip
    return Answer(finding=finding, draws=terms.resamples.means(np.zeros((len(task.c_score), 1)))[:, 0])


def headline(channels: Mapping[str, Leakage]) -> Leakage:
    """The attribute's leakage: that of its leakiest channel by what was found inside the fitting part.

    The leakiest channel by the scored part would be a winner's curse. Marginal and conditional leakage each take
    their own leakiest channel.
    """
    top = max(channels.values(), key=lambda found: found.marginal.selection_bits)
    given = [found.conditional for found in channels.values() if found.conditional is not None]
    return Leakage(
        marginal=top.marginal,
        conditional=max(given, key=lambda finding: finding.selection_bits, default=None),
        chance_accuracy=top.chance_accuracy,
    )


def paired_change(
    before: Mapping[str, Measured], after: Mapping[str, Measured], confidence: float, *, n_units: int | None = None
) -> Change:
    """After less before, marginal and conditional, of each side's headline channel over the same resamples.

    Both sides, by channel, were measured on the same scored rows. `n_units` samples or groups were drawn from.
    """

    def interval(a: Answer, b: Answer) -> Interval:
        # row by row the same samples on both sides: what they share cancels in the difference
        estimate = b.finding.leakage_bits.estimate - a.finding.leakage_bits.estimate
        return bootstrap_interval(estimate, b.draws - a.draws, confidence, n_units=n_units)

    marginal = [_leakiest([m.marginal for m in side.values()]) for side in (before, after)]
    given = [[m.conditional for m in side.values() if m.conditional is not None] for side in (before, after)]
    return Change(
        leakage_bits=interval(*marginal),
        conditional_leakage_bits=interval(*map(_leakiest, given)) if all(given) else None,
    )


def _leakiest(answers: Sequence[Answer]) -> Answer:
    return max(answers, key=lambda found: found.finding.selection_bits)
