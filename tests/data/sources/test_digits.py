from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits as sklearn_digits

from mibias_cli.data.inputs import Transforms, unchanged
from mibias_cli.data.sources.colour import MEAN_COLOURS, colour_bins
from mibias_cli.data.sources.digits import load_digits


def test_splits_are_disjoint_cover_all_and_are_stratified() -> None:
    data = load_digits(audit_fraction=0.3, validation_fraction=0.1, seed=3)
    splits = (data.train, data.validation, data.audit)
    rows = np.concatenate([split.rows for split in splits])
    assert sorted(rows) == list(range(1797))
    assert [len(s) for s in splits] == [1132, 126, 539]
    whole = np.bincount(sklearn_digits().target)
    for split in splits:
        share = len(split) / 1797
        assert np.abs(np.bincount(split.y, minlength=10) - share * whole).max() <= 2.0


def test_training_is_biased_and_audit_is_not() -> None:
    data = load_digits(variance=0.0)
    for split, aligned in ((data.train, 1.0), (data.validation, 1.0), (data.audit, 0.1)):
        x = split.reader.read(split.rows, None).amax(dim=(2, 3)).numpy()
        x /= x.max(axis=1, keepdims=True)
        means = MEAN_COLOURS / MEAN_COLOURS.max(axis=1, keepdims=True)
        guess = ((x[:, None] - means) ** 2).sum(-1).argmin(1)
        # audit: binomial with p = .1, n = 539: 4 standard deviations are .052
        assert abs((guess == split.y).mean() - aligned) < 0.052


def test_pixels_are_the_grey_digit_times_its_colour_and_c_their_maximum() -> None:
    data = load_digits(variance=0.02)
    images = data.train.reader.read(data.train.rows[:50], None)
    grey = torch.tensor(sklearn_digits().images[data.train.rows[:50]] / 16.0, dtype=torch.float32)
    ratio = images.amax(dim=(2, 3)) / grey.amax(dim=(1, 2))[:, None]
    torch.testing.assert_close(images, grey[:, None] * ratio[:, :, None, None])
    np.testing.assert_array_equal(colour_bins(images.numpy()), data.train.c["colour"][:50])


def test_seeds_do_what_they_say() -> None:
    first, again = load_digits(seed=0), load_digits(seed=0)
    assert first.fingerprint == again.fingerprint
    other_split = load_digits(seed=1)
    assert not np.array_equal(other_split.train.rows, first.train.rows)
    other_colours = load_digits(seed=0, colour_seed=1)
    np.testing.assert_array_equal(other_colours.train.rows, first.train.rows)
    assert other_colours.fingerprint != first.fingerprint
    shared = np.intersect1d(first.train.rows, other_split.train.rows)
    assert torch.equal(first.train.reader.read(shared, None), other_split.train.reader.read(shared, None))


def test_size_resizes_and_keeps_the_attribute() -> None:
    small, large = load_digits(), load_digits(size=32)
    assert large.input_shape == (3, 32, 32)
    np.testing.assert_array_equal(small.train.c["colour"], large.train.c["colour"])
    images = large.train.reader.read(large.train.rows[:4], None)
    reference = torch.nn.functional.interpolate(
        small.train.reader.read(small.train.rows[:4], None), size=(32, 32), mode="bilinear"
    )
    torch.testing.assert_close(images, reference)


def test_one_channel_is_the_mean_of_three() -> None:
    grey = Transforms(train=unchanged, evaluate=unchanged, arrays=unchanged, channels=1)
    three, one = load_digits(), load_digits(transforms=grey)
    assert one.input_shape == (1, 8, 8)
    torch.testing.assert_close(
        one.train.reader.read(one.train.rows[:5], None),
        three.train.reader.read(three.train.rows[:5], None).mean(dim=1, keepdim=True),
    )


def _noisy(x: torch.Tensor) -> torch.Tensor:
    return x + torch.rand(()) + np.random.random()


def test_augmentation_in_memory_is_a_function_of_seed_epoch_and_row() -> None:
    data = load_digits(transforms=Transforms(train=_noisy, evaluate=unchanged, arrays=unchanged))
    rows = data.train.rows[:6]
    state = torch.get_rng_state()
    whole = data.train.reader.read(rows, 2)
    assert torch.equal(torch.get_rng_state(), state)
    parts = torch.cat([data.train.reader.read(rows[3:], 2), data.train.reader.read(rows[:3], 2)]).roll(3, dims=0)
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, data.train.reader.read(rows, 3))
    torch.testing.assert_close(data.train.reader.read(rows, None), load_digits().train.reader.read(rows, 2))
