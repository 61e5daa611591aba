"""A probe on the scored rows: how much better than the baseline it predicts each label, and any other label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mibias_cli.evaluation.leakage.channel import ChannelTask, Question
from mibias_cli.evaluation.leakage_findings import ProbeFindings
from mibias_cli.evaluation.probes.families import REGRESSORS, FittedProbe, fit_probe, fit_regressor
from mibias_cli.evaluation.probes.scaling import Seen, Sight
from mibias_cli.evaluation.statistics.permutation import null_means
from mibias_cli.evaluation.statistics.ranking import auroc

__all__ = ["Ask", "Scored", "families", "fit_and_score", "score_probe"]

LN2 = float(np.log(2))
MOST_RANKED = 100  # classes, each of which is ranked against the rest
ROWS = 2000  # scored at a time: thousands of quadratic features of all rows would fall out of the cache, then of memory


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One fitted probe, scored; leakage and p-value in `findings` are still to be filled in. A regressor is no `probe`.

    `gains` are in bits, for each scored row; `shuffled` their means where labels are shuffled (n_permutations,).
    `price_bits` and `price_sd_bits` are what gains overstate on average, and the standard deviation of that.
    """

    findings: ProbeFindings
    gains: np.ndarray
    shuffled: np.ndarray
    n_features: int
    probe: FittedProbe | None
    price_bits: float
    price_sd_bits: float


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One question to one probe family: all that a process needs to answer it."""

    family: str
    task: ChannelTask
    question: Question
    sight: Sight
    scored: Seen
    seed: int


def fit_and_score(ask: Ask) -> Scored:
    """`score_probe` without the probe itself, which is larger than all that it found."""
    found = score_probe(ask.family, ask.task, ask.question, ask.sight, ask.scored, ask.seed)
    return replace(found, probe=None)


def families(probes: Sequence[str], kind: str) -> tuple[str, ...]:
    """The families to which questions are put: of a continuous attribute, probes of its bins and regressors."""
    return (*probes, *(REGRESSORS if kind == "continuous" else ()))


# products of finite numbers set this flag on some processors, for what their BLAS reads beside them; what probes are
# given has been looked through for numbers that are not finite
@np.errstate(invalid="ignore")
def score_probe(name: str, task: ChannelTask, question: Question, sight: Sight, scored: Seen, seed: int) -> Scored:
    """Fit one family on the fitting part and score it on the other."""
    if name in REGRESSORS:
        return _score_regressor(name, task, question, sight, scored, seed)
    probe = fit_probe(
        name, sight, task.c_fit, n_classes=task.n_classes, extra=question.extra_fit, baseline=question.baseline_fit,
        folds=task.folds, seed=seed,
    )  # fmt: skip
    parts = [slice(start, start + ROWS) for start in range(0, len(task.c_score), ROWS)]
    said = [
        probe.predict(scored.part(part), question.extra_score[part], question.baseline_score[part]) for part in parts
    ]
    predicted, log_p = (np.concatenate(halves) for halves in zip(*said, strict=True))
    # told the target, a probe would rank by that as well
    ranked = question.extra_score.shape[1] == 0 and task.n_classes <= MOST_RANKED
    findings = ProbeFindings(
        accuracy=float((predicted == task.c_score).mean()),
        auroc=auroc(np.exp(log_p), task.c_score) if ranked else None, leakage_bits=float("nan"),
        selection_bits=probe.selection_bits, setting=probe.setting,
    )  # fmt: skip
    # differences of log-probabilities: their mean is the baseline's cross-entropy less the probe's, a lower bound on
    # what the features tell, however poor the probe is
    gains = (log_p - question.baseline_score) / LN2
    # each sample's row of that table, flat
    starts = np.arange(len(gains)) * task.n_classes
    prices = question.price_bits, question.price_sd_bits
    return _scored(findings, lambda c: gains.ravel()[starts + c], task.c_score, question, sight, probe, prices)


def _score_regressor(name: str, task: ChannelTask, question: Question, sight: Sight, scored: Seen, seed: int) -> Scored:
    from sklearn.metrics import r2_score

    c_fit, c_score = question.numbers
    assert c_fit is not None
    assert c_score is not None
    tuned = fit_regressor(name, sight, c_fit, extra=question.extra_fit, folds=task.folds, seed=seed)
    predicted, calibration = tuned.learner.answer(tuned.seen(scored, question.extra_score)), tuned.calibration
    findings = ProbeFindings(
        accuracy=None, leakage_bits=float("nan"), selection_bits=calibration.gain_bits, setting=tuned.setting,
        r2=float(r2_score(c_score, predicted)),
    )  # fmt: skip
    # normal scores by the fitting part's ranks: a mean and a variance were estimated, each costs 1 / 2n nats
    price = 1 / (len(c_fit) * LN2)
    return _scored(
        findings, lambda c: calibration.density_gains(predicted, c) / LN2, c_score, question, sight, None,
        (price, price),
    )  # fmt: skip


def _scored(
    findings: ProbeFindings, gains_of: Callable[[np.ndarray], np.ndarray], c: np.ndarray, question: Question,
    sight: Sight, probe: FittedProbe | None, prices: tuple[float, float],
) -> Scored:  # fmt: skip
    """`gains_of` gives the gains in bits (…, n) on labels (…, n) of the n scored rows, whose own are c (n,)."""
    # the same shuffles for every probe; under the null c and z are independent (given y, for the conditional)
    return Scored(
        findings=findings, gains=gains_of(c), shuffled=null_means(lambda rows: gains_of(c[rows]), question.shuffles),
        n_features=int((np.ptp(sight.seen.z, axis=0) > 0).sum()), probe=probe, price_bits=prices[0],
        price_sd_bits=prices[1],
    )  # fmt: skip
