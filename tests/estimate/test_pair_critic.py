from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.estimate.copula import NormalScores
from mibias_cli.estimate.pair_bound import donsker_varadhan_terms
from mibias_cli.estimate.pair_critic import Pairs, fit_pair_critic


def pairs(x: np.ndarray, y: np.ndarray, stratum: np.ndarray | None = None) -> Pairs:
    stratum = np.zeros(len(x), dtype=int) if stratum is None else stratum
    return Pairs(u=NormalScores(x)(x), v=NormalScores(y)(y), stratum=stratum)


def found(whole: Pairs, n_fit: int, n_strata: int = 1) -> tuple[float, float, float]:
    """Value on new rows, and selection values with and without networks."""
    rows = np.arange(n_fit)
    critic = fit_pair_critic(
        whole.take(rows), n_strata=n_strata, train=rows[rows % 8 != 0], held=rows[rows % 8 == 0], seed=0
    )
    scored = whole.take(np.arange(n_fit, len(whole)))
    value = donsker_varadhan_terms(critic.scorer(scored), scored.stratum, seed=0).mean()
    return float(value), critic.selection_nats, critic.gaussian_nats


def test_it_finds_the_dependence_of_a_student_t_that_correlation_cannot() -> None:
    """Two coordinates of a t with one degree of freedom, uncorrelated: 0.224 nats."""
    g = np.random.default_rng(0)
    scale = np.sqrt(g.chisquare(1, size=(5000, 1)))
    value, selected, gaussian = found(pairs(g.normal(size=(5000, 1)) / scale, g.normal(size=(5000, 1)) / scale), 2000)
    assert value == pytest.approx(0.224, abs=0.06)
    assert selected > gaussian + 0.1


def test_where_all_is_gaussian_nothing_is_spoilt() -> None:
    """Truth 0.511 nats; the standard error of the scored rows is 0.016."""
    g = np.random.default_rng(1)
    z = g.normal(size=(4500, 3))
    c = 0.8 * z[:, :1] + 0.6 * g.normal(size=(4500, 1))
    value, selected, gaussian = found(pairs(z, c), 2000)
    assert value == pytest.approx(0.511, abs=0.06)
    assert selected >= gaussian


def test_within_strata_only_what_is_beyond_them_counts() -> None:
    """c = ± z by stratum, uncorrelated over both: given the stratum 0.511 nats, which one network for both finds."""
    g = np.random.default_rng(2)
    y = g.integers(0, 2, 4500)
    z = g.normal(size=(4500, 1))
    c = 0.8 * np.where(y == 1, 1, -1)[:, None] * z + 0.6 * g.normal(size=(4500, 1))
    value, *_ = found(pairs(z, c, y), 2000, n_strata=2)
    assert value == pytest.approx(0.511, abs=0.08)


def test_the_same_seed_gives_the_same_critic() -> None:
    g = np.random.default_rng(3)
    whole = pairs(g.normal(size=(400, 2)), g.normal(size=(400, 1)))
    assert found(whole, 200) == found(whole, 200)
