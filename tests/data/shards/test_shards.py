"""Shards of WebDataset against the standard library's own reading of them, and shards that nobody means."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from shard_files import picture, write_sample, write_tar

from mibias_cli.data.files.tabular import AS_USUAL, Reading
from mibias_cli.data.shards.shard_names import find_shards, shard_part
from mibias_cli.data.shards.shards import KEY, SHARD, Shards, read_shards
from mibias_cli.errors import DataError

Members = Iterable[tuple[str, bytes]]


def samples(n: int, first: int = 0) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for k in range(first, first + n):
        fields = {"sex": "fm"[k % 2], "age": 20.0 + k, "box": [1, 2], "seen": ["a|b"] * (k % 2)}
        found += write_sample(f"{k:04d}", picture(k), str(k % 2), fields)
    return found


def read(path: Path, image: str | None = None, reading: Reading = AS_USUAL) -> Shards:
    return read_shards(path, image=image, reading=reading)


@pytest.mark.parametrize("how", [{}, {"format": tarfile.GNU_FORMAT}, {"format": tarfile.PAX_FORMAT}])
def test_images_and_columns_are_those_that_tarfile_reads(tmp_path: Path, how: dict[str, object]) -> None:
    long = "a-folder-of-some-length/" * 8  # too long for a plain header: its own format's extension holds it
    for k in range(3):
        renamed = [(f"{long}{name}" if k == 1 else name, content) for name, content in samples(4, first=4 * k)]
        write_tar(tmp_path / f"s-{k:03d}.tar", renamed, **how)
    found = read(tmp_path)
    # a second implementation: everything into memory, grouped by hand
    expected = []
    for k in range(3):
        with tarfile.open(tmp_path / f"s-{k:03d}.tar") as archive:
            whole = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        for name in (name for name in whole if name.endswith(".png")):
            key = name.removesuffix(".png")
            fields = json.loads(whole[f"{key}.json"])
            row = (f"s-{k:03d}.tar", key, whole[f"{key}.cls"].decode(), fields["sex"], str(int(fields["age"])))
            expected.append((*row, whole[name]))
    columns = found.table.columns
    rows = zip(*(columns[name] for name in (SHARD, KEY, "cls", "sex", "age")), strict=True)
    assert [(*row, found.images.content(k)) for k, row in enumerate(rows)] == expected
    assert list(found.table.row_numbers) == [f"{row[0]}/{row[1]}.png" for row in expected]
    assert found.table.nested == {"box": "lists"}
    assert set(columns["seen"]) == {"[]", "['a|b']"}
    assert "sex" in found.table.text
    assert not {"age", "cls"} & found.table.text


def test_a_sample_is_all_members_of_a_name_up_to_the_first_dot(tmp_path: Path) -> None:
    members = [
        ("a/x.1/p.q.png", picture(1)),
        ("a/x.1/p.JPG", picture(2, "JPEG")),
        ("b.png", picture(3)),
        ("./c.left.png", picture(4)),
        ("b.meta.json", b'{"sex": null, "site": "B", "age": 3}'),
        ("a/x.1/p.caption", b" two\nlines "),
        ("b.vector", b"\x00\x01"),
        ("README", b"no sample"),
        ("._b.png", b"a Mac's"),
        ("b.txt", b"?"),
    ]
    found = read(write_tar(tmp_path / "s.tar", members))
    assert list(found.table.columns[KEY]) == ["a/x.1/p", "b", "c"]
    # the plain ending before the compound one, whatever comes first
    assert [found.images.content(row) for row in range(3)] == [picture(2, "JPEG"), picture(3), picture(4)]
    assert list(found.table.columns["caption"]) == ["two\nlines", None, None]
    assert list(found.table.columns["site"]) == [None, "B", None]
    assert list(found.table.columns["txt"]) == [None] * 3  # ? means missing, as in tables
    assert found.table.nested == {"vector": "bytes"}
    assert "2 member(s) passed over, without a name like key.jpg: s.tar/README, s.tar/._b.png" in found.notes[0]
    assert read(tmp_path / "s.tar", image="left.png;q.png").images.offset.tolist()[1] == -1


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", b"1"), ("a.png", b"1")], "s.tar: member a.png: is there twice"),
        ([("a.png", b"1"), ("a.jpg", b"1")], r"several images \(png, jpg, …\): .*s.tar: a; .*data.image: png"),
        ([("a.png", b"1"), ("a.json", b'{"cls": 1}'), ("a.cls", b"1")], "member a.cls: gives 'cls' a second time"),
        (
            [("a.1.png", b"1"), ("a.1.json", b'{"cls": 1}'), ("a.2.json", b'{"cls": 1}')],
            r"member a.2.json: gives 'cls' a second time; take one out \(a sample's name ends at its first dot\)",
        ),
        ([("a.png", b"1"), ("a.json", b"{")], "s.tar: member a.json: is no JSON"),
        ([("a.png", b"1"), ("a.json", b'{"cls": "\\ud83d"}')], "member a.json: holds text that is no Unicode"),
        ([("a.png", b"1"), ("a.json", b"[1]")], "member a.json: is no JSON object"),
        ([("a.png", b"1"), ("a.json", b"[" * 100_000)], "member a.json: is no JSON"),
        ([("a.png", b"1"), ("a.json", b" " * 2**20 + b"{}")], "member a.json: has 1,048,578 bytes"),
        ([(f"{'a' * 2000}.png", b"1")], "its name has 2,004 characters"),
        ([("README", b"1")], "hold no sample"),
        ([], "hold no sample"),
    ],
)
def test_members_that_nobody_means_are_errors(tmp_path: Path, members: Members, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write_tar(tmp_path / "s.tar", members))


def _checksummed(header: bytes) -> bytes:
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + f"{sum(blank):06o}\0 ".encode() + header[156:]


def _with_size(content: bytes, name: bytes, size: bytes) -> bytes:
    start = content.index(name)
    header = content[start : start + 512]
    return content[:start] + _checksummed(header[:124] + size.ljust(12, b"\0") + header[136:]) + content[start + 512 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tar: tar[: tar.index(b"0002.png") - 600], "cut short"),
        (lambda tar: tar[: tar.index(b"0002.png")], "ends without a mark of its end"),
        (lambda tar: tar[: tar.index(b"0002.png") + 100], "ends without a mark of its end"),
        (lambda tar: tar.replace(b"0002.png", b"0002.pnG"), "header at byte 6,144 is damaged"),
        (lambda tar: tar + tar, "goes on after its end"),
        (lambda tar: _with_size(tar, b"0001.png", b"77777777777"), "member 0001.png: the file ends within it"),
        # two's complement, as GNU tar writes what has no room in octal digits: a header that leads backwards
        (lambda tar: _with_size(tar, b"0001.png", b"\xff" * 10 + b"\xf0\x00"), "damaged"),
        (lambda tar: b"no tar at all" * 100, "is no tar, or a damaged one"),
        (lambda tar: b"", "is no tar, or a damaged one: empty file"),
        (lambda tar: gzip.compress(tar), r"is compressed \(gzip\).*unpack it to a .tar"),
        (lambda tar: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_damaged_shards_are_errors(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path = write_tar(tmp_path / "s.tar", samples(4))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_header_that_is_longer_than_memory_is_an_error(tmp_path: Path) -> None:
    """An extended header (pax) may say that it has any size, and tarfile reads it whole."""
    path = tmp_path / "s.tar"
    info = tarfile.TarInfo("a.png")
    info.type, info.size = tarfile.XHDTYPE, 2**40
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(DataError, match="a header says that it has 1099511627776 bytes"):
        read(path)


def test_links_and_names_that_lead_elsewhere_are_said_and_never_followed(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../../a.png", "/etc/b.png", "c\x1b[31m.png"):
            info = tarfile.TarInfo(name)
            info.size = len(picture(1))
            archive.addfile(info, io.BytesIO(picture(1)))
        for kind, name in ((tarfile.SYMTYPE, "d.png"), (tarfile.CHRTYPE, "e.png"), (tarfile.LNKTYPE, "f.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    found = read(path)
    assert list(found.table.columns[KEY]) == ["../../a", "/etc/b", "c\x1b[31m"]
    linked, odd = found.notes
    assert "3 member(s) passed over, links, devices or the like: s.tar/d.png, s.tar/e.png, s.tar/f.png" in linked
    assert "3 member(s) have names that lead elsewhere" in odd
    assert "\x1b" not in odd
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["s.tar"]


def test_a_sparse_member_is_refused_by_name(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", samples(1))
    content = path.read_bytes()
    header = content[:512]
    sparse = header[:156] + tarfile.GNUTYPE_SPARSE + header[157:]
    path.write_bytes(_checksummed(sparse) + content[512:])
    with pytest.raises(DataError, match="member 0000.png: is stored sparsely"):
        read(path)


def test_names_in_another_encoding_stay_apart(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("\xe9.png", b"1"), ("\xe8.png", b"2")], format=tarfile.USTAR_FORMAT,
                     encoding="latin-1")  # fmt: skip
    assert list(read(path).table.columns[KEY]) == ["\\xe9", "\\xe8"]


def test_a_shard_that_changes_under_the_reader_is_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", samples(2))
    images = read(path).images
    write_tar(path, samples(1))
    with pytest.raises(DataError, match=r"s\.tar: has changed since it was looked through"):
        images.content(1)


def test_missing_values_and_new_ones_are_those_of_tables(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", samples(4))
    reading = Reading(missing=("m",), values={"cls": {"1": "one"}})
    columns = read(path, reading=reading).table.columns
    assert list(columns["sex"]) == ["f", None, "f", None]
    assert list(columns["cls"]) == ["0", "one", "0", "one"]


def test_patterns_are_those_of_shells(tmp_path: Path) -> None:
    for name in ("train-08.tar", "train-09.tar", "train-10.tar", "val-0.tar", "x/train-00.tar", ".hidden.tar"):
        write_tar(tmp_path / name, [])
    three = ["train-08.tar", "train-09.tar", "train-10.tar"]
    assert find_shards(tmp_path / "train-{08..10}.tar") == (tmp_path, three)
    assert find_shards(tmp_path / "train-*.tar") == (tmp_path, three)
    assert find_shards(tmp_path / "{train-1,val-}?.tar")[1] == ["train-10.tar", "val-0.tar"]
    assert find_shards(tmp_path / "{x/train-00,val-0}.tar")[1] == ["x/train-00.tar", "val-0.tar"]
    assert find_shards(tmp_path)[1] == [*three, "val-0.tar", "x/train-00.tar"]
    assert find_shards(tmp_path / "x/train-00.tar") == (tmp_path / "x", ["train-00.tar"])


def test_links_to_nowhere_and_folders_called_tar(tmp_path: Path) -> None:
    write_tar(tmp_path / "b.tar", samples(1))
    (tmp_path / "a.tar").mkdir()
    assert find_shards(tmp_path)[1] == ["b.tar"]
    (tmp_path / "c.tar").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"1 of 2 shard\(s\) are not there: .*c\.tar"):
        find_shards(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("train-{00..11}.tar", r"12 of 12 shard\(s\) are not there: .*train-00.tar"),
        ("train-*.tar", r"1 shard\(s\) are not there"),
        ("train-{0-9}.tar", r"\{0-9\} is neither a range"),
        ("train-{9..0}.tar", r"\{9..0\} should go from a smaller"),
        ("train-{0..99999999}.tar", "at most a million"),
        ("{0..999}{0..999}{0..9}.tar", "name 10,000,000 shards"),
        ("{s,s}.tar", r"names 1 shard\(s\) more than once"),
        ("s.tar.gz", r"s.tar.gz: is compressed \(gzip\)"),
        ("packed", r"no .tar file below it; those that are compressed \(s.tar.gz\)"),
        ("pipe:curl x.tar", "commands are not run"),
    ],
)
def test_what_is_no_shard_is_an_error(tmp_path: Path, pattern: str, message: str) -> None:
    write_tar(tmp_path / "s.tar", samples(1))
    (tmp_path / "packed").mkdir()
    for path in (tmp_path / "s.tar.gz", tmp_path / "packed" / "s.tar.gz"):
        path.write_bytes(gzip.compress((tmp_path / "s.tar").read_bytes()))
    with pytest.raises(DataError, match=message):
        read(tmp_path / pattern)


def test_parts_are_named_by_folders_or_by_names() -> None:
    assert shard_part(["a/train/0.tar", "a/test/0.tar"]) == ["a", "a"]
    assert shard_part(["wds_train-0001-of-0002.tar"]) == ["wds_train"]


def test_an_image_takes_some_bytes_of_memory(tmp_path: Path) -> None:
    found = read(write_tar(tmp_path / "s.tar", samples(50)))
    images = found.images
    assert sum(array.nbytes for array in (images.shard, images.offset, images.size)) == 50 * 20
    # cells of few values share one text
    assert len({id(cell) for cell in found.table.columns["sex"]}) == 2
    assert len(np.unique(images.offset)) == 50
