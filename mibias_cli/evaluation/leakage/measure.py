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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mibias_cli.evaluation.findings import Interval, LeakageFindings, NullBand, ProbeFindings
from mibias_cli.evaluation.leakage.channel import ChannelTask, Side, make_channel_task
from mibias_cli.evaluation.leakage.scoring import Scored, families, score_probe
from mibias_cli.evaluation.statistics.permutation import null_band, null_means, permutation_p_value
from mibias_cli.evaluation.statistics.resampling import Resamples, bootstrap_interval

__all__ = [
    "ChannelTask",
    "Measured",
    "SideMeasured",
    "headline",
    "make_channel_task",
    "measure",
    "measure_side",
    "paired_change",
]


@dataclass(frozen=True, kw_only=True)
class SideMeasured:
    """One question of one channel answered by every probe; the headline was chosen before scoring.

    `draws` are the resampled values behind the interval, `scored` the headline probe itself.
    """

    interval: Interval
    probes: dict[str, ProbeFindings]
    headline_probe: str
    null: NullBand | None
    p_value: float | None
    draws: np.ndarray
    scored: Scored

    @property
    def selection_bits(self) -> float:
        """The headline's score inside the fitting part."""
        return self.probes[self.headline_probe].selection_bits


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Findings of one channel, with the resampled values behind the intervals, for paired comparisons."""

    findings: LeakageFindings
    draws: np.ndarray
    conditional_draws: np.ndarray


def measure_side(
    task: ChannelTask,
    side: Side,
    z_fit: np.ndarray,
    z_score: np.ndarray,
    *,
    probes: Sequence[str],
    resamples: Resamples,
    confidence: float,
    seed: int,
    advance: Callable[[], None],
) -> SideMeasured:
    """One question about one channel, put to every probe family.

    Args:
        task: The channel.
        side: Its marginal or conditional question.
        z_fit, z_score: Features (n_fit, d) and (n_score, d).
        probes: Names of the families; a continuous attribute is put to regressors too.
        resamples: Of the scored rows; the same for all that is to be compared.
        confidence: Of the intervals.
        seed: Of the probes.
        advance: Called after each fitted probe.
    """
    scored: dict[str, Scored] = {}
    for name in families(probes, task.kind):
        scored[name] = score_probe(name, task, side, z_fit, z_score, seed)
        advance()
    # by held-out rows of the fitting part alone: the strongest on the scored part would be a winner's curse
    chosen = max(scored, key=lambda name: scored[name].findings.selection_bits)
    top = scored[chosen]
    terms = top.score.gains()
    draws = resamples.means(terms[:, None])[:, 0] - top.price_bits
    interval = bootstrap_interval(
        float(terms.mean()) - top.price_bits, draws, confidence, n_units=resamples.n_units, extra_sd=top.price_sd_bits
    )
    found = {
        name: replace(s.findings, leakage_bits=float(s.score.gains().mean()) - s.price_bits)
        for name, s in scored.items()
    }
    null = None
    if side.shuffles.n_permutations:
        shuffled = null_means([s.score for s in scored.values()], side.shuffles)
        for column, (name, s) in zip(shuffled.T, scored.items(), strict=True):
            p = permutation_p_value(float(s.score.gains().mean()), column)
            found[name] = replace(found[name], p_value=p)
            if name == chosen:
                null = null_band(column - s.price_bits, confidence)
    return SideMeasured(
        interval=interval, probes=found, headline_probe=chosen, null=null, p_value=found[chosen].p_value,
        draws=draws, scored=top,
    )  # fmt: skip


def measure(
    task: ChannelTask,
    z_fit: np.ndarray,
    z_score: np.ndarray,
    *,
    probes: Sequence[str],
    resamples: Resamples,
    confidence: float,
    seed: int,
    advance: Callable[[], None],
    conditional: bool = True,
) -> Measured:
    """Leakage of one channel from one representation, marginal and given the target, by every probe family.

    Args: as of `measure_side`; `conditional`: whether there is a target that something could be given.
    """

    def ask(side: Side, seed: int) -> SideMeasured:
        return measure_side(
            task, side, z_fit, z_score, probes=probes, resamples=resamples, confidence=confidence, seed=seed,
            advance=advance,
        )  # fmt: skip

    marginal = ask(task.marginal, seed)
    given = ask(task.conditional, seed + 1) if conditional else None
    n_features = int((np.ptp(z_fit, axis=0) > 0).sum())
    detectable = task.detectable_bits(n_features)
    findings = LeakageFindings(
        leakage_bits=marginal.interval,
        conditional_leakage_bits=None if given is None else given.interval,
        probes=marginal.probes,
        conditional_probes={} if given is None else given.probes,
        headline_probe=marginal.headline_probe,
        conditional_headline_probe=None if given is None else given.headline_probe,
        headline_channel=task.channel,
        conditional_headline_channel=None if given is None else task.channel,
        chance_accuracy=task.chance_accuracy,
        null=marginal.null,
        p_value=marginal.p_value,
        detectable_bits=detectable,
        conditional_null=None if given is None else given.null,
        conditional_p_value=None if given is None else given.p_value,
        conditional_detectable_bits=None if given is None else detectable,
    )
    draws = marginal.draws[:0] if given is None else given.draws
    return Measured(findings=findings, draws=marginal.draws, conditional_draws=draws)


def headline(measured: dict[str, Measured]) -> Measured:
    """The attribute's findings: those of its leakiest channel by what was found inside the fitting part.

    The leakiest channel by the scored part would be a winner's curse. Marginal and conditional leakage each take
    their own leakiest channel.
    """

    def selection(m: Measured) -> float:
        return m.findings.probes[m.findings.headline_probe].selection_bits

    def conditional_selection(m: Measured) -> float:
        if m.findings.conditional_headline_probe is None:
            return 0.0
        return m.findings.conditional_probes[m.findings.conditional_headline_probe].selection_bits

    top = max(measured.values(), key=selection)
    given = max(measured.values(), key=conditional_selection)
    conditional = {
        name: getattr(given.findings, name)
        for name in LeakageFindings.__dataclass_fields__
        if name.startswith("conditional_")
    }
    channels = {name: m.findings for name, m in measured.items()} if len(measured) > 1 else {}
    return Measured(
        findings=replace(top.findings, **conditional, channels=channels),
        draws=top.draws,
        conditional_draws=given.conditional_draws,
    )


def paired_change(
    before: Measured, after: Measured, confidence: float, *, n_units: int | None = None
) -> tuple[Interval, Interval | None]:
    """After less before, marginal and conditional (None without a target), over the same resamples.

    Args:
        before, after: Measured on the same scored rows with the same resamples.
        confidence: Of the intervals.
        n_units: Of the resamples: how many samples or groups were drawn from.
    """

    def interval(a: Interval, b: Interval, draws: np.ndarray) -> Interval:
        return bootstrap_interval(b.estimate - a.estimate, draws, confidence, n_units=n_units)

    a, b = before.findings, after.findings
    given_a, given_b = a.conditional_leakage_bits, b.conditional_leakage_bits
    conditional = None
    if given_a is not None and given_b is not None:
        conditional = interval(given_a, given_b, after.conditional_draws - before.conditional_draws)
    return interval(a.leakage_bits, b.leakage_bits, after.draws - before.draws), conditional
