"""Every lower bound lands within 0.05 nats of the true information, on rows that its critic was not fitted on.

Each estimate is on 20,000 held-out rows: its standard error is below 0.006 nats, so that the tolerance is more than
eight of them and a false alarm of a correct estimator has a probability below 1e-14 per check; seeds are fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_mi import Chain, Gaussian, Independent, MeanShift, VarianceCoded, make_spec, to_sample

from mibias_cli.estimators import classifier, mine
from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.estimators.closed_form import ClosedForm
from mibias_cli.estimators.mine import Mine
from mibias_cli.estimators.protocol import Estimator

TOLERANCE = 0.05
CORRELATED = Gaussian(rho=0.7, d=2)
DISCRETE: dict[str, Any] = {
    "binary": MeanShift(means=[0.0, 2.0], d=3),
    "four classes": MeanShift(means=[-2.0, 0.0, 1.0, 4.0], d=2, p=[0.4, 0.3, 0.2, 0.1]),
    "variance": VarianceCoded(scales=[1.0, 2.0], d=4),
    "independent": Independent(n_classes=3, d=3),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_mine(d: int, n_classes: tuple[int, ...], moving_average: float | None, **options: Any) -> Mine:
    torch.manual_seed(0)
    values = {"hidden": (32, 32), "learning_rate": 4e-3, "steps": 500, "batch_size": 512}
    return Mine(make_spec(n_features=d, n_classes=n_classes, moving_average=moving_average, **values, **options))


def make_classifier(d: int, n_classes: tuple[int, ...], **options: Any) -> ClassifierBound:
    torch.manual_seed(0)
    values = {"hidden": (32, 32), "learning_rate": 4e-3, "steps": 500, "batch_size": 256}
    return ClassifierBound(make_spec(n_features=d, n_classes=n_classes, **values, **options))


def make_closed_form(d: int, n_classes: tuple[int, ...], n_random_features: int) -> ClosedForm:
    return ClosedForm(make_spec(n_features=d, n_classes=n_classes, n_random_features=n_random_features))


def n_classes_of(source: Any) -> tuple[int, ...]:
    return (int(source.draw(100, seed=0).c.max()) + 1,)


def fitted(estimator: Any, source: Any, weighted: bool = False) -> Any:
    estimator.fit(to_sample(source.draw(40_000, seed=1), weighted=weighted), generator())
    return estimator


def assert_near_truth(estimator: Estimator, source: Any, nats: float, weighted: bool = False) -> None:
    held_out = to_sample(source.draw(20_000, seed=2), weighted=weighted)
    assert estimator.estimate(held_out, generator(1)) == pytest.approx(nats, abs=TOLERANCE)


@pytest.mark.parametrize("moving_average", [None, 0.99])
def test_mine_on_gaussians(moving_average: float | None) -> None:
    estimator = fitted(make_mine(2, (2, 2), moving_average, bin_edges=((0.0,), (0.0,))), CORRELATED)
    assert_near_truth(estimator, CORRELATED, CORRELATED.nats)


@pytest.mark.parametrize("moving_average", [None, 0.99])
@pytest.mark.parametrize("name", sorted(DISCRETE))
def test_mine_on_classes(name: str, moving_average: float | None) -> None:
    source = DISCRETE[name]
    n_classes = n_classes_of(source)
    estimator = fitted(make_mine(source.d, n_classes, moving_average), source)
    assert_near_truth(estimator, source, source.nats)


def test_classifier_bound_on_gaussians_through_32_bins() -> None:
    source = Gaussian(rho=0.7)
    edges = np.quantile(source.draw(40_000, seed=1).c[:, 0], np.arange(1, 32) / 32)
    estimator = fitted(make_classifier(1, (32,), bin_edges=(tuple(edges),)), source)
    assert_near_truth(estimator, source, source.nats)


@pytest.mark.parametrize("name", sorted(DISCRETE))
def test_classifier_bound_on_classes(name: str) -> None:
    source = DISCRETE[name]
    assert_near_truth(fitted(make_classifier(source.d, n_classes_of(source)), source), source, source.nats)


@pytest.mark.parametrize("name", sorted(DISCRETE))
def test_closed_form_on_classes(name: str) -> None:
    source = DISCRETE[name]
    estimator = make_closed_form(source.d, n_classes_of(source), 128)
    assert_near_truth(fitted(estimator, source), source, source.nats)


@pytest.mark.parametrize("kind", ["mine", "mine, corrected", "classifier", "closed form"])
def test_under_balancing_weights_only_the_weighted_dependence_is_left(kind: str) -> None:
    source = Chain(agreement=0.9, shift=3.0)
    make = {
        "mine": lambda: make_mine(1, (2,), None),
        "mine, corrected": lambda: make_mine(1, (2,), 0.99),
        "classifier": lambda: make_classifier(1, (2,)),
        "closed form": lambda: make_closed_form(1, (2,), 64),
    }[kind]
    assert source.nats > 0.2
    assert_near_truth(fitted(make(), source), source, source.nats)
    assert_near_truth(fitted(make(), source, weighted=True), source, source.weighted_nats, weighted=True)


@pytest.mark.parametrize("off", [-0.08, 0.08])
def test_a_bound_that_is_further_off_fails_these_checks(monkeypatch: pytest.MonkeyPatch, off: float) -> None:
    true_bound, true_classifier_bound = mine.donsker_varadhan, classifier.cross_entropy_bound
    source = DISCRETE["binary"]
    estimators = [
        fitted(make_mine(source.d, (2,), None), source),
        fitted(make_classifier(source.d, (2,)), source),
    ]
    monkeypatch.setattr(mine, "donsker_varadhan", lambda *a: true_bound(*a) + off)
    monkeypatch.setattr(classifier, "cross_entropy_bound", lambda *a: true_classifier_bound(*a) + off)
    for estimator in estimators:
        with pytest.raises(AssertionError):
            assert_near_truth(estimator, source, source.nats)
