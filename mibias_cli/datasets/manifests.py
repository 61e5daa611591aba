"""`mibias data`: from data sets as they are distributed to manifests that recipes read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mibias_cli.data.files.tabular import first_rows, refuse_existing, write_manifest
from mibias_cli.datasets.celeba import read_celeba
from mibias_cli.datasets.extremes import AGE_EDGES, BALANCED, OTHER_EXTREME, extreme_manifests
from mibias_cli.datasets.faces import People, PeopleColumns, of_age, read_face_names, read_people
from mibias_cli.datasets.waterbirds import read_waterbirds

__all__ = ["PeopleColumns", "WrittenManifests", "make_celeba", "make_faces", "make_imdb", "make_waterbirds"]

_SPLITS = ("train", "validation", OTHER_EXTREME, BALANCED, "test")


@dataclass(frozen=True, kw_only=True)
class WrittenManifests:
    """What was written.

    Args:
        root: The folder that the manifests' paths start from: `data.root` of a recipe.
        counts: By file, then by split: how often each pair of values (texts such as `female 0-29`) occurs.
        notes: What was left out, and why.
    """

    root: Path
    counts: dict[Path, dict[str, dict[str, int]]]
    notes: tuple[str, ...]


def make_faces(
    folder: Path,
    out: Path,
    *,
    edges: Sequence[int] = AGE_EDGES,
    min_age: int = 0,
    seed: int = 0,
    overwrite: bool = False,
) -> WrittenManifests:
    """Write eb1.csv and eb2.csv of a folder of faces whose file names are age_sex_race_date.

    Images of people younger than `min_age` years are left out: nobody sees the sex of a small child.

    Raises:
        DataError: There are no such images, too few, or a file is in the way.
    """
    people, n_younger = of_age(read_face_names(folder), min_age)
    notes = [f"{n_younger} image(s) of people younger than {min_age} left out"] if min_age else []
    return _write_extremes(
        people, folder, out, edges=edges, seed=seed, overwrite=overwrite, what="malformed name(s)", notes=notes
    )


def make_imdb(
    manifest: Path,
    out: Path,
    *,
    root: Path | None = None,
    columns: PeopleColumns,
    edges: Sequence[int] = AGE_EDGES,
    seed: int = 0,
    overwrite: bool = False,
) -> WrittenManifests:
    """Write eb1.csv and eb2.csv of a manifest with columns for path, age and sex; an identity is kept in one split.

    Raises:
        DataError: Columns or files are missing, too few people are left, or a file is in the way.
    """
    people = read_people(manifest, columns, root=root)
    folder = root or manifest.parent
    return _write_extremes(people, folder, out, edges=edges, seed=seed, overwrite=overwrite, what="unusable row(s)")


def make_celeba(
    folder: Path, out: Path, *, attributes: Sequence[str] | None = None, overwrite: bool = False
) -> WrittenManifests:
    """Write celeba.csv: attributes as yes and no, CelebA's own partition as the split, joined by image id.

    Raises:
        DataError: CelebA's files are not there or not as distributed, or celeba.csv is in the way.
    """
    columns, notes = read_celeba(folder, attributes)
    shown = list(attributes or [])[:2]
    return _write({"celeba": columns}, folder, out, pair=shown, notes=notes, overwrite=overwrite)


def make_waterbirds(folder: Path, out: Path, *, overwrite: bool = False) -> WrittenManifests:
    """Write waterbirds.csv: metadata.csv with words in place of numbers.

    Raises:
        DataError: metadata.csv is not there or not as distributed, or waterbirds.csv is in the way.
    """
    columns, notes = read_waterbirds(folder)
    return _write({"waterbirds": columns}, folder, out, pair=["bird", "place"], notes=notes, overwrite=overwrite)


def _write_extremes(
    people: People,
    folder: Path,
    out: Path,
    *,
    edges: Sequence[int],
    seed: int,
    overwrite: bool,
    what: str,
    notes: Sequence[str] = (),
) -> WrittenManifests:
    manifests, found = extreme_manifests(people, edges=edges, seed=seed)
    notes = [*notes, *found]
    if people.faults:
        notes = [f"{len(people.faults)} {what}, left out: {first_rows(people.faults)}", *notes]
    return _write(manifests, folder, out, pair=["sex", "age_group"], notes=notes, overwrite=overwrite)


def _write(
    manifests: Mapping[str, Mapping[str, Sequence[str]]],
    root: Path,
    out: Path,
    *,
    pair: Sequence[str],
    notes: Sequence[str],
    overwrite: bool,
) -> WrittenManifests:
    paths = {name: out / f"{name}.csv" for name in manifests}
    # all files are looked for before any is written
    if not overwrite:
        refuse_existing(list(paths.values()))
    counts: dict[Path, dict[str, dict[str, int]]] = {}
    for name, columns in manifests.items():
        write_manifest(paths[name], columns, new=not overwrite)
        # how often each pair occurs in each split, which shows the bias that was made
        values = [columns[column] for column in pair]
        texts = [" ".join(row) for row in zip(*values, strict=True)] if values else ["images"] * len(columns["split"])
        splits = sorted(set(columns["split"]), key=_SPLITS.index)
        counted = {s: Counter(t for t, own in zip(texts, columns["split"], strict=True) if own == s) for s in splits}
        counts[paths[name]] = {s: dict(sorted(counter.items())) for s, counter in counted.items()}
    return WrittenManifests(root=root, counts=counts, notes=tuple(notes))
