"""Batches of a split in an order that depends on (seed, epoch) alone, whatever the number of worker processes."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mibias_cli.data.batch import OTHER_VIEW, Batch, Split
from mibias_cli.errors import DataError
from mibias_cli.ranks.place import Share
from mibias_cli.seeds import derived_generator

__all__ = ["Workers", "batches", "n_batches", "n_drawn"]

_WHOLE = Share()
_DRAWS = 0xD2A3
"""Marks the stream of the draws, which is not the order's."""


def n_batches(split: Split, batch_size: int, *, drop_last: bool = False) -> int:
    """How many batches an epoch has; see `batches` for the last one."""
    return len(_cut(np.arange(len(split)), batch_size, drop_last))


def n_drawn(n: int, share: float) -> int:
    """How many rows are drawn beside n rows; batch normalisation and estimators need two.

    Example:
        >>> n_drawn(128, 0.25), n_drawn(5, 0.25), n_drawn(1, 1.0)
        (32, 2, 2)
    """
    return max(2, round(share * n))


def batches(
    split: Split,
    *,
    batch_size: int,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool,
    num_workers: int = 0,
    workers: Workers | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    start_step: int = 0,
    drop_last: bool = False,
    draw_by: np.ndarray | None = None,
    draw_share: float = 1.0,
    sample_by: np.ndarray | None = None,
    first_until: np.ndarray | None = None,
    n_views: int = 1,
    share: Share = _WHOLE,
) -> Iterator[Batch]:
    """The batches of one epoch, bit for bit the same for any number of workers.

    A last batch of one sample alone is joined to the batch before it, because batch normalisation cannot train on it.
    `Batch.index` holds positions in the split, in whose order `weights` are too.

    Args:
        split: What to read.
        batch_size: Samples per batch; the last batch may be smaller, or larger by one.
        epoch: Seeds the order and the augmentation.
        seed: Seeds the order.
        shuffle: True: training's order and transforms. False: the split's order and the evaluation transform.
        num_workers: Processes that read; 0 reads in this one.
        workers: In their place, processes that are kept from epoch to epoch.
        weights: Arrays (n, …) by name, for `Batch.weight`.
        start_step: Skip this many batches: what follows is what would have followed without a break.
        drop_last: Leave out a last batch that is smaller than batch_size (unless it is the only one).
        draw_by: Weights (n,): each batch gets further rows, drawn in proportion to them with replacement.
        draw_share: Drawn rows for each row of a batch; 0: none.
        sample_by: Weights (n,): rows are drawn in proportion to them, with replacement, in place of each of them once.
        first_until: With `sample_by`, epochs (n,): up to that one (counted from 0, and without it) a row is read once,
            in batches that come before all that are drawn; the epoch has as many batches as without.
        n_views: Training's views of each sample in its batch, one or two: the second ones stand behind all first ones,
            in the same order. Not beside drawn rows.
        share: The rows of each batch whose inputs are read; labels and weights are those of the whole batch.

    Raises:
        DataError: An input cannot be read.
    """
    # a function of (seed, epoch): no state of a generator is needed to resume in the middle of an epoch
    order = derived_generator(seed, epoch).permutation(len(split)) if shuffle else np.arange(len(split))
    positions = _cut(order, batch_size, drop_last)
    if sample_by is not None:
        first = [] if first_until is None else _cut(order[first_until[order] > epoch], batch_size, drop_last)
        sizes = [len(batch) for batch in positions][len(first) :]
        positions = first + _draws(sizes, sample_by, derived_generator(seed, epoch))
    # a stream of its own: whether rows are drawn must not change the epoch's order
    drawn: list[np.ndarray] = []
    if draw_by is not None and draw_share > 0:
        sizes = [n_drawn(len(batch), draw_share) for batch in positions]
        drawn = _draws(sizes, draw_by, derived_generator(seed, epoch, _DRAWS))
    source = _Batches(split, weights, n_views, share)
    seen = epoch if shuffle else None
    own = [_Task(rows, drawn[k] if drawn else None, seen) for k, rows in enumerate(positions)][start_step:]
    # the same batches either way: workers only read them ahead
    if workers is None:
        workers = Workers(min(num_workers, len(own)))
    for batch in workers.read(source, own):
        if isinstance(batch, DataError):
            raise batch
        yield batch


class Workers:
    """Processes that read batches of one split, started by the first epoch that they read and kept for those after it.

    They end with this object. One epoch at a time: a new one takes the place of one that was not read to its end.

    Args:
        num_workers: How many; 0 reads in this process.
    """

    def __init__(self, num_workers: int) -> None:
        self._n = num_workers
        self._tasks: list[_Task] = []
        self._loader: DataLoader[Batch | DataError] | None = None
        self._split: Split | None = None

    def read(self, source: _Batches, tasks: list[_Task]) -> Iterator[Batch | DataError]:
        """The batches of these tasks, in order, of the first call's source.

        Raises:
            ValueError: This source is of another split.
        """
        if self._split is not None and self._split is not source.split:
            raise ValueError("these workers read another split")
        self._split = source.split
        if self._n == 0 or not tasks:
            yield from (source[task] for task in tasks)
            return
        self._tasks[:] = tasks
        with warnings.catch_warnings():
            # the number of workers is the user's choice, also where it exceeds the cores
            warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
            # Python 3.12 warns of any fork beside threads; the workers start no kernel that such threads could hold
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            if self._loader is None:
                self._loader = DataLoader(
                    source,
                    batch_size=None,
                    sampler=self._tasks,
                    num_workers=self._n,
                    persistent_workers=True,
                    generator=torch.Generator(),  # else it draws its workers' seeds from the global generator
                    worker_init_fn=_leave_signals_to_parent,
                )
            iterator = iter(self._loader)
        yield from iterator


def _leave_signals_to_parent(_worker: int) -> None:
    """A terminal sends Ctrl-C to all of a program's processes: whoever began the work ends it, and says so once.

    By SIGTERM Python ends workers that are left where it ends itself: one that ignored it would be waited for forever.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@dataclass(frozen=True)
class _Task:
    """What a batch is to hold: positions in the split, those drawn beside them, and the epoch of training's views."""

    positions: np.ndarray
    drawn: np.ndarray | None
    epoch: int | None


class _Batches(Dataset["Batch | DataError"]):
    """One item per task."""

    def __init__(self, split: Split, weights: Mapping[str, np.ndarray] | None, n_views: int, share: Share) -> None:
        self.split = split
        self._n_views = n_views
        self._share = share
        self._weights = {k: _shared(w) for k, w in (weights or {}).items()}
        self._y = _shared(split.y)
        self._stratum = None if split.stratum is None else _shared(split.stratum)
        self._c = {k: _shared(c) for k, c in split.c.items()}
        self._known = {k: _shared(v) for k, v in split.known.items()}

    def __getitem__(self, task: _Task) -> Batch | DataError:
        try:
            return self._make(task)
        except DataError as error:
            # as a value: raised in a worker, it would reach the user wrapped in a traceback
            return error

    def _make(self, task: _Task) -> Batch:
        positions, n_own = task.positions, None
        if task.drawn is not None:
            n_own, positions = len(positions), np.concatenate([positions, task.drawn])
        index = torch.tensor(np.tile(positions, self._n_views))
        return Batch(
            x=self._inputs(positions, task.epoch),
            y=self._y[index],
            c={k: c[index] for k, c in self._c.items()},
            known={k: v[index] for k, v in self._known.items()},
            index=index,
            weight={k: w[index] for k, w in self._weights.items()},
            stratum=None if self._stratum is None else self._stratum[index],
            n_own=n_own,
        )

    def _inputs(self, positions: np.ndarray, epoch: int | None) -> Tensor:
        """Inputs of this rank's share of the batch, in which every view has these positions."""
        rows = np.tile(self.split.rows[positions], self._n_views)
        own, read = self._share.of(len(rows)), self.split.reader.read
        if epoch is None or self._n_views == 1:
            return read(rows[own], epoch)
        view = np.repeat(np.arange(self._n_views), len(positions))[own]
        return torch.cat([read(rows[own][view == k], epoch + int(k) * OTHER_VIEW) for k in np.unique(view)])


def _shared(values: np.ndarray) -> Tensor:
    """A tensor of an array's own memory, where torch can take it."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _draws(sizes: list[int], weights: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """So many positions for each batch, drawn in proportion to weights with replacement."""
    # inverse transform sampling: a uniform number falls into a row's stretch in proportion to its weight
    cumulative = np.cumsum(weights, dtype=np.float64)
    uniform = generator.random(sum(sizes)) * cumulative[-1]
    # clip: rounding may bring the largest number to the very end
    drawn = np.searchsorted(cumulative, uniform, side="right").clip(max=len(weights) - 1)
    return np.split(drawn, np.cumsum(sizes)[:-1])


def _cut(order: np.ndarray, batch_size: int, drop_last: bool) -> list[np.ndarray]:
    """The order in batches; see `batches` for the last one."""
    cut = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if drop_last and len(cut) > 1 and len(cut[-1]) < batch_size:
        return cut[:-1]
    # batch normalisation needs two samples
    if len(cut) > 1 and len(cut[-1]) == 1 < batch_size:
        return [*cut[:-2], np.concatenate(cut[-2:])]
    return cut
