"""An MLP bottleneck against arithmetic by hand: what it standardises by, what it drops, what cannot die."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mibias_cli.backbone.bottleneck import BottleneckShape, StandardFeatures
from mibias_cli.backbone.catalogue import Backbone, create_backbone
from mibias_cli.backbone.embed import embed, fit_input_scale
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.mlp import MLP
from mibias_cli.backbone.reinitialise import reinitialised_extractor
from mibias_cli.data.batch import Split
from mibias_cli.data.files.readers import ArrayReader

X = (np.random.default_rng(0).normal(size=(50, 4)) * [1e-2, 1.0, 1e2, 1.0] + [0, 5, 0, 0]).astype(np.float32)


def split() -> Split:
    return Split(
        name="train", y=np.zeros(50, dtype=np.int64), group=None, c={}, known={}, rows=np.arange(50),
        reader=ArrayReader(X), row_names=[str(i) for i in range(50)],
    )  # fmt: skip


def extractor_of(**shape: object) -> Extractor:
    return Extractor(nn.Identity(), 4, bottleneck=BottleneckShape(**shape))


def test_features_are_an_mlp_of_standardised_inputs_with_a_linear_end() -> None:
    extractor = extractor_of(width=2, hidden=(8,)).eval()
    fit_input_scale(extractor, split(), batch_size=16)
    layers = extractor.bottleneck
    x = torch.from_numpy(X).double()
    standard = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    hidden = torch.relu(standard @ layers.fc1.weight.double().T + layers.fc1.bias.double())
    wanted = hidden @ layers.fc2.weight.double().T + layers.fc2.bias.double()
    given = extractor(torch.from_numpy(X)).features
    torch.testing.assert_close(given.double(), wanted, rtol=0, atol=1e-5)
    assert bool((given < 0).any()), "a ReLU would have none below 0"
    # what standardises is saved with the weights and never trains
    assert {"standard.mean", "standard.scale"} <= set(layers.state_dict())
    assert {name for name, _ in layers.named_parameters()} == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}


def test_only_chosen_rows_are_read_and_a_relu_bottleneck_reads_none() -> None:
    extractor, rows = extractor_of(hidden=()), np.arange(10)
    fit_input_scale(extractor, split(), batch_size=16, rows=rows)
    np.testing.assert_allclose(extractor.input_scale.mean, X[rows].mean(axis=0), rtol=1e-5, atol=1e-6)
    narrow = Extractor(nn.Identity(), 4, bottleneck=3)
    assert narrow.input_scale is None
    fit_input_scale(narrow, None, batch_size=16)


def test_dropout_is_where_it_is_asked_for() -> None:
    names = [name for name, _ in extractor_of(hidden=(8, 6), input_dropout=0.1).bottleneck.named_children()]
    assert names == ["standard", "drop0", "fc1", "relu1", "drop1", "fc2", "relu2", "drop2", "fc3"]
    assert list(extractor_of(hidden=()).bottleneck._modules) == ["standard", "fc1"]
    assert list(extractor_of(hidden=(8,), dropout=0.0).bottleneck._modules) == ["standard", "fc1", "relu1", "fc2"]


def test_the_random_control_has_the_same_shape_and_a_scale_of_its_own() -> None:
    backbone: Backbone = create_backbone("mlp", options={"hidden": [5], "features": 3}, input_shape=(4,), seed=1)
    extractor = Extractor(backbone.module, 3, bottleneck=BottleneckShape(width=2, hidden=(6,)))
    fit_input_scale(extractor, split(), batch_size=16)
    control = reinitialised_extractor(extractor, backbone, seed=3)
    fit_input_scale(control, split(), batch_size=16)
    shapes = [{k: v.shape for k, v in e.state_dict().items()} for e in (extractor, control)]
    assert shapes[0] == shapes[1]
    pooled = embed(control, split(), batch_size=16).backbone_features
    np.testing.assert_allclose(control.input_scale.mean, pooled.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_the_last_layer_of_an_mlp_may_be_linear() -> None:
    assert list(MLP(4, hidden=[8], features=3, last="linear")._modules) == ["fc1", "relu1", "fc2"]
    assert list(MLP(4, hidden=[8], features=3)._modules) == ["fc1", "relu1", "fc2", "relu2"]
    with pytest.raises(ValueError, match="last is 'tanh', it must be relu or linear"):
        MLP(4, last="tanh")


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
