"""Features in a file, read in chunks or row by row, so that a file need not fit in memory."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open

from mibias_cli.errors import DataError, did_you_mean

__all__ = ["SUFFIXES", "StoredFeatures", "open_features"]

_CHUNK_BYTES = 2**24
_TORCH_TYPES = {"BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
_NUMPY_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip

_Decode = Callable[[bytearray], np.ndarray]
"""Bytes of values → those values, float32 (k,)."""


class StoredFeatures(Protocol):
    """Features (n, d) of a file; nothing is held between calls."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """n and d."""
        ...

    @property
    def by_row(self) -> bool:
        """Whether single rows are found at once, not by reading what lies before them."""
        ...

    def chunks(self) -> Iterator[np.ndarray]:
        """All rows in order, some megabytes at a time: (k, d) float32."""
        ...

    def take(self, rows: np.ndarray) -> np.ndarray:
        """These rows (k, d) float32, in the order that is asked for."""
        ...


def open_features(path: Path, *, key: str, prefix: str) -> StoredFeatures:
    """The features of one file; only its header is read, and nothing in it is executed.

    Args:
        path: .safetensors, .npz or .npy with an array (n, d), or .parquet with feature columns.
        key: Name of the array in a .safetensors or .npz file.
        prefix: Parquet: the columns whose name starts so are the features.

    Raises:
        DataError: No such file or key, an unknown suffix, or an array that is not (n, d) numbers.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in _OPENERS:
        raise DataError(f"{path}: embeddings are read from {', '.join(_OPENERS)}, not from {suffix!r}")
    return _OPENERS[suffix](path, prefix if suffix in (".parquet", ".pq") else key)


def _chunk_rows(n_columns: int) -> int:
    return max(1, _CHUNK_BYTES // (4 * n_columns))


def _taken(features: StoredFeatures, chunks: Iterator[np.ndarray], rows: np.ndarray, start: int = 0) -> np.ndarray:
    """Rows picked from chunks that begin at row `start`; reading ends with the last of them."""
    order = np.argsort(rows, kind="stable")
    wanted = np.asarray(rows)[order]
    out = np.empty((len(rows), features.shape[1]), dtype=np.float32)
    done = 0
    for chunk in chunks if len(rows) else ():
        stop = done + int(np.searchsorted(wanted[done:], start + len(chunk)))
        out[order[done:stop]] = chunk[wanted[done:stop] - start]
        done, start = stop, start + len(chunk)
        if done == len(rows):
            break
    return out


# --- arrays whose rows lie one behind the other: safetensors, npy ---


@dataclass(frozen=True, kw_only=True)
class _RawFeatures:
    path: Path
    shape: tuple[int, int]
    offset: int
    value_bytes: int
    decode: _Decode
    by_row: bool = True

    def chunks(self) -> Iterator[np.ndarray]:
        step = _chunk_rows(self.shape[1])
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for start in range(0, self.shape[0], step):
                yield self._read(file, min(step, self.shape[0] - start))

    def take(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        row_bytes = self.shape[1] * self.value_bytes
        # by seeking, not through a map of the file, whose pages would count as memory in use
        with self.path.open("rb", buffering=0) as file:
            for k, row in enumerate(rows.tolist()):
                file.seek(self.offset + row * row_bytes)
                out[k] = self._read(file, 1)
        return out

    def _read(self, file: IO[bytes], n_rows: int) -> np.ndarray:
        return _read_rows(self.path, file, n_rows, self.shape[1], self.value_bytes, self.decode)


def _read_rows(path: Path, file: IO[bytes], n_rows: int, d: int, value_bytes: int, decode: _Decode) -> np.ndarray:
    wanted = n_rows * d * value_bytes
    data = bytearray()
    while len(data) < wanted:
        part = file.read(wanted - len(data))
        if not part:
            raise DataError(f"{path}: ends before its last row; it was cut short, write or fetch it again")
        data = bytearray(part) if not data else data + part
    return decode(data).reshape(n_rows, d)


def _numpy_decoder(dtype: np.dtype[Any]) -> _Decode:
    def decode(data: bytearray) -> np.ndarray:
        with np.errstate(over="ignore"):  # what becomes infinite is named as such
            return np.frombuffer(data, dtype=dtype).astype(np.float32)

    return decode


def _torch_decoder(dtype: torch.dtype) -> _Decode:
    return lambda data: torch.frombuffer(data, dtype=dtype).to(torch.float32).numpy()


def _open_safetensors(path: Path, key: str) -> StoredFeatures:
    try:
        with safe_open(path, framework="pt") as file:  # checks the whole header
            _require_key(path, key, list(file.keys()))
        with path.open("rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
            entry = json.loads(raw.read(length))[key]
    except SafetensorError as error:
        raise DataError(f"{path}: cannot be read as safetensors: {error}") from error
    kind, offset = entry["dtype"], 8 + length + entry["data_offsets"][0]
    if kind in _TORCH_TYPES:
        value_bytes, decode = _TORCH_TYPES[kind].itemsize, _torch_decoder(_TORCH_TYPES[kind])
    else:
        dtype = None if kind not in _NUMPY_TYPES else np.dtype(_NUMPY_TYPES[kind])
        value_bytes, decode = _numeric(path, key, tuple(entry["shape"]), dtype, kind)
    shape = _matrix(path, key, tuple(entry["shape"]), kind)
    return _RawFeatures(path=path, shape=shape, offset=offset, value_bytes=value_bytes, decode=decode)


def _open_npy(path: Path, key: str) -> StoredFeatures:
    with _numpy_errors(path, ".npy"), path.open("rb") as file:
        shape, fortran, dtype = _npy_header(file)
        offset = file.tell()
        if fortran and len(shape) == 2:
            return _HeldFeatures(path, np.load(path, allow_pickle=False))
    value_bytes, decode = _numeric(path, path.name, shape, dtype, str(dtype))
    matrix = _matrix(path, path.name, shape, str(dtype))
    return _RawFeatures(path=path, shape=matrix, offset=offset, value_bytes=value_bytes, decode=decode)


# --- arrays in a zip archive: npz ---


@dataclass(frozen=True, kw_only=True)
class _ZippedFeatures:
    path: Path
    shape: tuple[int, int]
    member: str
    value_bytes: int
    decode: _Decode
    by_row: bool = False

    def chunks(self) -> Iterator[np.ndarray]:
        n, d = self.shape
        step = _chunk_rows(d)
        with _numpy_errors(self.path, ".npz"), zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            _npy_header(file)
            for start in range(0, n, step):
                yield _read_rows(self.path, file, min(step, n - start), d, self.value_bytes, self.decode)

    def take(self, rows: np.ndarray) -> np.ndarray:
        return _taken(self, self.chunks(), rows)


def _open_npz(path: Path, key: str) -> StoredFeatures:
    with _numpy_errors(path, ".npz"), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        _require_key(path, key, names)
        member = archive.namelist()[names.index(key)]
        with archive.open(member) as file:
            shape, fortran, dtype = _npy_header(file)
        if fortran and len(shape) == 2:
            with np.load(path, allow_pickle=False) as arrays:
                return _HeldFeatures(path, arrays[key])
    value_bytes, decode = _numeric(path, key, shape, dtype, str(dtype))
    matrix = _matrix(path, key, shape, str(dtype))
    return _ZippedFeatures(path=path, shape=matrix, member=member, value_bytes=value_bytes, decode=decode)


class _HeldFeatures:
    """An array that lies column by column in its file, and so is held: its rows cannot be streamed."""

    by_row = True

    def __init__(self, path: Path, array: np.ndarray) -> None:
        self.path, self._array = path, np.ascontiguousarray(array, dtype=np.float32)
        self.shape = (array.shape[0], array.shape[1])

    def chunks(self) -> Iterator[np.ndarray]:
        step = _chunk_rows(self.shape[1])
        return (self._array[start : start + step] for start in range(0, self.shape[0], step))

    def take(self, rows: np.ndarray) -> np.ndarray:
        taken: np.ndarray = self._array[rows]
        return taken


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return shape, fortran, dtype


@contextmanager
def _numpy_errors(path: Path, suffix: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as {suffix} without pickled objects: {error}") from error


# --- columns: Parquet ---


@dataclass(frozen=True, kw_only=True)
class _ParquetFeatures:
    path: Path
    shape: tuple[int, int]
    prefix: str
    columns: tuple[str, ...]
    by_row: bool = False

    def chunks(self) -> Iterator[np.ndarray]:
        with self._file() as file:
            yield from self._batches(file, list(range(file.num_row_groups)))

    def take(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        start = 0
        with self._file() as file:
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                within = np.flatnonzero((rows >= start) & (rows < stop))
                if len(within):
                    out[within] = _taken(self, self._batches(file, [group]), rows[within], start)
                start = stop
        return out

    @contextmanager
    def _file(self) -> Iterator[pq.ParquetFile]:
        try:
            # a small buffer per column and no reading ahead: a row group may be as large as the file
            with pq.ParquetFile(self.path, buffer_size=2**16, pre_buffer=False) as file:
                yield file
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise DataError(f"{self.path}: its {self.prefix!r} columns cannot be read as numbers: {error}") from error

    def _batches(self, file: pq.ParquetFile, groups: list[int]) -> Iterator[np.ndarray]:
        size = _chunk_rows(self.shape[1])
        for batch in file.iter_batches(batch_size=size, row_groups=groups, columns=list(self.columns)):
            values = [batch.column(name).cast(pa.float32()).to_numpy(zero_copy_only=False) for name in self.columns]
            yield np.stack(values, axis=1)


_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)


def _open_parquet(path: Path, prefix: str) -> StoredFeatures:
    try:
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    columns = tuple(name for name in schema.names if name.startswith(prefix))
    if not columns:
        listed = ", ".join(schema.names[:10])
        raise DataError(f"{path}: no column starts with {prefix!r}; set data.prefix (it has: {listed})")
    for name in columns:
        kind = schema.field(name).type
        if not any(is_kind(kind) for is_kind in _NUMBERS):
            raise DataError(f"{path}: its {prefix!r} columns cannot be read as numbers: {name!r} holds {kind}")
    return _ParquetFeatures(path=path, shape=(metadata.num_rows, len(columns)), prefix=prefix, columns=columns)


# --- what all ask for ---


def _numeric(
    path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any] | None, kind: str
) -> tuple[int, _Decode]:
    if dtype is not None and np.issubdtype(dtype, np.complexfloating):
        raise DataError(f"{path}: {key!r} holds complex numbers; embeddings are real")
    if dtype is None or not np.issubdtype(dtype, np.number):
        raise DataError(f"{path}: {key!r} is {shape} of {kind}; embeddings are (n, d) numbers")
    return dtype.itemsize, _numpy_decoder(dtype)


def _matrix(path: Path, key: str, shape: tuple[int, ...], kind: str) -> tuple[int, int]:
    if len(shape) != 2 or not shape[1]:
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
    ".parquet": _open_parquet,
    ".pq": _open_parquet,
    ".npy": _open_npy,
}
SUFFIXES = tuple(_OPENERS)
"""Suffixes of the files that hold embeddings."""
