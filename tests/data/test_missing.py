"""What is missing is missing however it is written, and one bad cell does not make categories of numbers."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import AttributeColumn, Columns, misfits
from mibias_cli.data.files.tabular import MISSING, Reading, read_table, texts
from mibias_cli.data.sources.table import load_table
from mibias_cli.data.table_inputs import may_mean_missing
from mibias_cli.errors import DataError
from mibias_cli.recipe.sections.data import TableData

N = 120
SEX = {"sex": AttributeColumn(), "height": AttributeColumn(kind="continuous")}
COLUMNS = Columns(split="split")
Cells = dict[str, list[str]]


def cells(**changed: list[str]) -> Cells:
    generator = np.random.default_rng(0)
    return {
        "income": [f"{v:.0f}" for v in generator.uniform(20_000, 90_000, N)],
        "job": [("clerk", "nurse", "none")[k % 3] for k in range(N)],
        "sex": ["mf"[k // 2 % 2] for k in range(N)],
        "height": [f"{v:.2f}" for v in generator.normal(170, 9, N)],
        "target": ["low", "high"] * (N // 2),
        "split": [("train", "train", "validation", "test")[k // 4 % 4] for k in range(N)],
    } | changed


def write(path: Path, columns: Cells) -> Path:
    rows = [",".join(f'"{cell}"' for cell in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join([",".join(columns), *rows]))
    return path


def with_some(name: str, value: str) -> list[str]:
    return [value if k % 10 == 3 else cell for k, cell in enumerate(cells()[name])]


def inputs(data: BiasedData) -> np.ndarray:
    return data.train.reader.read(np.arange(N), None).numpy()


@pytest.mark.parametrize("mark", ["-9", "-9.0"])
@pytest.mark.parametrize("cell", ["-9", "-9.0"])
def test_a_mark_of_ones_own_is_a_number_by_any_writing(tmp_path: Path, mark: str, cell: str) -> None:
    changed = {"income": with_some("income", cell), "sex": with_some("sex", "NA")}
    table = read_table(write(tmp_path / "t.csv", cells(**changed)), reading=Reading(missing=(mark,)))
    assert [k for k, v in enumerate(table.columns["income"]) if v is None] == list(range(3, N, 10))
    # the usual marks are values then, which is said of an attribute
    assert [note.partition("'sex' has ")[2][:14] for note in may_mean_missing(table, ["sex"])] == ["'NA' (12 rows)"]


@pytest.mark.parametrize("written", ["NA", "N/A", "NaN", "nan", "None", "null", "-", "?", " NA "])
def test_however_it_is_written(tmp_path: Path, written: str) -> None:
    def load(value: str) -> BiasedData:
        changed = {name: with_some(name, value) for name in ("income", "job", "sex", "height")}
        return load_table(write(tmp_path / "t.csv", cells(**changed)), columns=COLUMNS, attributes=SEX)

    empty, data = load(""), load(written)
    assert data.fingerprint == empty.fingerprint
    np.testing.assert_array_equal(inputs(data), inputs(empty))
    for name in SEX:
        np.testing.assert_array_equal(data.train.known[name], empty.train.known[name])
        assert not data.train.known[name].all()
    assert empty.notes == ()
    assert f"read as missing (data.missing): {written.strip()!r} in 'income' (12 rows)" in data.notes[0]
    changed = cells(target=with_some("target", written))
    with pytest.raises(DataError, match="12 row.s. have no target in 'target': rows 5, 15"):
        load_table(write(tmp_path / "t.csv", changed), columns=COLUMNS, attributes=SEX)


def test_parquet_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"s": ["a", None, "NA", "none"], "n": [1.5, None, float("nan"), 2.0]}), path)
    table = read_table(path)
    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "s": ["a", None, None, "none"],
        "n": ["1.5", None, None, "2"],
    }
    pq.write_table(pa.table({"d": [Decimal("1.50"), None]}), path)
    assert read_table(path).text == frozenset()


def test_the_list_is_the_recipes(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"a": ["-9", "NA", "", "x"]})
    read = read_table(path, reading=Reading(missing=("-9",)))
    assert read.columns["a"].tolist() == [None, "NA", None, "x"]
    section = TableData.model_validate({"source": "table", "path": "t.csv", "attributes": {}})
    assert tuple(section.missing) == MISSING
    given = {"missing": [-9], "encoding": "cp1252"}
    assert TableData.model_validate(section.model_dump() | given).missing == ["-9"]
    with pytest.raises(ValueError, match="no encoding of text is called 'klingon'"):
        TableData.model_validate(section.model_dump() | {"encoding": "klingon"})


@pytest.mark.parametrize(
    ("written", "n"),
    [
        (lambda k, v: "about 40k" if k == 7 else v, 1),
        (lambda k, v: "unknown" if k % 10 == 7 else v, 12),
        (lambda k, v: f"{int(v):,}", N),
        (lambda k, v: f"{int(v):,}" if k % 2 else v, N // 2),
        (lambda k, v: f"${v}", N),
        (lambda k, v: f"{int(v) / 1000:.3f} %", N),
        (lambda k, v: f"{int(v) / 1000:.3f}".replace(".", ","), N),
    ],
)
def test_a_bad_cell_names_its_row_and_column(tmp_path: Path, written: object, n: int) -> None:
    assert callable(written)
    changed = [written(k, v) for k, v in enumerate(cells()["income"])]
    path = write(tmp_path / "t.csv", cells(income=changed))
    first = next(k for k, (old, new) in enumerate(zip(cells()["income"], changed, strict=True)) if old != new)
    with pytest.raises(DataError) as caught:
        load_table(path, columns=COLUMNS, attributes=SEX)
    message = str(caught.value)
    assert f"{n} of {N} value(s) of 'income' are no plain numbers" in message
    assert f"rows {first + 2} ({changed[first]!r})" in message
    # and the key by which it is meant so
    data = load_table(path, columns=COLUMNS, attributes=SEX, categories=["income"])
    assert any("columns of many categories" in note and "'income'" in note for note in data.notes)


def test_targets_and_kept_columns_too(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", cells(income=["x", *cells()["income"][1:]]))
    with pytest.raises(DataError, match=r"1 of 120 value.s. of 'income' .* rows 2 \('x'\).*data.target_kind"):
        load_table(path, columns=Columns(target="income"), attributes=SEX)
    with pytest.raises(DataError, match="evaluation.fidelity_columns"):
        load_table(path, columns=Columns(kept=("income",)), attributes=SEX)


def test_codes_and_names_are_no_misfits() -> None:
    several = [
        [f"{k}.5" if k % 2 else f"A{k}" for k in range(60)],
        [f"{k}-{k + 9}" for k in range(60)],
        [f"2024-01-{k % 28 + 1:02d}" for k in range(60)],
        [f"{k % 28 + 1:02d}.01.2024" for k in range(60)],
        ["1", "2", "3", "x"] * 15,
        [str(k) for k in range(60)],
    ]
    assert not any(misfits(texts(values)).any() for values in several)


def test_a_column_of_codes_may_be_called_categories(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", cells(job=[str(100 + k % 12) for k in range(N)]))
    plain = load_table(path, columns=COLUMNS, attributes=SEX)
    coded = load_table(path, columns=COLUMNS, attributes=SEX, categories=["job"])
    assert (plain.input_shape, coded.input_shape) == ((2,), (13,))
    with pytest.raises(DataError, match=r"data.categories\[0\]: no column 'jb', did you mean 'job'"):
        load_table(path, columns=COLUMNS, attributes=SEX, categories=["jb"])
