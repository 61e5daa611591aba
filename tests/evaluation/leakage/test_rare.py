"""Classes that occur once or a few times: counted as one, named, and no ruin of an audit."""

from __future__ import annotations

import numpy as np
import pytest

from mibias_cli import audit
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.leakage.rare import FEWEST, pool_rare, pooled_names


@pytest.mark.parametrize(
    ("counts", "pooled"),
    [
        ([50, 50], [50, 50]),
        ([50, 40, FEWEST], [50, 40, FEWEST]),
        # one that is rare is joined to the next rarest, of several that are rare together only where they are too few
        ([50, 40, 1], [50, 41]),
        ([50, 40, 9, 9], [50, 40, 18]),
        ([50, 40, 20, 3, 1], [50, 40, 24]),
        # what is left are two classes at least
        ([50, 2], [50, 2]),
        ([50, 3, 2], [50, 5]),
        ([1, 1, 1], [2, 1]),
        # many rare ones stay many: pooled into one, features that tell all of them would tell next to nothing
        ([9] * 6, [18, 18, 18]),
        # all rare, and one left over: it goes to the pool before it
        ([9] * 3, [18, 9]),
        ([9] * 5, [27, 18]),
        ([3] * 7, [12, 9]),
    ],
)
def test_rare_classes_are_joined_and_two_are_left(counts: list[int], pooled: list[int]) -> None:
    c = np.repeat(np.arange(len(counts)), counts)
    # rows of which nothing is known count for nothing
    everything = np.concatenate([c, np.full(30, len(counts) - 1)])
    known = np.arange(len(everything)) < len(c)
    found = pool_rare(everything, known)
    assert sorted(np.bincount(found[known])[np.unique(found[known])], reverse=True) == sorted(pooled, reverse=True)
    assert (found[~known] == everything[~known]).all()
    names = pooled_names(everything, known, tuple("abcdefg"[: len(counts)]))
    assert bool(names) == (pooled != counts)


def test_a_class_that_occurs_once_does_not_ruin_an_audit() -> None:
    g = np.random.default_rng(0)
    c = np.array(["a", "b"])[g.integers(2, size=400)]
    features = g.normal(size=(400, 8))
    once = c.astype(object)
    once[[3, 7]] = "once", "also once"
    settings = AuditSettings(probes=("logistic",), n_bootstrap=200, n_permutations=0)
    plain, found = (audit(features, {"site": values}, settings=settings).attributes["site"] for values in (c, once))
    assert plain.pooled == ()
    assert set(found.pooled) >= {"once", "also once"}
    bits = found.after.leakage_bits
    assert bits.lower <= 0 <= bits.upper
    assert bits.estimate == pytest.approx(plain.after.leakage_bits.estimate, abs=0.01)
