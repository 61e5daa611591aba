"""One channel of an attribute on one split: everything about its leakage that does not depend on the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.evaluation.leakage_findings import QuestionName
from mibias_cli.evaluation.statistics.information import conditional_log_probabilities, prior_log_probabilities
from mibias_cli.evaluation.statistics.normal_scores import normal_scores
from mibias_cli.evaluation.statistics.partition import Fold
from mibias_cli.evaluation.statistics.permutation import ShuffledRows, detectable_bits

__all__ = ["ChannelTask", "Question", "frequency_price", "make_channel_task"]

LN2 = float(np.log(2))
CHANCE = 1e-6
STRENGTHS = (1.0, 4.0, 16.0, 64.0, 256.0, 1e9)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about c, marginal or given y: the facts that a probe is told and the answer without features.

    `extra_*` are the facts (n, e), `baseline_*` log-probabilities (n, K); those of the fitting part come, for rows
    held out in a fold, from the fold's training rows. `numbers` are a continuous attribute's normal scores (n,) in both
    parts, else None. `price_bits` is what a gain over the baseline overstates on average, because the baseline was
    estimated, and `price_sd_bits` the standard deviation of that. Where what the probe is
    told has `determined` c, there is nothing to ask. `stream` is added to a probe's seed: the two questions draw apart.
    """

    extra_fit: np.ndarray
    extra_score: np.ndarray
    baseline_fit: np.ndarray
    baseline_score: np.ndarray
    shuffles: ShuffledRows
    price_bits: float = 0.0
    price_sd_bits: float = 0.0
    numbers: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    determined: bool = False
    stream: int = 0


@dataclass(frozen=True, kw_only=True)
class ChannelTask:
    """One channel: its labels in both parts, the folds, and the two questions.

    `n_fit_units` and `n_score_units` count samples, or groups where there are some.
    """

    channel: str
    n_classes: int
    c_fit: np.ndarray
    c_score: np.ndarray
    folds: Sequence[Fold]
    marginal: Question
    conditional: Question
    chance_accuracy: float
    n_fit_units: int
    n_score_units: int

    def question(self, kind: QuestionName) -> Question:
        """The one of this kind."""
        return self.marginal if kind == "marginal" else self.conditional

    def equals(self, other: ChannelTask) -> bool:
        """Whether the other channel holds the same labels and numbers on the same rows, whatever it is called."""
        own, others = ((t.c_fit, t.c_score, *t.marginal.numbers) for t in (self, other))
        pairs = [(a, b) for a, b in zip(own, others, strict=True) if a is not None and b is not None]
        return self.n_classes == other.n_classes and all(np.array_equal(a, b) for a, b in pairs)

    @property
    def kind(self) -> str:
        """categorical or continuous."""
        return "categorical" if self.marginal.numbers[0] is None else "continuous"

    def detectable_bits(self, n_features: int) -> float:
        """The smallest leakage from so many features that this sample detects."""
        # of a number there is one direction to find, as of two classes
        n_classes = 2 if self.kind == "continuous" else len(np.unique(self.c_fit))
        return detectable_bits(self.n_fit_units, self.n_score_units, n_features, n_classes=n_classes)


def make_channel_task(
    channel: str, c: np.ndarray, y: np.ndarray, fit: np.ndarray, score: np.ndarray, folds: Sequence[Fold],
    *, n_classes: int, n_y: int, values: np.ndarray | None = None, group: np.ndarray | None = None,
    n_permutations: int = 0, seed: int = 0, unpooled: np.ndarray | None = None,
) -> ChannelTask:  # fmt: skip
    """Prepare one channel: labels and baselines of the fitting and the scored rows.

    c, y, values (behind a continuous attribute's bins) and group are of all audited samples (n,); the folds are rows of
    the fitting part. The seed is that of the shuffles and of ties broken at random.
    """
    c_fit, c_score, y_fit, y_score = c[fit], c[score], y[fit], y[score]
    group_fit, group_score = (None, None) if group is None else (group[fit], group[score])

    def shuffles(stratum: np.ndarray | None) -> ShuffledRows:
        return ShuffledRows(len(score), n_permutations, stratum=stratum, group=group_score, seed=seed)

    def numbers(given: bool) -> tuple[np.ndarray | None, np.ndarray | None]:
        if values is None:
            return None, None
        strata = (y_fit, y_score) if given else (None, None)
        return normal_scores(values[fit], values[score], *strata, seed=seed)

    # marginal question: what is known of c without features is its shares, H(c) in the end
    prior = np.tile(prior_log_probabilities(c_fit, n_classes), (len(c_fit), 1))
    # held-out rows get shares from the fold's training rows, as the probe does
    for train, held in folds:
        prior[held] = prior_log_probabilities(c_fit[train], n_classes)
    both = None if group is None else group[np.concatenate([fit, score])]
    # shares are estimates: a probe's gain over them is larger than its gain over the truth
    price, price_sd = frequency_price(c_fit, c_score, n_classes, both)
    marginal = Question(
        extra_fit=np.zeros((len(fit), 0)), extra_score=np.zeros((len(score), 0)), baseline_fit=prior,
        baseline_score=np.tile(prior_log_probabilities(c_fit, n_classes), (len(c_score), 1)),
        shuffles=shuffles(None), price_bits=price, price_sd_bits=price_sd, numbers=numbers(False),
    )  # fmt: skip
    # conditional question: the probe is told y as well, and must beat p(c | y)
    one_hot = np.eye(n_y)
    given_fit, given_score = _conditional_baseline(c_fit, y_fit, y_score, folds, n_classes, n_y)
    conditional = Question(
        extra_fit=one_hot[y_fit], extra_score=one_hot[y_score], baseline_fit=given_fit, baseline_score=given_score,
        shuffles=shuffles(y_score), numbers=numbers(True), stream=1,
        determined=_is_determined(_finest(c, values, unpooled), y, np.concatenate([fit, score])),
    )  # fmt: skip
    # chance is what guessing the fitting part's commonest class would get
    majority = int(np.bincount(c_fit, minlength=n_classes).argmax())
    return ChannelTask(
        channel=channel, n_classes=n_classes, c_fit=c_fit, c_score=c_score, folds=folds,
        marginal=marginal, conditional=conditional, chance_accuracy=float((c_score == majority).mean()),
        n_fit_units=len(fit if group_fit is None else np.unique(group_fit)),
        n_score_units=len(score if group_score is None else np.unique(group_score)),
    )  # fmt: skip


def _finest(c: np.ndarray, values: np.ndarray | None, unpooled: np.ndarray | None) -> np.ndarray:
    """The attribute before it was binned or pooled: what a target must determine to leave nothing to ask."""
    return next(labels for labels in (values, unpooled, c) if labels is not None)


def _is_determined(c: np.ndarray, y: np.ndarray, rows: np.ndarray) -> bool:
    """Whether H(c | y) = 0 on these rows, and not for want of samples: many small classes of y would look so too."""
    labels, strata = (np.unique(a[rows], return_inverse=True)[1].reshape(-1) for a in (c, y))
    pairs = np.unique(np.stack([strata, labels]), axis=1)
    sizes = np.bincount(strata)
    if pairs.shape[1] > len(sizes):
        return False
    # the probability that each class of y has one label only, if labels were dealt at random
    shares = np.bincount(labels) / len(labels)
    return bool(np.log((shares[:, None] ** sizes).sum(axis=0)).sum() < np.log(CHANCE))


def frequency_price(
    c_fit: np.ndarray, c_score: np.ndarray, n_classes: int, group: np.ndarray | None = None
) -> tuple[float, float]:
    """By how much class shares estimated on c_fit cost more than the true ones, in bits: mean and standard deviation.

    A probe's gain over the estimated shares is larger than its gain over the true ones by KL(p ‖ p_fit). That is what
    the fitting part differs from both parts together, which is seen, and what those differ from the truth, about
    χ²(K − 1) / 2n; with groups, by as much more as shares scatter more between groups than single samples would.

    `group` holds the ids of both parts, one after the other.

    Example:
        >>> c = np.arange(1000) % 2
        >>> price, _ = frequency_price(c, c, 2)
        >>> round(float(price * 2 * 2000 * np.log(2)), 3)
        1.0
    """
    c = np.concatenate([c_fit, c_score])
    n = len(c)
    # the best guess at the true shares: both parts together
    share = np.bincount(c, minlength=n_classes) / n
    seen = share > 0
    known = float((share[seen] * (np.log(share[seen]) - prior_log_probabilities(c_fit, n_classes)[seen])).sum()) / LN2
    # multinomial variance of a share; samples of one group are no independent draws
    variance = share * (1 - share) / n
    if group is not None:
        _, member = np.unique(group, return_inverse=True)
        counts = np.bincount(member.reshape(-1) * n_classes + c, minlength=(int(member.max()) + 1) * n_classes)
        table = counts.reshape(-1, n_classes)
        variance = ((table - table.sum(axis=1, keepdims=True) * share) ** 2).sum(axis=0) / n**2
    price = float((variance[seen] / (2 * share[seen])).sum() / LN2)
    return known + price, price * float(np.sqrt(2 / max(int(seen.sum()) - 1, 1)))


def _conditional_baseline(
    c_fit: np.ndarray, y_fit: np.ndarray, y_score: np.ndarray, folds: Sequence[Fold], n_classes: int, n_y: int
) -> tuple[np.ndarray, np.ndarray]:
    """log p(c | y) for both parts; how strongly rare cells lean on p(c) is chosen on held-out rows.

    A badly smoothed p(c | y) would have too high a cross-entropy and so would feign conditional leakage.
    """

    def table(rows: np.ndarray | slice, strength: float) -> np.ndarray:
        return conditional_log_probabilities(y_fit[rows], c_fit[rows], n_y=n_y, n_classes=n_classes, strength=strength)

    everything, held_rows = slice(None), np.concatenate([held for _, held in folds])
    # the strength with which rare cells lean on p(c), by held-out cross-entropy
    best: tuple[float, float, np.ndarray] | None = None
    for strength in STRENGTHS:
        values = table(everything, strength)[y_fit]
        for train, held in folds:
            values[held] = table(train, strength)[y_fit[held]]
        loss = float(-values[held_rows, c_fit[held_rows]].mean())
        if best is None or loss < best[0]:
            best = (loss, strength, values)
    assert best is not None
    return best[2], table(everything, best[1])[y_score]
