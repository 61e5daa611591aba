"""Features in a file, read in chunks or row by row, so that the file need not fit in memory."""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mibias_cli.data.files.arrow_files import PARQUET, is_list
from mibias_cli.data.files.refused import is_bomb, numpy_errors, refuse_formats, require_file
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.errors import DataError, did_you_mean

__all__ = ["StoredFeatures", "array_shapes", "list_features", "open_features"]

_CHUNK_BYTES = 2**24


class _Sliceable(Protocol):
    """An array in a file, of which slices can be read."""

    def __getitem__(self, rows: slice) -> np.ndarray | Tensor: ...


@dataclass(frozen=True, kw_only=True)
class StoredFeatures(ABC):
    """Features of a file, and their shape (n, d)."""

    path: Path
    shape: tuple[int, int]

    @property
    def by_row(self) -> bool:
        """Whether a row is found without reading those before it."""
        return False

    @abstractmethod
    def chunks(self) -> Iterator[np.ndarray]:
        """All rows in order, some megabytes at a time: (k, d) float32."""

    def take(self, rows: np.ndarray) -> np.ndarray:
        """These rows (k, d) float32, in the order that is asked for."""
        return self._picked(self.chunks(), rows)

    def _picked(self, chunks: Iterator[np.ndarray], rows: np.ndarray, start: int = 0) -> np.ndarray:
        """Rows picked from chunks that begin at row `start`; reading ends with the last of them."""
        # sorted, so that one pass over the chunks finds all of them
        order = np.argsort(rows, kind="stable")
        wanted = np.asarray(rows)[order]
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        done = 0
        for chunk in chunks if len(rows) else ():
            stop = done + int(np.searchsorted(wanted[done:], start + len(chunk)))
            out[order[done:stop]] = chunk[wanted[done:stop] - start]
            done, start = stop, start + len(chunk)
            if done == len(rows):
                break
        return out


def open_features(path: Path, *, key: str, prefix: str) -> StoredFeatures:
    """The features of one file; only its header is read, and nothing in it is executed.

    Args:
        path: .safetensors, .npz or .npy with an array (n, d), or .parquet with feature columns or a column of lists.
        key: Name of the array in a .safetensors or .npz file, or of the column of lists in a .parquet file.
        prefix: Parquet: the columns whose name starts so are the features.

    Raises:
        DataError: No such file or key, an unknown suffix, or an array that is not (n, d) numbers.
    """
    require_file(path)
    refuse_formats(path)
    suffix = path.suffix.lower()
    if suffix in PARQUET:
        return _open_parquet(path, key, prefix)
    if suffix not in _OPENERS:
        raise DataError(f"{path}: embeddings are read from {', '.join((*_OPENERS, *PARQUET))}, not from {suffix!r}")
    return _OPENERS[suffix](path, key)


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of a .safetensors, .npz or .npy file by name (of .npy: `features`), from headers alone.

    Raises:
        DataError: It is no such file.
    """
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as arrays:
                return {name: tuple(arrays.get_slice(name).get_shape()) for name in list(arrays.keys())}
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: cannot be read as safetensors: {error}") from error
    shapes = {}
    with numpy_errors(path, suffix):
        if suffix == ".npy":
            with path.open("rb") as file:
                return {"features": _npy_header(file)[0]}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    shapes[name.removesuffix(".npy")] = _npy_header(member)[0]
    return shapes


def _chunk_rows(n_columns: int) -> int:
    return max(1, _CHUNK_BYTES // (4 * n_columns))


# --- arrays whose rows lie one behind the other: safetensors, npy ---


@dataclass(frozen=True, kw_only=True)
class _MappedFeatures(StoredFeatures):
    """Rows that are found at once: `open` maps the file, and slices of what it gives are read from there."""

    open: Callable[[], _Sliceable]

    @property
    def by_row(self) -> bool:
        return True

    def chunks(self) -> Iterator[np.ndarray]:
        step = _chunk_rows(self.shape[1])
        for start in range(0, self.shape[0], step):
            # mapped anew for each chunk: pages of a map that were read count as memory in use until it is closed
            yield _float32(self.open()[start : start + step])

    def take(self, rows: np.ndarray) -> np.ndarray:
        array = self.open()
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        for k, row in enumerate(rows.tolist()):
            out[k] = _float32(array[row : row + 1])
        return out


def _float32(values: np.ndarray | Tensor) -> np.ndarray:
    """The same values; numbers too large for float32 become infinite, which the caller reports."""
    if isinstance(values, Tensor):
        return values.to(torch.float32).numpy()
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _open_safetensors(path: Path, key: str) -> StoredFeatures:
    def array() -> _Sliceable:
        # through torch: numpy has neither bfloat16 nor float8
        found: _Sliceable = safe_open(path, framework="pt").get_slice(key)
        return found

    try:
        with safe_open(path, framework="pt") as file:  # checks the whole header
            _require_key(path, key, list(file.keys()))
            entry = file.get_slice(key)
            shape, kind = tuple(entry.get_shape()), entry.get_dtype()
    except SafetensorError as error:
        raise DataError(f"{path}: cannot be read as safetensors: {error}") from error
    matrix = _matrix(path, key, shape, kind, is_number=kind != "BOOL", is_complex=kind.startswith("C"))
    return _MappedFeatures(path=path, shape=matrix, open=array)


def _open_npy(path: Path, key: str) -> StoredFeatures:
    def array() -> np.ndarray:
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped

    with numpy_errors(path, ".npy"):
        header = array()
    matrix = _numeric_matrix(path, path.name, header.shape, header.dtype)
    if header.flags.c_contiguous:
        return _MappedFeatures(path=path, shape=matrix, open=array)
    return _held(path, np.load(path, allow_pickle=False))


# --- arrays in a zip archive: npz ---


@dataclass(frozen=True, kw_only=True)
class _ZippedFeatures(StoredFeatures):
    """Rows of a member of an archive, which can only be read from its beginning on."""

    member: str
    dtype: np.dtype[np.generic]

    def chunks(self) -> Iterator[np.ndarray]:
        n, d = self.shape
        step = _chunk_rows(d)
        with numpy_errors(self.path, ".npz"), zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            _npy_header(file)
            for start in range(0, n, step):
                data = file.read(min(step, n - start) * d * self.dtype.itemsize)
                yield _float32(np.frombuffer(data, dtype=self.dtype).reshape(-1, d))


def _open_npz(path: Path, key: str) -> StoredFeatures:
    with numpy_errors(path, ".npz"), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        _require_key(path, key, names)
        member = archive.namelist()[names.index(key)]
        _refuse_bomb(archive.getinfo(member))
        with archive.open(member) as file:
            shape, fortran, dtype = _npy_header(file)
        if fortran and len(shape) == 2:
            with np.load(path, allow_pickle=False) as arrays:
                return _held(path, arrays[key])
    return _ZippedFeatures(path=path, shape=_numeric_matrix(path, key, shape, dtype), member=member, dtype=dtype)


def _refuse_bomb(member: zipfile.ZipInfo) -> None:
    """Refuse a few megabytes that unpack to gigabytes: no embeddings are so much alike."""
    if is_bomb(member.compress_size, member.file_size):
        raise ValueError(
            f"{member.filename} unpacks from {member.compress_size:,} bytes to {member.file_size:,}; if that is meant, "
            "save it as .npy"
        )


def _held(path: Path, array: np.ndarray) -> StoredFeatures:
    """An array that lies column by column in its file, and so is held in memory: its rows cannot be streamed."""
    held = np.ascontiguousarray(array, dtype=np.float32)
    return _MappedFeatures(path=path, shape=(held.shape[0], held.shape[1]), open=lambda: held)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether columns lie one behind the other, and type; the file is left where the values begin."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return shape, fortran, dtype


# --- columns: Parquet ---


@dataclass(frozen=True, kw_only=True)
class _ParquetFeatures(StoredFeatures):
    prefix: str
    columns: tuple[str, ...]

    def chunks(self) -> Iterator[np.ndarray]:
        with self._file() as file:
            yield from self._batches(file, list(range(file.num_row_groups)))

    def take(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        # a row group is read only if a wanted row lies in it
        start = 0
        with self._file() as file:
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                within = np.flatnonzero((rows >= start) & (rows < stop))
                if len(within):
                    out[within] = self._picked(self._batches(file, [group]), rows[within], start)
                start = stop
        return out

    @contextmanager
    def _file(self) -> Iterator[pq.ParquetFile]:
        try:
            # a small buffer per column and no reading ahead: a row group may be as large as the file
            checked = {"buffer_size": 2**16, "pre_buffer": False, "page_checksum_verification": True}
            with pq.ParquetFile(self.path, **checked) as file:
                yield file
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise DataError(f"{self.path}: its {self.prefix!r} columns cannot be read as numbers: {error}") from error

    def _batches(self, file: pq.ParquetFile, groups: list[int]) -> Iterator[np.ndarray]:
        size = _chunk_rows(self.shape[1])
        for batch in file.iter_batches(batch_size=size, row_groups=groups, columns=list(self.columns)):
            values = [batch.column(name).cast(pa.float32()).to_numpy(zero_copy_only=False) for name in self.columns]
            yield np.stack(values, axis=1)


@dataclass(frozen=True, kw_only=True)
class _ParquetLists(_ParquetFeatures):
    """Rows of one column of lists, all of one length."""

    def _batches(self, file: pq.ParquetFile, groups: list[int]) -> Iterator[np.ndarray]:
        width = self.shape[1]
        for batch in file.iter_batches(_chunk_rows(width), row_groups=groups, columns=list(self.columns)):
            lists = batch.column(0)
            # a list that is absent or of another length would shift all numbers behind it
            if (pc.list_value_length(lists).fill_null(-1).to_numpy() != width).any():
                self._refuse_lengths(file)
            values = lists.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
            yield values.reshape(-1, width)

    def _refuse_lengths(self, file: pq.ParquetFile) -> None:
        """Raise a `DataError` that names the rows of the whole file whose list is not as long as the first."""
        batches = file.iter_batches(_chunk_rows(self.shape[1]), columns=list(self.columns))
        lengths = np.concatenate([pc.list_value_length(b.column(0)).fill_null(-1).to_numpy() for b in batches])
        other = [
            f"{row + 1} ({'nothing' if lengths[row] < 0 else f'{lengths[row]} numbers'})"
            for row in np.flatnonzero(lengths != self.shape[1]).tolist()
        ]
        raise DataError(
            f"{self.path}: {len(other)} list(s) of {self.prefix!r} do not hold {self.shape[1]} numbers, as the first "
            f"does: rows {first_rows(other)}; take these rows out"
        )


def list_features(path: Path, name: str) -> StoredFeatures:
    """The numbers of a Parquet column of lists, which have all as many as the first.

    Raises:
        DataError: The first list is absent or empty.
    """
    with pq.ParquetFile(path) as file:
        first = next(file.iter_batches(1, columns=[name]), None)
        value = None if first is None else first.column(0)[0].as_py()
        if not value:
            raise DataError(f"{path}: the first list of {name!r} is empty; take such rows out")
        return _ParquetLists(path=path, shape=(file.metadata.num_rows, len(value)), prefix=name, columns=(name,))


_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)


def _open_parquet(path: Path, key: str, prefix: str) -> StoredFeatures:
    try:
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    kinds = {name: schema.field(name).type for name in schema.names}
    # types are checked here: a text column would only fail at the first chunk
    columns = tuple(name for name in kinds if name.startswith(prefix))
    lists = [name for name in kinds if name == key or columns == (name,)]
    if lists and is_list(kinds[lists[0]]):
        if columns and columns != (lists[0],):
            raise DataError(
                f"{path}: both {lists[0]!r}, a column of lists, and the {prefix!r} columns may be the features; set "
                "data.key and data.prefix so that only one of them names any"
            )
        return list_features(path, lists[0])
    if not columns:
        listed = ", ".join(schema.names[:10])
        known = [name for name, kind in kinds.items() if is_list(kind)]
        hint = f", or data.key to a column of lists: {', '.join(known)}" if known else ""
        raise DataError(f"{path}: no column starts with {prefix!r}; set data.prefix{hint} (it has: {listed})")
    for name in columns:
        if not any(is_kind(kinds[name]) for is_kind in _NUMBERS):
            raise DataError(f"{path}: its {prefix!r} columns cannot be read as numbers: {name!r} holds {kinds[name]}")
    return _ParquetFeatures(path=path, shape=(metadata.num_rows, len(columns)), prefix=prefix, columns=columns)


# --- what all ask for ---


def _numeric_matrix(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> tuple[int, int]:
    is_number, is_complex = np.issubdtype(dtype, np.number), np.issubdtype(dtype, np.complexfloating)
    return _matrix(path, key, shape, str(dtype), is_number=is_number, is_complex=is_complex)


def _matrix(
    path: Path, key: str, shape: tuple[int, ...], kind: str, *, is_number: bool, is_complex: bool
) -> tuple[int, int]:
    if is_complex:
        raise DataError(f"{path}: {key!r} holds complex numbers; embeddings are real")
    if not is_number or len(shape) != 2 or shape[1] < 1 or shape[0] < 0:
        raise DataError(f"{path}: {key!r} is {shape} of {kind}; embeddings are (n, d) numbers")
    return shape[0], shape[1]


def _require_key(path: Path, key: str, keys: list[str]) -> None:
    if key not in keys:
        raise DataError(
            f"{path}: no array {key!r}{did_you_mean(key, keys)}; set data.key to one of: {', '.join(keys) or 'none'}"
        )


_OPENERS: dict[str, Callable[[Path, str], StoredFeatures]] = {
    ".safetensors": _open_safetensors,
    ".npz": _open_npz,
    ".npy": _open_npy,
}
