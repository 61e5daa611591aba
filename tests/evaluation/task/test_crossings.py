from __future__ import annotations

import numpy as np
import pytest

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.crossings import chosen_crossings, intersection
from mibias_cli.evaluation.task.rule import Terms

TERMS = Terms(attributes=(), resamples=Resamples(1, 1, seed=0), min_cell=10, confidence=0.95)


def attribute(name: str, c: np.ndarray, known: np.ndarray | None = None) -> AuditedAttribute:
    return AuditedAttribute(
        name=name, channels=(name,), class_names=((f"{name} 0", f"{name} 1"),), c=c[:, None],
        known=np.ones(len(c), dtype=bool) if known is None else known,
    )  # fmt: skip


def test_accuracy_hides_in_crossings() -> None:
    """Even over sex and over age, and wrong for one crossing of both: the cells by hand."""
    sex, age, y = (v.ravel() for v in np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"))
    sex, age, y = (np.repeat(v, 20) for v in (sex, age, y))
    correct = ~((sex == 0) & (age == 1) & (np.arange(160) % 4 > 0))
    found = intersection(
        [attribute("sex", sex), attribute("age", age)], {"sex": "sex", "age": "age"}, y, {"after": correct},
        ("no", "yes"), TERMS,
    )  # fmt: skip
    table = {(row.y, *row.c): row for row in found.cells}
    assert len(table) == 8
    assert all(row.n == 20 and row.counted for row in found.cells)
    cell = table["yes", "sex 0", "age 1"]
    assert cell.after.accuracy == found.worst_group_accuracy.after == 0.25
    assert (cell.after.lower, cell.after.upper) == pytest.approx((0.1118617, 0.4687009), abs=1e-6)  # Wilson's
    assert table["yes", "sex 1", "age 1"].after.accuracy == 1.0
    assert cell.before is None
    assert found.worst_group_accuracy.before is None


def test_small_cells_are_shown_and_do_not_count_and_unknown_rows_are_nowhere() -> None:
    sex = np.array([0] * 30 + [1] * 3 + [0] * 5)
    age = np.zeros(38, dtype=int)
    known = np.arange(38) < 33
    correct = sex == 0
    found = intersection(
        [attribute("sex", sex), attribute("age", age, known)], {"sex": "sex", "age": "age"},
        np.zeros(38, dtype=int), {"before": correct, "after": correct}, ("no",), TERMS,
    )  # fmt: skip
    assert [(row.c, row.n, row.counted) for row in found.cells] == [
        (("sex 0", "age 0"), 30, True),
        (("sex 1", "age 0"), 3, False),
    ]
    assert found.worst_group_accuracy.after == found.worst_group_accuracy.before == 1.0
    assert found.cells[1].after.accuracy == 0.0


def test_which_attributes_are_crossed() -> None:
    assert chosen_crossings(["a", "b", "c"], None) == (("a", "b"), ("a", "c"), ("b", "c"))
    assert chosen_crossings(list("abcde"), None) == ()
    assert chosen_crossings(list("abcde"), [["a", "c", "e"]]) == (("a", "c", "e"),)
    assert chosen_crossings(["a"], None) == ()
