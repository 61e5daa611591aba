from __future__ import annotations

import torch

from mibias_cli.data.batch import Batch
from mibias_cli.training.queue import FeatureQueue, sample_of


def batch(start: int, n: int) -> tuple[Batch, torch.Tensor]:
    values = torch.arange(start, start + n)
    b = Batch(
        x=values[:, None].float(),
        y=values % 7,
        c={"a": values[:, None] % 5, "b": values[:, None].float()},
        known={"a": values % 3 > 0, "b": torch.ones(n, dtype=torch.bool)},
        index=values,
        weight={"a": values.float() + 0.5},
    )
    return b, values[:, None].float() * 2


def test_keeps_the_latest_rows_with_their_own_labels() -> None:
    queue = FeatureQueue(8, weighted=True)
    for start, n in ((0, 3), (3, 4), (7, 4), (11, 2)):
        queue.push(*batch(start, n))
    assert len(queue) == 8
    sample = queue.sample("a")
    row = (sample.z[:, 0] / 2).long()
    assert sorted(row.tolist()) == list(range(5, 13))
    assert torch.equal(sample.c[:, 0], row % 5)
    assert torch.equal(sample.known, row % 3 > 0)
    assert sample.y is not None
    assert torch.equal(sample.y, row % 7)
    assert sample.weight is not None
    assert torch.equal(sample.weight, row.float() + 0.5)
    assert queue.sample("b").weight is None


def test_a_batch_larger_than_the_queue_leaves_its_last_rows() -> None:
    queue = FeatureQueue(4, weighted=False)
    queue.push(*batch(0, 10))
    sample = queue.sample("a")
    assert sorted((sample.z[:, 0] / 2).tolist()) == [6.0, 7.0, 8.0, 9.0]
    assert sample.weight is None


def test_a_restored_queue_goes_on_as_the_old_one() -> None:
    queue, other = FeatureQueue(6, weighted=True), FeatureQueue(6, weighted=True)
    queue.push(*batch(0, 4))
    other.load_state_dict(queue.state_dict(), torch.device("cpu"))
    queue.push(*batch(4, 4))
    other.push(*batch(4, 4))
    assert torch.equal(queue.sample("a").z, other.sample("a").z)


def test_detaches() -> None:
    queue = FeatureQueue(4, weighted=False)
    b, z = batch(0, 4)
    queue.push(b, z.requires_grad_())
    assert not queue.sample("a").z.requires_grad


def test_weights_reach_an_estimator_only_where_asked() -> None:
    b, z = batch(0, 4)
    assert sample_of(b, z, "a", weighted=True).weight is not None
    assert sample_of(b, z, "a", weighted=False).weight is None
