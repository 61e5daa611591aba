"""First rows of text that are no header, and tables that stand in another order than the embeddings they are for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from layouts import write
from safetensors.numpy import save_file
from safetensors.torch import save_file as torch_save

from mibias_cli.data.columns import AttributeColumn
from mibias_cli.data.files.array_ids import refuse_other_order
from mibias_cli.data.files.tabular import read_table
from mibias_cli.data.sources.embeddings import load_embeddings
from mibias_cli.errors import DataError

N = 60


def test_the_line_by_which_excel_names_the_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sep=;\nlabel;x, y\na;1,5\nb;2\n")
    table = read_table(path)
    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "label": ["a", "b"],
        "x, y": ["1,5", "2"],
    }
    assert table.row_numbers.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a,f,0.5\nb,m,1.5\na,f,2.5\nb,m,0.5\nb,f,0.1\n", r"its first row \('a', 'f', '0.5'\) holds values"),
        ("# exported\nlabel,x\na,1\nb,2\n", "is its first row .'# exported', …. the header?"),
        ("0,0,1\n1,0,1\n", "appear twice: 0; is the first row one of names?"),
        ("label,x\na,1\nlabel,x\nb,2\n", r"1 row\(s\) are the header once more: rows 3"),
        ("label x sex\na 1 f\nb 2 m\n", "its columns are separated by blanks"),
        ("# made by hand\nlabel,x,y,z\na,1,2,3\n", "is its first row .'# made by hand', …. the header?"),
        ("label,,,x\na,,,1\n", r"appear twice: \(empty\); is the first row one of names\?"),
        ("'label','x'\n'a','1'\n'b','2'\n", "its cells are in single quotes"),
        ("label,x\na,1\nb,2\0\n", r"holds a NUL character \(row 3\)"),
        ("label,x\na,1,\nb,2,3\n", "1 row.s. do not have the header's 2 cells: rows 3"),
    ],
)
def test_a_first_row_that_is_no_header(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=fault):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("label,x\na,1,\nb,2\n", 1),
        ("label,x,\na,1,\nb,2,\n", 2),
        ("label,x,,\na,1\nb,2, ,\n", 1),
        ("\ufeff\u200blabel,x\u200b\na,1\nb,2\n", 0),
    ],
)
def test_empty_ends_of_rows_and_characters_that_nobody_sees_in_names(tmp_path: Path, text: str, n: int) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    table = read_table(path)
    assert {name: values.tolist() for name, values in table.columns.items()} == {"label": ["a", "b"], "x": ["1", "2"]}
    assert table.notes == ((f"{path}: {n} row(s) end in empty cells without a name",) if n else ())


def test_columns_that_are_called_by_numbers(tmp_path: Path) -> None:
    """Pixels, embeddings, years: names of columns, although they are numbers, also where cells hold them."""
    path = write(tmp_path / "t.csv", ["0", "1", "label"], [[0, 1, "a"], [1, 0, "b"]])
    assert list(read_table(path).columns) == ["0", "1", "label"]


@pytest.mark.parametrize("kind", [".npz", "numbers in .npz", ".safetensors"])
def test_labels_in_another_order_than_the_ids_of_embeddings(tmp_path: Path, kind: str) -> None:
    ids = [str(100 + k) if kind.startswith("numbers") else f"im{k}.png" for k in range(N)]
    z = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    path = tmp_path / ("z.safetensors" if kind == ".safetensors" else "z.npz")
    if kind == ".safetensors":
        # as mibias embed writes them
        save_file({"features": z}, path, metadata={"path": str(ids).replace("'", '"')})
    else:
        np.savez(path, features=z, names=np.array([int(i) for i in ids]) if kind.startswith("numbers") else ids)
    rows = [[name, "ab"[k % 2], "fm"[k // 2 % 2]] for k, name in enumerate(ids)]
    header = ["file", "target", "sex"]
    sex = {"sex": AttributeColumn()}
    assert load_embeddings(path, manifest=write(tmp_path / "t.csv", header, rows), attributes=sex).input_shape == (8,)
    # one row that the file does not have is no sign of another order
    rows[3][0] = "another"
    assert load_embeddings(path, manifest=write(tmp_path / "t.csv", header, rows), attributes=sex).input_shape == (8,)
    rows[7], rows[9] = rows[9], rows[7]
    with pytest.raises(DataError, match=r"2 row.s. are not in the order of z\..*row 5.*row 9 \(.*, not '"):
        load_embeddings(path, manifest=write(tmp_path / "t.csv", header, rows), attributes=sex)


def test_embeddings_are_not_read_for_their_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ids = tmp_path / "z.npz", [f"im{k}.png" for k in range(N)]
    np.savez(path, features=np.zeros((N, 8), dtype=np.float32), names=ids)
    read: list[str] = []
    take = np.lib.npyio.NpzFile.__getitem__

    def noted(self: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
        read.append(name)
        return np.asarray(take(self, name))

    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", noted)
    table = read_table(write(tmp_path / "t.csv", ["file"], [[name] for name in ids]))
    refuse_other_order(path, table)
    assert read == ["names"]


@pytest.mark.parametrize(
    "written",
    ["{}.png", "data/x/{}.png", "C:\\x\\{}", "0{}"],
)
@pytest.mark.parametrize("beside", [None, "ids.npy", "z_names.txt"])
def test_ids_in_another_order_by_any_writing(tmp_path: Path, written: str, beside: str | None) -> None:
    ids = np.array([written.format(100 + k) for k in range(N)])
    z = np.zeros((N, 8), dtype=np.float32)
    if beside is None:
        path = tmp_path / "z.npz"
        np.savez(path, features=z, ids=ids)
    else:
        path = tmp_path / "z.npy"
        np.save(path, z)
        np.save(tmp_path / beside, ids) if beside.endswith(".npy") else (tmp_path / beside).write_text("\n".join(ids))
    rows = [[100 + k, "ab"[k % 2]] for k in range(N)]
    refuse_other_order(path, read_table(write(tmp_path / "t.csv", ["id", "target"], rows)))
    table = read_table(write(tmp_path / "t.csv", ["id", "target"], rows[::-1]))
    with pytest.raises(DataError, match=rf"{N} row.s. are not in the order of {path.name}"):
        refuse_other_order(path, table)


def test_labels_in_the_file_in_another_order_than_in_the_table(tmp_path: Path) -> None:
    path, y = tmp_path / "z.npz", np.arange(N) % 3
    np.savez(path, features=np.zeros((N, 8), dtype=np.float32), labels=y)
    refuse_other_order(path, read_table(write(tmp_path / "t.csv", ["target", "sex"], [[v, v // 2] for v in y])))
    table = read_table(write(tmp_path / "t.csv", ["target", "sex"], [[v, v // 2] for v in y[::-1]]))
    with pytest.raises(DataError, match="'labels' holds the same values as 'target' in another order: rows 2, 4, 5"):
        refuse_other_order(path, table)


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
@pytest.mark.parametrize("name", ["id", "number", "target"])
def test_columns_beside_features_in_another_order_than_in_the_table(tmp_path: Path, suffix: str, name: str) -> None:
    """Ids as text, ids as numbers, and labels; whatever wrote them beside the features."""
    text = {"id": [f"im{k}" for k in range(N)], "target": ["ab"[k % 2] for k in range(N)]}
    beside = {"id": text["id"], "number": [7 * k for k in range(N)], "target": text["target"]}[name]
    path, z = tmp_path / f"z{suffix}", np.zeros((N, 2), dtype=np.float32)
    if suffix == ".parquet":
        pq.write_table(pa.table({"z_0": z[:, 0], "z_1": z[:, 1], name: beside}), path)
    elif name == "number":
        save_file({"features": z, "number": np.array(beside)}, path)
    else:
        save_file({"features": z}, path, metadata={name: json.dumps(beside)})
    rows = [[f"im{k}", 7 * k, "ab"[k % 2], "fm"[k // 2 % 2]] for k in range(N)]
    header, sex = ["id", "number", "target", "sex"], {"sex": AttributeColumn()}
    assert load_embeddings(path, manifest=write(tmp_path / "t.csv", header, rows), attributes=sex).input_shape == (2,)
    with pytest.raises(DataError, match=rf"{N} row.s. are not in the order of z.*'{name}'"):
        load_embeddings(path, manifest=write(tmp_path / "t.csv", header, rows[::-1]), attributes=sex)


def test_columns_beside_features_that_the_table_has_with_other_values_say_nothing_of_its_order(tmp_path: Path) -> None:
    path = tmp_path / "z.parquet"
    z = np.zeros(N, dtype=np.float32)
    pq.write_table(pa.table({"z_0": z, "row": list(range(2, N + 2)), "target": ["c"] * N, "fold": [None] * N}), path)
    rows = [[str(1000 - k), "ab"[k % 2], k % 3] for k in range(N)]
    refuse_other_order(path, read_table(write(tmp_path / "t.csv", ["row", "target", "fold"], rows)))


FRACTIONS = np.round(np.random.default_rng(0).uniform(20, 80, N), 2)
FRACTIONS[3] = FRACTIONS[8]
"""Numbers as a table has them, of which two are the same."""


def beside(folder: Path, how: str, numbers: np.ndarray, name: str = "target") -> Path:
    """Embeddings with numbers beside them, in their file or in one of their own."""
    z = np.zeros((N, 2), dtype=np.float32)
    path = folder / ("z.npy" if how == "own file" else f"z{how}")
    if how == "own file":
        np.save(path, z)
        np.save(folder / f"{name}.npy", numbers)
    elif how == ".npz":
        np.savez(path, features=z, **{name: numbers})
    elif how == ".safetensors":
        save_file({"features": z, name: numbers}, path)
    else:
        pq.write_table(pa.table({"z_0": z[:, 0], "z_1": z[:, 1], name: numbers}), path)
    return path


@pytest.mark.parametrize("how", ["own file", ".npz", ".safetensors", ".parquet"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, "float64 of float32"])
@pytest.mark.parametrize("distinct", [True, False])
def test_numbers_with_fractions_in_another_order_than_in_the_table(
    tmp_path: Path, how: str, kind: type[np.generic] | str, distinct: bool
) -> None:
    numbers = FRACTIONS + np.where(np.arange(N) == 3, 90.0, 0.0) if distinct else FRACTIONS
    stored = numbers.astype(np.float32).astype(np.float64) if isinstance(kind, str) else numbers.astype(kind)
    path = beside(tmp_path, how, stored)
    rows = [[f"{v:.2f}", "fm"[k % 2]] for k, v in enumerate(numbers)]
    refuse_other_order(path, read_table(write(tmp_path / "t.csv", ["target", "sex"], rows)))
    # as a program writes them that has read the array, to the last digit
    exact = [[repr(float(v)), "fm"[k % 2]] for k, v in enumerate(stored)]
    refuse_other_order(path, read_table(write(tmp_path / "t.csv", ["target", "sex"], exact)))
    for swapped in (rows, exact):
        other = [*swapped]
        other[5], other[7] = other[7], other[5]
        table = read_table(write(tmp_path / "t.csv", ["target", "sex"], other))
        with pytest.raises(DataError, match=r"2 row.s. are not in the order of z\."):
            refuse_other_order(path, table)


def test_bfloat16_numbers_too(tmp_path: Path) -> None:
    stored = torch.from_numpy(FRACTIONS).to(torch.bfloat16)
    torch_save({"features": torch.zeros(N, 2), "labels": stored}, tmp_path / "z.safetensors")
    rows = [[f"{v:.2f}"] for v in FRACTIONS]
    refuse_other_order(tmp_path / "z.safetensors", read_table(write(tmp_path / "t.csv", ["target"], rows)))
    with pytest.raises(DataError, match="'labels' holds the same values as 'target' in another order"):
        refuse_other_order(tmp_path / "z.safetensors", read_table(write(tmp_path / "t.csv", ["target"], rows[::-1])))


def test_missing_numbers_and_whole_ones_are_compared(tmp_path: Path) -> None:
    numbers = np.array([np.nan, *range(1, N)])
    path = beside(tmp_path, ".npz", numbers)
    rows = [["", "f"], *[[str(k), "m"] for k in range(1, N)]]
    refuse_other_order(path, read_table(write(tmp_path / "t.csv", ["target", "sex"], rows)))
    with pytest.raises(DataError, match=r"row.s. are not in the order of z\.npz"):
        refuse_other_order(path, read_table(write(tmp_path / "t.csv", ["target", "sex"], rows[::-1])))


def test_other_numbers_say_nothing_of_the_order(tmp_path: Path) -> None:
    path = beside(tmp_path, ".npz", FRACTIONS.astype(np.float32), name="loss")
    for values in (FRACTIONS[::-1] + 0.01, np.arange(N), ["text"] * N):
        rows = [[v, k] for k, v in enumerate(values)]
        refuse_other_order(path, read_table(write(tmp_path / "t.csv", ["loss", "row"], rows)))


def test_whole_labels_in_a_file_beside(tmp_path: Path) -> None:
    y = np.arange(N) % 3
    np.save(tmp_path / "z.npy", np.zeros((N, 2), dtype=np.float32))
    np.save(tmp_path / "labels.npy", y)
    refuse_other_order(tmp_path / "z.npy", read_table(write(tmp_path / "t.csv", ["target"], [[v] for v in y])))
    table = read_table(write(tmp_path / "t.csv", ["target"], [[v] for v in y[::-1]]))
    with pytest.raises(DataError, match=r"'labels\.npy' holds the same values as 'target' in another order"):
        refuse_other_order(tmp_path / "z.npy", table)


@pytest.mark.parametrize("written", ["{}", "{}.0", "{}.00", "{}e0"])
def test_labels_in_a_text_file_are_compared_as_numbers(tmp_path: Path, written: str) -> None:
    y = np.arange(N) % 3
    np.save(tmp_path / "z.npy", np.zeros((N, 2), dtype=np.float32))
    (tmp_path / "labels.txt").write_text("\n".join(written.format(v) for v in y))
    for cell in ("{}", "{}.0"):
        rows = [[cell.format(v)] for v in y]
        refuse_other_order(tmp_path / "z.npy", read_table(write(tmp_path / "t.csv", ["target"], rows)))
        table = read_table(write(tmp_path / "t.csv", ["target"], rows[::-1]))
        with pytest.raises(DataError, match=r"'labels\.txt' holds the same values as 'target' in another order"):
            refuse_other_order(tmp_path / "z.npy", table)


def test_names_with_blanks_in_a_text_file(tmp_path: Path) -> None:
    names = [f"scan {k}.png" for k in range(N)]
    np.save(tmp_path / "z.npy", np.zeros((N, 2), dtype=np.float32))
    (tmp_path / "names.txt").write_text("\n".join(names))
    refuse_other_order(tmp_path / "z.npy", read_table(write(tmp_path / "t.csv", ["file"], [[v] for v in names])))
    table = read_table(write(tmp_path / "t.csv", ["file"], [[v] for v in names[::-1]]))
    with pytest.raises(DataError, match=r"not in the order of z\.npy, whose 'names\.txt' are ids of 'file'"):
        refuse_other_order(tmp_path / "z.npy", table)
