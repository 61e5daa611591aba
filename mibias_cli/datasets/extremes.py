"""Faces with extreme bias, EB1 and EB2: young women and older men, or older women and young men."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np

from mibias_cli.data.files.tabular import first_rows
from mibias_cli.data.groups import split_by_fractions
from mibias_cli.datasets.faces import People
from mibias_cli.errors import DataError
from mibias_cli.seeds import derived_generator

__all__ = ["AGE_EDGES", "BALANCED", "OTHER_EXTREME", "age_bins", "extreme_manifests"]

AGE_EDGES = (0, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 120)
"""Edges of the paper's twelve age bins; the last bin has no end."""

OTHER_EXTREME, BALANCED = "other_extreme", "balanced"
"""Values of the split column that `data.splits.audit` may name."""

# shares of training, validation and the rows that the balanced test is drawn from
_FRACTIONS = (0.7, 0.1, 0.2)
YOUNG_BELOW, OLD_FROM = 30, 40
_GROUPS = (f"0-{YOUNG_BELOW - 1}", f"{OLD_FROM}+")


def age_bins(age: np.ndarray, edges: Sequence[int] = AGE_EDGES) -> list[str]:
    """The name of each age's bin, for ages (n,) in years; the last bin holds everything from the last edge but one.

    Raises:
        DataError: The edges do not ascend, or an age lies below the first.

    Example:
        >>> age_bins(np.array([0, 19, 20, 69, 70, 101]))
        ['0-19', '0-19', '20-24', '65-69', '70+', '70+']
    """
    if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
        raise DataError(f"age bins: edges must ascend, they are {', '.join(map(str, edges))}")
    if len(age) and age.min() < edges[0]:
        raise DataError(f"age bins: the first edge is {edges[0]}, but there are ages from {age.min()}")
    names = [f"{low}-{high - 1}" for low, high in pairwise(edges[:-1])] + [f"{edges[-2]}+"]
    return [names[k] for k in np.searchsorted(np.asarray(edges[1:-1]), age, side="right")]


def _extreme_splits(
    female: np.ndarray, young: np.ndarray, bins: np.ndarray, part: np.ndarray, identity: np.ndarray | None, *, seed: int
) -> dict[str, np.ndarray]:
    """By `eb1` and `eb2`, what each row (n,) serves for: train, validation, other_extreme, balanced, or empty text.

    EB1 trains on young women and older men, EB2 on older women and young men. `other_extreme` holds the pairs that
    training never shows; `balanced` as many of each of the four pairs. Nobody of training or validation is in either,
    nor is an age bin that training does not show: no one could have learnt it. Rows are of `part` 0 for training, 1 for
    validation, 2 for the balanced test; without identities each is somebody else.
    """
    splits = {}
    for name, own in (("eb1", female == young), ("eb2", female != young)):
        split = np.full(len(female), "", dtype=object)
        train = own & (part == 0)
        shown = np.isin(bins, bins[train])
        split[train] = "train"
        # an age that training does not show is left out everywhere: no one could have learnt it
        split[own & (part == 1) & shown] = "validation"
        other = ~own & (part != 2) & shown
        if identity is not None:
            # a face that training shows is known by more than its age and sex
            other &= ~np.isin(identity, identity[own & (part != 2)])
        split[other] = OTHER_EXTREME
        split[_balanced(2 * female + young, np.flatnonzero((part == 2) & shown), seed)] = BALANCED
        splits[name] = split
    return splits


def extreme_manifests(
    people: People, *, edges: Sequence[int] = AGE_EDGES, seed: int = 0
) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """The columns of either extreme's manifest, and notes for the user.

    Sex can be the target under age bias (target `sex`, attribute `age_bin`) and age under sex bias (target `age_bin` or
    `age_group`, attribute `sex`). Women and men of 30 to 39 take no part; people of known identity are kept whole.

    Raises:
        DataError: One of the four pairs of sex and age group is too rare to train, validate and be audited.

    References:
        Alvi, Zisserman, Nellaker, "Turning a Blind Eye", arXiv 1809.02169; bins and extremes as in arXiv 2003.06430.
    """
    # the ten years between keep the two age groups well apart
    young, old = people.age < YOUNG_BELOW, people.age >= OLD_FROM
    rows = np.flatnonzero(young | old)
    if not len(rows):
        raise DataError(f"nobody is younger than {YOUNG_BELOW} or {OLD_FROM} and older")
    bins = np.array(age_bins(people.age, edges), dtype=object)[rows]
    female, is_young = people.female[rows], young[rows]
    identity = None if people.identity is None else people.identity[rows]
    # shares of each pair of sex and age bin, not of the whole alone, are the same in all parts
    _, label = np.unique([f"{f} {b}" for f, b in zip(female, bins, strict=True)], return_inverse=True)
    part = split_by_fractions(label.reshape(-1), identity, _FRACTIONS, seed=seed)
    notes = [f"{len(people.age) - len(rows)} image(s) of people between {YOUNG_BELOW} and {OLD_FROM - 1} take no part"]
    manifests = {}
    for name, split in _extreme_splits(female, is_young, bins, part, identity, seed=seed).items():
        unseen = sorted(set(bins) - set(bins[split == "train"]))
        if unseen:
            n = int(np.isin(bins, unseen).sum())
            notes.append(f"{name}: {n} image(s) left out, of age bins that training lacks: {first_rows(unseen)}")
        _check_filled(name, split, female, is_young)
        manifests[name] = _columns(people, rows, bins, is_young, split)
    return manifests, notes


def _balanced(pair: np.ndarray, candidates: np.ndarray, seed: int) -> np.ndarray:
    """As many candidates of each of the four pairs as the rarest has, drawn at random; in ascending order."""
    # as many of each as of the rarest: neither sex nor age then says anything of the other
    smallest = int(np.bincount(pair[candidates], minlength=4).min())
    shuffled = derived_generator(seed, 0xBA1A).permutation(candidates)
    return np.sort(np.concatenate([shuffled[pair[shuffled] == k][:smallest] for k in range(4)]))


def _check_filled(name: str, split: np.ndarray, female: np.ndarray, young: np.ndarray) -> None:
    """Every split has both of its pairs (the balanced test all four)."""
    empty = []
    for value in ("train", "validation", OTHER_EXTREME, BALANCED):
        for woman, is_young in product((True, False), repeat=2):
            # eb1 trains on young women and older men, eb2 on the other two pairs
            own = (woman == is_young) == (name == "eb1")
            expected = value == BALANCED or own == (value != OTHER_EXTREME)
            if expected and not ((split == value) & (female == woman) & (young == is_young)).any():
                empty.append(f"{value} has no {'women' if woman else 'men'} of {_GROUPS[not is_young]}")
    if empty:
        raise DataError(f"{name}: too few images: {'; '.join(empty)}; each pair of sex and age group needs some")


def _columns(
    people: People, rows: np.ndarray, bins: np.ndarray, young: np.ndarray, split: np.ndarray
) -> dict[str, list[str]]:
    """The manifest's columns, rows of no split left out."""
    # rows of no split are not written
    kept = np.flatnonzero(split != "")
    taken = rows[kept]
    columns = {
        "path": [people.path[row] for row in taken],
        "sex": ["female" if people.female[row] else "male" for row in taken],
        "age": [str(people.age[row]) for row in taken],
        "age_bin": [str(b) for b in bins[kept]],
        "age_group": [_GROUPS[0] if is_young else _GROUPS[1] for is_young in young[kept]],
    }
    columns |= {name: [values[row] for row in taken] for name, values in people.others.items()}
    if people.identity is not None:
        columns["identity"] = [str(people.identity[row]) for row in taken]
    return columns | {"split": [str(s) for s in split[kept]]}
