"""Leakage in bits: what fresh probes extract of a bias attribute, with intervals.

    leakage      I(z; c)     ≥  H(c) − CE(c given z)
    conditional  I(z; c | y) ≈≥ CE(c given y) − CE(c given z and y)

Both cross-entropies are those of probes that were fitted on other samples, so that each figure is a lower bound on what
the features hold, up to sampling error. Nothing is clamped: features without leakage scatter around 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mibias_cli.evaluation.audit_types import Interval, LeakageFindings, ProbeFindings
from mibias_cli.evaluation.information import (
    conditional_log_probabilities,
    entropy_of_shares,
    prior_log_probabilities,
)
from mibias_cli.evaluation.partition import Fold
from mibias_cli.evaluation.probes import fit_probe
from mibias_cli.evaluation.resampling import Resamples, bootstrap_interval

__all__ = ["ChannelTask", "Measured", "headline", "make_channel_task", "measure", "paired_change"]

LN2 = float(np.log(2))
STRENGTHS = (1.0, 4.0, 16.0, 64.0, 256.0, 1e9)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One question about c, marginal or given y: the facts that a probe is told and the answer without features.

    `extra_*` are the facts (n, e), `baseline_*` log-probabilities (n, K); those of the fitting part come, for rows
    held out in a fold, from the fold's training rows.
    """

    extra_fit: np.ndarray
    extra_score: np.ndarray
    baseline_fit: np.ndarray
    baseline_score: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ChannelTask:
    """One channel of an attribute on one split: everything about leakage that does not depend on the features."""

    channel: str
    n_classes: int
    c_fit: np.ndarray
    c_score: np.ndarray
    folds: Sequence[Fold]
    marginal: Side
    conditional: Side
    chance_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Findings of one channel, with the resampled values behind the intervals, for paired comparisons."""

    findings: LeakageFindings
    draws: np.ndarray
    conditional_draws: np.ndarray


def make_channel_task(
    channel: str, c: np.ndarray, y: np.ndarray, fit: np.ndarray, score: np.ndarray, folds: Sequence[Fold],
    *, n_classes: int, n_y: int,
) -> ChannelTask:  # fmt: skip
    """Prepare one channel: labels and baselines of the fitting and the scored rows.

    Args:
        channel: Its name.
        c, y: Attribute and target classes (n,) of the audited samples.
        fit, score: Rows of the two parts.
        folds: Folds inside the fitting part.
        n_classes, n_y: Number of classes of c and of y.
    """
    c_fit, c_score, y_fit, y_score = c[fit], c[score], y[fit], y[score]
    prior = np.tile(prior_log_probabilities(c_fit, n_classes), (len(c_fit), 1))
    for train, held in folds:
        prior[held] = prior_log_probabilities(c_fit[train], n_classes)
    marginal = Side(
        extra_fit=np.zeros((len(fit), 0)),
        extra_score=np.zeros((len(score), 0)),
        baseline_fit=prior,
        baseline_score=np.tile(prior_log_probabilities(c_fit, n_classes), (len(c_score), 1)),
    )
    one_hot = np.eye(n_y)
    given_fit, given_score = _conditional_baseline(c_fit, y_fit, y_score, folds, n_classes, n_y)
    conditional = Side(
        extra_fit=one_hot[y_fit], extra_score=one_hot[y_score], baseline_fit=given_fit, baseline_score=given_score
    )
    majority = int(np.bincount(c_fit, minlength=n_classes).argmax())
    return ChannelTask(
        channel=channel, n_classes=n_classes, c_fit=c_fit, c_score=c_score, folds=folds,
        marginal=marginal, conditional=conditional, chance_accuracy=float((c_score == majority).mean()),
    )  # fmt: skip


def _conditional_baseline(
    c_fit: np.ndarray, y_fit: np.ndarray, y_score: np.ndarray, folds: Sequence[Fold], n_classes: int, n_y: int
) -> tuple[np.ndarray, np.ndarray]:
    """log p(c | y) for both parts; how strongly rare cells lean on p(c) is chosen on held-out rows.

    A badly smoothed p(c | y) would have too high a cross-entropy and so would feign conditional leakage.
    """
    held_rows = np.concatenate([held for _, held in folds])
    best: tuple[float, float, np.ndarray] | None = None
    for strength in STRENGTHS:
        table = conditional_log_probabilities(y_fit, c_fit, n_y=n_y, n_classes=n_classes, strength=strength)
        values = table[y_fit]
        for train, held in folds:
            part = conditional_log_probabilities(
                y_fit[train], c_fit[train], n_y=n_y, n_classes=n_classes, strength=strength
            )
            values[held] = part[y_fit[held]]
        loss = float(-values[held_rows, c_fit[held_rows]].mean())
        if best is None or loss < best[0]:
            best = (loss, strength, values)
    assert best is not None
    table = conditional_log_probabilities(y_fit, c_fit, n_y=n_y, n_classes=n_classes, strength=best[1])
    return best[2], table[y_score]


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
) -> Measured:
    """Leakage of one channel from one representation, by every probe family; the headline is chosen before scoring.

    Args:
        task: The channel.
        z_fit, z_score: Features (n_fit, d) and (n_score, d).
        probes: Names of the families.
        resamples: Of the scored rows; the same for all that is to be compared.
        confidence: Of the intervals.
        seed: Of the probes.
        advance: Called after each fitted probe.
    """
    c = task.c_score
    found, chosen, terms = _run_probes(task, task.marginal, z_fit, z_score, probes, seed, advance)
    one_hot = np.eye(task.n_classes)[c]
    means = resamples.means(np.concatenate([one_hot, terms[chosen][:, None]], axis=1))
    draws = entropy_of_shares(means[:, :-1]) - means[:, -1]  # H(c) of each resample anew
    entropy = float(entropy_of_shares(one_hot.mean(axis=0)))
    found = {name: replace(f, leakage_bits=entropy - float(terms[name].mean())) for name, f in found.items()}

    given, top_given, terms = _run_probes(task, task.conditional, z_fit, z_score, probes, seed + 1, advance)
    base = -task.conditional.baseline_score[np.arange(len(c)), c] / LN2
    given = {name: replace(f, leakage_bits=float((base - terms[name]).mean())) for name, f in given.items()}
    conditional_draws = resamples.means((base - terms[top_given])[:, None])[:, 0]
    findings = LeakageFindings(
        leakage_bits=bootstrap_interval(found[chosen].leakage_bits, draws, confidence),
        conditional_leakage_bits=bootstrap_interval(given[top_given].leakage_bits, conditional_draws, confidence),
        probes=found,
        conditional_probes=given,
        headline_probe=chosen,
        conditional_headline_probe=top_given,
        headline_channel=task.channel,
        conditional_headline_channel=task.channel,
        chance_accuracy=task.chance_accuracy,
    )
    return Measured(findings=findings, draws=draws, conditional_draws=conditional_draws)


def _run_probes(
    task: ChannelTask,
    side: Side,
    z_fit: np.ndarray,
    z_score: np.ndarray,
    probes: Sequence[str],
    seed: int,
    advance: Callable[[], None],
) -> tuple[dict[str, ProbeFindings], str, dict[str, np.ndarray]]:
    """Findings by probe (leakage still to be filled in), the headline's name, and pointwise cross-entropies in bits."""
    found: dict[str, ProbeFindings] = {}
    terms: dict[str, np.ndarray] = {}
    rows = np.arange(len(task.c_score))
    for name in probes:
        probe = fit_probe(
            name, z_fit, task.c_fit, n_classes=task.n_classes, extra=side.extra_fit, baseline=side.baseline_fit,
            folds=task.folds, seed=seed,
        )  # fmt: skip
        log_p = probe.log_probabilities(z_score, side.extra_score, side.baseline_score)
        terms[name] = -log_p[rows, task.c_score] / LN2
        predicted = probe.predict(z_score, side.extra_score, side.baseline_score)
        accuracy = float((predicted == task.c_score).mean())
        found[name] = ProbeFindings(
            accuracy=accuracy, leakage_bits=float("nan"), selection_bits=probe.selection_bits, setting=probe.setting
        )
        advance()
    chosen = max(found, key=lambda name: found[name].selection_bits)  # by held-out rows of the fitting part alone
    return found, chosen, terms


def headline(measured: dict[str, Measured]) -> Measured:
    """The attribute's findings: those of its leakiest channel by what was found inside the fitting part.

    The leakiest channel by the scored part would be a winner's curse. Marginal and conditional leakage each take
    their own leakiest channel.
    """

    def selection(m: Measured) -> float:
        return m.findings.probes[m.findings.headline_probe].selection_bits

    def conditional_selection(m: Measured) -> float:
        return m.findings.conditional_probes[m.findings.conditional_headline_probe].selection_bits

    top = max(measured.values(), key=selection)
    given = max(measured.values(), key=conditional_selection)
    findings = replace(
        top.findings,
        conditional_leakage_bits=given.findings.conditional_leakage_bits,
        conditional_probes=given.findings.conditional_probes,
        conditional_headline_probe=given.findings.conditional_headline_probe,
        conditional_headline_channel=given.findings.conditional_headline_channel,
        channels={name: m.findings for name, m in measured.items()} if len(measured) > 1 else {},
    )
    return Measured(findings=findings, draws=top.draws, conditional_draws=given.conditional_draws)


def paired_change(before: Measured, after: Measured, confidence: float) -> tuple[Interval, Interval]:
    """After less before, marginal and conditional, over the same resamples."""

    def interval(a: Interval, b: Interval, draws: np.ndarray) -> Interval:
        return bootstrap_interval(b.estimate - a.estimate, draws, confidence)

    a, b = before.findings, after.findings
    return (
        interval(a.leakage_bits, b.leakage_bits, after.draws - before.draws),
        interval(
            a.conditional_leakage_bits,
            b.conditional_leakage_bits,
            after.conditional_draws - before.conditional_draws,
        ),
    )
