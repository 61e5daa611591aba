"""The MLP: a second implementation, names, dropout."""

import pytest
import torch
from torch import nn

from mibias_cli.backbone.mlp import MLP


def test_equals_linear_relu_linear_relu() -> None:
    torch.manual_seed(0)
    mlp = MLP(4, hidden=[6, 5], features=3)
    x = torch.randn(7, 4)
    h = x
    for layer in (mlp.fc1, mlp.fc2, mlp.fc3):
        h = torch.clamp(h @ layer.weight.T + layer.bias, min=0)
    torch.testing.assert_close(mlp(x), h)
    assert mlp.num_features == 3
    assert [name for name, _ in mlp.named_children()] == ["fc1", "relu1", "fc2", "relu2", "fc3", "relu3"]


def test_no_hidden_layer_and_dropout() -> None:
    assert MLP(4, hidden=[], features=2)(torch.zeros(1, 4)).shape == (1, 2)
    dropped = MLP(4, hidden=[6], features=2, dropout=0.5)
    assert [m for m in dropped.children() if isinstance(m, nn.Dropout)] == [dropped.drop1]


def test_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="dropout"):
        MLP(4, dropout=1.0)
    with pytest.raises(ValueError, match=r"hidden is 64, it must be a list of widths, such as \[64\]"):
        MLP(4, hidden=64)  # type: ignore[arg-type]  # as a recipe may have it
    with pytest.raises(ValueError, match="positive"):
        MLP(4, hidden=[0])
