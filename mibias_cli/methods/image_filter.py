"""An image-to-image network in front of a backbone: each image without what tells the bias."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ImageFilter", "halving_stack", "n_halvings"]

_GROWTH = 16
"""How many times the first convolution's width there may be at most."""
_SLOPE = 0.2
_MOST_HALVINGS = 5


class ImageFilter(nn.Module):
    """Encodes an image, and decodes it beside a code of the bias: filtered by a code that says nothing of it.

    The shape is that of AttGAN: convolutions that halve the image until it is four to seven pixels wide, and as many
    that double it. Images are brought to the range from 0 to 1 that they have in training, and back; sides that cannot
    be halved so often are padded, and cut afterwards.

    Args:
        n_channels: Of images.
        halvings: How often the encoder halves them, see `n_halvings`.
        code_width: Classes of all channels of the bias, one-hot in the code.
        width: Maps of the first convolution; each further one has twice as many, up to 16 times.

    References: He et al., AttGAN, arXiv 1711.10678; as a filter: Li et al., SABAF, arXiv 2311.07141.

    Example:
        >>> filtered = ImageFilter.for_images((3, 28, 28), (2,), width=8)
        >>> filtered(torch.zeros(5, 3, 28, 28)).shape, filtered.neutral.tolist()
        (torch.Size([5, 3, 28, 28]), [0.5, 0.5])
    """

    least: Tensor
    span: Tensor
    neutral: Tensor

    def __init__(self, n_channels: int, halvings: int, code_width: int, width: int) -> None:
        super().__init__()
        self.encoder = halving_stack(n_channels, halvings, width, nn.BatchNorm2d)
        layers: list[nn.Module] = []
        *narrower, n = _widths(halvings, width)
        n += code_width
        for wanted in reversed(narrower):
            layers += [
                nn.ConvTranspose2d(n, wanted, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(wanted),
                nn.ReLU(inplace=True),
            ]
            n = wanted
        last = nn.ConvTranspose2d(n, n_channels, 4, stride=2, padding=1)
        self.decoder = nn.Sequential(*layers, last, nn.Sigmoid())
        self.halvings = halvings
        # what is 0 and what is 1 of each image channel, and the code of no class
        self.register_buffer("least", torch.zeros(n_channels, 1, 1))
        self.register_buffer("span", torch.ones(n_channels, 1, 1))
        self.register_buffer("neutral", torch.zeros(code_width))

    @classmethod
    def for_images(cls, shape: tuple[int, ...], n_classes: tuple[int, ...], width: int) -> Self:
        """An untrained filter of images of a shape (channels, height, width) and a bias of so many classes a channel.

        The neutral code is 1/K for each of K classes.
        """
        made = cls(shape[0], n_halvings(shape), sum(n_classes), width)
        made.neutral.copy_(torch.cat([torch.full((n,), 1 / n) for n in n_classes]))
        return made

    @classmethod
    def of_file(cls, state: Mapping[str, Tensor], prefix: str) -> Self:
        """The filter whose tensors a file holds under a prefix, in evaluation mode, and fixed.

        Raises:
            KeyError, ValueError: A tensor is missing or too many, or its shape is that of another filter.
        """
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        maps = [len(value) for name, value in own.items() if name.startswith("encoder.") and value.ndim == 4]
        if not 1 <= len(maps) <= _MOST_HALVINGS or own["least"].ndim != 3 or own["neutral"].ndim != 1:
            raise ValueError("its tensors are not those of a filter of images")
        made = cls(len(own["least"]), len(maps), len(own["neutral"]), min(maps))
        try:
            made.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        return made.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for a filter that is fixed: what it makes of an image must not depend on its batch."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def see(self, images: Tensor) -> None:
        """Take the range of each image channel from images (n, channels, height, width)."""
        by_channel = images.transpose(0, 1).flatten(1)
        least, most = by_channel.min(dim=1).values, by_channel.max(dim=1).values
        self.least.copy_(least[:, None, None])
        # a channel that never changes stays as it is
        self.span.copy_(torch.where(most > least, most - least, 1.0)[:, None, None])

    def scaled(self, x: Tensor) -> Tensor:
        """Images (n, channels, height, width) in the range from 0 to 1, padded by 0 to a size that can be halved."""
        step = 2**self.halvings
        return functional.pad((x - self.least) / self.span, (0, -x.shape[-1] % step, 0, -x.shape[-2] % step))

    def encode(self, scaled: Tensor) -> Tensor:
        """The map (n, d, h, w) that the decoder starts from, of scaled images."""
        found: Tensor = self.encoder(scaled)
        return found

    def decode(self, z: Tensor, code: Tensor) -> Tensor:
        """Scaled images of maps (n, d, h, w) and codes (n, code_width) of the bias."""
        spread = code.to(z.dtype)[:, :, None, None].expand(-1, -1, *z.shape[2:])
        images: Tensor = self.decoder(torch.cat([z, spread], dim=1))
        return images

    def without_bias(self, z: Tensor) -> Tensor:
        """Scaled images of maps (n, d, h, w) and the neutral code."""
        # not len(z): ONNX keeps a number for it
        return self.decode(z, self.neutral.expand(z.shape[0], -1))

    def forward(self, x: Tensor) -> Tensor:
        """Filtered images (n, channels, height, width), in the range of those of training."""
        filtered = self.without_bias(self.encode(self.scaled(x)))
        return filtered[..., : x.shape[-2], : x.shape[-1]] * self.span + self.least


def n_halvings(shape: tuple[int, ...]) -> int:
    """How often images of a shape (channels, height, width) are halved: to four to seven pixels, at most five times.

    These are the sizes of the authors' networks, of images of 32 and of 224 pixels.

    Example:
        >>> [n_halvings((3, n, n)) for n in (8, 28, 32, 96, 224)]
        [1, 2, 3, 4, 5]
    """
    return min(max(1, (min(shape[1:]) // 4).bit_length() - 1), _MOST_HALVINGS)


def halving_stack(n_channels: int, halvings: int, width: int, norm: Callable[[int], nn.Module] | None) -> nn.Sequential:
    """Convolutions with leaky ReLU, each of which halves an image, with twice as many maps as the one before.

    Args:
        n_channels: Of images.
        halvings: How many convolutions.
        width: Maps of the first one.
        norm: Makes what normalises so many maps; None: nothing does.

    Example:
        >>> halving_stack(3, 2, 16, None)(torch.zeros(1, 3, 28, 28)).shape
        torch.Size([1, 32, 7, 7])
    """
    layers: list[nn.Module] = []
    for n in _widths(halvings, width):
        layers.append(nn.Conv2d(n_channels, n, 4, stride=2, padding=1, bias=norm is None))
        layers += [*([] if norm is None else [norm(n)]), nn.LeakyReLU(_SLOPE, inplace=True)]
        n_channels = n
    return nn.Sequential(*layers)


def _widths(halvings: int, width: int) -> list[int]:
    """How many maps there are after each halving."""
    return [width * min(2**i, _GROWTH) for i in range(halvings)]
