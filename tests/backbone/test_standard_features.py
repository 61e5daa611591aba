from __future__ import annotations

import torch

from mibias_cli.backbone.standard_features import StandardFeatures


def test_the_original_has_mean_0_and_variance_1_and_its_scale_is_kept_in_the_state() -> None:
    features = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10.0, 0.1]) + 5
    scaled = StandardFeatures(3)
    scaled.fit(features)
    found = scaled(features)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.var(dim=0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    assert list(scaled.parameters()) == []
    again = StandardFeatures(3)
    again.load_state_dict(scaled.state_dict())
    torch.testing.assert_close(again(features), found)


def test_a_feature_that_is_constant_must_stay_about_constant() -> None:
    features = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 4.0, 0.0])
    scaled = StandardFeatures(3)
    scaled.fit(features)
    spread = features.std(dim=0, correction=0)
    torch.testing.assert_close(scaled.scale, torch.stack([spread[0], spread[1], spread[:2].mean()]))
    scaled.fit(torch.ones(4, 3))
    assert scaled.scale.tolist() == [1.0, 1.0, 1.0]
