"""Single columns of wide features that tell an attribute: found where they are, and hardly ever where they are not."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency
from sklearn.linear_model import LogisticRegression

from mibias_cli.evaluation.probes.families import fit_probe, make_sight
from mibias_cli.evaluation.probes.scaling import Sight, telling_columns


def wide(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One column of d tells c by its mean, the next by its spread; no direction stands out."""
    g = np.random.default_rng(seed)
    x, c = g.normal(size=(n, d)), g.integers(0, 2, n)
    x[:, 5] += c
    x[:, 9] *= 1 + c
    return x, c


def test_columns_that_tell_come_first() -> None:
    x, c = wide(4000, 300, 0)
    assert set(telling_columns(x, c, most=2)) == {5, 9}


def test_under_independence_about_one_column_passes() -> None:
    g = np.random.default_rng(1)
    found = [len(telling_columns(g.normal(size=(2000, 200)), g.integers(0, 3, 2000), most=64)) for _ in range(20)]
    # Poisson of mean 1 each: 20 draws sum to over 40 with probability 3e-5
    assert sum(found) <= 40


@pytest.mark.parametrize("column", [np.zeros(500), np.arange(500) % 2.0, np.r_[np.nextafter(0, 1), np.zeros(499)]])
def test_columns_of_few_values(column: np.ndarray) -> None:
    c = np.arange(500) % 2
    found = telling_columns(column[:, None], c, most=3)
    assert list(found) == ([0] if (column == c).all() else [])


def test_every_column_is_judged_by_its_own_contingency_table() -> None:
    g = np.random.default_rng(3)
    c = g.integers(0, 3, 400)
    x = g.normal(size=(400, 60)) + 0.25 * g.normal(size=60) * c[:, None]
    x[:, ::3] = np.maximum(x[:, ::3], 0)  # half of the rows share a value
    excess = []
    for column in x.T:
        edges = np.unique(np.quantile(column, np.arange(1, 8) / 8))
        cells = np.histogram2d(np.searchsorted(edges, column), c, bins=[range(len(edges) + 2), range(4)])[0]
        found = chi2_contingency(cells[cells.sum(axis=1) > 0], correction=False)
        excess.append(found.statistic / chi2.isf(1 / 60, found.dof))
    order = np.argsort(-np.array(excess), kind="stable")
    passed = [int(k) for k in order if excess[k] > 1]
    assert 3 < len(passed) < 57
    assert telling_columns(x, c, most=60).tolist() == passed


def test_a_single_class_or_no_column_gives_none() -> None:
    assert len(telling_columns(np.ones((10, 3)), np.zeros(10), most=3)) == 0
    assert len(telling_columns(np.ones((10, 0)), np.arange(10), most=3)) == 0


@pytest.mark.parametrize("family", ["quadratic", "gradient_boosting"])
def test_a_probe_of_wide_features_finds_what_components_lose(family: str) -> None:
    x, c = wide(6000, 320, 2)
    fit, score = np.arange(4000), np.arange(4000, 6000)
    prior = np.log(np.bincount(c[fit], minlength=2) / len(fit))
    probe = fit_probe(
        family, make_sight(x[fit], (family,), seed=0), c[fit], n_classes=2, extra=np.zeros((4000, 0)),
        baseline=np.tile(prior, (4000, 1)), folds=[(fit[2000:], fit[:2000]), (fit[:2000], fit[2000:])], seed=0,
    )  # fmt: skip
    told = np.stack([x[:, 5], x[:, 9] ** 2], axis=1)  # the log ratio of the densities is linear in these
    truth = LogisticRegression().fit(told[fit], c[fit])
    rows = np.arange(2000)

    def bits(log_p: np.ndarray) -> float:
        return float((log_p[rows, c[score]] - prior[c[score]]).mean() / np.log(2))

    best = bits(truth.predict_log_proba(told[score]))
    assert best > 0.25
    found = bits(probe.predict(x[score], np.zeros((2000, 0)), np.tile(prior, (2000, 1)))[1])
    assert found > 0.85 * best


def test_features_are_sent_while_columns_are_found() -> None:
    """One thread may send what another adds to."""
    sight = Sight(np.random.default_rng(0).normal(size=(20, 3)), n_components=2, seed=0)

    class Adds:
        def __reduce__(self) -> tuple[type[int], tuple[()]]:
            sight._telling[b"later"] = np.zeros(0, dtype=np.int64)
            return int, ()

    sight._telling.update({b"a": Adds(), b"b": Adds()})  # type: ignore[dict-item]
    sent = pickle.loads(pickle.dumps(sight))
    assert sorted(sent._telling) == [b"a", b"b"]
    np.testing.assert_array_equal(sent.seen.z, sight.seen.z)
