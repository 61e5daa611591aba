from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mibias_cli.data.batch import Attribute, BiasedData, Split
from mibias_cli.data.target import classes_target
from mibias_cli.run.examples import MAX_IMAGES, example_cells

N = 40  # a row is 6 of 255 levels, more than what JPEG changes
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


class Reader:
    """Images of one colour, told by the row, normalised as a backbone would ask."""

    def read(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        assert epoch is None
        level = torch.tensor(rows / N, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 80, 60)
        return (level - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)


def data(shape: tuple[int, ...] = (3, 80, 60), n_classes: int = 2) -> BiasedData:
    n = N
    attribute = Attribute(
        name="place", kind="categorical", channels=("ground", "sky"), n_classes=(n_classes, 2),
        class_names=(tuple(f"g{k}" for k in range(n_classes)), ("day", "night")),
    )  # fmt: skip
    c = np.stack([np.arange(n) % n_classes, np.arange(n) // (N // 2)], axis=1)
    split = Split(
        name="audit", y=np.arange(n) % 2, c={"place": c}, known={"place": np.arange(n) != 0}, group=None,
        rows=np.arange(n), row_names=[str(k) for k in range(n)], reader=Reader(),
    )  # fmt: skip
    return BiasedData(
        train=split, validation=split, audit=split, attributes={"place": attribute}, target=classes_target(("a", "b")),
        input_shape=shape, fingerprint="",
    )  # fmt: skip


CHANNELS = {"place": "sky"}


class Bands:
    """Images whose channels are of one value each: 10, 20, … of 255."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def read(self, rows: np.ndarray, epoch: int | None) -> torch.Tensor:
        levels = torch.arange(1, self.channels + 1) * 10 / 255
        return levels.view(1, -1, 1, 1).expand(len(rows), -1, 60, 60)


CONFIG = {"mean": MEAN, "std": STD}


def test_images_are_of_their_cell_and_as_they_were_before_normalisation() -> None:
    cells = example_cells(data(), CHANNELS, n=3, data_config=CONFIG, seed=0)
    assert [(cell.channel, cell.y, cell.c) for cell in cells] == [
        ("sky", "a", "day"), ("sky", "a", "night"), ("sky", "b", "day"), ("sky", "b", "night"),
    ]  # fmt: skip
    for cell in cells:
        assert len(cell.images) == 3
        for encoded in cell.images:
            image = Image.open(io.BytesIO(encoded))
            assert image.size == (48, 64)
            row = round(np.asarray(image).mean() / 255 * N)
            assert row % 2 == "ab".index(cell.y)
            assert (row >= N // 2) == (cell.c == "night")
            assert row != 0  # its attribute is unknown


def test_the_same_seed_draws_the_same_images() -> None:
    first, again, other = (example_cells(data(), CHANNELS, n=2, data_config=CONFIG, seed=s) for s in (0, 0, 1))
    assert first == again != other


def test_many_cells_are_cut_and_rows_have_no_images() -> None:
    cells = example_cells(data(n_classes=20), {"place": "ground"}, n=20, data_config=CONFIG, seed=0)
    assert len(cells) == MAX_IMAGES // 20
    assert example_cells(data(shape=(8,)), CHANNELS, n=2, data_config={}, seed=0) == ()
    assert example_cells(data(), CHANNELS, n=0, data_config={}, seed=0) == ()


def test_small_cells_have_no_images() -> None:
    everything = example_cells(data(), CHANNELS, n=1, data_config=CONFIG, seed=0)
    # a row of four cells of ten has no attribute: that cell is small below ten
    shown = example_cells(data(), CHANNELS, n=1, data_config=CONFIG, seed=0, least=10)
    assert {(cell.y, cell.c) for cell in everything} - {(cell.y, cell.c) for cell in shown} == {("a", "day")}
    assert example_cells(data(), CHANNELS, n=1, data_config=CONFIG, seed=0, least=9) == everything


@pytest.mark.parametrize(("channels", "shown"), [(1, 10), (2, 10), (4, (10, 20, 30)), (13, (10, 20, 30))])
def test_of_many_channels_the_first_are_shown(channels: int, shown: int | tuple[int, ...]) -> None:
    found = data((channels, 60, 60))
    found = replace(found, audit=replace(found.audit, reader=Bands(channels)))
    image = Image.open(io.BytesIO(example_cells(found, CHANNELS, n=1, data_config={}, seed=0)[0].images[0]))
    assert image.mode == ("L" if isinstance(shown, int) else "RGB")
    np.testing.assert_allclose(np.asarray(image)[30, 30], shown, atol=3)  # JPEG's rounding
