from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mibias_cli.data.batch import OTHER_VIEW, Batch, Split
from mibias_cli.data.files.images import FileImages, ImageReader
from mibias_cli.data.files.readers import ArrayReader
from mibias_cli.data.inputs import Transforms, unchanged
from mibias_cli.data.loader import Workers, batches, n_batches
from mibias_cli.data.sources.digits import load_digits
from mibias_cli.errors import DataError
from mibias_cli.ranks.place import Share


def make_split(n: int) -> Split:
    return Split(
        name="train",
        y=np.arange(n) % 3,
        c={"a": np.arange(n)[:, None] % 5, "age": np.arange(n, dtype=np.float32)[:, None]},
        known={"a": np.arange(n) % 2 == 0, "age": np.ones(n, bool)},
        group=None,
        rows=np.arange(n)[::-1].copy(),
        row_names=[str(k) for k in range(n)],
        reader=ArrayReader(np.arange(n, dtype=np.float32)[:, None]),
    )


def same(a: list[Batch], b: list[Batch]) -> bool:
    def tensors(batch: Batch) -> list[torch.Tensor]:
        return [batch.x, batch.y, batch.index, *batch.c.values(), *batch.known.values(), *batch.weight.values()]

    return len(a) == len(b) and all(
        torch.equal(s, t) for p, q in zip(a, b, strict=True) for s, t in zip(tensors(p), tensors(q), strict=True)
    )


def test_every_field_belongs_to_the_same_sample() -> None:
    split = make_split(23)
    weight = np.linspace(0, 1, 23, dtype=np.float32)
    weight.setflags(write=False)
    seen = []
    for batch in batches(split, batch_size=5, epoch=1, seed=2, shuffle=True, weights={"a": weight}):
        i = batch.index
        seen += i.tolist()
        assert torch.equal(batch.x[:, 0], (22 - i).float())
        assert torch.equal(batch.y, i % 3)
        assert torch.equal(batch.c["a"][:, 0], i % 5)
        assert torch.equal(batch.c["age"][:, 0], i.float())
        assert torch.equal(batch.known["a"], i % 2 == 0)
        assert torch.equal(batch.weight["a"], torch.tensor(weight)[i])
        assert batch.y.dtype == batch.c["a"].dtype == torch.int64
        assert batch.c["age"].dtype == torch.float32
    assert sorted(seen) == list(range(23))
    assert seen != list(range(23))


def test_order_follows_seed_and_epoch_alone() -> None:
    split = make_split(50)

    def order(epoch: int, seed: int, shuffle: bool = True) -> list[int]:
        torch.manual_seed(random.randrange(1000))
        return torch.cat(
            [b.index for b in batches(split, batch_size=8, epoch=epoch, seed=seed, shuffle=shuffle)]
        ).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*key)) for key in ((0, 0), (1, 0), (0, 1), (1, 1))}) == 4
    assert order(3, 4, shuffle=False) == list(range(50))


@pytest.mark.parametrize(
    ("n", "batch_size", "drop_last", "sizes"),
    [
        (10, 4, False, [4, 4, 2]),
        (9, 4, False, [4, 5]),
        (9, 4, True, [4, 4]),
        (3, 4, False, [3]),
        (3, 4, True, [3]),
        (1, 4, False, [1]),
        (3, 1, False, [1, 1, 1]),
        (8, 4, False, [4, 4]),
        (0, 4, False, []),
    ],
)
def test_a_last_single_sample_is_joined_to_the_batch_before(
    n: int, batch_size: int, drop_last: bool, sizes: list[int]
) -> None:
    split = make_split(n)
    found = [len(b.y) for b in batches(split, batch_size=batch_size, shuffle=True, drop_last=drop_last)]
    assert found == sizes
    assert n_batches(split, batch_size, drop_last=drop_last) == len(sizes)


def global_noise(x: torch.Tensor) -> torch.Tensor:
    return x + random.random() + float(np.random.random()) + torch.rand(())


def image_split(draw: Callable[..., list[dict[str, str]]], folder: Path) -> Split:
    rows = draw(folder, 21)
    split = make_split(21)
    reader = ImageReader(
        FileImages([str(folder / row["path"]) for row in rows]),
        Transforms(train=global_noise, evaluate=unchanged, arrays=unchanged),
        seed=5,
        row_names=[row["path"] for row in rows],
    )
    return Split(**{**split.__dict__, "reader": reader})


def test_any_number_of_workers_and_any_start_give_the_same_batches(
    draw: Callable[..., list[dict[str, str]]], tmp_path: Path
) -> None:
    split = image_split(draw, tmp_path)
    assert pickle.loads(pickle.dumps(split)).row_names == split.row_names
    weights = {"a": np.random.default_rng(0).random(21).astype(np.float32)}

    def read(num_workers: int, start_step: int = 0, epoch: int = 2) -> list[Batch]:
        return list(
            batches(
                split,
                batch_size=4,
                epoch=epoch,
                seed=1,
                shuffle=True,
                num_workers=num_workers,
                weights=weights,
                start_step=start_step,
            )
        )

    here = read(0)
    torch_state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
        random.getstate(),
    )
    for num_workers in (1, 3):
        assert same(here, read(num_workers))
    assert same(here[3:], read(0, start_step=3))
    assert same(here[3:], read(2, start_step=3))
    assert read(2, start_step=len(here)) == []
    assert not same(here, read(0, epoch=3))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == numpy_state
    assert random.getstate() == python_state


def test_evaluation_reads_without_augmentation(draw: Callable[..., list[dict[str, str]]], tmp_path: Path) -> None:
    split = image_split(draw, tmp_path)
    first = torch.cat([b.x for b in batches(split, batch_size=4, epoch=0, shuffle=False)])
    assert torch.equal(first, torch.cat([b.x for b in batches(split, batch_size=7, epoch=9, shuffle=False)]))
    assert first.max() <= 1.0


def test_an_error_in_a_worker_reaches_the_user_plain(draw: Callable[..., list[dict[str, str]]], tmp_path: Path) -> None:
    split = image_split(draw, tmp_path)
    (tmp_path / "0007.png").write_text("broken")
    for num_workers in (0, 2):
        with pytest.raises(DataError) as caught:
            list(batches(split, batch_size=4, shuffle=False, num_workers=num_workers))
        assert str(caught.value).startswith(f"{tmp_path / '0007.png'}: 0007.png cannot be read")
        assert "Traceback" not in str(caught.value)


class _Asking(ArrayReader):
    """Gives, in place of inputs, what the process that reads does on Ctrl-C and on a terminal that is gone."""

    def read(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        ignored = [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, signal.SIGHUP)]
        return torch.tensor([ignored] * len(rows))


def test_workers_leave_signals_to_whoever_began_the_work() -> None:
    split = replace(make_split(4), reader=_Asking(np.zeros((4, 1), dtype=np.float32)))
    (batch,) = batches(split, batch_size=4, shuffle=False, num_workers=1)
    assert batch.x.all()


class _Naming(ArrayReader):
    """Gives, in place of inputs, the process that reads and the epoch."""

    def read(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        return torch.tensor([[os.getpid(), -1 if epoch is None else epoch]] * len(rows))


def test_workers_are_kept_from_epoch_to_epoch() -> None:
    split = replace(make_split(20), reader=_Naming(np.zeros((20, 1), dtype=np.float32)))
    workers = Workers(2)

    def read(workers: Workers, epoch: int, n: int = 5) -> list[Batch]:
        stream = batches(split, batch_size=4, epoch=epoch, shuffle=True, workers=workers)
        return [next(stream) for _ in range(n)]

    def processes(found: list[Batch]) -> set[int]:
        return {int(batch.x[0, 0]) for batch in found}

    first = read(workers, 0)
    assert len(processes(first)) == 2
    assert os.getpid() not in processes(first)
    read(workers, 1, n=2)  # and the rest of this epoch is left unread
    for epoch in (2, 3):
        found = read(workers, epoch)
        assert processes(found) == processes(first)
        assert {int(batch.x[0, 1]) for batch in found} == {epoch}
        in_one = batches(split, batch_size=4, epoch=epoch, shuffle=True)
        assert all(torch.equal(a.index, b.index) for a, b in zip(found, in_one, strict=True))
    del workers
    gc.collect()
    left = {child.pid for child in multiprocessing.active_children()}
    assert not left & processes(first)


def test_kept_workers_read_no_other_split() -> None:
    workers = Workers(1)
    list(batches(make_split(4), batch_size=4, shuffle=False, workers=workers))
    with pytest.raises(ValueError, match="another split"):
        list(batches(make_split(4), batch_size=4, shuffle=False, workers=workers))


def test_digits_read_the_same_with_workers() -> None:
    data = load_digits()
    here = list(batches(data.train, batch_size=64, epoch=1, seed=0, shuffle=True))
    assert same(here, list(batches(data.train, batch_size=64, epoch=1, seed=0, shuffle=True, num_workers=2)))


class Views:
    """Says of each row which view of it is read."""

    def read(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        return torch.tensor([[row, -1 if epoch is None else epoch] for row in rows.tolist()])


def test_other_views_stand_behind_all_first_ones() -> None:
    split = replace(make_split(23), reader=Views())
    single = list(batches(split, batch_size=5, epoch=3, seed=2, shuffle=True))
    double = list(batches(split, batch_size=5, epoch=3, seed=2, shuffle=True, n_views=2))
    assert len(single) == len(double)
    for one, both in zip(single, double, strict=True):
        n = len(one)
        assert torch.equal(both.index, one.index.repeat(2))
        assert torch.equal(both.c["a"], one.c["a"].repeat(2, 1))
        assert torch.equal(both.x[:n], one.x)
        assert torch.equal(both.x[n:, 0], one.x[:, 0])
        assert set(both.x[n:, 1].tolist()) == {3 + OTHER_VIEW}
    # on three ranks each reads its share of the whole, as `Ranks.gather` puts it together
    shares = [
        list(batches(split, batch_size=5, epoch=3, seed=2, shuffle=True, n_views=2, share=Share(rank=r, size=3)))
        for r in range(3)
    ]
    for k, both in enumerate(double):
        for r, batch in enumerate(part[k] for part in shares):
            assert torch.equal(batch.x, both.x[r::3])
            assert torch.equal(batch.index, both.index)
