"""The processes that train one model together: which of them this one is, by whom it was started, and its share of a
batch. It loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mibias_cli.errors import RunError

__all__ = ["BY_MIBIAS", "Place", "Share", "find_place", "place_if_told", "undivided"]

BY_MIBIAS = "MIBIAS_RANKS"
"""Set in the environment of ranks that `mibias train --devices` starts."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """The rows of every batch that a rank reads and passes through the extractor: each W-th of them, from its own on.

    Not a stretch of rows: rows that were drawn for the estimator stand behind the epoch's own, and each rank is to see
    both.
    """

    rank: int = 0
    size: int = 1

    def of(self, n: int) -> slice:
        """This rank's rows of n.

        A rank for which there is none stands in with the first row, so that it takes part in the pass; `count` is 0.

        Example:
            >>> [list(range(5))[Share(rank=r, size=2).of(5)] for r in (0, 1)]
            [[0, 2, 4], [1, 3]]
        """
        return slice(self.rank, None, self.size) if self.rank < n else slice(0, 1)

    def count(self, n: int) -> int:
        """How many of n rows are this rank's own."""
        return len(range(self.rank, n, self.size))


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process stands among all that train together.

    Args:
        by: Who started it.
        rank, local_rank: Its number among all, and among those of its machine.
        devices, nodes: Ranks of each machine, and machines.
    """

    by: Literal["mibias", "torchrun", "SLURM"]
    rank: int
    local_rank: int
    devices: int
    nodes: int

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.devices * self.nodes


def find_place(environment: Mapping[str, str]) -> Place | None:
    """The place that the environment gives a process; None where it is to train alone.

    Raises:
        RunError: The environment says that there are several processes, but not all about them.
    """
    found = _torchrun(environment) or _slurm(environment)
    return None if found is None or found.size == 1 else found


def place_if_told(environment: Mapping[str, str]) -> Place | None:
    """What `find_place` gives, and None also where the environment does not say all."""
    try:
        return find_place(environment)
    except RunError:
        return None


def _torchrun(environment: Mapping[str, str]) -> Place | None:
    """What torchrun, or `mibias train --devices` in the same variables, says."""
    ours = BY_MIBIAS in environment
    if not ours and "TORCHELASTIC_RUN_ID" not in environment:
        return None
    rank, local, size, devices = (
        int(environment[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    )
    by: Literal["mibias", "torchrun"] = "mibias" if ours else "torchrun"
    return Place(by=by, rank=rank, local_rank=local, devices=devices, nodes=size // devices)


def _slurm(environment: Mapping[str, str]) -> Place | None:
    """What srun says; nothing in an interactive job, which Lightning Fabric tells by the same names."""
    n_tasks = int(environment.get("SLURM_NTASKS", "1"))
    if n_tasks == 1 or environment.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    # a batch script or a shell sees the number of tasks, too: only what srun starts is in a step with a number
    if not 0 <= int(environment.get("SLURM_STEP_ID", "-1")) < _NO_STEPS:
        return None
    try:
        rank, local = int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"])
        devices = int(environment["SLURM_NTASKS_PER_NODE"])
    except KeyError as error:
        raise RunError(
            f"SLURM has started {n_tasks} tasks, but {error.args[0]} is not set: start them with "
            "`srun --nodes=M --ntasks-per-node=N mibias train …`"
        ) from error
    return Place(by="SLURM", rank=rank, local_rank=local, devices=devices, nodes=n_tasks // devices)


_NO_STEPS = 0xFFFF_FFF0
"""From here on SLURM numbers what is no step of srun's: the batch script itself, the shell of an allocation."""


def undivided(batch_size: int, devices: int, nodes: int) -> str | None:
    """Why a batch cannot be shared out, or None.

    Example:
        >>> undivided(64, 2, 1)
        >>> undivided(64, 3, 1)
        'is 64, which 3 ranks cannot share evenly: it counts all ranks together; the nearest that they can: 63 and 66'
    """
    size = devices * nodes
    if batch_size % size == 0:
        return None
    low = batch_size // size * size
    nearest = f"{low} and {low + size}" if low else str(size)
    return (
        f"is {batch_size}, which {size} ranks cannot share evenly: it counts all ranks together; the nearest that "
        f"they can: {nearest}"
    )
