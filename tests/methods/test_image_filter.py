"""The filter of images: sizes that cannot be halved, files, and one image whatever its batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from mibias_cli.methods.image_filter import ImageFilter


def trained_filter(shape: tuple[int, ...] = (3, 28, 28)) -> ImageFilter:
    """With weights, statistics and a range that are not those of its initialisation."""
    torch.manual_seed(0)
    made = ImageFilter.for_images(shape, (2, 3), width=4)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    made.see(torch.rand(10, *shape) * 3 - 1)
    return made.requires_grad_(False).eval()


def test_by_hand() -> None:
    """28 pixels are halved to 14 and 7; the neutral code beside each place of the map, then doubled twice."""
    made, x = trained_filter(), torch.rand(2, 3, 28, 28)
    z = (x - made.least) / made.span
    state = made.state_dict()
    for conv, norm in (("encoder.0", "encoder.1"), ("encoder.3", "encoder.4")):
        z = functional.conv2d(z, state[f"{conv}.weight"], stride=2, padding=1)
        z = functional.leaky_relu(normalised(z, state, norm), 0.2)
    code = torch.tensor([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3]).view(1, 5, 1, 1).expand(2, 5, 7, 7)
    z = functional.conv_transpose2d(torch.cat([z, code], 1), state["decoder.0.weight"], stride=2, padding=1)
    z = normalised(z, state, "decoder.1").relu()
    z = functional.conv_transpose2d(z, state["decoder.3.weight"], state["decoder.3.bias"], stride=2, padding=1)
    torch.testing.assert_close(made(x), z.sigmoid() * made.span + made.least)


def normalised(z: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (z - mean) / (var + 1e-5).sqrt() * weight + bias


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 30, 37), (3, 3, 5), (3, 33, 64)])
def test_any_size_comes_back_in_the_range_of_training(shape: tuple[int, ...]) -> None:
    made = trained_filter(shape)
    found = made(torch.randn(2, *shape) * 10)
    assert found.shape == (2, *shape)
    assert bool((found >= made.least).all() & (found <= made.least + made.span).all())
    assert float(made.least.min()) == pytest.approx(-1, abs=0.2)
    assert float(made.span.max()) == pytest.approx(3, abs=0.3)


def test_once_fixed_an_image_is_filtered_alike_in_any_batch_and_mode() -> None:
    made, x = trained_filter(), torch.rand(4, 3, 28, 28)
    made.train()
    torch.testing.assert_close(made(x)[:1], made(x[:1]))
    made.requires_grad_(True).train()
    assert not torch.allclose(made(x)[:1], made(x[:1]))


def test_a_file_gives_it_back() -> None:
    made, x = trained_filter(), torch.rand(2, 3, 28, 28)
    state = {f"filter.{name}": value for name, value in made.state_dict().items()} | {"head.weight": torch.ones(2)}
    assert torch.equal(ImageFilter.of_file(state, "filter.")(x), made(x))
    with pytest.raises(KeyError):
        ImageFilter.of_file({k: v for k, v in state.items() if k != "filter.least"}, "filter.")
    for wrong in (
        {k: v for k, v in state.items() if k != "filter.decoder.3.bias"},
        state | {"filter.decoder.0.weight": torch.ones(2, 2, 4, 4)},
        state | {"filter.neutral": torch.ones(2, 2)},
    ):
        with pytest.raises(ValueError, match="filter|decoder"):
            ImageFilter.of_file(wrong, "filter.")
