from __future__ import annotations

import numpy as np
import torch

from mibias_cli.data.sources.colour import (
    COLOUR,
    MEAN_COLOURS,
    channel_maxima,
    colour_bins,
    colourise,
    colours,
    random_colours,
)


def test_mean_colours_are_the_protocols() -> None:
    assert MEAN_COLOURS.shape == (10, 3)
    assert (MEAN_COLOURS[0] * 255).tolist() == [220, 20, 60]
    assert (MEAN_COLOURS[9] * 255).tolist() == [128, 0, 0]


def test_without_variance_a_colour_is_the_mean_of_its_digit() -> None:
    labels = np.arange(10)
    drawn = colours(labels, 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(drawn, MEAN_COLOURS, atol=1e-7)


def test_noise_has_the_stated_variance_and_is_clipped() -> None:
    # digit 3's green, 149/255, lies 4 standard deviations inside [0, 1] at σ² = .01: clipping is negligible there
    drawn = colours(np.full(20000, 3), 0.01, np.random.default_rng(0))
    assert abs(drawn[:, 1].var() - 0.01) < 4 * 0.01 * np.sqrt(2 / 20000)  # 4 standard errors: false alarm 6e-5
    assert drawn.min() == 0.0
    assert drawn.max() <= 1.0


def test_first_colours_do_not_depend_on_how_many_follow() -> None:
    labels = np.arange(100) % 10
    few = colours(labels[:30], 0.02, np.random.default_rng(5))
    np.testing.assert_array_equal(few, colours(labels, 0.02, np.random.default_rng(5))[:30])


def test_random_colours_use_all_means_equally() -> None:
    drawn = random_colours(20000, 0.0, np.random.default_rng(0))
    nearest = ((drawn[:, None] - MEAN_COLOURS) ** 2).sum(-1).argmin(1)
    counts = np.bincount(nearest, minlength=10)
    chi2 = ((counts - 2000) ** 2 / 2000).sum()
    assert chi2 < 33.7  # χ² with 9 degrees of freedom: false alarm 1e-4


def test_colourise_multiplies_each_channel() -> None:
    grey = torch.tensor([[[0.0, 0.5], [1.0, 0.25]]])
    images = colourise(grey, torch.tensor([[1.0, 0.5, 0.0]]))
    expected = torch.stack([grey[0], grey[0] / 2, grey[0] * 0])[None]
    assert torch.equal(images, expected)


def test_bins_of_whole_images_agree_with_bins_of_maxima() -> None:
    generator = np.random.default_rng(0)
    grey = generator.integers(0, 256, (200, 6, 6))
    drawn = random_colours(200, 0.05, generator)
    images = colourise(torch.tensor(grey, dtype=torch.float32) / 255, torch.tensor(drawn)).numpy()
    np.testing.assert_array_equal(colour_bins(images), colour_bins(channel_maxima(grey, drawn, 255.0)))


def test_bins_are_eight_equal_parts() -> None:
    edges = np.array([[0.0, 0.1249, 0.125], [0.5, 0.874, 0.875], [0.9999, 1.0, 1.0]])
    assert colour_bins(edges).tolist() == [[0, 0, 1], [4, 6, 7], [7, 7, 7]]
    assert COLOUR.class_names[0][0] == "bin 0 (0-0.125)"
    assert COLOUR.class_names[2][7] == "bin 7 (0.875-1)"
