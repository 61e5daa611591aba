from __future__ import annotations

import pytest
import torch
from torch import nn

from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.layers import layer_outputs, pooled_rows, stage_names
from mibias_cli.errors import BackboneError


def test_a_map_is_averaged_over_a_grid_by_hand() -> None:
    x = torch.arange(2 * 3 * 4 * 4, dtype=torch.float64).reshape(2, 3, 4, 4)
    found = pooled_rows(x, "grid", max_columns=12)
    expected = x.reshape(2, 3, 2, 2, 2, 2).mean(dim=(3, 5)).flatten(1)  # 3 channels × 2 × 2
    torch.testing.assert_close(found, expected)
    last = x.permute(0, 2, 3, 1)
    torch.testing.assert_close(pooled_rows(last, "grid", channels_last=True, max_columns=12), expected)
    torch.testing.assert_close(pooled_rows(x, "grid", max_columns=11), x.mean(dim=(2, 3)))
    torch.testing.assert_close(pooled_rows(x, "grid", max_columns=10_000), x.flatten(1))


def test_tokens_and_vectors() -> None:
    x = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pooled_rows(x, "grid"), x.mean(dim=1))
    torch.testing.assert_close(pooled_rows(x[:, 0], "grid"), x[:, 0])
    volume = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pooled_rows(volume, "mean"), volume.flatten(2).mean(dim=2))
    torch.testing.assert_close(pooled_rows(volume, "max"), volume.flatten(2).amax(dim=2))


def test_it_sees_what_the_modules_gave_and_leaves_no_hook() -> None:
    backbone = create_backbone("test_resnet", input_size=32).module.eval()
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    kept = {}
    handle = backbone.layer2.register_forward_hook(lambda module, inputs, output: kept.update(layer2=output.detach()))
    with torch.no_grad(), layer_outputs(backbone, ["layer2", "layer1"], "grid", setting="s") as found:
        assert found == {}
        plain = backbone(x)
    handle.remove()
    assert set(found) == {"layer1", "layer2"}
    torch.testing.assert_close(found["layer2"], pooled_rows(kept["layer2"], "grid"))
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), plain)
    assert not any(module._forward_hooks for module in backbone.modules())


def test_channels_last_networks_are_recognised() -> None:
    backbone = create_backbone("swin_tiny_patch4_window7_224", input_size=224).module.eval()
    with torch.no_grad(), layer_outputs(backbone, ["layers.3"], "grid", setting="s") as found:
        backbone(torch.zeros(1, 3, 224, 224))
        assert found["layers.3"].shape == (1, 768)  # (1, 7, 7, 768): one mean per channel


def test_a_module_that_is_not_there_is_named_with_the_nearest() -> None:
    backbone = create_backbone("test_resnet", input_size=32).module
    view = layer_outputs(backbone, ["layer9"], "grid", setting="evaluation.layers")
    with pytest.raises(BackboneError, match="evaluation.layers: the backbone has no module 'layer9'"), view:
        pass
    assert stage_names(backbone) == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.used(x)
        return out


def test_a_module_that_takes_no_part_is_named() -> None:
    network = Idle()
    view = layer_outputs(network, ["unused"], "grid", setting="evaluation.layers")
    with pytest.raises(BackboneError, match="'unused' takes no part"), view:
        network(torch.zeros(1, 2))
