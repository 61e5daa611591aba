from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.evaluation.leakage.channel import frequency_price, make_channel_task
from mibias_cli.evaluation.statistics.information import prior_log_probabilities
from mibias_cli.evaluation.statistics.partition import inner_folds

LN2 = np.log(2)


@pytest.mark.parametrize("stratified", [False, True])
def test_the_price_is_what_estimated_shares_cost_on_average(stratified: bool) -> None:
    """Mean over 2000 draws of price − KL(p ‖ p_fit): within four of its standard errors."""
    p = np.array([0.5, 0.3, 0.2])
    gaps = []
    for seed in range(2000):
        c = np.random.default_rng(seed).choice(3, 300, p=p)
        c = np.sort(c) if stratified else c
        fit, score = (c[::2], c[1::2]) if stratified else (c[:150], c[150:])
        cost = float((p * (np.log(p) - prior_log_probabilities(fit, 3))).sum()) / LN2
        gaps.append(frequency_price(fit, score, 3)[0] - cost)
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / np.sqrt(2000)


def test_with_groups_the_price_counts_groups() -> None:
    """Shares of 40 groups of 10 alike samples are as uncertain as those of 40 samples."""
    g = np.random.default_rng(0)
    single = g.integers(0, 2, 40)
    group = np.repeat(np.arange(40), 10)
    both = single[group]
    half = group < 20
    _, alone = frequency_price(single[:20], single[20:], 2)
    _, grouped = frequency_price(both[half], both[~half], 2, group)
    assert grouped == pytest.approx(alone, rel=1e-9)


def test_continuous_channels_carry_normal_scores() -> None:
    g = np.random.default_rng(1)
    values = g.exponential(size=400)
    c = (values > np.median(values)).astype(np.int64)
    y = np.zeros(400, dtype=np.int64)
    fit, score = np.arange(200), np.arange(200, 400)
    folds = inner_folds(np.zeros((200, 1), dtype=np.int64), group=None, seed=0)
    task = make_channel_task("age", c, y, fit, score, folds, n_classes=2, n_y=1, values=values)
    assert task.kind == "continuous"
    numbers = task.marginal.numbers[0]
    assert numbers is not None
    assert np.array_equal(np.argsort(numbers), np.argsort(values[:200]))
    plain = make_channel_task("age", c, y, fit, score, folds, n_classes=2, n_y=1)
    assert plain.kind == "categorical"
    assert plain.marginal.numbers == (None, None)


def test_units_are_groups_where_there_are_any() -> None:
    c = np.arange(400) % 2
    fit, score = np.arange(200), np.arange(200, 400)
    folds = inner_folds(c[fit, None], group=None, seed=0)
    asked = [make_channel_task("site", c, c, fit, score, folds, n_classes=2, n_y=2, group=group)
             for group in (None, np.arange(400) // 8)]  # fmt: skip
    assert [(task.n_fit_units, task.n_score_units) for task in asked] == [(200, 200), (25, 25)]
