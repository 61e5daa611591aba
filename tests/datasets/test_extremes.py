"""EB1 and EB2: which pairs of sex and age train and are audited, and that nobody is on both sides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mibias_cli.datasets.extremes import age_bins, extreme_manifests
from mibias_cli.datasets.faces import People
from mibias_cli.errors import DataError

OWN = {"eb1": {("female", "0-29"), ("male", "40+")}, "eb2": {("female", "40+"), ("male", "0-29")}}
OTHER = {"eb1": OWN["eb2"], "eb2": OWN["eb1"]}


def crowd(n: int = 2000, n_identities: int | None = None, seed: int = 0) -> People:
    rng = np.random.default_rng(seed)
    identity = None if n_identities is None else rng.integers(0, n_identities, n).astype(str)
    return People(
        path=[f"{k}.jpg" for k in range(n)],
        age=rng.integers(1, 95, n),
        female=rng.random(n) < 0.4,
        identity=identity,
        others={"race": [str(k % 5) for k in range(n)]},
    )


def rows_by_split(columns: dict[str, list[str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, split in enumerate(columns["split"]):
        found.setdefault(split, []).append(row)
    return found


def pairs(columns: dict[str, list[str]], rows: list[int]) -> Counter[tuple[str, str]]:
    return Counter((columns["sex"][row], columns["age_group"][row]) for row in rows)


def test_bins_are_the_papers() -> None:
    ages = np.arange(0, 121)
    named = dict(zip(ages.tolist(), age_bins(ages), strict=True))
    assert len(set(named.values())) == 12
    assert [named[age] for age in (0, 19, 20, 24, 25, 39, 40, 64, 65, 69, 70, 120)] == [
        "0-19", "0-19", "20-24", "20-24", "25-29", "35-39", "40-44", "60-64", "65-69", "65-69", "70+", "70+",
    ]  # fmt: skip


def test_bins_must_ascend_and_hold_everyone() -> None:
    with pytest.raises(DataError, match="must ascend"):
        age_bins(np.array([3]), (0, 20, 20))
    with pytest.raises(DataError, match="first edge is 10"):
        age_bins(np.array([3]), (10, 20, 30))


@pytest.mark.parametrize("name", ["eb1", "eb2"])
def test_what_trains_and_what_is_audited(name: str) -> None:
    people = crowd()
    manifests, notes = extreme_manifests(people)
    columns = manifests[name]
    rows = rows_by_split(columns)
    assert set(rows) == {"train", "validation", "other_extreme", "balanced"}
    assert set(pairs(columns, rows["train"])) == OWN[name]
    assert set(pairs(columns, rows["validation"])) == OWN[name]
    assert set(pairs(columns, rows["other_extreme"])) == OTHER[name]
    counts = pairs(columns, rows["balanced"])
    assert len(counts) == 4
    assert len(set(counts.values())) == 1
    assert len(set(columns["path"])) == len(columns["path"])  # nobody twice
    between = int(((people.age >= 30) & (people.age < 40)).sum())
    assert notes == [f"{between} image(s) of people between 30 and 39 take no part"]


def test_every_row_says_what_is_so() -> None:
    people = crowd()
    for columns in extreme_manifests(people)[0].values():
        rows = [int(path.removesuffix(".jpg")) for path in columns["path"]]
        assert columns["age"] == [str(people.age[row]) for row in rows]
        assert columns["sex"] == ["female" if people.female[row] else "male" for row in rows]
        assert columns["race"] == [people.others["race"][row] for row in rows]
        assert columns["age_bin"] == age_bins(people.age[rows])


def test_both_extremes_share_the_balanced_test_and_hold_each_others_training() -> None:
    eb1, eb2 = (extreme_manifests(crowd())[0][name] for name in ("eb1", "eb2"))
    paths = [{s: {c["path"][r] for r in rows} for s, rows in rows_by_split(c).items()} for c in (eb1, eb2)]
    assert paths[0]["balanced"] == paths[1]["balanced"]
    assert paths[0]["other_extreme"] == paths[1]["train"] | paths[1]["validation"]


def test_nobody_known_is_in_training_and_in_the_audit() -> None:
    people = crowd(n_identities=300)
    for columns in extreme_manifests(people)[0].values():
        rows = rows_by_split(columns)
        ids = {split: {columns["identity"][row] for row in own} for split, own in rows.items()}
        assert not (ids["train"] | ids["validation"]) & (ids["other_extreme"] | ids["balanced"])
        assert not ids["train"] & ids["validation"]


def test_the_split_depends_on_the_seed_alone() -> None:
    people = crowd()
    assert extreme_manifests(people, seed=1)[0] == extreme_manifests(people, seed=1)[0]
    assert extreme_manifests(people, seed=1)[0] != extreme_manifests(people, seed=2)[0]


def test_ages_that_training_lacks_are_left_out_and_told() -> None:
    people = crowd(n=1200)
    age = np.where(people.female & (people.age >= 70), 69, people.age)
    age = np.where(~people.female & (age >= 65) & (age < 70), 64, age)
    manifests, notes = extreme_manifests(People(path=people.path, age=age, female=people.female))
    for name, lacking in (("eb1", "65-69"), ("eb2", "70+")):
        columns = manifests[name]
        rows = rows_by_split(columns)
        assert lacking not in {columns["age_bin"][row] for own in rows.values() for row in own}
        assert any(note.startswith(f"{name}: ") and note.endswith(f"training lacks: {lacking}") for note in notes)
        assert len(set(pairs(columns, rows["balanced"]).values())) == 1


def test_too_few_people() -> None:
    with pytest.raises(DataError, match="nobody is younger than 30 or 40 and older"):
        extreme_manifests(People(path=["a"], age=np.array([35]), female=np.array([True])))
    people = crowd(n=300)
    women = People(path=people.path, age=people.age, female=np.ones(300, dtype=bool))
    with pytest.raises(DataError, match=r"eb1: too few images: train has no men of 40\+.*each pair"):
        extreme_manifests(women)
