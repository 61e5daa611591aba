from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.estimate.cross_fit import CHOSEN, FoldResult, combine, difference, summarise


def fold(rows: list[int], a: float, b: float, a_selected: float, b_selected: float) -> FoldResult:
    n = len(rows)
    return FoldResult(
        rows=np.array(rows),
        terms={"a": np.full(n, a), "b": np.full(n, b)},
        selection={"a": a_selected, "b": b_selected},
    )


def test_folds_that_agree_name_their_choice_and_the_scored_rows_have_no_say() -> None:
    folds = [fold([0, 1], 0.1, 9.0, 0.5, 0.4), fold([2, 3], 0.3, 9.0, 0.6, 0.1)]
    fitted = combine(folds, margin_nats=0.0)
    assert fitted.headline == "a"
    assert set(fitted.terms) == {"a", "b"}
    assert fitted.terms["a"].tolist() == [0.1, 0.1, 0.3, 0.3]
    assert fitted.selection["a"] == pytest.approx(0.55)


def test_folds_that_disagree_are_put_together_each_by_its_own_choice() -> None:
    fitted = combine([fold([0, 1], 1.0, 2.0, 0.5, 0.4), fold([2, 3], 3.0, 4.0, 0.1, 0.2)], margin_nats=0.0)
    assert fitted.headline == CHOSEN
    assert fitted.terms[CHOSEN].tolist() == [1.0, 1.0, 4.0, 4.0]


def test_a_later_estimator_must_gain_more_than_the_margin() -> None:
    folds = [fold([0, 1], 0.0, 0.0, 0.500, 0.504)]
    assert combine(folds, margin_nats=0.005).headline == "a"
    assert combine(folds, margin_nats=0.003).headline == "b"


def test_intervals_are_those_of_a_mean() -> None:
    terms = np.random.default_rng(0).normal(0.3, 1.0, 400)
    fitted = combine([FoldResult(rows=np.arange(400), terms={"a": terms}, selection={"a": 0.0})], margin_nats=0.0)
    found = summarise(fitted, {"a": "lower"}, confidence=0.95)["a"]
    assert found.nats == pytest.approx(terms.mean())
    assert found.upper - found.nats == pytest.approx(1.959964 * terms.std(ddof=1) / 20, rel=1e-6)


def test_a_difference_is_taken_row_by_row() -> None:
    whole = combine([fold([0, 1], 1.0, 2.0, 0.1, 0.9)], margin_nats=0.0)
    part = combine([fold([0, 1], 0.25, 0.5, 0.9, 0.1)], margin_nats=0.0)
    found = difference(whole, part)
    assert found.headline == "b"
    assert found.terms["b"].tolist() == [1.75, 1.75]
