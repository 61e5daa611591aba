"""Scan a data set for shortcuts that nobody named: what images and tables tell of a target without any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.data.files.images import resolve_paths
from mibias_cli.data.files.tabular import Table, first_rows
from mibias_cli.errors import DataError
from mibias_cli.evaluation.leakage_findings import Interval
from mibias_cli.evaluation.statistics.information import label_entropy_bits
from mibias_cli.progress import Progress
from mibias_cli.scan.columns import binnings_of, folder_columns, left_out_note, measure_images, table_columns
from mibias_cli.scan.features import embed_images, feature_bits
from mibias_cli.scan.findings import Scan, Shortcut, Tested
from mibias_cli.scan.ranking import LEVEL, Codes, Told, rank
from mibias_cli.survey.first_recipe import attribute_line
from mibias_cli.survey.folders import SUBFOLDER
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import RowsFound, find_rows

__all__ = ["FEWEST_GROUPS", "MOST_ROWS", "Scanned", "scan"]

MOST_ROWS = 2000
"""Rows that are looked at: more are drawn from. Effects that so many rows do not show are too small to train on."""

FEWEST_GROUPS = 10
"""Groups below which shuffling them reaches no small p-value."""


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What was found, and what its pictures are made of.

    Args:
        found: The result.
        rows: The data set.
        positions: Rows of its table that were looked at (n,).
        paths: The images of these rows; empty where there are none.
        y: Their targets.
        columns: The columns that were tested, by name.
        images: Properties of these images and folders above them, as columns of text (n,).
    """

    found: Scan
    rows: RowsFound
    positions: np.ndarray
    paths: Sequence[str]
    y: Codes
    columns: Mapping[str, Codes]
    images: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """What is tested, causes first, and what there is to say of it."""

    images: dict[str, np.ndarray] = field(default_factory=dict)
    table: dict[str, np.ndarray] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def scan(path: Path, wishes: Wishes, *, backbone: Backbone | None, seed: int, progress: Progress) -> Scanned:
    """Rank what images and table tell of the target.

    Args:
        path: A folder, a manifest, a table or stored embeddings, as `mibias init` reads them.
        wishes: What the user said of their columns.
        backbone: What its features tell of the shortcuts is measured too; None: nothing is.
        seed: Of the drawn rows, shuffles and resamples.
        progress: Told of every image.

    Raises:
        DataError: No target can be found, rows cannot be used, or a backbone has no images to look at.
    """
    rows = find_rows(path, wishes)
    table, layout, roles = rows.annotations.table, rows.layout, rows.roles
    if layout.source == "webdataset":
        raise DataError(f"{path}: images in shards are not scanned; unpack some of them to a folder, and scan that")
    if backbone is not None and layout.path is None:
        raise DataError(f"{path}: {layout.what} has no images for --backbone to look at; leave it out")
    available = _available(rows)
    positions = _drawn(available, seed)
    y = _target(rows, positions)
    ids = rows.annotations.group
    group = None if ids is None else np.unique(ids[positions], return_inverse=True)[1]
    columns = _columns(rows, table.take(positions), progress)
    progress.stage("comparing with shuffled targets")
    told = rank(_binnings(columns, table.path), y, group=group, seed=seed)
    listed = [name for name, each in told.items() if each.p_value <= LEVEL]
    features: dict[str, Interval] = {}
    if backbone is not None:
        progress.stage(f"embedding by {backbone.name}")
        z = embed_images(backbone, columns.paths, columns.names)
        features = feature_bits(z, {name: told[name].column for name in listed}, group, seed=seed, progress=progress)
    entropy = label_entropy_bits(y.codes, len(y.names))
    found = Scan(
        data=layout.what,
        target=roles.target_title,
        classes=y.names,
        target_entropy_bits=entropy,
        n_rows=len(positions),
        n_available=len(available),
        group=roles.group,
        level=LEVEL,
        shortcuts=tuple(_shortcut(name, told[name], y, columns, features.get(name), entropy) for name in listed),
        others=tuple(Tested(**_tested(name, told[name], columns)) for name in told if name not in listed),
        notes=(
            *layout.notes,
            *rows.dropped,
            *roles.notes,
            *columns.notes,
            *_group_note(group),
            *left_out_note(table, columns.table | columns.images, told, {"split": roles.split, "group": roles.group}),
        ),
    )
    return Scanned(
        found=found,
        rows=rows,
        positions=positions,
        paths=columns.paths,
        y=y,
        images=columns.images,
        columns={name: each.column for name, each in told.items()},
    )


def _available(rows: RowsFound) -> np.ndarray:
    """Rows that training will learn from; all where the split is yet to be drawn."""
    role = rows.annotations.role
    return np.arange(len(role)) if rows.roles.split is None else np.flatnonzero(role == 0)


def _drawn(among: np.ndarray, seed: int) -> np.ndarray:
    """At most `MOST_ROWS` of these rows, in the table's order."""
    if len(among) <= MOST_ROWS:
        return among
    return np.sort(np.random.default_rng([seed, 11]).choice(among, MOST_ROWS, replace=False))


def _target(rows: RowsFound, positions: np.ndarray) -> Codes:
    """The target's classes, or bins of its numbers."""
    target = rows.annotations.target
    y = Codes(codes=np.asarray(target.strata(rows.annotations.y))[positions], names=tuple(target.class_names))
    if len(np.unique(y.codes)) < 2:
        raise DataError(f"{rows.layout.table.path}: the target {rows.roles.target!r} has one value in training alone")
    return y


def _columns(rows: RowsFound, table: Table, progress: Progress) -> _Columns:
    layout, roles = rows.layout, rows.roles
    taken = roles.taken | ({layout.path} if layout.path is not None else frozenset())
    own = table_columns(table, frozenset(taken))
    if layout.path is None or layout.root is None:
        return _Columns(table=own)
    # images may be anywhere that a manifest says, so they are kept inside their root
    paths, names = resolve_paths(table, layout.path, layout.root, layout.follow_links)
    progress.begin("images", len(paths))
    measured = measure_images(paths, advance=progress.advance)
    progress.end()
    folders = folder_columns(table.columns[layout.path], table.columns)
    # what a layout without a table reads from its folders is one of these
    own = {name: values for name, values in own.items() if name != SUBFOLDER or not folders}
    others = {name: int((own[name] != now).sum()) for name, now in measured.columns.items() if name in own}
    differ = [f"{name} ({n} rows)" for name, n in others.items() if n]
    hides = f"{first_rows(differ)}: columns of the table, in place of image properties of that name, which differ"
    broken = f"{len(measured.broken)} image(s) cannot be read: {first_rows(list(measured.broken))}"
    return _Columns(
        images=folders | measured.columns,
        table=own,
        paths=paths,
        names=names,
        notes=(*((broken,) if measured.broken else ()), *((hides,) if differ else ())),
    )


def _binnings(columns: _Columns, path: Path) -> dict[str, tuple[Codes, ...]]:
    """Every column that varies, as classes; one of the table hides a property of the same name."""
    values = columns.table | {name: own for name, own in columns.images.items() if name not in columns.table}
    made = {name: binnings_of(name, own, path) for name, own in values.items()}
    return {name: binnings for name, binnings in made.items() if binnings}


def _tested(name: str, told: Told, columns: _Columns) -> dict[str, object]:
    kind = "column" if name in columns.table else "image"
    return {"name": name, "kind": kind, "target_bits": told.bits, "p_value": told.p_value}


def _shortcut(
    name: str, told: Told, y: Codes, columns: _Columns, features: Interval | None, entropy: float
) -> Shortcut:
    codes = told.column
    counts = {
        label: tuple(int(n) for n in np.bincount(codes.codes[y.codes == k], minlength=len(codes.names)))
        for k, label in enumerate(y.names)
    }
    table = np.array(list(counts.values()))
    # a column that names the classes once more is no shortcut, and one that is the bias in every row looks alike
    one_each = ((table > 0).sum(axis=0) <= 1).all() and ((table > 0).sum(axis=1) <= 1).all()
    once_more = "each value goes with one class: the target once more, or a shortcut without any exception"
    return Shortcut(
        **_tested(name, told, columns),
        share_of_target=told.bits.estimate / entropy,
        values=codes.names,
        counts=counts,
        feature_bits=features,
        entropy_bits=label_entropy_bits(codes.codes, len(codes.names)),
        attribute=attribute_line(name, continuous=codes.is_number),
        remark=once_more if one_each else "",
    )


def _group_note(group: np.ndarray | None) -> tuple[str, ...]:
    """Few groups can be shuffled in few ways only."""
    n = 0 if group is None else int(group.max()) + 1
    return (f"{n} groups are too few to tell a shortcut from chance",) if 0 < n < FEWEST_GROUPS else ()
