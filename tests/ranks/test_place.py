"""Which rank a process is by its environment, and which rows of a batch are its own."""

from __future__ import annotations

import pytest

from mibias_cli.errors import RunError
from mibias_cli.ranks.place import BY_MIBIAS, Share, find_place, undivided

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
SLURM = {
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NAME": "train",
}


@pytest.mark.parametrize(
    ("environment", "by"),
    [
        (TORCHRUN, "torchrun"),
        (SLURM, "SLURM"),
        ({**TORCHRUN, BY_MIBIAS: "3"}, "mibias"),
        ({**SLURM, **TORCHRUN}, "torchrun"),
    ],
)
def test_each_launcher_tells_the_place(environment: dict[str, str], by: str) -> None:
    place = find_place(environment)
    assert place is not None
    assert (place.by, place.rank, place.local_rank, place.devices, place.nodes, place.size) == (by, 5, 1, 4, 2, 8)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WORLD_SIZE": "2", "RANK": "0"},  # left over by something else
        {**TORCHRUN, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
        {**SLURM, "SLURM_NTASKS": "1"},
        {**SLURM, "SLURM_JOB_NAME": "interactive"},
        {**SLURM, "SLURM_STEP_ID": "4294967291"},  # the batch script itself
        {**SLURM, "SLURM_STEP_ID": "4294967290"},  # the shell of an allocation
        {key: value for key, value in SLURM.items() if key != "SLURM_STEP_ID"},  # either, in other versions
    ],
)
def test_a_process_alone_has_none(environment: dict[str, str]) -> None:
    assert find_place(environment) is None


def test_what_slurm_leaves_unsaid_is_named() -> None:
    environment = {key: value for key, value in SLURM.items() if key != "SLURM_NTASKS_PER_NODE"}
    with pytest.raises(RunError, match=r"SLURM_NTASKS_PER_NODE is not set: .*srun --nodes=M --ntasks-per-node=N"):
        find_place(environment)


@pytest.mark.parametrize("n", range(9))
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shares_are_all_rows_once_and_differ_by_one_at_most(n: int, size: int) -> None:
    rows = list(range(n))
    shares = [Share(rank=rank, size=size) for rank in range(size)]
    own = [rows[share.of(n)] if share.count(n) else [] for share in shares]
    assert [len(some) for some in own] == [share.count(n) for share in shares]
    assert sorted(row for some in own for row in some) == rows
    assert max(map(len, own)) - min(map(len, own)) <= 1
    # nobody misses a pass
    assert n == 0 or all(rows[share.of(n)] for share in shares)


def test_a_batch_smaller_than_the_ranks_names_what_they_can_share() -> None:
    assert undivided(8, 4, 2) is None
    reason = undivided(6, 4, 2)
    assert reason is not None
    assert reason.endswith("nearest that they can: 8")
