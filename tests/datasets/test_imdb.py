"""IMDB-style manifests: whatever is no person with an age and a sex is counted and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mibias_cli.datasets.faces import PeopleColumns, read_people
from mibias_cli.errors import DataError


def manifest(folder: Path, text: str, images: str = "abcdefgh") -> Path:
    for name in images:
        (folder / f"{name}.jpg").write_bytes(b"")
    (folder / "imdb.csv").write_text(text)
    return folder / "imdb.csv"


def test_people_and_faults(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "file,years,gender,name\na.jpg,25.9,F,Ann\nb.jpg,41,male,Bob\nc.jpg,,f,Cy\nd.jpg,-3,m,Di\n"
        "e.jpg,200,m,Ed\nf.jpg,30,,Fi\n,30,f,Gi\nz.jpg,30,f,Zoe\nh.jpg,30,f,\ng.jpg,old,f,Gus\n",
    )
    people = read_people(path, PeopleColumns(path="file", age="years", sex="gender", identity="name"))
    assert people.path == ["a.jpg", "b.jpg"]
    assert people.age.tolist() == [25, 41]
    assert people.female.tolist() == [True, False]
    assert people.identity is not None
    assert people.identity.tolist() == ["Ann", "Bob"]
    assert people.faults == (
        "row 4 (years is None)",
        "row 5 (years is '-3')",
        "row 6 (years is '200')",
        "row 7 (no gender)",
        "row 8 (no file)",
        "row 9 (no file z.jpg)",
        "row 10 (no name)",
        "row 11 (years is 'old')",
    )


def test_a_value_may_mean_female(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,age,sex\na.jpg,20,0\nb.jpg,50,1\nc.jpg,50,\n")
    assert read_people(path, PeopleColumns(female="0")).female.tolist() == [True, False]
    with pytest.raises(DataError, match="'sex' holds '0', '1'; name the value that means female with --female"):
        read_people(path, PeopleColumns())
    with pytest.raises(DataError, match="no row has 'F' .--female. in 'sex'; it holds '0', '1'"):
        read_people(path, PeopleColumns(female="F"))


def test_a_missing_column_is_named_with_its_option(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,age,sexe\na.jpg,20,f\n")
    with pytest.raises(DataError, match="--sex-column: no column 'sex', did you mean 'sexe'"):
        read_people(path, PeopleColumns())


def test_nobody_left(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,age,sex\nx.jpg,20,f\n")
    with pytest.raises(DataError, match=r"no row has an image.*row 2 \(no file x\.jpg\)"):
        read_people(path, PeopleColumns())
