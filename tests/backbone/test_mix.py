"""Channel statistics between samples of other attribute values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mibias_cli.backbone.mix import StatisticsMixer, other_partners
from mibias_cli.errors import BackboneError


class Seen(nn.Module):
    """A network whose inner module gives its input on."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(x)
        return found


@pytest.mark.parametrize("shape", [(40, 3, 8, 8), (40, 64, 3)])
def test_a_wholly_mixed_sample_has_its_partners_statistics_and_its_own_pattern(shape: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    groups = torch.arange(40) % 2
    x = torch.randn(shape, generator=g) * (1 + groups).view(-1, *[1] * (len(shape) - 1)) + groups.view(
        -1, *[1] * (len(shape) - 1)
    )
    mixer = StatisticsMixer(Seen(), "inner", 1.0)
    partner = other_partners(groups, g)
    assert (groups[partner] != groups).all()
    out = mixer.mixed(x, partner, torch.zeros(40))
    axes = (2, 3) if len(shape) == 4 else (1,)
    torch.testing.assert_close(out.mean(axes), x[partner].mean(axes), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(out.std(axes), x[partner].std(axes), atol=1e-4, rtol=1e-3)
    pattern = (x - x.mean(axes, keepdim=True)) / x.std(axes, keepdim=True)
    torch.testing.assert_close(
        (out - out.mean(axes, keepdim=True)) / out.std(axes, keepdim=True), pattern, atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(mixer.mixed(x, partner, torch.ones(40)), x, atol=1e-4, rtol=1e-4)


def test_a_copy_has_all_statistics_of_the_partner_that_is_named() -> None:
    network, groups = Seen(), torch.arange(40) % 4
    x = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + groups.view(-1, 1, 1, 1)
    # a share of samples to be mixed, which says nothing of copies
    mixer = StatisticsMixer(network, "inner", 0.25)
    with mixer.copying(groups, torch.Generator().manual_seed(2)) as partner:
        out = network(x)
    assert (groups[partner] != groups).all()
    torch.testing.assert_close(out.mean((2, 3)), x[partner].mean((2, 3)), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(out.std((2, 3)), x[partner].std((2, 3)), atol=1e-4, rtol=1e-3)
    assert torch.equal(network(x), x)


def test_only_the_share_is_mixed_inside_the_scope_alone_and_the_same_for_a_seed() -> None:
    network, groups = Seen(), torch.arange(400) % 4
    x = torch.randn(400, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    mixer = StatisticsMixer(network, "inner", 0.25)
    outs = []
    for _ in range(2):
        with mixer.mixing(groups, torch.Generator().manual_seed(2)) as mixed:
            outs.append(network(x))
    assert torch.equal(*outs)
    changed = (outs[0] - x).abs().amax((1, 2, 3)) > 1e-3
    assert 60 < int(changed.sum()) < 140
    assert torch.equal(changed, mixed)
    assert torch.equal(network(x), x)


def test_partners_are_drawn_evenly_from_other_groups() -> None:
    groups = torch.tensor([0] * 50 + [1] * 25 + [2] * 25)
    g = torch.Generator().manual_seed(0)
    drawn = torch.stack([other_partners(groups, g) for _ in range(400)])[:, 0]
    counts = torch.bincount(drawn, minlength=100).float()
    assert counts[:50].sum() == 0
    # 400 draws over 50 positions: 8 each
    assert float(((counts[50:] - 8) ** 2 / 8).sum()) < 85


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(BackboneError, match=r"debias\.mix\.layer.*'iner'.*inner"):
        StatisticsMixer(Seen(), "iner", 0.5)


@pytest.mark.parametrize("shape", [(4, 8), (4, 8, 1, 1), (4, 1, 8)])
def test_a_layer_whose_input_is_all_statistics_is_refused(shape: tuple[int, ...]) -> None:
    network = Seen()
    scope = StatisticsMixer(network, "inner", 1.0).mixing(torch.arange(4), torch.Generator())
    with scope, pytest.raises(BackboneError, match=r"debias\.mix\.layer: the input of 'inner' has shape"):
        network(torch.zeros(shape))


class Odd(nn.Module):
    """Blocks that are called one by one, on channels-last maps, and a module that sees four patches of each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity()])
        self.patches = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.patches(x.reshape(4 * len(x), -1, x.shape[-1]))
        found: torch.Tensor = self.blocks[0](x)
        return found


def test_maps_with_channels_last_are_told_by_their_shape() -> None:
    network = Odd()
    x = torch.randn(2, 4, 4, 8, generator=torch.Generator().manual_seed(0))
    x[1] = 3 * x[1] + 1
    with StatisticsMixer(network, "blocks.0", 1.0).copying(torch.arange(2), torch.Generator()) as partner:
        out = network(x)
    # channel by channel, over places
    torch.testing.assert_close(out.mean((1, 2)), x[partner].mean((1, 2)), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [("blocks", "takes no part in the backbone's forward pass"), ("patches", "has shape .* for 2 samples")],
)
def test_a_layer_that_is_not_called_or_sees_no_samples_is_refused(layer: str, reason: str) -> None:
    network = Odd()
    scope = StatisticsMixer(network, layer, 1.0).mixing(torch.arange(2), torch.Generator())
    with pytest.raises(BackboneError, match=rf"debias\.mix\.layer: .*'{layer}' {reason}"), scope:
        network(torch.zeros(2, 4, 4, 8))
