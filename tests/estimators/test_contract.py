"""What every estimator owes its caller: run over the table, so that a new row is held to it too."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from known_mi import Known, MeanShift, TwoShifts, make_spec, to_sample
from sklearn.linear_model import LogisticRegression

from mibias_cli.estimators.protocol import Sample
from mibias_cli.recipe.tables import LEAST_ROWS
from mibias_cli.run.build import ESTIMATORS, resolve

CLASSES = (2, 3)
EDGES = ((-0.5, 0.5), (0.0, 1.0))
# Random features differ between floating types.
DRAWS_BY_TYPE = {"closed_form", "hgr_basis"}
# Each name as it is, for a continuous attribute, and given the target.
KINDS = [f"{name}{form}" for name in ESTIMATORS for form in ("", ", continuous", ", given y")]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(kind: str, **options: Any) -> Any:
    """The estimator of a kind, small, for z (n, 3) and a two-channel attribute unless told otherwise."""
    name, _, form = kind.partition(", ")
    options = {
        "n_features": 3,
        "n_classes": (3, 3) if form == "continuous" else CLASSES,
        "bin_edges": EDGES if form == "continuous" else None,
        "given_target": form == "given y",
        "n_targets": 2,
    } | options
    return resolve(ESTIMATORS[name])(make_spec(**options))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(kind: str, n: int, seed: int = 0, dtype: torch.dtype = torch.float32, weighted: bool = False) -> Sample:
    """z (n, 3) that carries y and a two-channel attribute of the kind's type."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    classes = np.stack([rng.integers(k, size=n) for k in CLASSES], axis=1)
    c: np.ndarray = rng.standard_normal((n, 2)) if kind.endswith("continuous") else classes
    z = rng.standard_normal((n, 3)) + 1.5 * np.concatenate([c, c[:, :1] + y[:, None]], axis=1)
    return to_sample(Known(z=z, c=c, y=y, weight=rng.uniform(0.5, 1.5, n)), dtype, weighted)


def same(a: Any, b: Any) -> bool:
    """Whether two state dicts are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def test_says_what_it_bounds_and_in_which_unit(kind: str) -> None:
    estimator = make(kind)
    assert estimator.direction in ("lower", "upper", "none")
    assert estimator.unit in ("nats", "own")


@pytest.mark.parametrize("weighted", [False, True])
def test_penalty_gradient_agrees_with_finite_differences(kind: str, weighted: bool) -> None:
    estimator = make(kind).to(torch.device("cpu"), torch.float64)
    estimator.fit(draw(kind, 60, 0, torch.float64, weighted), generator())
    sample = draw(kind, 24, 1, torch.float64, weighted)

    def penalty(z: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = estimator.penalty(replace(sample, z=z), generator(2))
        return value

    assert torch.autograd.gradcheck(
        penalty, sample.z.clone().requires_grad_(), eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=True
    )


def test_penalty_leaves_no_gradient_on_the_critic_and_moves_nothing(kind: str) -> None:
    estimator = make(kind)
    estimator.fit(draw(kind, 60), generator())
    before = estimator.state_dict()
    parameters = list(estimator.parameters())
    for p in parameters:
        p.grad = None
    z = draw(kind, 20, 1).z.requires_grad_()
    estimator.penalty(replace(draw(kind, 20, 1), z=z), generator()).backward()
    estimator.estimate(draw(kind, 20, 1), generator())
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in parameters)
    assert same(before, estimator.state_dict())


def test_fit_sends_no_gradient_to_z_and_works_without_grad_mode(kind: str) -> None:
    z = draw(kind, 30).z.requires_grad_()
    estimator = make(kind)
    before = estimator.state_dict()
    with torch.no_grad():
        estimator.fit(replace(draw(kind, 30), z=z), generator())
    assert z.grad is None
    # kernels hold nothing
    assert estimator.state_dict()["tensors"] == {} or not same(before, estimator.state_dict())


@pytest.mark.parametrize("batch_size", [None, 16])
def test_state_continues_bit_for_bit(kind: str, batch_size: int | None) -> None:
    estimator = make(kind, batch_size=batch_size)
    estimator.fit(draw(kind, 60, 0), generator(0))
    state = estimator.state_dict()
    estimator.fit(draw(kind, 60, 1), generator(1))
    resumed = make(kind, batch_size=batch_size)
    resumed.load_state_dict(state)
    assert same(state, resumed.state_dict())
    resumed.fit(draw(kind, 60, 1), generator(1))
    assert same(estimator.state_dict(), resumed.state_dict())
    assert state["tensors"] == {} or not same(state, resumed.state_dict())
    held_out = draw(kind, 60, 2)
    assert estimator.estimate(held_out, generator(3)) == resumed.estimate(held_out, generator(3))


def test_state_survives_a_file_read_with_weights_only(kind: str, tmp_path: Any) -> None:
    estimator = make(kind)
    estimator.fit(draw(kind, 60), generator())
    torch.save(estimator.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert same(state, estimator.state_dict())


def test_two_estimators_share_nothing(kind: str) -> None:
    first, second = make(kind), make(kind)
    first.fit(draw(kind, 60), generator())
    second.load_state_dict(first.state_dict())
    kept = second.state_dict()
    first.fit(draw(kind, 60, 1), generator(1))
    assert same(kept, second.state_dict())


def test_rows_with_a_missing_attribute_change_nothing(kind: str) -> None:
    complete = draw(kind, 40, weighted=True)
    hole = torch.nan if complete.c.is_floating_point() else -1
    assert complete.weight is not None
    assert complete.y is not None
    with_holes = Sample(
        z=torch.cat([complete.z, 100 * torch.randn(10, 3)]),
        c=torch.cat([complete.c, torch.full((10, 2), hole, dtype=complete.c.dtype)]),
        y=torch.cat([complete.y, torch.zeros(10, dtype=torch.int64)]),
        weight=torch.cat([complete.weight, torch.full((10,), 5.0)]),
        known=torch.cat([complete.known, torch.zeros(10, dtype=torch.bool)]),
    )
    torch.manual_seed(0)
    first = make(kind, batch_size=16)
    torch.manual_seed(0)
    second = make(kind, batch_size=16)
    first.fit(complete, generator())
    second.fit(with_holes, generator())
    assert same(first.state_dict(), second.state_dict())
    assert torch.equal(first.penalty(complete, generator(1)), second.penalty(with_holes, generator(1)))


@pytest.mark.parametrize("n_known", [0, 1])
def test_a_batch_with_hardly_any_known_row(kind: str, n_known: int) -> None:
    estimator = make(kind)
    estimator.fit(draw(kind, 60), generator())
    sample = replace(draw(kind, 5), known=torch.arange(5) < n_known)
    z = sample.z.requires_grad_()
    estimator.fit(sample, generator())
    penalty = estimator.penalty(sample, generator())
    penalty.backward()
    assert torch.isfinite(penalty)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    assert (z.grad[n_known:] == 0).all()
    assert n_known == 1 or (penalty.item() == 0 and math.isnan(estimator.estimate(sample, generator())))


def test_the_table_says_of_how_many_rows_there_is_a_penalty(kind: str) -> None:
    name, _, form = kind.partition(", ")
    if form == "given y":
        pytest.skip("each target class needs them")
    estimator = make(kind)
    estimator.fit(draw(kind, 60), generator())

    def moves(n_rows: int) -> bool:
        """Whether any of some batches of so many rows moves z."""
        found = list[torch.Tensor]()
        for seed in range(20):
            sample = draw(kind, n_rows, seed)
            estimator.penalty(replace(sample, z=sample.z.requires_grad_()), generator()).backward()
            assert sample.z.grad is not None
            found.append(sample.z.grad.abs().max())
        return bool(torch.stack(found).max() > 1e-7)

    least = LEAST_ROWS[name]
    assert moves(least)
    assert least == 1 or not moves(least - 1)


def test_rows_of_a_target_class_that_no_fit_has_seen(kind: str) -> None:
    if not kind.endswith("given y"):
        pytest.skip("looks at no target")
    estimator = make(kind)
    sample = draw(kind, 60)
    estimator.fit(sample.take(sample.y == 0), generator())
    unseen = sample.take(sample.y == 1)
    penalty = estimator.penalty(replace(unseen, z=unseen.z.requires_grad_()), generator())
    penalty.backward()
    assert torch.isfinite(penalty)


def test_before_the_first_fit_a_penalty_can_be_taken(kind: str) -> None:
    sample = draw(kind, 20)
    z = sample.z.requires_grad_()
    make(kind).penalty(sample, generator()).backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_extreme_features_stay_finite(kind: str, scale: float) -> None:
    estimator = make(kind)
    estimator.fit(draw(kind, 60), generator())
    sample = draw(kind, 60, 1)
    z = (scale * sample.z).requires_grad_()
    penalty = estimator.penalty(replace(sample, z=z), generator())
    penalty.backward()
    assert torch.isfinite(penalty)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    estimator.fit(replace(sample, z=z), generator())
    assert math.isfinite(estimator.estimate(sample, generator()))


def test_collapsed_features_and_a_constant_attribute(kind: str) -> None:
    sample = draw(kind, 30)
    constant = torch.zeros_like(sample.c)
    for one in (replace(sample, z=torch.ones(30, 3)), replace(sample, c=constant)):
        estimator = make(kind)
        estimator.fit(one, generator())
        z = one.z.clone().requires_grad_()
        penalty = estimator.penalty(replace(one, z=z), generator())
        penalty.backward()
        assert torch.isfinite(penalty)
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()


def test_float64_is_kept_and_the_same_answer_as_float32(kind: str) -> None:
    torch.manual_seed(0)
    single = make(kind)
    torch.manual_seed(0)
    double = make(kind).to(torch.device("cpu"), torch.float64)
    if kind.partition(",")[0] not in DRAWS_BY_TYPE:
        single.fit(draw(kind, 60), generator())
        double.fit(draw(kind, 60, dtype=torch.float64), generator())
        a = single.penalty(draw(kind, 60, 1), generator()).item()
        assert double.penalty(draw(kind, 60, 1, torch.float64), generator()).item() == pytest.approx(a, abs=5e-3)
    double.fit(draw(kind, 60, dtype=torch.float64), generator())
    assert double.penalty(draw(kind, 60, 1, torch.float64), generator()).dtype == torch.float64


def test_under_autocast_scores_are_still_in_full_precision(kind: str) -> None:
    torch.manual_seed(0)
    plain = make(kind)
    torch.manual_seed(0)
    mixed = make(kind)
    plain.fit(draw(kind, 60), generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed.fit(draw(kind, 60), generator())
        value = mixed.penalty(draw(kind, 60, 1), generator())
    assert torch.equal(value, plain.penalty(draw(kind, 60, 1), generator()))


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("given", [False, True])
def test_moving_a_free_z_against_the_penalty_removes_what_a_fresh_probe_finds(name: str, given: bool) -> None:
    """The probe reads c off z; given y, off z in each class of y with coefficients of its own.

    250 rows scored by a probe fitted on others: chance has a standard error of .032, the bound is four of them.
    """
    source: Any = TwoShifts(agreement=0.5, attribute_shift=3.0, d=4) if given else MeanShift(means=[0.0, 3.0], d=4)
    sample = to_sample(source.draw(500, seed=0))
    c = sample.c[:, 0].numpy()

    def probe_accuracy(z: np.ndarray) -> float:
        if sample.y is not None:
            z = np.concatenate([z, z * sample.y.numpy()[:, None]], axis=1)
        return float(LogisticRegression().fit(z[:250], c[:250]).score(z[250:], c[250:]))

    options = {"steps": 6, "n_classes": (2,), "n_features": 4, "given_target": given, "batch_size": 100}
    estimator = make(name, **options)
    z = sample.z.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.04)
    for step in range(80):
        estimator.fit(replace(sample, z=z), generator(step))
        optimizer.zero_grad()
        (500 * estimator.penalty(replace(sample, z=z), generator(step))).backward()
        optimizer.step()
    assert probe_accuracy(sample.z.numpy()) > 0.9
    assert probe_accuracy(z.detach().numpy()) < 0.626
    # and z was not simply collapsed
    assert z.detach().std(dim=0).min() > 0.5
