from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from known_mi import Chain, MeanShift, TwoShifts, make_spec, to_sample
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from mibias_cli.errors import TrainingError
from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.estimators.measures.predictive import cross_entropy_bound
from mibias_cli.estimators.protocol import Sample
from mibias_cli.estimators.rows import minibatch_rows


def _sample(n: int, n_classes: tuple[int, ...], weighted: bool, seed: int = 0) -> Sample:
    g = torch.Generator().manual_seed(seed)
    c = torch.stack([torch.randint(0, k, (n,), generator=g) for k in n_classes], dim=1)
    z = torch.randn(n, 4, generator=g, dtype=torch.float64) + c[:, :1]
    weight = torch.rand(n, generator=g, dtype=torch.float64) + 0.1 if weighted else None
    return Sample(z=z, c=c, y=None, weight=weight, known=torch.ones(n, dtype=torch.bool))


def _make(n_classes: tuple[int, ...], seed: int, **options: Any) -> ClassifierBound:
    torch.manual_seed(seed)
    spec = make_spec(n_features=4, n_classes=n_classes, hidden=(6,), **options)
    return ClassifierBound(spec).to(torch.device("cpu"), torch.float64)


@pytest.mark.parametrize("n_classes", [(3, 3), (2, 4), (3,)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [None, 15])
def test_steps_equal_a_loop_over_channels(n_classes: tuple[int, ...], weighted: bool, batch_size: int | None) -> None:
    sample = _sample(40, n_classes, weighted)
    estimator = _make(n_classes, 0, optimizer="sgd", learning_rate=0.1, steps=4, batch_size=batch_size)
    reference = _make(n_classes, 0)
    estimator.fit(sample, torch.Generator().manual_seed(1))
    drawn = minibatch_rows(40, batch_size, 4, torch.Generator().manual_seed(1), torch.device("cpu"))
    parameters = list(reference.critic.parameters())
    for k in range(4):
        rows = torch.arange(40) if batch_size is None else drawn[15 * k : 15 * (k + 1)]
        w = torch.ones(len(rows), dtype=torch.float64) if sample.weight is None else sample.weight[rows]
        losses = [
            functional.cross_entropy(logits, sample.c[rows, channel], reduction="none")
            for channel, logits in enumerate(reference.critic(sample.z[rows]))
        ]
        total = torch.stack([(w * one).sum() / w.sum() for one in losses]).sum()
        gradients = torch.autograd.grad(total, parameters)
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p.sub_(0.1 * g)
    for p, q in zip(estimator.critic.parameters(), parameters, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-12)


def test_values_per_channel_and_their_sum_and_largest() -> None:
    sample = _sample(50, (2, 4), weighted=True)
    estimator = _make((2, 4), 1)
    g = torch.Generator()
    with torch.no_grad():
        expected = [
            cross_entropy_bound(logits, sample.c[:, k], sample.weight).item()
            for k, logits in enumerate(estimator.critic(sample.z))
        ]
        assert [float(value) for value in estimator.reported(sample, g)] == pytest.approx(expected)
    assert estimator.estimate(sample, g) == pytest.approx(max(expected))
    assert estimator.penalty(sample, g).item() == pytest.approx(sum(expected))


def test_accuracy_is_that_of_a_good_classifier_and_ignores_missing_rows() -> None:
    source = MeanShift(means=[0.0, 2.5], d=4)
    train, held_out = source.draw(2_000, seed=0), source.draw(2_000, seed=1)
    estimator = _make((2,), 0, steps=200, learning_rate=5e-3)
    estimator.fit(to_sample(train, torch.float64), torch.Generator().manual_seed(0))
    sample = to_sample(held_out, torch.float64)
    reference = LogisticRegression().fit(train.z, train.c[:, 0]).score(held_out.z, held_out.c[:, 0])
    assert estimator.accuracy(sample) == pytest.approx(reference, abs=0.02)
    holed = Sample(
        z=sample.z, c=sample.c.where(torch.arange(2_000)[:, None] < 5, -1), y=None, weight=None,
        known=torch.arange(2_000) < 5,
    )  # fmt: skip
    assert estimator.accuracy(holed) == estimator.accuracy(sample.take(torch.arange(5)))
    assert math.isnan(estimator.accuracy(sample.take(torch.arange(0))))


def test_each_makes_its_own_heads() -> None:
    spec = make_spec(n_features=4, n_classes=(2, 3))
    assert ClassifierBound(spec).critic is not ClassifierBound(spec).critic


def _conditional(seed: int = 0, **options: Any) -> ClassifierBound:
    torch.manual_seed(seed)
    options = {"learning_rate": 4e-3, "steps": 500, "batch_size": 256} | options
    given = {"given_target": True, "n_targets": 2, "hidden": (32, 32)}
    return ClassifierBound(make_spec(n_features=2, n_classes=(2,), **given, **options))


@pytest.mark.parametrize("weighted", [False, True])
def test_given_the_target_the_value_is_the_conditional_information(weighted: bool) -> None:
    source, estimator = TwoShifts(agreement=0.9), _conditional()
    estimator.fit(to_sample(source.draw(20_000, seed=0), weighted=weighted), torch.Generator().manual_seed(0))
    held_out = to_sample(source.draw(20_000, seed=1), weighted=weighted)
    truth = source.weighted_conditional_nats if weighted else source.conditional_nats
    assert estimator.estimate(held_out, torch.Generator()) == pytest.approx(truth, abs=0.02)


def test_what_z_tells_through_the_target_alone_is_no_conditional_information() -> None:
    source, estimator = Chain(agreement=0.9, shift=3.0, d=2), _conditional()
    estimator.fit(to_sample(source.draw(20_000, seed=0)), torch.Generator().manual_seed(0))
    assert source.nats > 0.2
    assert estimator.estimate(to_sample(source.draw(20_000, seed=1)), torch.Generator()) == pytest.approx(0, abs=0.01)


def test_small_batches_do_not_bias_the_conditional_value() -> None:
    """A plug-in H(c | y) of 16 rows would be off by tenths of a nat."""
    source, estimator = TwoShifts(agreement=0.9), _conditional()
    estimator.fit(to_sample(source.draw(20_000, seed=0)), torch.Generator().manual_seed(0))
    held_out = to_sample(source.draw(20_000, seed=1))
    g = torch.Generator()
    batches = [estimator.estimate(held_out.take(rows), g) for rows in torch.arange(20_000).split(16)]
    assert sum(batches) / len(batches) == pytest.approx(estimator.estimate(held_out, g), abs=1e-4)


def test_without_target_classes_a_conditional_estimate_is_refused() -> None:
    sample = _sample(10, (2,), weighted=False)
    with pytest.raises(TrainingError, match="one target class per sample"):
        _conditional().penalty(sample, torch.Generator())


def confident(error: bool) -> tuple[ClassifierBound, Sample]:
    """A head that is all but certain, of the truth or of its opposite; two equally frequent classes."""
    bound = ClassifierBound(make_spec(n_features=1, n_classes=(2,), hidden=(), smoothing=0.2))
    with torch.no_grad():
        bound.critic.output.weight[:] = torch.tensor([[-8.0], [8.0]])
        bound.critic.output.bias.zero_()
    c = torch.tensor([0, 1]).repeat(50)
    z = (2.0 * c - 1.0) * (-1.0 if error else 1.0)
    known = torch.ones(100, dtype=torch.bool)
    sample = Sample(z=z[:, None].requires_grad_(), c=c[:, None], y=None, weight=None, known=known)
    return bound, sample


def test_smoothing_bounds_the_penalty_and_the_pull_of_a_confident_error() -> None:
    generator = torch.Generator()
    wrong, sample = confident(error=True)
    value = wrong.penalty(sample, generator)
    (pull,) = torch.autograd.grad(value, sample.z)
    assert float(value.detach()) == pytest.approx(math.log(0.2 * 0.5) + math.log(2), abs=1e-4)
    assert float(pull.abs().max()) < 1e-4  # unsmoothed: 16 / 100 for each row
    right, sample = confident(error=False)
    value = right.penalty(sample, generator)
    assert float(value.detach()) == pytest.approx(math.log(0.9) + math.log(2), abs=1e-4)
    assert right.estimate(sample, generator) == pytest.approx(math.log(2), abs=1e-4)  # what is reported is not smoothed


@pytest.mark.parametrize("n_targets", [None, 3])
def test_smoothed_gradients_agree_with_finite_differences(n_targets: int | None) -> None:
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    given = {"given_target": n_targets is not None, "n_targets": n_targets}
    bound = ClassifierBound(make_spec(n_features=4, n_classes=(3, 2), hidden=(8,), smoothing=0.3, **given))
    bound = bound.to(torch.device("cpu"), torch.float64)
    c = torch.stack([torch.randint(3, (20,), generator=g), torch.randint(2, (20,), generator=g)], dim=1)
    y, weight = torch.randint(3, (20,), generator=g), torch.rand(20, generator=g, dtype=torch.float64)
    known = torch.ones(20, dtype=torch.bool)

    def penalty(z: torch.Tensor) -> torch.Tensor:
        return bound.penalty(Sample(z=z, c=c, y=y, weight=weight, known=known), g)

    z = torch.randn(20, 4, generator=g, dtype=torch.float64, requires_grad=True)
    bound.fit(Sample(z=z, c=c, y=y, weight=weight, known=known), g)
    assert torch.autograd.gradcheck(penalty, (z,))
