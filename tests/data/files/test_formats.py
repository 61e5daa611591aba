"""Files as people have them: read as they lie, or refused by name with what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from PIL import Image

from mibias_cli.data.columns import AttributeColumn
from mibias_cli.data.files.stored_features import open_features
from mibias_cli.data.files.tabular import Reading, read_table
from mibias_cli.data.sources.imagefolder import list_images
from mibias_cli.data.sources.manifest import load_manifest
from mibias_cli.errors import DataError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
SEX = {"sex": AttributeColumn()}


@pytest.mark.parametrize(("delimiter", "words"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_delimiters_are_found_and_said(tmp_path: Path, delimiter: str, words: str) -> None:
    path = tmp_path / "t.csv"
    lines = [("size, in mm", "name", "note"), ("1,5", "a", '"x, y, z"'), ("2,5", "b", "")]
    path.write_text("\n".join(delimiter.join(line) for line in lines))
    table = read_table(path)
    assert list(table.columns) == ["size, in mm", "name", "note"]
    assert table.columns["size, in mm"].tolist() == ["1,5", "2,5"]
    assert len(table.notes) == 1
    assert f"separated by {words}" in table.notes[0]


@pytest.mark.parametrize("text", ["a,b\nx|y,1\nz|w,2\n", "labels\nx|y\nz\n", "a\tb,c\n1,2\n", "a,b\n1;2,3\n"])
def test_other_signs_in_cells_are_no_delimiters(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    table = read_table(tmp_path / "t.csv")
    assert list(table.columns) == text.splitlines()[0].split(",")
    assert table.notes == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_encodings_are_named_with_the_key_that_reads_them(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.csv"
    text = "name,n\nJos\u00e9,1\n" + ("10 \u20ac,2\n" if encoding == "cp1252" else "M\u00fcller,2\n")
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=f"set data.encoding to {encoding}\\b"):
        read_table(path)
    read = read_table(path, reading=Reading(encoding=encoding))
    assert read.columns["name"].tolist() == [line.split(",")[0] for line in text.splitlines()[1:]]
    assert list(read.columns) == ["name", "n"]


def test_a_wrong_encoding_names_the_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,2\n3,caf\xe9 noir\n")
    with pytest.raises(DataError, match=r"not UTF-8 text \(row 3, byte 13\); .*'3,café noir'"):
        read_table(tmp_path / "t.csv")


def test_feather_arrow_and_json_lines_are_read(tmp_path: Path) -> None:
    table = pa.table({"s": ["01", "b", None], "n": [1.0, None, 2.5]})
    feather.write_feather(table, tmp_path / "t.feather")
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "t.jsonl").write_text('{"s": "01", "n": 1}\n{"s": "b"}\n{"s": null, "n": 2.5}\n')
    for name in ("t.feather", "t.arrow", "t.jsonl"):
        read = read_table(tmp_path / name)
        assert {key: values.tolist() for key, values in read.columns.items()} == {
            "s": ["01", "b", None],
            "n": ["1", None, "2.5"],
        }
        assert read.text == {"s"}
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(DataError, match=f"{name}: cannot be read as"):
            read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"PK\x03\x04", "a spreadsheet, which is not read; save the sheet as CSV"),
        ("t.json", b"[]", "is JSON.*COCO"),
        ("t.zip", b"PK\x03\x04", "an archive.*unpack it"),
        ("t.csv", b"PK\x03\x04", "an archive.*unpack it"),
        ("t.tar.gz", b"\x1f\x8b", "an archive"),
        ("t.pt", b"PK\x03\x04", "a pickle or torch file.*safetensors"),
        ("t.pkl", b"\x80\x04\x95", "a pickle or torch file"),
        ("t.csv", b"\x80\x04\x95", "a pickle or torch file"),
        ("t.h5", b"\x89HDF", "HDF5"),
        ("t.dcm", b"", "DICOM.*PNG"),
        ("t.csv", POINTER, "Git LFS pointer.*git lfs pull"),
        ("t.parquet", POINTER, "Git LFS pointer"),
        ("t.csv", b"PAR1\0\0", "is Parquet under a name of text.*name it .parquet"),
        ("t.csv", b'[{"label": "a"}]', "is JSON under a name of text"),
        ("t.txt", b'{"label": "a"}\n', "is JSON.*one flat object a line"),
        ("t.csv", b"\n<!DOCTYPE html>", "is an HTML page"),
        ("t.sav", b"$FL2", "a statistics program"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (read_table, lambda path: open_features(path, key="features", prefix="z_")):
        with pytest.raises(DataError, match=message):
            read(tmp_path / name)


def test_arrays_are_no_table(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match="data.source: embeddings"):
        read_table(tmp_path / "t.npy")


def test_images_that_are_dicom_or_pointers(tmp_path: Path) -> None:
    def message(image: str) -> str:
        rows = [f"{image},{'ab'[k % 2]},{'mf'[k // 2 % 2]}" for k in range(40)]
        (tmp_path / "m.csv").write_text("\n".join(["path,target,sex", *rows]))
        with pytest.raises(DataError) as caught:
            load_manifest(tmp_path / "m.csv", attributes=SEX)
        return str(caught.value)

    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM")
    assert "40 row(s) name DICOM images" in message("a.dcm")
    with pytest.raises(DataError, match="holds DICOM images, which are not read; convert them to PNG"):
        list_images(tmp_path)
    (tmp_path / "b").write_bytes(b"\0" * 128 + b"DICM")
    assert "is a DICOM image, which is not read; convert them to PNG" in message("b")
    Image.new("RGB", (2, 2)).save(tmp_path / "c.png")
    (tmp_path / "c.png").write_bytes(POINTER)
    assert "is a Git LFS pointer" in message("c.png")
