"""Transforms on float tensors: against timm's own on PIL images, by hand, and what multiprocessing asks."""

import pickle
import random

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch.nn.functional import interpolate

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.transforms import image_transforms, transforms_for
from mibias_cli.data.inputs import IDENTITY


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "convnext_atto", "vit_tiny_patch16_384"])
@pytest.mark.parametrize("shape", [(120, 200), (400, 300)])
def test_evaluation_is_timms_up_to_8_bit_rounding(name: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    smooth = np.asarray(Image.fromarray(rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)).resize(shape[::-1]))
    config = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    wanted = create_transform(**config, is_training=False)(Image.fromarray(smooth))
    transforms = transforms_for(name)
    given = transforms.evaluate(torch.from_numpy(smooth.copy()).permute(2, 0, 1) / 255)
    assert given.shape == wanted.shape == (3, *transforms.size)
    assert float((given - wanted).abs().max()) < 3 / 255 / min(config["std"])


def test_border_mode_pads_with_the_mean_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    config = create_backbone("test_resnet", input_size=32).data_config
    config.update(crop_mode="border", crop_pct=1.0, mean=(0.5, 0.25, 0.125), std=(0.5, 0.5, 0.5))
    given = image_transforms(config).evaluate(torch.ones(3, 32, 64))
    assert given.shape == (3, 32, 32)
    assert torch.equal(given[:, :8], torch.zeros(3, 8, 32))  # mean, normalised
    torch.testing.assert_close(given[:, 16, 16], torch.tensor([1.0, 1.5, 1.75]))


def test_16_bit_depth_is_kept() -> None:
    evaluate = transforms_for("test_resnet", channels=1, input_size=32).evaluate
    low, high = torch.full((1, 40, 40), 1000 / 65535), torch.full((1, 40, 40), 1001 / 65535)
    difference = float((evaluate(high) - evaluate(low)).mean())
    assert difference == pytest.approx(1 / 65535 / 0.5, rel=0.05)


def test_one_channel_has_one_mean() -> None:
    transforms = transforms_for("resnet18", channels=1, input_size=32)
    assert transforms.channels == 1
    mean, std = np.mean([0.485, 0.456, 0.406]), np.mean([0.229, 0.224, 0.225])
    given = transforms.arrays(torch.full((2, 1, 32, 32), 0.7))
    torch.testing.assert_close(given, torch.full((2, 1, 32, 32), float((0.7 - mean) / std)))


@pytest.mark.parametrize("channels", [2, 13])
def test_any_number_of_channels_is_cropped_and_flipped_as_colour_is(channels: int) -> None:
    x = torch.rand(channels, 50, 40)

    def drawn(image: torch.Tensor, seed: int) -> torch.Tensor:
        random.seed(seed)
        torch.manual_seed(seed)
        return transforms_for("test_resnet", channels=len(image), input_size=32, augment=True).train(image)

    # test_resnet has one mean for all colours, so that a channel is what it is as a grey image
    for seed in range(5):
        alone = torch.cat([drawn(one[None], seed) for one in x])
        torch.testing.assert_close(drawn(x, seed), alone)
    assert not torch.equal(drawn(x, 0), drawn(x, 1))


def test_arrays_resize_and_normalise_without_cropping() -> None:
    x = torch.rand(4, 3, 8, 8)
    given = transforms_for("test_resnet", input_size=32).arrays(x)
    resized = interpolate(x, (32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(given, (resized - 0.5) / 0.5)


@pytest.mark.parametrize("augment", [False, True])
def test_training_transforms(augment: bool) -> None:
    transforms = transforms_for("test_resnet", input_size=32, augment=augment)
    assert (transforms.train == transforms.evaluate) is (not augment)
    x = torch.rand(3, 50, 40)

    def drawn(seed: int) -> torch.Tensor:
        random.seed(seed)
        torch.manual_seed(seed)
        return transforms.train(x)

    assert drawn(0).shape == (3, 32, 32)
    assert torch.equal(drawn(1), drawn(1))
    assert torch.equal(drawn(1), drawn(2)) is (not augment)
    again = pickle.loads(pickle.dumps(transforms))
    assert torch.equal(again.evaluate(x), transforms.evaluate(x))


def test_built_in_networks_are_not_normalised() -> None:
    digits = transforms_for("digit_cnn")
    x = torch.rand(2, 3, 28, 28)
    assert torch.equal(digits.arrays(x), x)
    assert torch.equal(digits.evaluate(x[0]), x[0])
    assert digits.arrays(torch.rand(2, 3, 8, 8)).shape == (2, 3, 28, 28)
    assert transforms_for("digit_cnn", channels=1, input_size=32).size == (32, 32)
    assert transforms_for("mlp") is IDENTITY
