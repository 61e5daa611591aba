"""Images within tables, as data set hubs store them, written to shards in which each can be read from its place.

A Parquet file gives its images by the row group, of a hundred or a thousand at once: a shuffled epoch would read every
one of them as often.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mibias_cli.data.files.arrow_files import PARQUET, is_list, is_list_of_text
from mibias_cli.data.files.folders import image_suffixes
from mibias_cli.data.files.tabular import first_rows, refuse_existing
from mibias_cli.errors import DataError, did_you_mean
from mibias_cli.output.whole_files import replaced

__all__ = ["WrittenShards", "write_hub_shards"]

_AT_ONCE = 64
_SUFFIXES = (*PARQUET, ".arrow")


@dataclass(frozen=True, kw_only=True)
class WrittenShards:
    """By shard, how many images it has; and the columns that were passed over, with what they hold."""

    counts: dict[Path, int]
    left_out: dict[str, str]


def write_hub_shards(path: Path, out: Path, *, image: str | None = None, overwrite: bool = False) -> WrittenShards:
    """Write a shard of WebDataset for each Parquet or Arrow file: the images' bytes as they are, other columns as JSON.

    Classes that a hub stores as numbers beside their names are written as names. A few rows are in memory at a time.

    Args:
        path: A file, or a folder of files at any depth, as hubs lay them out and `datasets` saves them.
        out: Folder for the shards, which keep names and folders of the files.
        image: The column with the images; None: the only one there is.
        overwrite: Whether shards that exist are replaced.

    Raises:
        DataError: No such file, no column of images or several, a row without an image, or a file is in the way.
    """
    files = _files(path)
    folder = path if path.is_dir() else path.parent
    shards = {file: out / file.relative_to(folder).with_suffix(".tar") for file in files}
    if len(set(shards.values())) < len(shards):
        raise DataError(f"{path}: files of one name and two suffixes would be one shard; name them apart")
    if not overwrite:
        refuse_existing(list(shards.values()))
    counts, left_out = {}, dict[str, str]()
    for file, shard in shards.items():
        shard.parent.mkdir(parents=True, exist_ok=True)
        with (
            _opened(file) as (schema, batches),
            replaced(shard, new=not overwrite) as partial,
            tarfile.open(partial, "w") as archive,
        ):
            column = _image_column(file, schema, image)
            names = _class_names(schema)
            plain = [f.name for f in schema if _is_plain(f.type) or (f.name in names and _is_codes(f.type))]
            left_out |= {f.name: str(f.type) for f in schema if f.name not in (column, *plain)}
            counts[shard] = _write_rows(file, archive, batches, column, plain, names)
    return WrittenShards(counts=counts, left_out=left_out)


def _write_rows(
    file: Path,
    archive: tarfile.TarFile,
    batches: Iterator[pa.RecordBatch],
    column: str,
    plain: list[str],
    names: Mapping[str, list[str]],
) -> int:
    """Add each row under its number, from 0; how many there were."""
    n = 0
    for batch in batches:
        for row in batch.select([column, *plain]).to_pylist():
            cell = row.pop(column)
            content = cell.get("bytes") if isinstance(cell, dict) else cell
            if not content:
                raise DataError(
                    f"{file}: row {n + 1}: {column!r} holds no image itself; images beside a table are read by "
                    "data.source: manifest"
                )
            for name, classes in names.items():
                given = row.get(name)
                if isinstance(given, int):
                    row[name] = _class_named(given, classes)
                elif isinstance(given, list):
                    row[name] = [_class_named(code, classes) for code in given]
            _add(archive, f"{n:09d}{_suffix(file, n, cell, content)}", content)
            _add(archive, f"{n:09d}.json", json.dumps(row, default=str, ensure_ascii=False).encode())
            n += 1
    return n


def _class_named(code: int | None, classes: list[str]) -> str | None:
    return classes[code] if code is not None and 0 <= code < len(classes) else None


def _suffix(file: Path, row: int, cell: object, content: bytes) -> str:
    """The ending of an image's own name, else that of its format."""
    suffix = PurePosixPath(str(cell.get("path") or "")).suffix.lower() if isinstance(cell, dict) else ""
    if suffix in image_suffixes():
        return suffix
    try:
        with Image.open(io.BytesIO(content)) as image:
            return f".{(image.format or 'png').lower()}"
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{file}: row {row + 1}: is no image that Pillow knows; take the row out") from error


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # without the time and the user, so that the same rows give the same bytes
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    # `datasets` keeps what it computed beside its data
    found = [p for p in sorted(path.rglob("*")) if not p.name.startswith((".", "cache-"))] if path.is_dir() else [path]
    files = [file for file in found if file.suffix.lower() in _SUFFIXES]
    if not files:
        raise DataError(f"{path}: no Parquet or Arrow file; name one, or a folder that a hub or `datasets` wrote")
    return files


@contextmanager
def _opened(file: Path) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Columns, and rows a few at a time."""
    with ExitStack() as stack:
        with _named(file):
            schema, batches = _open(file, stack)
        yield schema, _read(file, batches)


def _open(file: Path, stack: ExitStack) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    if file.suffix.lower() in PARQUET:
        parquet = stack.enter_context(pq.ParquetFile(file))
        return parquet.schema_arrow, parquet.iter_batches(_AT_ONCE)
    mapped = stack.enter_context(pa.memory_map(str(file)))
    magic = mapped.read(6)
    mapped.seek(0)
    if magic == b"ARROW1":
        reader = pa.ipc.open_file(mapped)
        return reader.schema, (reader.get_batch(k) for k in range(reader.num_record_batches))
    stream = pa.ipc.open_stream(mapped)
    return stream.schema, iter(stream)


def _read(file: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with _named(file):
        yield from batches


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """What goes wrong in reading is said of the file; what goes wrong in writing, as on a full disk, is not."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise DataError(f"{file}: cannot be read as Parquet or Arrow: {error}") from error


def _image_column(file: Path, schema: pa.Schema, wanted: str | None) -> str:
    """The column of bytes, or of bytes with their path."""
    found = [f.name for f in schema if _is_bytes(f.type) or (pa.types.is_struct(f.type) and _has_bytes(f.type))]
    if wanted is not None and wanted not in found:
        raise DataError(
            f"{file}: --image {wanted}: no column of images{did_you_mean(wanted, found)}; there are "
            f"{', '.join(found) or 'none'}"
        )
    if wanted is None and len(found) != 1:
        what = f"several columns of images ({first_rows(found)})" if found else "no column of images"
        raise DataError(f"{file}: has {what}; " + ("name one with --image" if found else "its rows are no images"))
    return wanted or found[0]


def _is_plain(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or _is_bytes(kind)) or is_list_of_text(kind)


def _is_codes(kind: pa.DataType) -> bool:
    return is_list(kind) and bool(pa.types.is_integer(kind.value_type))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _has_bytes(kind: pa.StructType) -> bool:
    return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """By column, the names of classes that `datasets` keeps beside numbers."""
    written = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(written)["info"]["features"] if written else {}
        # of a list of classes the names stand with what its items are: {"feature": {…}}, formerly [{…}]
        items = {name: f[0] if isinstance(f, list) and f else f for name, f in features.items()}
        items = {name: f.get("feature", f) for name, f in items.items() if isinstance(f, dict)}
        return {
            name: f["names"] for name, f in items.items() if isinstance(f, dict) and isinstance(f.get("names"), list)
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # another version's way to say it: numbers stay numbers
