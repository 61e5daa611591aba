from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from known_mi import Chain, Gaussian, Known, MeanShift, TwoShifts, VarianceCoded, make_spec, to_sample
from torch.utils._python_dispatch import TorchDispatchMode

from mibias_cli.estimators.closed_form import ClosedForm
from mibias_cli.estimators.protocol import Sample


def _closed_form(**options: Any) -> ClosedForm:
    return ClosedForm(make_spec(**{"n_classes": (2,)} | options))


def test_linear_part_gives_the_information_of_the_explained_share() -> None:
    """Two equal classes of z a distance d apart: R² = d²/4 / (1 + d²/4), which is worth ½ log(1 + d²/4)."""
    source = MeanShift(means=[0.0, 2.0])
    estimator = _closed_form(n_features=1, n_random_features=1, ridge=1e-6)
    g = torch.Generator().manual_seed(0)
    estimator.fit(to_sample(source.draw(50_000, seed=0)), g)
    penalty = estimator.penalty(to_sample(source.draw(50_000, seed=1)), g)
    # the standard error of −½ log(1 − r²) is about r / √n = .003; the floor of the share costs .0005
    assert penalty.item() == pytest.approx(0.5 * math.log(2), abs=0.015)


def test_random_features_see_what_is_coded_in_the_variance() -> None:
    source = VarianceCoded(scales=[1.0, 2.0], d=4)
    g = torch.Generator().manual_seed(0)
    values = {}
    for n in (1, 128):
        estimator = _closed_form(n_features=4, n_classes=(2,), n_random_features=n)
        estimator.fit(to_sample(source.draw(20_000, seed=0)), g)
        values[n] = estimator.penalty(to_sample(source.draw(20_000, seed=1)), g).item()
    assert values[1] < 0.1 < 0.2 < values[128]


def test_each_fit_draws_new_features_and_the_generator_decides() -> None:
    sample = to_sample(MeanShift(means=[0.0, 2.0], d=3).draw(200, seed=0))
    estimator = _closed_form(n_features=3, n_classes=(2,), n_random_features=10)
    drawn = []
    g = torch.Generator().manual_seed(0)
    for generator in (g, g, torch.Generator().manual_seed(0)):
        estimator.fit(sample, generator)
        drawn.append(estimator.state_dict()["tensors"]["random_weights"])
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_a_wide_z_is_projected() -> None:
    source = MeanShift(means=[0.0, 6.0], d=700)
    g = torch.Generator().manual_seed(0)
    estimator = _closed_form(n_features=700, n_classes=(2,), n_random_features=32, ridge=0.1)
    estimator.fit(to_sample(source.draw(3_000, seed=0)), g)
    assert estimator.state_dict()["tensors"]["projection"].shape == (700, 512)
    held_out = to_sample(source.draw(2_000, seed=1))
    estimate = estimator.estimate(held_out, g)
    # 512 of 700 random directions keep about 512/700 of the squared shift: most of the information
    assert 0.35 < estimate < source.nats


def test_a_unit_dead_in_the_queue_does_not_explode_in_the_batch() -> None:
    rng = np.random.default_rng(0)
    c = rng.integers(2, size=(500, 1))
    z = np.concatenate([rng.standard_normal((500, 3)) + c, np.zeros((500, 1))], axis=1)
    estimator = _closed_form(n_features=4, n_classes=(2,), n_random_features=32)
    g = torch.Generator().manual_seed(0)
    estimator.fit(to_sample(Known(z=z, c=c)), g)
    alive = z.copy()
    alive[:, 3] = rng.exponential(size=500)
    asleep, awake = (estimator.estimate(to_sample(Known(z=one, c=c)), g) for one in (z, alive))
    assert awake == pytest.approx(asleep, abs=1e-5)


def test_estimate_is_below_the_entropy_where_c_is_plain_and_penalty_is_finite_there() -> None:
    rng = np.random.default_rng(0)
    c = rng.integers(4, size=(1_000, 1))
    z = np.eye(4)[c[:, 0]] + 1e-4 * rng.standard_normal((1_000, 4))
    sample = to_sample(Known(z=z, c=c))
    estimator = _closed_form(n_features=4, n_classes=(4,), n_random_features=16)
    g = torch.Generator().manual_seed(0)
    estimator.fit(sample, g)
    assert 0.9 * math.log(4) < estimator.estimate(sample, g) <= math.log(4)
    assert 2.0 < estimator.penalty(sample, g).item() < 3.5


def test_it_sees_a_continuous_attribute_through_its_bins() -> None:
    edges = (tuple(np.quantile(Gaussian(rho=0.0).draw(1_000, seed=0).c, [0.25, 0.5, 0.75])),)
    estimator = _closed_form(n_features=1, n_classes=(4,), bin_edges=edges, n_random_features=64, ridge=1e-3)
    g = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    c = rng.standard_normal((4_000, 1))
    even = Known(z=c**2 + 0.1 * rng.standard_normal((4_000, 1)), c=c)
    estimator.fit(to_sample(even), g)
    # z = c² is uncorrelated with c, but tells the inner bins from the outer: one bit of the two
    assert estimator.estimate(to_sample(even), g) > 0.4 * math.log(2)


def test_given_the_target_each_class_has_a_regression_of_its_own() -> None:
    """c turns z about in one class of y: no single regression sees it, and y alone tells nothing."""
    rng = np.random.default_rng(0)
    c, y = rng.integers(2, size=(2, 4_000))
    z = ((2 * c - 1) * (2 * y - 1))[:, None] + 0.5 * rng.standard_normal((4_000, 1))
    sample = to_sample(Known(z=z, c=c[:, None], y=y))
    values = {}
    for n_targets in (None, 2):
        given = {"given_target": n_targets is not None, "n_targets": n_targets}
        estimator = _closed_form(n_features=1, n_random_features=16, **given)
        estimator.fit(sample.take(torch.arange(2_000)), torch.Generator().manual_seed(0))
        values[n_targets] = estimator.estimate(sample.take(torch.arange(2_000, 4_000)), torch.Generator())
    assert values[None] == pytest.approx(0, abs=0.02)
    assert values[2] > 0.5


@pytest.mark.parametrize("weighted", [False, True])
def test_given_the_target_it_is_the_conditional_information(weighted: bool) -> None:
    for source, truth in (
        (TwoShifts(agreement=0.7), None),
        (Chain(agreement=0.9, shift=3.0, d=2), 0.0),
    ):
        if isinstance(source, TwoShifts):
            truth = source.weighted_conditional_nats if weighted else source.conditional_nats
        estimator = _closed_form(n_features=2, n_classes=(2,), n_random_features=64, given_target=True, n_targets=2)
        estimator.fit(to_sample(source.draw(8_000, seed=0), weighted=weighted), torch.Generator().manual_seed(0))
        held_out = to_sample(source.draw(8_000, seed=1), weighted=weighted)
        assert estimator.estimate(held_out, torch.Generator()) == pytest.approx(truth, abs=0.03)


def test_a_target_class_without_rows_in_the_queue_is_left_out() -> None:
    source = TwoShifts(agreement=0.7)
    queue = to_sample(source.draw(400, seed=0))
    assert queue.y is not None
    estimator = _closed_form(n_features=2, n_classes=(2,), n_random_features=8, given_target=True, n_targets=3)
    estimator.fit(queue.take(queue.y == 0), torch.Generator().manual_seed(0))
    batch = to_sample(source.draw(100, seed=1))
    assert batch.y is not None
    z = batch.z.clone().requires_grad_()
    estimator.penalty(Sample(**{**vars(batch), "z": z}), torch.Generator()).backward()
    assert z.grad is not None
    assert (z.grad[batch.y == 1] == 0).all()
    assert (z.grad[batch.y == 0] != 0).any()


class _Reads(TorchDispatchMode):
    """Counts what makes a GPU wait: numbers that are read off it, and results whose size it alone knows."""

    n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n += func.name() in ("aten::_local_scalar_dense", "aten::nonzero")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rows", [60, 6000])
def test_a_step_reads_no_more_off_the_device_for_more_target_classes(rows: int) -> None:
    """With few rows the classes share a regression; with many each has its own, of which one number is read."""
    counts = []
    for n_targets in (2, 10):
        g = torch.Generator().manual_seed(0)
        y = torch.arange(rows) % n_targets
        c = torch.randint(2, (rows, 1), generator=g)
        z = torch.randn(rows, 3, generator=g) + c
        sample = Sample(z=z, c=c, y=y, weight=None, known=torch.ones(rows, dtype=torch.bool))
        estimator = _closed_form(n_features=3, given_target=True, n_targets=n_targets)
        with _Reads() as reads:
            estimator.fit(sample, g)
            estimator.penalty(sample, g)
        counts.append(reads.n)
    assert counts[1] <= counts[0] + (8 if rows > 60 else 0)
