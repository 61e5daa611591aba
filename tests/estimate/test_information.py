from __future__ import annotations

import numpy as np
import pytest
from known_mi import Chain, Gaussian, MeanShift

from mibias_cli.errors import EvaluationError
from mibias_cli.estimate.information import Columns, Information, estimate_information
from mibias_cli.progress import Silent


def ask(columns: Columns, *names: str, seed: int = 0) -> Information:
    return estimate_information(columns, estimators=names or None, seed=seed, progress=Silent())


def test_classes_by_a_shift_of_the_mean() -> None:
    """Rows 2,000: the standard error is 0.012 nats."""
    source = MeanShift(means=[0.0, 1.5], d=4)
    known = source.draw(2000, 0)
    found = ask(Columns(z=known.z, c=known.c[:, 0]), "logistic", "knn")
    best = found.estimates[found.headline]
    assert found.headline == "logistic"
    assert best.nats == pytest.approx(source.nats, abs=0.04)
    assert best.lower < best.nats < best.upper
    assert found.entropy_nats == pytest.approx(np.log(2), abs=1e-3)


def test_the_mean_of_the_folds_is_entropy_less_cross_entropy() -> None:
    """A file of pure noise: no estimate is clamped, and all lie close to 0."""
    g = np.random.default_rng(1)
    found = ask(Columns(z=g.normal(size=(800, 3)), c=g.integers(0, 3, 800)), "logistic", "quadratic")
    assert all(abs(e.nats) < 0.02 for e in found.estimates.values())


def test_numbers_of_several_columns() -> None:
    source = Gaussian(rho=0.6, d=3)
    known = source.draw(3000, 2)
    found = ask(Columns(z=known.z, c=known.c), "gaussian")
    assert found.estimates["gaussian"].nats == pytest.approx(source.nats, abs=0.05)
    assert found.entropy_nats is None
    assert found.estimates["gaussian"].direction == "lower"


def test_one_column_goes_to_regressors_too_and_neighbours_are_no_headline() -> None:
    source = Gaussian(rho=0.8)
    known = source.draw(1500, 3)
    found = ask(Columns(z=known.z, c=np.exp(known.c)), "gaussian", "ridge", "ksg")
    assert {"gaussian", "ridge", "ksg"} <= set(found.estimates)
    assert found.headline in ("gaussian", "chosen_per_fold")
    for estimate in found.estimates.values():
        assert estimate.nats == pytest.approx(source.nats, abs=0.07)
    assert found.estimates["ksg"].direction == "none"
    assert ask(Columns(z=known.z, c=known.c), "ksg").headline == "ksg"


@pytest.mark.parametrize("numbers", [False, True])
def test_given_what_carries_all_nothing_is_left(numbers: bool) -> None:
    """c — y — z: I(z; c) > 0 and I(z; c | y) = 0, with y as classes and, by the chain rule, as a number."""
    source = Chain(agreement=0.9, shift=3.0)
    known = source.draw(2500, 4)
    assert known.y is not None
    given = known.y[:, None].astype(float) if numbers else known.y
    c = known.c[:, 0]
    assert ask(Columns(z=known.z, c=c), "logistic").estimates["logistic"].nats > 0.2
    found = ask(Columns(z=known.z, c=c, given=given), "logistic").estimates["logistic"]
    assert found.nats == pytest.approx(0, abs=0.015)
    assert found.direction == ("none" if numbers else "lower")


@pytest.mark.parametrize("numbers", [False, True])
def test_numbers_given_what_carries_all(numbers: bool) -> None:
    g = np.random.default_rng(5)
    y = g.integers(0, 2, 2000) if not numbers else g.normal(size=2000)
    z, c = (2.0 * y[:, None] + g.normal(size=(2000, 1)) for _ in range(2))
    given = y[:, None] if numbers else y
    assert ask(Columns(z=z, c=c), "gaussian").estimates["gaussian"].nats > 0.1
    assert ask(Columns(z=z, c=c, given=given), "gaussian").estimates["gaussian"].nats == pytest.approx(0, abs=0.02)


def test_the_same_seed_gives_the_same_figures() -> None:
    known = Gaussian(rho=0.5, d=2).draw(200, 6)
    columns = Columns(z=known.z, c=known.c)
    assert ask(columns, seed=3) == ask(columns, seed=3)


def test_what_cannot_be_asked_is_named() -> None:
    z = np.random.default_rng(7).normal(size=(60, 2))
    classes, values = np.arange(60) % 2, z[:, :1]
    with pytest.raises(EvaluationError, match="did you mean 'logistic'"):
        ask(Columns(z=z, c=classes), "logistics")
    with pytest.raises(EvaluationError, match="is for numbers, and c was taken for classes"):
        ask(Columns(z=z, c=classes), "gaussian")
    with pytest.raises(EvaluationError, match="predicts one column, c has 2"):
        ask(Columns(z=z, c=z), "ridge")
    with pytest.raises(EvaluationError, match="one value only"):
        ask(Columns(z=z, c=np.zeros(60, dtype=int)))
    with pytest.raises(EvaluationError, match="39 rows are too few"):
        ask(Columns(z=z[:39], c=values[:39]))
    with pytest.raises(EvaluationError, match="NaN"):
        ask(Columns(z=np.full_like(z, np.nan), c=values))
