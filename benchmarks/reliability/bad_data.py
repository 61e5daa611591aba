"""Bad tables, pictures and stored embeddings."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cases import TRAIN, Bad, Place, bad, table_case
from PIL import Image
from safetensors.numpy import save
from stock import TABLE

__all__ = ["cases", "npy", "png_of_size"]

EMBEDDINGS = TABLE.replace(
    "source: table\n  path: people.csv", "source: embeddings\n  path: z{}\n  manifest: people.csv"
)
_ROWS = 120


def cases() -> Iterator[Bad]:
    """All of them."""
    yield from _tables()
    yield from _targets()
    yield from _pictures()
    yield from _embeddings()


def _tables() -> Iterator[Bad]:
    """Files that are no table, or one with something wrong in it."""
    contents: dict[str, bytes] = {
        "empty": b"",
        "blank lines": b"\n\n\n",
        "a header alone": b"a,b,y,sex,split\n",
        "a name twice": b"a,a,y,sex,split\n1,2,no,f,train\n",
        "a name that is empty": b"a,,y,sex,split\n1,2,no,f,train\n",
        "a short row": b"a,b,y,sex,split\n1,2,no,f\n",
        "a long row": b"a,b,y,sex,split\n1,2,no,f,train,6\n",
        "an open quote": b'a,b,y,sex,split\n1,"2,no,f,train\n' * 3,
        "Latin-1": "a,b,y,sex,split\n1,2,né,f,train\n".encode("latin-1"),
        "UTF-16": "a,b,y,sex,split\n1,2,no,f,train\n".encode("utf-16"),
        "a broken gzip": gzip.compress(b"a,b,y,sex,split\n" * 50)[:-20],
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "a spreadsheet": b"PK\x03\x04" + bytes(200),
        "NUL bytes": b"a,b,y,sex,split\n1,\x00,no,f,train\n" * 20,
        "a cell of 10 MB": b"a,b,y,sex,split\n" + b"x" * 10_000_000 + b",2,no,f,train\n",
        "20,000 columns": (",".join(f"c{k}" for k in range(20_000)) + ",y,sex,split\n").encode() + b"1\n",
        "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
        "an LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "HTML": b"<!DOCTYPE html><html><body>Sign in</body></html>\n",
    }
    for name, content in contents.items():
        yield bad(f"table: {name}", lambda place, content=content: _with_table(place, content))
    yield bad("table: a gzip that unpacks to 600 MB", lambda place: _with_table(place, _gzip_bomb()))
    yield bad("table: a folder", lambda place: _in_place_of_table(place, lambda path: path.mkdir()))
    yield bad("table: a pipe that nobody fills", lambda place: _in_place_of_table(place, os.mkfifo))
    yield bad("table: a broken link", lambda place: _in_place_of_table(place, lambda path: path.symlink_to("nowhere")))
    for name, cut in {"cut short": None, "not Parquet": b"PAR1 nothing PAR1"}.items():
        yield bad(f"table: Parquet, {name}", lambda place, cut=cut: _with_parquet(place, cut))


def _with_table(place: Place, content: bytes) -> Sequence[str]:
    place.table().write("people.csv", content)
    return TRAIN


def _gzip_bomb() -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    block = b"1,2,no,f,train\n" * 70_000
    return b"".join(
        [packer.compress(b"a,b,y,sex,split\n"), *(packer.compress(block) for _ in range(600)), packer.flush()]
    )


def _in_place_of_table(place: Place, make: Callable[..., object]) -> Sequence[str]:
    place.table().remove("people.csv")
    make(place.folder / "people.csv")
    return TRAIN


def _with_parquet(place: Place, content: bytes | None) -> Sequence[str]:
    place.table().edit("r.yaml", "people.csv", "people.parquet")
    if content is None:
        pq.write_table(
            pa.table({name: ["1"] * 50 for name in ("a", "b", "y", "sex", "split")}), place.folder / "people.parquet"
        )
        place.cut("people.parquet")
    else:
        place.write("people.parquet", content)
    return TRAIN


def _targets() -> Iterator[Bad]:
    """Tables whose values cannot be what the recipe takes them for."""

    def column(name: str, value: Callable[[int], str], *settings: str) -> Bad:
        def make(place: Place) -> Sequence[str]:
            place.table()
            lines = (place.folder / "people.csv").read_text().splitlines()
            rows = [f"{line},{value(k)}" for k, line in enumerate(lines[1:])]
            place.write("people.csv", "\n".join([f"{lines[0]},new", *rows]) + "\n")
            return [*TRAIN, *(part for setting in settings for part in ("--set", setting))]

        return bad(f"column: {name}", make)

    target, number = "data.columns.target=new", "data.target_kind=regression"
    attribute = "data.attributes={new: {}}"
    yield column("regression on 1e300", lambda k: f"{k % 7}e300", target, number)
    yield column("regression on 1e400", lambda k: "1e400", target, number)
    yield column("regression on words", lambda k: "much", target, number)
    yield column("regression on one number", lambda k: "3", target, number)
    yield column("regression on NaN", lambda k: "nan", target, number)
    yield column("a target of one class", lambda k: "same", target)
    yield column("a target of 120 classes", lambda k: f"class{k}", target)
    yield column("a target that is empty", lambda k: "", target)
    yield column("a feature of 1e300", lambda k: f"{k % 7}e300")
    yield column("a feature of inf", lambda k: "inf" if k % 2 else "1")
    yield column("an attribute of one value", lambda k: "same", attribute)
    yield column("an attribute that is empty", lambda k: "", attribute)
    yield column("an attribute with a value per row", lambda k: f"id{k}", attribute)
    yield column("a continuous attribute of words", lambda k: "much", "data.attributes={new: {kind: continuous}}")
    yield column("a continuous attribute of 1e300", lambda k: f"{k}e300", "data.attributes={new: {kind: continuous}}")
    yield column("a continuous attribute of one value", lambda k: "1", "data.attributes={new: {kind: continuous}}")
    yield column("labels that are neither 0 nor 1", lambda k: "2", "data.columns.target=[new, y]")
    yield bad("column: an attribute of 50,000 classes", _many_classes)
    yield table_case("column: only training rows", ("people.csv", "test", "train"))
    yield table_case("column: no training rows", ("people.csv", "train", "test"))


def _many_classes(place: Place) -> Sequence[str]:
    place.table()
    rows = (
        f"{k % 5},{k % 7},{'yes' if k % 2 else 'no'},f,{'train' if k % 3 else 'test'},c{k % 50_000}"
        for k in range(150_000)
    )
    place.write("people.csv", "a,b,y,sex,split,new\n" + "\n".join(rows) + "\n")
    return [*TRAIN, "--set", "data.attributes={new: {}}"]


def _pictures() -> Iterator[Bad]:
    """Pictures that cannot be read, or are not meant."""

    def picture(name: str, content: Callable[[Place], bytes], *settings: str) -> Bad:
        def make(place: Place) -> Sequence[str]:
            place.images()
            place.write("images/0.png", content(place))
            return [*TRAIN, *(part for setting in settings for part in ("--set", setting))]

        return bad(f"picture: {name}", make)

    def saved(image: Image.Image, kind: str) -> bytes:
        file = io.BytesIO()
        image.save(file, kind)
        return file.getvalue()

    yield picture("empty", lambda place: b"")
    yield picture("text", lambda place: b"hello, I am a picture")
    yield picture("cut short", lambda place: (place.folder / "images/1.png").read_bytes()[:300])
    yield picture("JPEG cut short", lambda place: saved(Image.new("RGB", (200, 200), (9, 99, 199)), "JPEG")[:500])
    yield picture("11,400 × 11,400", lambda place: png_of_size(11_400, 11_400))
    yield picture("50,000 × 50,000", lambda place: png_of_size(50_000, 50_000))
    yield picture("no pixels", lambda place: png_of_size(0, 0))
    yield picture("1 × 60,000,000", lambda place: png_of_size(60_000_000, 1))
    yield picture(
        "floats out of range", lambda place: saved(Image.fromarray(np.full((8, 8), 1e30, np.float32)), "TIFF")
    )
    yield picture("NaN", lambda place: saved(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"))
    yield picture("DICOM", lambda place: bytes(128) + b"DICM" + bytes(64))
    yield picture("a pickle", lambda place: b"\x80\x04.")
    yield picture("an archive", lambda place: b"PK\x03\x04" + bytes(100))
    yield picture("an LFS pointer", lambda place: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    yield bad("picture: not there", lambda place: (place.images().remove("images/3.png"), TRAIN)[1])
    yield bad("picture: a folder", lambda place: _folder_as_picture(place))
    yield bad(
        "picture: out of the root",
        lambda place: (place.images().edit("pictures.csv", "images/0.png", "../x.png"), TRAIN)[1],
    )
    yield bad(
        "picture: an absolute path",
        lambda place: (place.images().edit("pictures.csv", "images/0.png", "/etc/passwd"), TRAIN)[1],
    )
    yield bad(
        "picture: a path too long",
        lambda place: (place.images().edit("pictures.csv", "images/0.png", "x" * 5000), TRAIN)[1],
    )
    yield bad(
        "picture: input of 100,000 pixels",
        lambda place: (place.images(), [*TRAIN, "--set", "backbone.input_size=100000"])[1],
    )
    yield bad(
        "picture: input of 1 pixel", lambda place: (place.images(), [*TRAIN, "--set", "backbone.input_size=1"])[1]
    )
    yield bad("picture: read by an mlp", lambda place: (place.images(), [*TRAIN, "--set", "backbone={name: mlp}"])[1])
    yield bad("picture: no such root", lambda place: (place.images(), [*TRAIN, "--set", "data.root=nothing"])[1])


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that says so of itself, and holds little."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * min(height, 4)) if width < 10**6 else bytes(100))
    if (width, height) == (11_400, 11_400):
        packer = zlib.compressobj(1)
        rows = b"".join([*(packer.compress(bytes(width + 1)) for _ in range(height)), packer.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _folder_as_picture(place: Place) -> Sequence[str]:
    place.images().remove("images/0.png")
    (place.folder / "images" / "0.png").mkdir()
    return TRAIN


def _embeddings() -> Iterator[Bad]:
    """Files of embeddings that hold none, or not these."""
    good = np.random.default_rng(0).normal(size=(_ROWS, 4)).astype(np.float32)
    header = struct.pack("<Q", 2**62) + b"{}"
    contents: dict[tuple[str, str], bytes] = {
        ("empty", ".npy"): b"",
        ("text", ".npy"): b"hello",
        ("a negative shape", ".npy"): npy("(-5, -4)", good.tobytes()),
        ("one negative length", ".npy"): npy("(-1, 4)", good.tobytes()),
        ("a shape of 10^18 rows", ".npy"): npy("(1000000000000000000, 4)", good.tobytes()),
        ("a shape beyond integers", ".npy"): npy("(99999999999999999999999, 4)", good.tobytes()),
        ("a header that is no shape", ".npy"): npy("'x'", good.tobytes()),
        ("more rows than bytes", ".npy"): npy("(9999, 4)", good.tobytes()),
        ("Python objects", ".npy"): npy("(120, 4)", good.tobytes(), "|O"),
        ("text values", ".npy"): npy("(120, 4)", bytes(120 * 4 * 4), "<U1"),
        ("complex numbers", ".npy"): npy("(120, 4)", bytes(120 * 4 * 8), "<c8"),
        ("one dimension", ".npy"): npy("(480,)", good.tobytes()),
        ("no columns", ".npy"): npy("(120, 0)", b""),
        ("other rows than the table", ".npy"): npy("(60, 8)", good.tobytes()),
        ("NaN", ".npy"): npy("(120, 4)", np.full((120, 4), np.nan, np.float32).tobytes()),
        ("1e300", ".npy"): npy("(120, 4)", np.full((120, 4), 1e300).tobytes(), "<f8"),
        ("no archive", ".npz"): b"PK\x03\x04",
        ("an archive of nothing", ".npz"): _zip({}),
        ("an array of another name", ".npz"): _zip({"other.npy": npy("(120, 4)", good.tobytes())}),
        ("a member cut short", ".npz"): _zip({"features.npy": npy("(120, 4)", good.tobytes()[:700])}),
        ("a member that is no array", ".npz"): _zip({"features.npy": b"hello"}),
        ("objects in an archive", ".npz"): _zip({"features.npy": npy("(120, 4)", good.tobytes(), "|O")}),
        ("an archive that unpacks to 600 MB", ".npz"): b"",
        ("a negative shape in an archive", ".npz"): _zip({"features.npy": npy("(-120, -4)", good.tobytes())}),
        ("columns first, 10^15 of them", ".npz"): _zip({"features.npy": npy("(120, 1000000000000)", b"", order=True)}),
        ("empty safetensors", ".safetensors"): b"",
        ("a header of 2^62 bytes", ".safetensors"): header,
        ("a header that is no JSON", ".safetensors"): struct.pack("<Q", 4) + b"{{{{",
        ("safetensors cut short", ".safetensors"): save({"features": good})[:-100],
        ("safetensors without the key", ".safetensors"): save({"other": good}),
        ("truth values", ".safetensors"): save({"features": good > 0}),
        ("an unknown suffix", ".dat"): good.tobytes(),
        ("a torch file", ".pt"): b"PK\x03\x04" + bytes(100),
        ("an HDF5 file", ".h5"): b"\x89HDF\r\n\x1a\n" + bytes(100),
    }
    for (name, suffix), content in contents.items():
        yield bad(f"embeddings: {name} ({suffix})", lambda place, s=suffix, n=name, c=content: _stored(place, s, n, c))


def _stored(place: Place, suffix: str, name: str, content: bytes) -> Sequence[str]:
    place.table().write("r.yaml", EMBEDDINGS.replace("z{}", f"z{suffix}"))
    if "unpacks" in name:
        with (
            zipfile.ZipFile(place.folder / f"z{suffix}", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("features.npy", "w", force_zip64=True) as member,
        ):
            member.write(npy("(120, 1310720)", b""))
            for _ in range(600):
                member.write(bytes(2**20))
    else:
        place.write(f"z{suffix}", content)
    return TRAIN


def npy(shape: str, values: bytes, kind: str = "<f4", *, order: bool = False) -> bytes:
    """A .npy file with any header."""
    text = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
