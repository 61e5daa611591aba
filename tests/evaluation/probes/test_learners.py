from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from mibias_cli.evaluation.probes.boosting import GradientBoosting
from mibias_cli.evaluation.probes.families import PROBES
from mibias_cli.evaluation.probes.learners import Logistic, NearestNeighbours
from mibias_cli.evaluation.probes.linear import LinearClassifier, _least
from mibias_cli.evaluation.probes.network import Mlp
from mibias_cli.evaluation.probes.quadratic import Quadratic
from mibias_cli.evaluation.probes.scaling import Sight


def blobs(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(seed)
    c = g.integers(0, 3, n)
    return g.normal(size=(n, d)) + np.eye(d)[c], c


def test_logistic_is_scikit_learns() -> None:
    x, c = blobs(600, 6, 0)
    ours = Logistic(x[:400], c[:400], n_extra=0, seed=0)
    ours.fit_to(Logistic.settings.index(0.1))
    theirs = LogisticRegression(C=0.1, max_iter=300, tol=1e-10).fit(x[:400], c[:400])
    # ours ends within a millionth of a nat of the least loss
    assert np.allclose(np.exp(ours.answer(x[400:])), theirs.predict_proba(x[400:]), atol=1e-3)


@pytest.mark.parametrize(("n", "d", "n_classes"), [(200, 40, 2), (200, 40, 5), (60, 150, 3)])
@pytest.mark.parametrize("most_axes", [1024, 0])
def test_the_loss_is_the_least_that_scikit_learn_finds(n: int, d: int, n_classes: int, most_axes: int) -> None:
    g = np.random.default_rng(4)
    c = np.arange(n) % n_classes
    x = g.normal(size=(n, d)) @ g.normal(size=(d, d)) / 6 + np.eye(d)[c] + 3
    ours = LinearClassifier(x, c, max_iter=300, most_axes=most_axes)
    for strength in (0.01, 0.1, 1.0):
        ours.fit(strength)
        theirs = LogisticRegression(C=strength, max_iter=5000, tol=1e-9).fit(x, c)
        axes = np.eye(d) if ours._axes is None else ours._axes
        norms = [np.square(axes @ ours._weights[:, :-1].T).sum(), np.square(theirs.coef_).sum()]
        said = [ours.log_probabilities(x), theirs.predict_log_proba(x)]
        losses = [-p[np.arange(n), c].mean() + w / (2 * strength * n) for p, w in zip(said, norms, strict=True)]
        assert abs(losses[0] - losses[1]) < 5e-6


def test_a_step_to_where_the_loss_is_no_number_is_not_taken() -> None:
    def loss_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(invalid="ignore"):
            return float(10 * x[0] - np.log(x[0])), 10 - 1 / x

    # the first step from 3 would end below 0; the least is at 1/10
    assert _least(loss_and_slope, np.array([3.0]), 100)[0] == pytest.approx(0.1, rel=1e-2)


@pytest.mark.parametrize("family", [Logistic, Mlp, NearestNeighbours, GradientBoosting, Quadratic])
def test_climbing_by_rungs_ends_where_one_climb_ends(family: type) -> None:
    x, c = blobs(300, 5, 1)
    stepwise, direct = (family(x, c, n_extra=0, seed=3) for _ in range(2))
    for rung in range(3):
        stepwise.fit_to(rung)
    direct.fit_to(2)
    tolerance = 2e-3 if family is Logistic else 1e-7  # warm starts of a convex problem agree to the solver's tolerance
    assert np.allclose(np.exp(stepwise.answer(x)), np.exp(direct.answer(x)), atol=tolerance)


@pytest.mark.parametrize("name", PROBES)
def test_every_learner_gives_normalised_probabilities_of_its_classes(name: str) -> None:
    x, c = blobs(200, 4, 2)
    learner = PROBES[name](x, 2 * c, n_extra=0, seed=0)  # classes 0, 2, 4
    learner.fit_to(0)
    assert learner.classes_.tolist() == [0, 2, 4]
    assert np.exp(learner.answer(x)).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert all(learner.describe(rung) for rung in range(len(learner.settings)))


def test_knn_is_scikit_learns() -> None:
    x, c = blobs(600, 6, 3)
    ours = NearestNeighbours(x[:400], c[:400], n_extra=0, seed=0)
    ours.fit_to(NearestNeighbours.settings.index(32))
    theirs = KNeighborsClassifier(32, algorithm="brute").fit(x[:400].astype(np.float32), c[:400])
    shares = theirs.predict_proba(x[400:].astype(np.float32))
    smoothed = (32 * shares + 0.5 / 3) / 32.5
    assert np.allclose(np.exp(ours.answer(x[400:])), smoothed, atol=1e-12)


def test_knn_looks_first_among_rows_of_the_same_facts() -> None:
    g = np.random.default_rng(6)
    y, c = g.integers(0, 2, 400), g.integers(0, 2, 400)
    x = g.normal(size=(400, 2))
    learner = NearestNeighbours(np.column_stack([x, np.eye(2)[y]]), c, n_extra=2, seed=0)
    nearest = learner._search.kneighbors(learner._placed(np.column_stack([x, np.eye(2)[y]])), 9, return_distance=False)
    assert (y[nearest] == y[:, None]).mean() > 0.99


def test_constant_columns_break_nothing() -> None:
    x = np.zeros((60, 4))
    c = np.arange(60) % 2
    for family in PROBES.values():
        learner = family(x, c, n_extra=0, seed=0)
        learner.fit_to(0)
        assert np.exp(learner.answer(x)) == pytest.approx(0.5, abs=0.02)


def test_logistic_of_more_columns_than_rows_is_scikit_learns() -> None:
    g = np.random.default_rng(7)
    c = g.integers(0, 3, 100)
    x = g.normal(size=(100, 250)) + 0.3 * np.eye(250)[c]
    ours = Logistic(x[:60], c[:60], n_extra=0, seed=0)
    ours.fit_to(Logistic.settings.index(0.01))
    theirs = LogisticRegression(C=0.01, max_iter=300, tol=1e-8).fit(x[:60], c[:60])
    assert np.allclose(np.exp(ours.answer(x[60:])), theirs.predict_proba(x[60:]), atol=1e-3)


@pytest.mark.parametrize("d", [30, 300])
def test_components_are_scikit_learns(d: int) -> None:
    g = np.random.default_rng(8)
    x = g.normal(size=(100, d)) * g.exponential(size=d)
    sight = Sight(x, n_components=20, seed=0)
    theirs = PCA(20, svd_solver="full").fit(sight.seen.z)
    assert np.allclose(sight.scaling.deviation**2, theirs.explained_variance_)
    assert np.allclose(np.abs(sight.seen.components), np.abs(sight.seen.z @ theirs.components_.T), atol=1e-6)
