from __future__ import annotations

import pytest
import torch
from torch import nn

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.layer_view import LayerView, grid_pooled
from mibias_cli.errors import BackboneError


def test_a_map_is_averaged_over_a_grid_by_hand() -> None:
    x = torch.arange(2 * 3 * 4 * 4, dtype=torch.float64).reshape(2, 3, 4, 4)
    found = grid_pooled(x, max_columns=12)
    expected = x.reshape(2, 3, 2, 2, 2, 2).mean(dim=(3, 5)).flatten(1)  # 3 channels × 2 × 2
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grid_pooled(x.permute(0, 2, 3, 1), channels_last=True, max_columns=12), expected)
    torch.testing.assert_close(grid_pooled(x, max_columns=11), x.mean(dim=(2, 3)))
    torch.testing.assert_close(grid_pooled(x, max_columns=10_000), x.flatten(1))


def test_tokens_and_vectors() -> None:
    x = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grid_pooled(x), x.mean(dim=1))
    torch.testing.assert_close(grid_pooled(x[:, 0]), x[:, 0])


def test_it_sees_what_the_modules_gave_and_leaves_no_hook() -> None:
    backbone = create_backbone("test_resnet", input_size=32).module.eval()
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    kept = {}
    handle = backbone.layer2.register_forward_hook(lambda module, inputs, output: kept.update(layer2=output.detach()))
    with torch.no_grad(), LayerView(backbone, ["layer2", "layer1"]) as view:
        plain = backbone(x)
        found = view.take()
    handle.remove()
    assert set(found) == {"layer1", "layer2"}
    torch.testing.assert_close(found["layer2"], grid_pooled(kept["layer2"]))
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), plain)
    assert not any(module._forward_hooks for module in backbone.modules())


def test_channels_last_networks_are_recognised() -> None:
    backbone = create_backbone("swin_tiny_patch4_window7_224", input_size=224).module.eval()
    with torch.no_grad(), LayerView(backbone, ["layers.3"]) as view:
        backbone(torch.zeros(1, 3, 224, 224))
        assert view.take()["layers.3"].shape == (1, 768)  # (1, 7, 7, 768): one mean per channel


def test_a_module_that_is_not_there_is_named_with_the_nearest() -> None:
    backbone = create_backbone("test_resnet", input_size=32).module
    with pytest.raises(BackboneError, match="evaluation.layers: the backbone has no module 'layer9'"):
        LayerView(backbone, ["layer9"])


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.used(x)
        return out


def test_a_module_that_takes_no_part_is_named() -> None:
    network = Idle()
    with LayerView(network, ["unused"]) as view:
        network(torch.zeros(1, 2))
        with pytest.raises(BackboneError, match="'unused' gave no tensor"):
            view.take()
