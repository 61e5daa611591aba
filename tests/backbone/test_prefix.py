"""The frozen prefix of a backbone: where it ends, and that the rest gives the same by itself."""

from __future__ import annotations

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
