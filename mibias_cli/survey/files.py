"""Files: a manifest that lists images, a table whose columns are the inputs, stored embeddings."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mibias_cli.data.columns import look_at
from mibias_cli.data.files.array_ids import refuse_other_order
from mibias_cli.data.files.arrow_files import PARQUET, is_list
from mibias_cli.data.files.folders import find_images
from mibias_cli.data.files.refused import refuse_formats, require_file
from mibias_cli.data.files.stored_features import array_shapes
from mibias_cli.data.files.tabular import AS_USUAL, Table, first_rows, read_table, refuse_nested, texts
from mibias_cli.data.shards.feature_parts import open_stored, part_files, some_part
from mibias_cli.data.shards.shard_names import may_be_shards
from mibias_cli.data.shards.shards import KEY, SHARD, SHARD_SPLIT, read_shards
from mibias_cli.errors import DataError
from mibias_cli.survey.columns import guess_path
from mibias_cli.survey.layout import MOST_FILES, Layout
from mibias_cli.survey.levels import are_masks
from mibias_cli.survey.splits import split_words
from mibias_cli.survey.tables.matching import image_column, may_name_images
from mibias_cli.survey.tables.split_tables import numbered_parts, other_parts, tables_in

__all__ = ["arrays_beside", "features_layout", "file_layout", "shards_layout"]

_ARRAYS = (".safetensors", ".npz", ".npy")
_FEWEST_FEATURES = 8
_USUAL_KEYS = ("features", "embeddings", "embedding", "z", "x")
_BESIDE = ("labels", "manifest", "metadata", "attributes", "columns")
_TABLE_ENDINGS = (".csv", ".tsv", ".csv.gz", ".parquet", ".feather", ".jsonl")
_LOOKED_AT = 200


def file_layout(
    path: Path,
    table: Path | None,
    root: Path | None,
    follow: Path | None = None,
    image: str | None = None,
    *,
    as_table: bool = False,
) -> Layout:
    """What a file holds.

    Args:
        path: A table (.csv, .tsv, .parquet, .feather, .arrow, .jsonl), .safetensors, .npz or .npy.
        table: For embeddings, the table with one row per embedding; None: the file's own columns, or one beside it.
        root: Where image paths start from; None: the file's folder, or one in it.
        follow: Links to images below this folder are followed.
        image: As `shards_layout` takes it.
        as_table: Whether a table is one of columns, whatever images its rows name.

    Raises:
        DataError: No such file, a file of another kind, or embeddings without a table.
    """
    if may_be_shards(path):
        return shards_layout(path, image)
    layout = _layout(path, table, root, follow, as_table)
    parts = numbered_parts(path)
    note = (
        f"{first_rows(parts)} beside {path.name} may be further parts of it, and are not read; write them to one file"
    )
    return replace(layout, notes=(*layout.notes, note)) if parts else layout


def shards_layout(path: Path, image: str | None) -> Layout:
    """WebDataset's shards: a .tar, a folder of these, or a pattern; `image` is as `read_shards` takes it.

    Raises:
        DataError: As `read_shards`, or a sample has no image.
    """
    found = read_shards(path, image=image, reading=AS_USUAL)
    found.refuse_imageless("take them out")
    # where a sample lies says nothing of it, unless shards are named as splits
    words = split_words({part for part in found.table.columns[SHARD_SPLIT] if part is not None})
    hidden = {KEY, SHARD, *([SHARD_SPLIT] if words is None else [])}
    columns = {name: values for name, values in found.table.columns.items() if name not in hidden}
    return Layout(
        what="WebDataset's shards",
        source="webdataset",
        table=replace(found.table, columns=columns),
        file=path,
        shard_images=found.images,
        image=image,
        split=None if words is None else (SHARD_SPLIT, words),
        notes=(*found.table.notes, *found.notes),
    )


def features_layout(folder: Path, table: Path | None) -> Layout | None:
    """Stored embeddings in shards, all in one folder, with a table beside it; None where its files are no such shards.

    Raises:
        DataError: A shard is missing, or there is no table.
    """
    file = some_part(folder)
    if file is None:
        return None
    if file.suffix.lower() not in PARQUET:
        return _arrays(folder, table, file)
    prefix = _feature_prefix(file)
    key = _list_column(file) if prefix is None else None
    if prefix is None and key is None:
        return None  # tables, or images within tables
    shape = open_stored(folder, key=key or "features", prefix=prefix or "z_").shape
    return _with_labels(folder, table, shape, key=key, prefix=prefix)


def _layout(path: Path, table: Path | None, root: Path | None, follow: Path | None, as_table: bool) -> Layout:
    require_file(path)
    refuse_formats(path)
    suffix = path.suffix.lower()
    if suffix in _ARRAYS:
        return _arrays(path, table)
    if suffix in PARQUET and not as_table and (prefix := _feature_prefix(path)) is not None:
        if table or all(name.startswith(prefix) for name in pq.read_schema(path).names):
            return _with_labels(path, table, open_stored(path, key="features", prefix=prefix).shape, prefix=prefix)
        rows = read_table(path, leave_out=lambda name: name.startswith(prefix))
        what = f"stored embeddings ({prefix}…)"
        beside = [name for name in rows.columns if look_at(rows, name).kind == "number"]
        apart = f"numbers beside the {prefix}… columns, no inputs; --source table takes all of them"
        said = (f"{first_rows(beside)}: {apart}",) if beside else ()
        return Layout(what=what, source="embeddings", table=rows, features=path, prefix=prefix, notes=said)
    rows = read_table(path)
    if suffix in PARQUET and not as_table and (lists := _list_column(path)) is not None:
        # lists of numbers beside labels are embeddings
        if table:
            return _with_labels(path, table, open_stored(path, key=lists, prefix="z_").shape, key=lists)
        what = f"stored embeddings (lists in {lists})"
        return Layout(what=what, source="embeddings", table=rows, features=path, key=lists)
    if not as_table and (images := _images_layout(path, rows, root, follow)) is not None:
        return images
    refuse_nested(rows)
    images_beside = () if as_table else _images_beside(root or path.parent, rows)
    notes = (*images_beside, *_beside_notes(path, rows), *arrays_beside(path.parent, {len(rows)}))
    return Layout(what="a table", source="table", table=rows, file=path, notes=notes)


def _images_layout(path: Path, rows: Table, root: Path | None, follow: Path | None) -> Layout | None:
    """A manifest of images: its paths as they are, or matched with the images below its folder by name; or None.

    Raises:
        DataError: A column holds paths, and none of them is an image's.
    """
    column = guess_path([look_at(rows, name) for name in rows.columns])
    what = "a manifest of images"
    found_root = None if column is None else root or _root_of(rows, column, path.parent)
    if column is not None and found_root is not None and 2 * _hits(rows, column, found_root) > len(rows):
        return Layout(
            what=what,
            source="manifest",
            table=rows,
            file=path,
            root=found_root,
            path=column,
            notes=_beside_notes(path, rows),
        )
    # an id is an image's name without suffix; a tree is only walked where some column may hold such
    place = root or path.parent
    walked = column is not None or may_name_images(rows)
    images = find_images(place, follow=follow, most=MOST_FILES).images if walked else []
    found = image_column(rows, images) if images else None
    # a few images beside a table may have its ids by chance
    if found is not None and (column is not None or 2 * found[1].n_meant >= len(rows)):
        name, match = found
        several = np.isin(np.arange(len(rows)), match.ambiguous)
        if 2 * len(match.ambiguous) > len(rows):
            raise DataError(
                f"{path}: {name!r} holds names alone, and several images below {place} have the same name: rows "
                f"{rows.rows_where(several, name)}; add their folders, or name the folder that is meant with --root DIR"
            )
        old = rows.columns[name]
        values = [v if image is None else image for v, image in zip(old, match.images, strict=True)]
        said = [f"{name} is read {match.how}"] if match.how else []
        if column is None:
            said.append(
                f"rows are taken for the images that {name} names; --source table takes their columns as inputs"
            )
        if match.ambiguous:
            said.append(f"{len(match.ambiguous)} row(s) name several images: {rows.rows_where(several, name)}")
        table = rows.with_columns({name: texts(values)})
        return Layout(
            what=what, source="manifest", table=table, root=place, path=name, notes=(*said, *_beside_notes(path, rows))
        )
    if column is None:
        return None
    if found_root is not None:
        return Layout(what=what, source="manifest", table=rows, file=path, root=found_root, path=column)
    raise DataError(
        f"{path}: no image that {column!r} names is below {path.parent} (row {rows.row_numbers[0]}: "
        f"{rows.columns[column][0]}); say where they are with --root DIR"
    )


def _images_beside(place: Path, rows: Table) -> tuple[str, ...]:
    """A note of images below a table's folder, as many as its rows or more, of which no column holds a name."""
    images = find_images(place, most=MOST_FILES).images if may_name_images(rows) else []
    if len(images) < len(rows):
        return ()
    return (
        f"{len(images)} images below {place} ({first_rows(images, 2)}) are named by no column; the table is read alone",
    )


def arrays_beside(place: Path, n_rows: Collection[int]) -> Iterator[str]:
    """A note of arrays (n, d) in a folder, of as many rows as a table there has: they may be its rows' embeddings."""
    found = []
    for file in sorted(file for file in place.iterdir() if file.suffix.lower() in _ARRAYS):
        with suppress(DataError, OSError):  # whatever it is, nobody asked for it
            if any(len(shape) == 2 and shape[0] in n_rows and shape[1] > 1 for shape in array_shapes(file).values()):
                found.append(file.name)
    if found:
        yield (
            f"arrays of as many rows as a table are not read: {first_rows(found)}; if they are embeddings of its rows, "
            "name the array's file, and the table as --table"
        )


def _hits(rows: Table, column: str, root: Path) -> int:
    return sum(v is not None and os.path.isfile(root / str(v)) for v in rows.columns[column])


def _beside_notes(path: Path, rows: Table) -> tuple[str, ...]:
    """A note of tables beside this one that look like its other splits: official test rows are not to train."""
    others = other_parts(path, rows)
    if not others:
        return ()
    listed = first_rows(others)
    return (f"{listed} beside it may be other parts of an official split; `mibias init {path.parent}` takes all",)


def _root_of(table: Table, column: str, folder: Path) -> Path | None:
    """The folder, or one in it, below which most of the first rows' images are.

    Raises:
        DataError: Several folders in it hold images of these names, as full and small ones are called alike.
    """
    # the folder under which most of some images exist; on a tie the file's own
    some = [str(v) for v in table.columns[column][:_LOOKED_AT] if v is not None]
    inner = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    hits = {root: sum(os.path.isfile(root / name) for name in some) for root in (folder, *inner)}
    best = max(hits, key=lambda root: hits[root])
    alike = [root.name for root in inner if hits[root] == hits[best] > 0 and not are_masks([best.name, root.name])]
    if best != folder and len(alike) > 1:
        raise DataError(
            f"{table.path}: {column!r} holds names that images in several folders have: {first_rows(alike)}; name the "
            "folder that is meant with --root DIR"
        )
    return best if hits[best] else None


def _feature_prefix(path: Path) -> str | None:
    """How the names of feature columns begin: eight or more columns of numbers, all of one name but for a number.

    Where all columns are called by numbers alone, as pandas writes an array, they begin with nothing.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    numeric = [f.name for f in schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)]
    # z_0, z_1, …: columns that differ by a number at the end
    stems = Counter(match[1] for name in numeric if (match := re.fullmatch(r"(.*?)\d+", name)))
    for stem, n in stems.most_common(1):
        # all columns of that beginning must be features, as a recipe's prefix takes all of them
        if n >= _FEWEST_FEATURES and sum(name.startswith(stem) for name in schema.names) == n:
            return stem
    return None


def _list_column(path: Path) -> str | None:
    """The column of lists of numbers, of several one of a usual name; None where no one is it."""
    lists = [field.name for field in pq.read_schema(path) if is_list(field.type)]
    usual = [name for name in _USUAL_KEYS if name in lists]
    return usual[0] if usual else lists[0] if len(lists) == 1 else None


def _arrays(path: Path, table: Path | None, file: Path | None = None) -> Layout:
    """Arrays in a file; of shards in a folder, `file` is one of them."""
    shapes = array_shapes(file or path)
    wide = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    if not wide:
        listed = first_rows([f"{name} {shape}" for name, shape in shapes.items()])
        raise DataError(f"{path}: no array (n, d) in it, which embeddings are; it has: {listed or 'nothing'}")
    # of several arrays: a usual name, or else the widest
    usual = [name for name in _USUAL_KEYS if name in wide]
    key = usual[0] if usual else max(wide, key=lambda name: wide[name][1])
    n = wide[key][0]
    columns = [name for name, shape in shapes.items() if shape in ((n,), (n, 1))]
    within = f" ({first_rows(columns)} in the file may be written to one)" if columns else ""
    others = first_rows([f"{name} {shape}" for name, shape in wide.items() if name != key])
    notes = [f"{path.name}: {key!r} is read; data.key takes another array: {others}"] if others else []
    shape = wide[key] if file is None else open_stored(path, key=key, prefix="").shape
    return _with_labels(path, table, shape, key=key, within=within, notes=notes)


def _with_labels(
    path: Path,
    table: Path | None,
    shape: tuple[int, ...],
    *,
    key: str | None = None,
    prefix: str | None = None,
    within: str = "",
    notes: Sequence[str] = (),
) -> Layout:
    """Embeddings of a file or a folder, with a table of a row for each: the one that is named, or one beside them."""
    n, d = shape
    fitting = [table] if table else _tables_beside(path, n)
    if len(fitting) != 1:
        found = f"several tables of {n} rows beside them ({first_rows([x.name for x in fitting])})" if fitting else ""
        raise DataError(
            f"{path}: {n} embeddings of {d} numbers, but {found or f'no table of {n} rows beside them'} that says what "
            f"they are{within}; name one with --table FILE"
        )
    beside = fitting[0]
    rows = read_table(beside)
    if len(rows) != n:
        raise DataError(
            f"{path} has {n} embeddings, {beside} has {len(rows)} rows; there must be one row per embedding"
        )
    refuse_other_order(path, rows, part_files(path) if path.is_dir() else None)
    return Layout(
        notes=(*notes, *_shuffled_notes(rows)),
        what=f"stored embeddings ({n} of {d} numbers), with {beside.name}",
        source="embeddings",
        table=rows,
        file=beside,
        features=path,
        key=key,
        prefix=prefix,
    )


def _shuffled_notes(rows: Table) -> Iterator[str]:
    """A note of a column that counts the rows in another order than theirs, as it does where a table was shuffled."""
    for name, values in rows.columns.items():
        counted = [int(v) for v in values if v is not None and v.isdecimal() and len(v) < 10]
        start = min(counted, default=0)
        if start in (0, 1) and sorted(counted) == list(range(start, start + len(rows))) != counted:
            yield (
                f"{rows.path}: {name!r} counts the rows in another order than theirs; each embedding takes the row of "
                "its own place, so sort the rows by it if the embeddings are in its order"
            )


def _tables_beside(path: Path, n: int) -> list[Path]:
    """The tables beside the embeddings with as many rows; one of the same name or of a usual one before all others.

    Of the others, those that hold features themselves are none: they are embeddings of another model.
    """
    usual = [path.with_name(f"{name}{ending}") for name in (path.stem, *_BESIDE) for ending in _TABLE_ENDINGS]
    named = [file for file in usual if file.is_file()]
    found = []
    for file in [*named, *(other for other in tables_in(path.parent) if other not in named)]:
        if file == path:
            continue
        with suppress(DataError):  # some other file
            if (file in named or not _holds_features(file)) and len(read_table(file)) == n:
                if file in named:
                    return [file]
                found.append(file)
    return found


def _holds_features(file: Path) -> bool:
    is_parquet = file.suffix.lower() in PARQUET
    return is_parquet and (_feature_prefix(file) is not None or _list_column(file) is not None)
