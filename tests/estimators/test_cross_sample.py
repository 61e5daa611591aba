from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_mi import Chain, Independent, Known, MeanShift, TwoShifts, make_spec, to_sample

from mibias_cli.estimators.cross_sample import CrossSample, sharing_bound

OPTIONS = {"steps": 200, "batch_size": 96, "hidden": (32, 32)}


class Corners:
    """Eight classes, each around a corner of its own."""

    d = 8

    def draw(self, n: int, seed: int) -> Known:
        rng = np.random.default_rng(seed)
        c = rng.integers(8, size=n)
        return Known(z=4 * np.eye(8)[c] + 0.5 * rng.standard_normal((n, 8)), c=c[:, None])


def _fitted(source: object, **options: object) -> float:
    torch.manual_seed(0)
    d, n_classes = source.d, (int(source.draw(100, seed=0).c.max()) + 1,)
    estimator = CrossSample(make_spec(n_features=d, n_classes=n_classes, **{**OPTIONS, **options}))
    estimator.fit(to_sample(source.draw(4_000, seed=0)), torch.Generator().manual_seed(0))
    return estimator.estimate(to_sample(source.draw(4_000, seed=1)), torch.Generator().manual_seed(1))


def test_the_bound_is_entropy_less_cross_entropy() -> None:
    shared = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0], dtype=torch.float64)
    w = torch.tensor([1.0, 2.0, 1.0, 4.0], dtype=torch.float64)
    p, q = 5 / 8, torch.sigmoid(logits).numpy()
    losses = -np.log(np.where(shared.numpy() == 1, q, 1 - q))
    expected = -(p * math.log(p) + (1 - p) * math.log(1 - p)) - np.average(losses, weights=w.numpy())
    assert sharing_bound(logits, shared, w).item() == pytest.approx(expected, abs=1e-12)


def test_what_pairs_tell_of_sharing_two_classes_far_apart() -> None:
    assert _fitted(MeanShift(means=[0.0, 9.0], d=2)) == pytest.approx(math.log(2), abs=0.03)
    # one of eight pairs shares a class: H(1/8)
    assert 0.25 < _fitted(Corners()) < 0.385


def test_nothing_where_there_is_nothing() -> None:
    assert _fitted(Independent(n_classes=3, d=2)) == pytest.approx(0, abs=0.01)


def test_given_the_target_what_goes_through_it_is_left_out() -> None:
    given = {"given_target": True, "n_targets": 2}
    assert -0.03 < _fitted(Chain(agreement=0.9, shift=4.0, d=2), **given) < 0.01
    assert _fitted(TwoShifts(agreement=0.6, attribute_shift=8.0), **given) > 0.6


def test_pairs_that_share_the_target_are_scored_apart() -> None:
    """z tells y alone, and y tells half of c: among all pairs that would look like knowledge of c."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=2_000)
    c = np.where(rng.random(2_000) < 0.9, y, 1 - y)
    z = np.stack([6.0 * y, np.zeros(2_000)], axis=1) + rng.standard_normal((2_000, 2))
    with_target = to_sample(Known(z=z, c=c[:, None], y=y))
    without = to_sample(Known(z=z, c=c[:, None]))
    values = []
    for sample in (with_target, without):
        torch.manual_seed(0)
        estimator = CrossSample(make_spec(n_features=2, n_classes=(2,), **OPTIONS))
        estimator.fit(sample, torch.Generator().manual_seed(0))
        values.append(estimator.estimate(sample, torch.Generator().manual_seed(1)))
    assert values[0] < 0.02 < 0.15 < values[1]
