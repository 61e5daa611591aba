from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mibias_cli.data.columns import numbers
from mibias_cli.data.files.tabular import read_table, require_columns
from mibias_cli.errors import DataError


def test_csv_keeps_text_and_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('\ufeffid, name ,n\n01,"x, y",1\n\n02,NaN,\n03, null,2\n', encoding="utf-8")
    table = read_table(path)
    assert list(table.columns) == ["id", "name", "n"]
    assert table.columns["id"].tolist() == ["01", "02", "03"]
    assert table.columns["name"].tolist() == ["x, y", None, None]
    assert table.columns["n"].tolist() == ["1", None, "2"]
    assert table.row_numbers.tolist() == [2, 4, 5]  # line 3 is blank


def test_gzip_and_tabs(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    (tmp_path / "a.tsv").write_text("a\tb\n1\t2\n")
    for name in ("a.csv.gz", "a.tsv"):
        assert read_table(tmp_path / name).columns["b"].tolist() == ["2"]


def test_parquet_reads_as_the_csv_would(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"s": ["a", None], "i": [1, 2], "f": [1.0, None], "half": [0.5, float("nan")], "b": [True, False]}),
        path,
    )
    table = read_table(path)
    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "s": ["a", None],
        "i": ["1", "2"],
        "f": ["1", None],
        "half": ["0.5", None],
        "b": ["True", "False"],
    }
    assert table.text == {"s", "b"}
    assert table.row_numbers.tolist() == [1, 2]
    assert list(read_table(path, leave_out=lambda name: name in "if").columns) == ["s", "half", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n4,5,6\n", "2 row.s. do not have the header's 2 cells: rows 3, 4"),
        ("a,b\n", "no records"),
        ("", "is empty"),
        ("a,a\n1,2\n", "appear twice: a; rename one of the two"),
        ('a,b\n1,"2\n', "row 2"),
    ],
)
def test_faulty_csv(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


def test_other_faulty_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="is a device, a pipe or a socket"):
        read_table(Path("/dev/null"))
    (tmp_path / "a.parquet").write_text("a,b")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_table(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_bytes("näme\n1\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_table(tmp_path / "a.csv")


def test_missing_columns_come_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,gender,label\n1,2,3\n")
    with pytest.raises(DataError) as caught:
        require_columns(read_table(tmp_path / "a.csv"), {"data.columns.target": "labl", "data.attributes.sex": "gnder"})
    text = str(caught.value)
    assert "data.columns.target: no column 'labl', did you mean 'label'?" in text
    assert "data.attributes.sex: no column 'gnder', did you mean 'gender'?" in text
    assert "it has: 'path', 'gender', 'label'" in text


def test_numbers() -> None:
    parsed, wrong = numbers(np.array(["1", None, "x", "-2.5e3", "inf"], dtype=object))
    np.testing.assert_array_equal(parsed, [1, np.nan, np.nan, -2500, np.nan])
    assert wrong.tolist() == [False, False, True, False, True]
