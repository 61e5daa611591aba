"""The audit of plain arrays: the figures of the audit that `mibias evaluate` makes, and errors that say what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mibias_cli
from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.audit import audit as audit_inputs
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.progress import Silent
from mibias_cli.run.arrays import audit

QUICK = AuditSettings(probes=("logistic",), n_bootstrap=100, n_permutations=19)


def draw(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, 5) of which the first tells c and the second y; classes y and c."""
    g = np.random.default_rng(seed)
    y, c = g.integers(0, 2, (2, n))
    z = g.normal(size=(n, 5))
    z[:, 0] += 2 * c
    z[:, 1] += 3 * y
    return z, y, c


def test_it_is_the_audit_that_evaluate_makes() -> None:
    z, y, c = draw()
    train_z, train_y, _ = draw(seed=1)
    found = audit(
        z, {"sex": np.array(["f", "m"])[c]}, np.array(["cat", "dog"])[y], train_features=train_z,
        train_target=np.array(["cat", "dog"])[train_y], settings=QUICK, seed=3,
    )  # fmt: skip
    sex = AuditedAttribute(
        name="sex", channels=("sex",), class_names=(("f", "m"),), c=c[:, None], known=np.ones(len(c), dtype=bool)
    )
    inputs = AuditInput(
        before=None, after=Features(train=train_z, audit=z), train_y=train_y, audit_y=y, class_names=("cat", "dog"),
        attributes=(sex,),
    )  # fmt: skip
    wanted = audit_inputs(inputs, QUICK, seed=3, progress=Silent(), sizes_of="marginal")
    assert found.attributes == wanted.attributes
    assert found.task == wanted.task
    estimate = found.attributes["sex"].after.leakage_bits.estimate
    assert isinstance(estimate, float)
    assert 0.3 < estimate < 1.0
    assert isinstance(found, mibias_cli.Report)


def test_without_a_target_there_is_marginal_leakage_alone_and_without_training_rows_no_task() -> None:
    z, y, c = draw()
    alone = audit(z, {"sex": c}, settings=QUICK)
    assert alone.attributes["sex"].after.conditional_leakage_bits is None
    given = audit(z, {"sex": c}, y, settings=QUICK)
    conditional = given.attributes["sex"].after.conditional_leakage_bits
    assert conditional is not None
    assert conditional.lower > 0.2
    assert given.task.after is None
    for report in (alone, given):
        assert "Nothing was asked of a task" in report.verdict.text


def test_before_is_compared_pair_by_pair() -> None:
    z, y, c = draw()
    clean = z.copy()
    clean[:, 0] -= 2 * c
    found = audit(clean, {"sex": c}, y, before=z, settings=QUICK).attributes["sex"]
    assert found.before is not None
    assert found.change is not None
    assert found.change.leakage_bits.upper < 0


def test_missing_values_take_no_part_and_numbers_are_told_from_classes() -> None:
    z, _, c = draw(600)
    with_gaps = [None if k % 3 == 0 else ("f", "m")[value] for k, value in enumerate(c)]
    age = 40 + 10 * z[:, 0]
    age[:6] = np.nan
    years = np.round(age[6:]).astype(int)
    found = audit(z, {"sex": np.array(with_gaps, dtype=object), "age": age, "flag": c.astype(float)}, settings=QUICK)
    assert found.attributes["sex"].n_known == 400
    assert (found.attributes["age"].kind, found.attributes["age"].n_known) == ("continuous", 594)
    assert found.attributes["flag"].kind == "categorical"
    assert found.attributes["age"].after.leakage_bits.lower > 1
    whole = audit(z[6:], {"years": years}, numbers=["years"], settings=QUICK).attributes["years"]
    assert whole.kind == "continuous"
    assert whole.after.leakage_bits.lower > 1


def test_what_pandas_has_for_a_gap_is_a_gap() -> None:
    pandas = pytest.importorskip("pandas")
    z, _, c = draw(600)
    words = np.array(["f", "m"])[c].astype(object)
    years, heights = np.round(40 + 10 * z[:, 0]).astype(int).astype(object), (1.7 + z[:, 0]).astype(object)
    days = np.datetime64("2026-01-01") + c
    for column in (words, years, heights):
        column[:5], column[5:9] = pandas.NA, pandas.NaT
    days[:9] = np.datetime64("NaT", "D")
    given = {"sex": words, "years": years, "height": heights, "day": days}
    found = audit(z, given, numbers=["years"], settings=QUICK).attributes
    assert {name: (one.kind, one.n_known) for name, one in found.items()} == {
        "sex": ("categorical", 591), "years": ("continuous", 591), "height": ("continuous", 591),
        "day": ("categorical", 591),
    }  # fmt: skip
    for what in ("target", "group"):
        with pytest.raises(EvaluationError, match=f"{what}: missing in 9 of 600"):
            audit(z, {"sex": c}, settings=QUICK, **{what: words})


def test_what_is_behind_a_mask_is_a_gap() -> None:
    z, _, c = draw(600)
    masked = np.ma.masked_array(c, mask=np.arange(600) % 3 == 0)
    gaps = [None if k % 3 == 0 else value for k, value in enumerate(c)]
    found = audit(z, {"sex": masked}, settings=QUICK)
    assert found.attributes["sex"] == audit(z, {"sex": gaps}, settings=QUICK).attributes["sex"]
    with pytest.raises(EvaluationError, match=r"features: NaN or infinite in 1 of 600 rows"):
        audit(np.ma.masked_array(z, mask=z == z.max()), {"sex": c}, settings=QUICK)


def test_columns_of_a_table_count_whatever_their_units() -> None:
    """Incomes of a spread of 50,000 beside rates of .03: the rates alone tell the class."""
    g = np.random.default_rng(0)
    y = g.integers(0, 2, 400)
    table = np.stack([5e4 * g.normal(size=400), 0.03 * (y + 0.1 * g.normal(size=400))], axis=1)
    attributes = {"sex": g.integers(0, 2, 200)}
    found = audit(table[:200], attributes, y[:200], train_features=table[200:], train_target=y[200:], settings=QUICK)
    assert found.task.after is not None
    assert found.task.after.accuracy.estimate > 0.98


def test_attributes_may_be_columns_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    z, y, c = draw()
    table = pandas.DataFrame({"sex": np.array(["f", "m"])[c], "kind": pandas.Series(y).astype("category")})
    by_name = audit(z, {"sex": np.array(["f", "m"])[c], "kind": y}, settings=QUICK)
    assert audit(z, table, settings=QUICK).attributes == by_name.attributes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": np.zeros(5)}, "features: expected numbers of shape"),
        ({"features": np.full((400, 2), np.nan)}, "NaN or infinite"),
        ({"features": torch.zeros(400, 2, requires_grad=True)}, "features: cannot be read as an array .*detach"),
        ({"features": [[1.0, 2.0], [3.0]]}, "features: cannot be read as an array"),
        ({"before": np.full((400, 2), np.inf)}, "before: NaN or infinite in 400 of 400 rows"),
        ({"attributes": {}}, "attributes: is empty"),
        ({"attributes": np.zeros(400)}, "attributes: expected arrays by name, .* found one ndarray"),
        ({"attributes": {0: np.zeros(400)}}, "attributes: names are text, but one is 0; write '0'"),
        ({"attributes": {"sex": np.zeros(3)}}, "attribute 'sex': expected shape \\(400,\\)"),
        ({"attributes": {"sex": np.zeros(400)}}, "holds one class"),
        ({"attributes": {"id": np.arange(400)}}, "400 different values; for a quantity pass numbers=\\['id'\\]"),
        ({"numbers": ["sx"]}, "there is no attribute 'sx', did you mean 'sex'"),
        ({"target": np.array([None, *[0] * 399], dtype=object)}, "target: missing in 1 of 400"),
        ({"group": np.array([np.nan, 7, np.nan] + [1.0] * 397)}, "group: missing in 2 of 400 .* needs an id"),
        ({"train_features": np.zeros((9, 5))}, "train_target: is missing"),
        ({"train_target": np.zeros(9)}, "train_features: is missing; train_target"),
        ({"train_target": np.zeros(9), "target": None, "train_features": np.zeros((9, 5))}, "target: is missing"),
        (
            {"before": np.zeros((400, 5)), "train_features": np.zeros((9, 5)), "train_target": np.zeros(9)},
            "train_before: is missing; task figures",
        ),
        (
            {"numbers": ["a"], "train_before": np.zeros((9, 5))},
            "attribute 'a'\ntrain_features: is missing; train_before .*\nbefore: is missing",
        ),
        ({"train_features": np.zeros((9, 3)), "train_target": np.zeros(9)}, "train_features: 3 columns, but features"),
        ({"before": np.zeros((4, 5))}, "before: 4 rows, but 400"),
        ({"settings": AuditSettings(confidence=0)}, "settings.confidence: must be greater than 0"),
        (
            {"settings": AuditSettings(confidence=1, fit_fraction=1.5)},
            r"settings.fit_fraction: [^\n]*\n.*confidence: must",
        ),
        ({"settings": AuditSettings(crossings=(("sex", "age"),))}, r"settings.crossings.0.1: .* no attribute 'age'"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], said: str) -> None:
    z, y, c = draw()
    given: dict[str, Any] = {"features": z, "attributes": {"sex": c}, "target": y, "settings": QUICK} | changes
    with pytest.raises(EvaluationError, match=said):
        audit(given.pop("features"), given.pop("attributes"), given.pop("target"), **given)
