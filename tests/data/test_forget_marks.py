"""Which rows a column marks to be forgotten, and that they train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import AttributeColumn, Columns
from mibias_cli.data.sources.table import load_table
from mibias_cli.errors import DataError

Mark = Callable[[int], str]
SPELT = ("yes", "True", "1", "", "no", "false", "0")


def loaded(folder: Path, mark: Mark, *, split: bool = True, group: bool = False, forget: bool = True) -> BiasedData:
    """120 rows, every sixth of them validating and another sixth audited; patients have two rows each."""
    lines = ["x,target,sex,split,patient,gone"]
    for k in range(120):
        part = {4: "validation", 5: "test"}.get(k % 6, "train")
        lines.append(f"{k / 7:.3f},{k % 2},{'fm'[k // 2 % 2]},{part},p{k // 2},{mark(k)}")
    (folder / "t.csv").write_text("\n".join(lines))
    columns = Columns(
        split="split" if split else None, group="patient" if group else None, forget="gone" if forget else None
    )
    features = ["x"] if not forget else None
    return load_table(folder / "t.csv", columns=columns, attributes={"sex": AttributeColumn()}, features=features)


def test_yes_is_read_however_it_is_written_and_empty_cells_are_no(tmp_path: Path) -> None:
    data = loaded(tmp_path, lambda k: SPELT[k // 6 % 7] if k % 6 < 4 else "")
    numbers = [k for k in range(120) if k % 6 < 4]
    assert data.train.forget is not None
    assert data.train.forget.tolist() == [k // 6 % 7 < 3 for k in numbers]
    assert data.train.retained.tolist() == [i for i, k in enumerate(numbers) if k // 6 % 7 >= 3]
    assert data.audit.forget is not None
    assert not data.audit.forget.any()
    assert data.train.at(np.array([3, 0])).forget.tolist() == [data.train.forget[3], data.train.forget[0]]


def test_the_marks_are_no_feature_and_tell_data_apart(tmp_path: Path) -> None:
    def mark(k: int) -> str:
        return "yes" if k == 0 else ""

    marked = loaded(tmp_path, mark)
    unmarked = loaded(tmp_path, mark, forget=False)
    assert marked.inputs is not None
    assert "gone" not in marked.inputs.encoder.input_names
    assert unmarked.train.forget is None
    assert unmarked.train.retained.tolist() == list(range(80))
    assert marked.fingerprint != loaded(tmp_path, lambda k: "yes" if k == 1 else "").fingerprint


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (
            lambda k: "maybe" if k == 0 else "yes",
            r"'gone' \(data.columns.forget\) marks .* rows 2 \('maybe'\) say neith",
        ),
        (lambda _: "no", "no row is marked in 'gone'"),
        (lambda k: "1" if k in (0, 5, 10) else "0", r"marks 2 row\(s\) that validate or are audited: rows 7, 12; only"),
    ],
)
def test_marks_that_cannot_be_meant_are_refused(tmp_path: Path, mark: Mark, message: str) -> None:
    with pytest.raises(DataError, match=message):
        loaded(tmp_path, mark)


@pytest.mark.parametrize("group", [False, True])
def test_a_drawn_split_keeps_marked_rows_in_training(tmp_path: Path, group: bool) -> None:
    plain = loaded(tmp_path, lambda _: "", split=False, group=group, forget=False)
    gone = {int(row) for row in (*plain.audit.rows[:6], *plain.train.rows[:4])}
    data = loaded(tmp_path, lambda k: "yes" if k in gone else "", split=False, group=group)
    assert data.train.forget is not None
    assert {int(row) for row in data.train.rows[data.train.forget]} == gone
    # with a patient's marked row its other row trains too, and nobody else moves
    moved = {k for row in gone for k in ((row, row ^ 1) if group else (row,))}
    assert set(data.train.rows) == set(plain.train.rows) | moved
    assert set(data.audit.rows) == set(plain.audit.rows) - moved
    assert any("that were drawn to validate or to be audited train instead" in note for note in data.notes)


def test_marks_that_leave_a_drawn_split_empty_are_refused(tmp_path: Path) -> None:
    plain = loaded(tmp_path, lambda _: "", split=False, forget=False)
    gone = set(plain.audit.rows)
    with pytest.raises(DataError, match=r"'gone', data.columns.forget\) train .* leaves the audit split empty"):
        loaded(tmp_path, lambda k: "yes" if k in gone else "", split=False)
