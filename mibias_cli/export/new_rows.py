"""What an extractor makes of new data, row by row, and the files that hold it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mibias_cli.data.files.tabular import write_manifest
from mibias_cli.data.new_inputs import IdName
from mibias_cli.errors import ExportError
from mibias_cli.heads.target import HeadKind
from mibias_cli.output.text import no_formula, shown
from mibias_cli.output.whole_files import replaced

__all__ = [
    "FEATURE_FILES",
    "PREDICTION_FILES",
    "EmbeddedRows",
    "PredictedRows",
    "check_out",
    "refuse_impossible",
    "written_metadata",
]

FEATURE_FILES, PREDICTION_FILES = (".parquet", ".safetensors"), (".csv",)
_MOST_METADATA = 50_000_000
"""Bytes of ids that a safetensors file may hold: readers refuse headers of more than 100 MB."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedRows:
    """Debiased features of new data, in their order.

    Args:
        id_name: What `ids` are: `path` of an image, or `row` in the file (in a CSV the header is row 1).
        ids: One per row.
        features: (n, d) float32.
        notes: What the user should know of how the data were read.
    """

    id_name: IdName
    ids: tuple[str, ...]
    features: np.ndarray
    notes: tuple[str, ...] = ()

    def write(self, path: Path | str, *, metadata: Mapping[str, str] | None = None) -> None:
        """Write a .parquet file, with columns z_0, z_1, … behind the ids, or a .safetensors file.

        The latter holds an array `features`, and the ids as a JSON list in its metadata. Both are read by
        `data.source: embeddings`. `metadata` goes to the file's own.

        Raises:
            ExportError: The file exists already, has another suffix, or could not hold the ids.
        """
        path = Path(path)
        check_out(path, FEATURE_FILES)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path, new=True) as partial:
            if path.suffix.lower() == ".parquet":
                ids = self.ids if self.id_name == "path" else [int(row) for row in self.ids]
                columns = {f"z_{k}": column for k, column in enumerate(self.features.T)}
                table = pa.table({self.id_name: ids, **columns}, metadata=metadata)
                pq.write_table(table, partial, write_page_checksum=True)
                return
            text = json.dumps(self.ids, ensure_ascii=False)
            if len(text.encode()) > _MOST_METADATA:
                raise ExportError(f"{path}: safetensors cannot hold {len(self.ids)} {self.id_name}s; write .parquet")
            kept = {self.id_name: text, **(metadata or {})}
            save_file({"features": np.ascontiguousarray(self.features)}, partial, metadata=kept)


def written_metadata(path: Path) -> dict[str, str]:
    """What `EmbeddedRows.write` put into a file's metadata.

    Raises:
        ExportError: It cannot be read.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return {name.decode(): text.decode() for name, text in (pq.read_schema(path).metadata or {}).items()}
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (pa.ArrowInvalid, SafetensorError, OSError) as error:
        raise ExportError(f"{path}: cannot be read: {error}; remove it") from error


@dataclass(frozen=True, kw_only=True)
class PredictedRows:
    """What a task head says of new data, in their order.

    Args:
        id_name, ids, notes: As of `EmbeddedRows`.
        kind: Whether `values` are of classes, labels or numbers.
        names: Names of the classes, of the labels, or of the columns of numbers.
        values: Probabilities, or numbers in the user's units (n, k) float64.
    """

    id_name: IdName
    ids: tuple[str, ...]
    kind: HeadKind
    names: tuple[str, ...]
    values: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def predicted(self) -> list[str]:
        """The most probable class of each row; empty where the target is no classes."""
        return [self.names[k] for k in self.values.argmax(axis=1)] if self.kind == "classes" else []

    def write(self, path: Path | str) -> None:
        """Write a .csv file with a header.

        Its columns are the ids, `predicted` where the target is classes, and `p_NAME` for each class or label, or
        `predicted_NAME` for each column of numbers.

        Raises:
            ExportError: The file exists already, or has another suffix.
        """
        path = Path(path)
        check_out(path, PREDICTION_FILES)
        # people open it in spreadsheets, which would compute what begins with =, and on terminals
        columns: dict[str, Sequence[str]] = {self.id_name: [shown(no_formula(name)) for name in self.ids]}
        if self.kind == "classes":
            columns["predicted"] = [shown(no_formula(name)) for name in self.predicted]
        prefix = "predicted" if self.kind == "regression" else "p"
        for name, values in zip(self.names, self.values.T, strict=True):
            columns[shown(f"{prefix}_{name}")] = [f"{value:.9g}" for value in values]
        write_manifest(path, columns, new=True)


def check_out(path: Path, suffixes: Sequence[str]) -> None:
    """Raise an ExportError if a file exists, or its name does not end in one of the suffixes."""
    if path.suffix.lower() not in suffixes:
        shards = "; shards in a folder take --rows-per-shard" if suffixes == FEATURE_FILES else ""
        raise ExportError(f"--out {path}: must end in {' or '.join(suffixes)}{shards}")
    if path.exists():
        raise ExportError(f"--out {path}: exists already; choose another name, or remove it")
    refuse_impossible(path)


def refuse_impossible(path: Path) -> None:
    """Raise an ExportError if nothing can be written where a path is."""
    if path.absolute().parts[1:2] in (("proc",), ("sys",)):
        raise ExportError(f"--out {path}: the system's own folder takes no files; choose another one")
    folder = next(place for place in path.absolute().parents if place.exists())
    if not folder.is_dir():
        raise ExportError(f"--out {path}: {folder} is a file, so nothing can be written below it")
