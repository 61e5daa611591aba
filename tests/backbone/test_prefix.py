"""The frozen prefix of a backbone: where it ends, and that the rest gives the same by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import timm
import torch
from torch import Tensor, nn

from mibias_cli.backbone.digit_cnn import DigitCNN
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.prefix import NoPrefix, Prefix, frozen_prefix
from mibias_cli.backbone.trainable import Trained, choose_trainable


def found(backbone: nn.Module, train: Trained, x: Tensor) -> Prefix:
    choose_trainable(Extractor(backbone, 8).eval(), train=train)
    return frozen_prefix(backbone, x)


@pytest.mark.parametrize(
    ("name", "side", "train", "start"),
    [
        ("test_resnet", 32, "none", None),
        ("test_resnet", 32, ["layer4"], "layer4"),
        ("test_resnet", 32, ["layer3.0.conv2", "layer4"], "layer3"),
        ("test_vit", 160, ["blocks.5", "norm"], "blocks.5"),
        ("test_efficientnet", 32, ["blocks.2", "conv_head", "bn2"], "blocks.2"),
        ("digit_cnn", 28, ["fc1", "fc2"], "fc1"),
    ],
)
def test_the_rest_of_a_backbone_runs_by_itself(name: str, side: int, train: Trained, start: str | None) -> None:
    backbone = DigitCNN(width=4) if name == "digit_cnn" else timm.create_model(name, num_classes=0)
    x = torch.randn(4, 3, side, side)
    prefix = found(backbone, train, x)
    assert prefix.start == start
    outputs = prefix.outputs(backbone, x)
    assert tuple(outputs.shape[1:]) == prefix.shape
    # gradients too, and the backbone is left as it was
    whole, rest = backbone(x), prefix.resume(backbone, outputs)
    assert torch.equal(rest, whole)
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    if trained:
        for one, other in zip(
            torch.autograd.grad(whole.sum(), trained), torch.autograd.grad(rest.sum(), trained), strict=True
        ):
            assert torch.equal(one, other)
    assert torch.equal(backbone(x), whole)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in backbone.modules())


def test_a_layer_is_within_the_prefix_or_behind_it() -> None:
    backbone = timm.create_model("test_resnet", num_classes=0)
    prefix = found(backbone, ["layer4"], torch.randn(2, 3, 32, 32))
    assert [prefix.holds(layer) for layer in ("layer3", "layer3.0", "layer4", "layer4.0.conv1")] == [
        True,
        True,
        False,
        False,
    ]
    assert found(backbone, "none", torch.randn(2, 3, 32, 32)).holds("layer4")


class Bypass(nn.Module):
    """A network whose last stage needs more than the output of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        first = self.one(x)
        return self.three(self.two(first)) * self.scale + first


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (["three"], "the stages from 'three' on need more than the output of what comes before them"),
        (["one"], "nothing is frozen before 'one', which trains"),
        (["scale", "three"], "'scale' trains, which belongs to no stage of the backbone"),
    ],
)
def test_where_there_is_no_prefix_it_is_said_why(train: list[str], reason: str) -> None:
    with pytest.raises(NoPrefix, match=reason):
        found(Bypass(), train, torch.randn(3, 4))


class Grid(nn.Module):
    """Tokens and the size of their grid, as xcit's patches, then blocks that are given both."""

    class Embed(nn.Module):
        def __init__(self, kind: Callable[[torch.Size], Sequence[int]]) -> None:
            super().__init__()
            self.proj, self.kind = nn.Conv2d(3, 4, 2, stride=2), kind

        def forward(self, x: Tensor) -> tuple[Tensor, Sequence[int]]:
            maps = self.proj(x)
            return maps.flatten(2).mT, self.kind(maps.shape[2:])

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor, grid: Sequence[int]) -> Tensor:
            return self.fc(x) * grid[0] / grid[1]

    def __init__(self, kind: Callable[[torch.Size], Sequence[int]]) -> None:
        super().__init__()
        self.embed, self.one, self.two = self.Embed(kind), self.Block(), self.Block()

    def forward(self, x: Tensor) -> Tensor:
        tokens, grid = self.embed(x)
        return self.two(self.one(tokens, grid), grid).mean(1)


@pytest.mark.parametrize("kind", [list, tuple, torch.Size])
def test_frozen_modules_may_give_more_than_one_tensor(kind: Callable[[torch.Size], Sequence[int]]) -> None:
    backbone, x = Grid(kind), torch.randn(4, 3, 6, 10)
    prefix = found(backbone, ["two"], x)
    assert (prefix.start, prefix.shape) == ("two", (15, 4))
    assert torch.equal(prefix.resume(backbone, prefix.outputs(backbone, x)), backbone(x))


class Pairs(nn.Module):
    """Blocks that hand two tensors on as one input, as pit's transformers."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, xs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return self.fc(xs[0]), xs[1]

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = self.Block(), self.Block()

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.two(self.one((x, x)))
        return a + b


def test_a_stage_that_takes_several_tensors_has_no_prefix() -> None:
    with pytest.raises(NoPrefix, match="'two' takes tuple and no single tensor"):
        found(Pairs(), ["two"], torch.randn(3, 4))
