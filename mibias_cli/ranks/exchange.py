"""What the processes that train one model together exchange; one process alone exchanges nothing.

Each rank passes its share of a batch through the extractor. Outputs are gathered with gradient, so that every rank then
holds the whole batch, and computes the same losses and fits the same critics on it as one process would.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed, nn

from mibias_cli.ranks.place import Share
from mibias_cli.seeds import derive_seed, scoped_torch_rng

__all__ = ["ALONE", "Ranks"]

_AS_LONG_AS_IT_TAKES = timedelta(days=365)
"""For the others to wait while one rank audits or fills a cache; whoever started them ends them if it fails."""
_Value = TypeVar("_Value")


class Ranks:
    """All ranks of a run, seen from one of them; every method is called by each of them in the same order.

    Args:
        fabric: Launched; None: one process alone.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.share = Share() if fabric is None else Share(rank=fabric.global_rank, size=fabric.world_size)
        self.is_first = self.share.rank == 0
        self._fabric = fabric if self.share.size > 1 else None
        # waiting and plain values go over the CPU: a wait on a GPU keeps the GPU busy, and ends after ten minutes
        self._aside: distributed.ProcessGroup | None = None
        if self._fabric is not None:
            group = distributed.new_group(backend="gloo", timeout=_AS_LONG_AS_IT_TAKES)
            assert isinstance(group, distributed.ProcessGroup), "every rank is in it"
            self._aside = group

    def gather(self, rows: Tensor, n: int) -> Tensor:
        """A whole batch (n, …), in its order, from each rank's share of it (see `Share.of`); differentiable.

        The gradient that reaches a rank's share is the sum of those of all ranks. Each computes the same loss, so it is
        W times that of one process, and the mean over ranks (`average_gradients`) is just that.
        """
        if self._fabric is None:
            return rows
        # shares differ by one row at most, and what is exchanged has one shape: the row that is added is cut off below
        most = -(-n // self.share.size)
        if len(rows) < most:
            rows = torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])])
        with warnings.catch_warnings():
            # what Fabric calls for it is to be called otherwise, some day
            warnings.filterwarnings("ignore", message="torch.distributed.nn.functional.all_gather is deprecated")
            found = self._fabric.all_gather(rows, sync_grads=True)
        assert isinstance(found, Tensor), "a tensor was given"
        return found.transpose(0, 1).flatten(0, 1)[:n]

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their mean over ranks.

        After the backward pass, in one piece: the order of the sum is then always the same, in a resumed run too, where
        DDP's depends on the order in which it first met the gradients. And there may be two backward passes in a step.
        """
        # a layer that no loss reaches has none, on any rank
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self._fabric is None or not gradients:
            return
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        flat /= self.share.size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def mean_of_rows(self, mean: Tensor, n: int) -> Tensor:
        """The mean over a batch of n rows from each rank's mean over its share."""
        if self._fabric is None:
            return mean
        total = mean * self.share.count(n)
        distributed.all_reduce(total)
        return total / n

    def agreed(self, value: _Value) -> _Value:
        """Rank 0's value, on every rank: where a decision hangs on it, rounding must not divide them."""
        if self._fabric is None:
            return value
        held = [value]
        distributed.broadcast_object_list(held, src=0, group=self._aside, device=torch.device("cpu"))
        return held[0]

    def copy_first(self, module: nn.Module) -> None:
        """Give a module the weights and buffers of rank 0."""
        if self._fabric is not None:
            # what is no tensor every rank makes alike
            for value in (v for v in module.state_dict().values() if isinstance(v, Tensor)):
                # what is sent lies in one piece, as weights in channels_last do not
                sent = value.contiguous()
                distributed.broadcast(sent, src=0)
                value.copy_(sent)

    def wait(self) -> None:
        """Wait until all have come here, however long it takes."""
        if self._fabric is not None:
            distributed.barrier(group=self._aside)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first rank of each machine runs the block while the others wait; then they do, and find what it wrote."""
        is_first = self._fabric is None or self._fabric.local_rank == 0
        if not is_first:
            self.wait()
        try:
            yield
        finally:
            # whatever became of it: the others find out for themselves
            if is_first:
                self.wait()

    def own_draws(self, *place: int) -> AbstractContextManager[None]:
        """A scope in which torch's global generators draw otherwise on each rank: dropout, of other rows on each.

        Behind it they are as before, and the same on all ranks.
        """
        return nullcontext() if self._fabric is None else self._seeded(self._fabric.device, *place)

    @contextmanager
    def _seeded(self, device: torch.device, *place: int) -> Iterator[None]:
        seed = derive_seed(torch.initial_seed(), "rank", self.share.rank, *place)
        with scoped_torch_rng(device):
            torch.manual_seed(seed)
            yield


ALONE = Ranks()
"""One process."""
