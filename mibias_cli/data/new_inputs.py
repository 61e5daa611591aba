"""New data, without targets or attributes, as the inputs that the training data were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from mibias_cli.data.batch import Reader, Split
from mibias_cli.data.columns import numbers
from mibias_cli.data.files.fingerprint import Streamed, fingerprint
from mibias_cli.data.files.folders import find_images
from mibias_cli.data.files.images import FileImages, FilesBelow, ImageReader, look_for_some, resolve_paths
from mibias_cli.data.files.packed import PackedTexts, RowNames, is_large
from mibias_cli.data.files.readers import IN_MEMORY_BYTES, ArrayReader, StoredReader
from mibias_cli.data.files.tabular import Table, first_rows, read_table, require_columns
from mibias_cli.data.input_rules import EmbeddingRules, ImageRules, InputRules, TableRules, Unseen
from mibias_cli.data.inputs import Transforms
from mibias_cli.data.shards.feature_parts import open_stored
from mibias_cli.data.shards.shard_names import may_be_shards
from mibias_cli.data.shards.shards import read_shards
from mibias_cli.data.sources.imagefolder import list_images
from mibias_cli.data.table_encoder import CategoryColumn, NumberColumn
from mibias_cli.data.table_inputs import doubts, other_categories, other_numbers
from mibias_cli.errors import DataError

__all__ = ["IdName", "NewInputs", "read_new"]

IdName = Literal["path", "row"]
_COMPARED = 8
"""Inputs by whose contents rows are told from others of the same names."""


@dataclass(frozen=True, kw_only=True)
class NewInputs:
    """Inputs without labels, in the order in which they lie.

    Args:
        path: Where they lie.
        id_name: What `ids` are: paths of images, or numbers of rows (in a CSV the header is row 1).
        ids: One per input; of very many they are kept as bytes.
        split: The inputs; its labels mean nothing.
        notes: What the user should know of how they were read.
    """

    path: Path
    id_name: IdName
    ids: Sequence[str]
    split: Split
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def held(self, start: int, stop: int) -> Split:
        """Some of the inputs, side by side; what lies in files of features is read into memory, and nothing else."""
        part = self.split.at(np.arange(start, stop))
        reader = part.reader
        return replace(part, reader=reader.holding(part.rows)) if isinstance(reader, StoredReader) else part

    @property
    def ids_sha256(self) -> str:
        """One sha256 of all ids and their order."""
        ids = self.ids
        contents: dict[str, Streamed | Iterable[str]] = {"ids": ids}
        if isinstance(ids, PackedTexts):
            contents = {
                "id lengths": Streamed(dtype="<i4", shape=(len(ids),), parts=ids.lengths),
                "ids": Streamed(dtype="|u1", shape=(ids.n_bytes,), parts=ids.letters),
            }
        return fingerprint((), {}, (), contents)

    def sample_sha256(self, start: int, stop: int) -> str:
        """One sha256 of what is in a few inputs from row `start` up to `stop`, the first and the last among them.

        Raises:
            DataError: One of these cannot be read.
        """
        rows = np.unique(np.linspace(start, stop - 1, _COMPARED).round().astype(np.int64))
        reader = self.split.reader
        if not isinstance(reader, ImageReader):
            return fingerprint((), {}, (), {"x": reader.read(rows, None).numpy()})
        return fingerprint((), {}, (), {"images": [self._image(reader, row) for row in rows.tolist()]})

    def _image(self, reader: ImageReader, row: int) -> str:
        try:
            return hashlib.sha256(reader.images.content(row)).hexdigest()
        except OSError as error:
            raise DataError(f"{reader.row_names[row]} cannot be read: {error.strerror or error}") from error


def read_new(
    path: Path,
    rules: InputRules,
    *,
    input_shape: Sequence[int],
    transforms: Transforms,
    root: Path | None = None,
    follow: Path | None = None,
) -> NewInputs:
    """New data as inputs, by the rules of the training data.

    Args:
        path: A folder of images, whose order is that of their sorted paths; a manifest of images; shards; a table; or
            stored embeddings: as the rules say.
        rules: How they are read.
        input_shape: Shape of one input that the extractor takes.
        transforms: What it asks of images.
        root: Folder that the paths of a manifest start from; None: the manifest's own.
        follow: Links to what lies below this folder are followed, too.

    Raises:
        DataError: No such data, or columns or values that are missing, unknown or cannot be read; the error names them.
    """
    if isinstance(rules, ImageRules):
        return _images(path, rules, transforms, root, follow)
    if isinstance(rules, EmbeddingRules):
        return _rows(path, rules, input_shape[0])
    if path.is_dir():
        raise DataError(f"{path}: is a folder, and this model takes {rules.kind}: name a file of the same kind")
    return _table(path, rules)


# --- images ---


def _images(path: Path, rules: ImageRules, transforms: Transforms, root: Path | None, follow: Path | None) -> NewInputs:
    if rules.fills_frame:
        transforms = replace(transforms, evaluate=transforms.arrays)
    # a folder of images may have the archive beside them that they came in
    if may_be_shards(path) and not (path.is_dir() and find_images(path, follow=follow).images):
        shards = read_shards(path, image=rules.image, reading=rules.reading)
        shards.refuse_imageless("take them out")
        keys = list(shards.table.row_numbers)
        return _inputs(path, "path", keys, keys, ImageReader(shards.images, transforms, 0, keys), shards.notes)
    files: Sequence[str]
    names: Sequence[str]
    ids: Sequence[str]
    if path.is_dir():
        found = list_images(path, follow)
        notes = [f"{path}: {len(found.images)} images, in the order of their sorted paths"]
        notes += found.note(path, "data.follow_links of a --recipe")
        if not is_large(len(found.images)):
            ids = names = found.images
            files = [str(path / name) for name in ids]
        else:
            packed = PackedTexts.of_cells(np.array(found.images, dtype=object))
            ids, names, files = packed, packed, FilesBelow(packed, path, follow)
    else:
        # of a large manifest the column of paths alone, as in training
        mapped = set(rules.reading.values)
        column = None if rules.path in mapped else rules.path
        needed = None if column is None else {column, *mapped}
        table = read_table(path, reading=rules.reading, needed=needed, packed=column)
        require_columns(table, {"data.columns.path": rules.path})
        look = look_for_some if rules.path in table.packed else resolve_paths
        files, names = look(table, rules.path, root or path.parent, follow)
        ids, notes = table.packed.get(rules.path) or list(table.columns[rules.path]), list(table.notes)
    # no augmentation is drawn, so the seed means nothing
    return _inputs(path, "path", ids, names, ImageReader(FileImages(files), transforms, 0, names), notes)


# --- stored embeddings ---


def _rows(path: Path, rules: EmbeddingRules, width: int) -> NewInputs:
    features = open_stored(path, key=rules.key, prefix=rules.prefix)
    if features.shape[1] != width:
        raise DataError(f"{path}: its embeddings are {features.shape[1]} wide, this model takes {width} numbers")
    if not features.shape[0]:
        raise DataError(f"{path}: holds no embedding")
    n = features.shape[0]
    x = np.empty(features.shape, dtype=np.float32) if 4 * n * width <= IN_MEMORY_BYTES else None
    start, wrong = 0, []
    for chunk in features.chunks():
        wrong.append(start + np.flatnonzero(~np.isfinite(chunk).all(axis=1)))
        if x is not None:
            x[start : start + len(chunk)] = chunk
        start += len(chunk)
    if len(rows := np.concatenate(wrong)):
        raise DataError(f"{path}: {len(rows)} embedding(s) hold NaN or infinity: rows {first_rows(rows + 1)}")
    numbers = np.arange(1, n + 1)
    reader = StoredReader(features, np.arange(n)) if x is None else ArrayReader(x)
    ids = PackedTexts(pa.chunked_array([pa.array(numbers).cast(pa.string())]))
    return _inputs(path, "row", ids, RowNames(numbers), reader)


# --- tables ---


def _table(path: Path, rules: TableRules) -> NewInputs:
    table = read_table(path, reading=rules.reading)
    columns = rules.encoder.columns
    # columns are found by their names: their order in the file, and others beside them, mean nothing
    require_columns(table, {f"input {k}": column.name for k, column in enumerate(columns, start=1)})
    notes = list(table.notes)
    for column in columns:
        notes += _check_number(table, column) if isinstance(column, NumberColumn) else []
        notes += _check_category(table, column, rules.unseen) if isinstance(column, CategoryColumn) else []
    ids = [str(number) for number in table.row_numbers]
    return _inputs(path, "row", ids, [f"row {n}" for n in ids], ArrayReader(rules.encoder.encode(table)), notes)


def _check_number(table: Table, column: NumberColumn) -> list[str]:
    """A note where values are missing that never were in training; a DataError where some are no numbers."""
    name = column.name
    parsed, wrong = numbers(table.columns[name])
    # inputs are float32: what would overflow there is no more a number than infinity is
    wrong |= np.abs(parsed - column.mean) > float(np.finfo(np.float32).max) * column.scale
    if wrong.any():
        raise DataError(
            f"{table.path}: {wrong.sum()} value(s) of {name!r} are no finite numbers, as they were in training: rows "
            f"{table.rows_where(wrong, name)}; write them as 35060 or 0.5, or empty the cells where they are missing"
        )
    # text that training read as numbers is read so here, whatever the file says of it
    return [*other_numbers(table, column), *doubts(replace(table, text=frozenset()), [name])]


def _check_category(table: Table, column: CategoryColumn, unseen: Unseen) -> list[str]:
    """A note or, as the rule says, a DataError where training has no such category (or no missing value)."""
    found, _ = other_categories(table, column)
    if not found:
        return []
    if unseen == "zeros":
        return [f"{found}; their inputs are all zeros (data.unseen)"]
    raise DataError(
        f"{found}; known are {first_rows([repr(value) for value in column.categories], 10)}; mend them, take the rows "
        "out, or name a --recipe with data.unseen: zeros, which gives them no category"
    )


def _inputs(
    path: Path, id_name: IdName, ids: Sequence[str], names: Sequence[str], reader: Reader, notes: Sequence[str] = ()
) -> NewInputs:
    n = len(ids)
    nothing = np.zeros(n, dtype=np.int64)
    split = Split(
        name="new data",
        y=nothing,
        c={},
        known={},
        group=None,
        rows=np.arange(n),
        row_names=names,
        reader=reader,
    )
    return NewInputs(
        path=path,
        id_name=id_name,
        ids=ids if isinstance(ids, PackedTexts) else tuple(ids),
        split=split,
        notes=tuple(notes),
    )
