"""Features of new data in shards: files of one folder, by several processes, which a later call goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mibias_cli.data.new_inputs import NewInputs
from mibias_cli.data.shards.feature_parts import part_name
from mibias_cli.errors import ExportError
from mibias_cli.export.load import LoadedExtractor
from mibias_cli.export.new_rows import FEATURE_FILES, refuse_impossible, written_metadata
from mibias_cli.output.whole_files import is_leftover, write_atomically
from mibias_cli.progress import Progress
from mibias_cli.ranks.place import Share

__all__ = ["DESCRIPTION", "FeatureShards", "begin_shards", "check_out_folder", "described_shards", "write_shards"]

DESCRIPTION = "shards.json"
"""File beside the shards that says of what they are."""
_INPUTS = "inputs_sha256"
"""In a shard's metadata: what a few of its inputs were."""
_MOST_SHARDS = 100_000
_COMPARED = {
    "weights": "the weights of TARGET",
    "reading": "how inputs are read",
    "inputs": "the data",
    "rows_per_shard": "--rows-per-shard",
    "format": "--format",
}
_SAID = {"weights": "target", "inputs": "data", "rows_per_shard": "rows_per_shard", "format": "format"}
"""What a difference is told by, where people can read it."""


@dataclass(frozen=True, kw_only=True)
class FeatureShards:
    """Features of `n_rows` inputs in files of a folder: shard k holds rows k·N up to (k + 1)·N, in their order."""

    folder: Path
    suffix: str
    n_rows: int
    rows_per_shard: int

    def __len__(self) -> int:
        """How many shards there are.

        Example:
            >>> len(FeatureShards(folder=Path("z"), suffix=".parquet", n_rows=7, rows_per_shard=3))
            3
        """
        return -(-self.n_rows // self.rows_per_shard)

    def rows(self, number: int) -> range:
        """The rows of one shard."""
        start = number * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.n_rows))

    def path(self, number: int) -> Path:
        """The file of one shard."""
        return self.folder / part_name(number, len(self), self.suffix)


def check_out_folder(folder: Path) -> None:
    """Raise an ExportError if a folder cannot be one of shards: what is there is none, or it holds something else."""
    refuse_impossible(folder)
    if folder.suffix.lower() in FEATURE_FILES:
        raise ExportError(f"--out {folder}: is called as a file is; with --rows-per-shard it names a folder")
    if folder.is_symlink() and not folder.exists():
        raise ExportError(f"--out {folder}: is a link to what is not there; remove it, or choose another folder")
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"--out {folder}: is a file; with --rows-per-shard it names a folder")
    # listed first: what another rank writes at this moment comes behind its description
    there = [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []
    if there and not (folder / DESCRIPTION).is_file():
        raise ExportError(f"--out {folder}: holds other files ({sorted(there)[0]}); choose another folder")


def begin_shards(
    loaded: LoadedExtractor, new: NewInputs, folder: Path, *, rows_per_shard: int, suffix: str, target: str
) -> FeatureShards:
    """A folder for the features of new data, as it was begun before, or new.

    Every rank calls it: all would write the same description, and nobody waits for another.

    Args:
        suffix: `.parquet` or `.safetensors`.
        target: What the user called the extractor.

    Raises:
        ExportError: The folder holds other files, shards of something else, or there would be too many.
    """
    check_out_folder(folder)
    shards = FeatureShards(folder=folder, suffix=suffix, n_rows=len(new), rows_per_shard=rows_per_shard)
    if len(shards) > _MOST_SHARDS:
        raise ExportError(
            f"--rows-per-shard {rows_per_shard}: {len(new):,} rows would be {len(shards):,} files, more than "
            f"{_MOST_SHARDS:,}; name a larger number"
        )
    described: dict[str, str | int] = {
        "rows": len(new),
        "shards": len(shards),
        "rows_per_shard": rows_per_shard,
        "format": suffix.removeprefix("."),
        "target": target,
        "data": str(new.path),
        **loaded.fingerprints,
        "inputs": new.ids_sha256,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / DESCRIPTION
    if not path.is_file():
        write_atomically(path, json.dumps(described, indent=2) + "\n")
    _refuse_others(path, _described(path), described)
    return shards


def write_shards(
    loaded: LoadedExtractor,
    new: NewInputs,
    shards: FeatureShards,
    *,
    share: Share,
    progress: Progress,
    num_workers: int = 0,
) -> None:
    """Write each shard of a rank's share that is not there yet; one at a time is in memory.

    Raises:
        DataError: An input cannot be read, or its features are not finite.
        ExportError: A shard that is there is of inputs that have changed since, or cannot be read; or a .safetensors
            file cannot hold the ids of its rows.
    """
    own = range(len(shards))[share.of(len(shards))] if share.count(len(shards)) else range(0)
    missing = [number for number in own if not _is_there(new, shards, number)]
    if len(missing) < len(own):
        progress.note(f"{shards.folder}: {len(own) - len(missing)} of {len(own)} shards are there, and stay")
    progress.begin("shards", len(own))
    for done, number in enumerate(missing, start=len(own) - len(missing) + 1):
        path = shards.path(number)
        # what the same command, called twice, has written meanwhile
        if not path.exists():
            rows = shards.rows(number)
            part = loaded.embed_part(new, rows.start, rows.stop, num_workers=num_workers)
            try:
                part.write(path, metadata={_INPUTS: new.sample_sha256(rows.start, rows.stop)})
            except (ExportError, FileNotFoundError):
                if not path.exists():
                    raise
            del part
        # what a kill left of this one; where another call is about to write it, that finds it whole
        for old in shards.folder.glob(f".{path.name}.*"):
            if is_leftover(old.name):
                old.unlink(missing_ok=True)
        progress.advance(done)
    progress.end()


def _is_there(new: NewInputs, shards: FeatureShards, number: int) -> bool:
    """Whether a shard is there; an ExportError if its inputs have changed since."""
    path, rows = shards.path(number), shards.rows(number)
    if not path.is_file():
        if os.path.lexists(path):
            raise ExportError(f"{path}: is no file; remove it, and it is embedded anew")
        return False
    if written_metadata(path).get(_INPUTS) != new.sample_sha256(rows.start, rows.stop):
        raise ExportError(
            f"{path}: was embedded from other inputs than are in {new.path} now; choose another folder, or remove the "
            "file, and it is embedded anew"
        )
    return True


def described_shards(folder: Path) -> FeatureShards:
    """The shards of which a folder says that they are its own, whether or not all are there.

    Raises:
        ExportError: The folder says nothing of its shards.
    """
    said = _described(folder / DESCRIPTION)
    try:
        rows, per_shard, kind = int(said["rows"]), int(said["rows_per_shard"]), said["format"]
    except (KeyError, ValueError) as error:
        raise ExportError(f"{folder / DESCRIPTION}: does not say of what the shards are: {error}") from error
    return FeatureShards(folder=folder, suffix=f".{kind}", n_rows=rows, rows_per_shard=per_shard)


def _described(path: Path) -> Mapping[str, str | int]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"{path}: does not say of what the shards are: {error}") from error
    if not isinstance(found, dict):
        raise ExportError(f"{path}: does not say of what the shards are; remove the folder, and embed anew")
    return found


def _refuse_others(path: Path, then: Mapping[str, str | int], now: Mapping[str, str | int]) -> None:
    """Raise an ExportError that says how shards that are there differ from those that are asked for."""
    differs = [name for name in _COMPARED if then.get(name) != now[name]]
    if not differs:
        return
    listed = []
    for name in differs:
        key = _SAID.get(name)
        listed.append(_COMPARED[name] + (f" ({then.get(key)} before, {now[key]} now)" if key else ""))
    raise ExportError(
        f"--out {path.parent}: holds shards of something else: other {', '.join(listed)}; choose another folder, or "
        "remove this one"
    )
