from __future__ import annotations

import pytest
import torch

from mibias_cli.backbone.catalogue import Backbone, create_backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.reinitialise import reinitialised_extractor


def make(name: str) -> Backbone:
    if name == "mlp":
        return create_backbone("mlp", options={"hidden": [5], "features": 3}, input_shape=(4,), seed=1)
    return create_backbone(name, input_size=32, channels=1, seed=1)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "digit_cnn", "mlp"])
def test_same_shapes_other_weights_and_the_same_for_the_same_seed(name: str) -> None:
    backbone = make(name)
    before = {k: v.clone() for k, v in backbone.module.state_dict().items()}
    extractor = Extractor(backbone.module, backbone.n_features)
    first, again, other = (
        reinitialised_extractor(extractor, backbone, seed=s).backbone.state_dict() for s in (7, 7, 8)
    )
    assert {k: v.shape for k, v in first.items()} == {k: v.shape for k, v in before.items()}
    assert all(torch.equal(first[k], again[k]) for k in first)
    drawn = [k for k, v in before.items() if v.is_floating_point() and v.numel() > 1 and v.std() > 0]
    assert drawn
    assert all(not torch.equal(first[k], before[k]) and not torch.equal(first[k], other[k]) for k in drawn)
    assert all(torch.equal(backbone.module.state_dict()[k], v) for k, v in before.items())


def test_an_extractor_is_imitated_with_its_bottleneck() -> None:
    backbone = make("mlp")
    extractor = Extractor(backbone.module, backbone.n_features, bottleneck=2)
    found = reinitialised_extractor(extractor, backbone, seed=3)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert found(x).features.shape == extractor(x).features.shape == (6, 2)
    assert not torch.equal(found(x).backbone_features, extractor(x).backbone_features)
