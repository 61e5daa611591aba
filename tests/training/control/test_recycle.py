from __future__ import annotations

import pytest
import torch
from torch import nn

from mibias_cli.backbone.digit_cnn import DigitCNN
from mibias_cli.errors import TrainingError
from mibias_cli.training.control.recycle import Recycler


def with_dead_channels(dead: list[int]) -> tuple[DigitCNN, torch.optim.Adam, torch.Tensor]:
    torch.manual_seed(0)
    network = DigitCNN(width=6, hidden=8, features=4)
    with torch.no_grad():
        network.conv2.bias[:] = 1.0
        network.conv2.bias[dead] = -1e3
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    x = torch.rand(16, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    network(x).square().sum().backward()
    optimizer.step()
    return network, optimizer, x


def test_dead_channels_come_to_life_and_change_nothing_at_once() -> None:
    network, optimizer, x = with_dead_channels([1, 4])
    recycler = Recycler(network, ["pool2", "features"], every_steps=10)
    before = network(x)
    kept = network.conv2.weight.detach()[[0, 2, 3, 5]].clone()
    assert recycler.look(optimizer, step=8) == {}
    assert recycler.look(optimizer, step=9) == {"recycled/pool2": 2.0}
    torch.testing.assert_close(network(x), before)  # the dead had nothing to say, and the new are not heard yet
    assert torch.equal(network.conv2.weight[[0, 2, 3, 5]], kept)
    assert recycler.look(optimizer, step=19) == {"recycled/pool2": 0.0}
    assert not network.fc1.weight.view(8, 6, 16)[:, [1, 4]].any()
    assert float(optimizer.state[network.conv2.weight]["exp_avg"][[1, 4]].abs().sum()) == 0.0
    assert float(optimizer.state[network.conv2.weight]["exp_avg_sq"][1].min()) > 0.0
    network(x).square().sum().backward()
    assert network.fc1.weight.grad is not None
    assert bool(network.fc1.weight.grad.view(8, 6, 16)[:, [1, 4]].any())  # the task can take them up again


def test_evaluation_does_not_count() -> None:
    network, optimizer, x = with_dead_channels([])
    recycler = Recycler(network, ["pool2"], every_steps=1)
    network(x)
    network.eval()
    network(torch.full_like(x, -1e4))
    assert recycler.look(optimizer, step=0) == {"recycled/pool2": 0.0}


def test_a_layer_that_cannot_be_recycled_is_named() -> None:
    with pytest.raises(TrainingError, match="pool1, pool2 can"):
        Recycler(DigitCNN(width=2, hidden=4, features=2), ["features"], every_steps=5)
    with pytest.raises(TrainingError, match="none of this backbone's"):
        Recycler(nn.Linear(2, 2), ["features"], every_steps=5)
