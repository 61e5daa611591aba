from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.probes.families import PROBES, FittedProbe, fit_probe, make_sight
from mibias_cli.evaluation.statistics.information import prior_log_probabilities
from mibias_cli.evaluation.statistics.partition import inner_folds


def probe(family: str, x: np.ndarray, c: np.ndarray, n_classes: int, seed: int = 0) -> FittedProbe:
    baseline = np.tile(prior_log_probabilities(c, n_classes), (len(c), 1))
    folds = inner_folds(c[:, None], group=None, seed=seed)
    return fit_probe(
        family, make_sight(x, (family,), seed=seed), c, n_classes=n_classes, extra=np.zeros((len(c), 0)),
        baseline=baseline, folds=folds, seed=seed,
    )  # fmt: skip


def score(fitted: FittedProbe, x: np.ndarray, n_classes: int) -> np.ndarray:
    baseline = np.full((len(x), n_classes), -np.log(n_classes))
    return fitted.predict(x, np.zeros((len(x), 0)), baseline)[1]


def test_logistic_accuracy_equals_scikit_learn_by_hand() -> None:
    g = np.random.default_rng(0)
    c = g.integers(0, 4, 900)
    x = 3.0 + 5.0 * (g.normal(size=(900, 8)) + 1.2 * np.eye(8)[c])
    fitted = probe("logistic", x[:500], c[:500], 4)
    strength = float(fitted.setting.removeprefix("C = "))
    mean, spread = x[:500].mean(axis=0), x[:500].std(axis=0)
    by_hand = LogisticRegression(C=strength, max_iter=300).fit((x[:500] - mean) / spread, c[:500])
    ours = fitted.predict(x[500:], np.zeros((400, 0)), np.zeros((400, 4)))[0]
    assert ours.tolist() == by_hand.predict((x[500:] - mean) / spread).tolist()


@pytest.mark.parametrize("family", PROBES)
def test_classes_never_seen_keep_probability(family: str) -> None:
    g = np.random.default_rng(3)
    c = g.integers(0, 2, 120)
    x = g.normal(size=(120, 3)) + 3.0 * c[:, None]
    log_p = score(probe(family, x, c, 4), x, 4)
    assert log_p.shape == (120, 4)
    assert np.isfinite(log_p).all()
    assert np.exp(log_p).sum(axis=1) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("family", PROBES)
def test_a_probe_is_the_same_for_the_same_seed(family: str) -> None:
    g = np.random.default_rng(4)
    c = g.integers(0, 3, 60)
    x = g.normal(size=(60, 5)) + np.eye(5)[c]
    first, again = (score(probe(family, x, c, 3, seed=7), x, 3) for _ in range(2))
    assert np.array_equal(first, again)


def test_one_class_to_learn_from_gives_the_baseline() -> None:
    x = np.random.default_rng(5).normal(size=(40, 2))
    fitted = probe("mlp", x, np.zeros(40, dtype=int), 3)
    assert np.allclose(score(fitted, x, 3), -np.log(3))
    assert fitted.selection_bits == 0.0


@pytest.mark.parametrize("family", PROBES)
def test_wide_features_are_reduced_and_still_read(family: str) -> None:
    g = np.random.default_rng(6)
    c = g.integers(0, 2, 400)
    x = g.normal(size=(400, 300)) * 0.1
    x[:, :30] += 2.0 * c[:, None]
    log_p = score(probe(family, x[:300], c[:300], 2), x[300:], 2)
    assert (log_p.argmax(axis=1) == c[300:]).mean() > 0.97


@pytest.mark.parametrize("family", ["logistic", "mlp"])
def test_wide_features_with_few_rows_are_read_as_scikit_learn_reads_them(family: str) -> None:
    """With as many whitened components as rows the last hold nothing in the fitting part and anything beyond it."""
    g = np.random.default_rng(6)
    c = g.integers(0, 4, 1200)
    mixing = g.normal(size=(200, 1280)) * g.exponential(size=200)[:, None]
    x = np.maximum((g.normal(size=(1200, 200)) + 4.0 * np.eye(200)[c]) @ mixing + g.normal(size=(1200, 1280)), 0)
    fitted = probe(family, x[:600], c[:600], 4)
    mean, spread = x[:600].mean(axis=0), x[:600].std(axis=0)
    by_hand = LogisticRegression(C=0.01, max_iter=300).fit((x[:600] - mean) / spread, c[:600])
    told = float(by_hand.score((x[600:] - mean) / spread, c[600:]))
    assert told > 0.5, "there is something to read"
    predicted = fitted.predict(x[600:], np.zeros((600, 0)), np.zeros((600, 4)))[0]
    assert (predicted == c[600:]).mean() > told - 0.05
    gain = 2 + score(fitted, x[600:], 4)[np.arange(600), c[600:]].mean() / np.log(2)
    assert gain == pytest.approx(fitted.selection_bits, abs=0.25)  # what was promised inside the fitting part


@pytest.mark.parametrize("family", ["logistic", "mlp"])
def test_a_feature_that_is_nearly_silent_in_the_fitting_part_spoils_nothing(family: str) -> None:
    g = np.random.default_rng(7)
    c = g.integers(0, 2, 1200)
    x = g.normal(size=(1200, 8)) + 1.5 * np.eye(8)[c]
    rare = np.zeros((1200, 100))
    rare[0] = 1e-4  # a trace in one row of the fitting part
    rare[600:] = 6.0 * (g.random((600, 100)) < 0.01)
    alone, beside = probe(family, x[:600], c[:600], 2), probe(family, np.hstack([x, rare])[:600], c[:600], 2)

    def accuracy(fitted: FittedProbe, features: np.ndarray) -> float:
        return float((fitted.predict(features[600:], np.zeros((600, 0)), np.zeros((600, 2)))[0] == c[600:]).mean())

    assert accuracy(beside, np.hstack([x, rare])) > accuracy(alone, x) - 0.1


def test_unknown_probe_names_the_nearest() -> None:
    with pytest.raises(EvaluationError, match="did you mean 'quadratic'"):
        probe("quadratik", np.zeros((30, 1)), np.arange(30) % 2, 2)
