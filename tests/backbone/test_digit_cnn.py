"""The paper's digit network: shapes by hand, and a second implementation."""

import pytest
import torch
from torch.nn.functional import linear, max_pool2d, relu

from mibias_cli.backbone.digit_cnn import DigitCNN


def test_equals_a_second_implementation_on_28_pixels() -> None:
    torch.manual_seed(0)
    network = DigitCNN()
    x = torch.rand(3, 3, 28, 28)
    a = max_pool2d(relu(torch.conv2d(x, network.conv1.weight, network.conv1.bias)), 2)
    a = max_pool2d(relu(torch.conv2d(a, network.conv2.weight, network.conv2.bias)), 2)
    assert a.shape == (3, 64, 4, 4)
    a = relu(linear(a.reshape(3, -1), network.fc1.weight, network.fc1.bias))
    a = relu(linear(a, network.fc2.weight, network.fc2.bias))
    torch.testing.assert_close(network(x), a)
    assert network.num_features == 64
    assert network.fc1.weight.shape == (512, 64 * 16)


@pytest.mark.parametrize("size", [16, 17, 28, 32, 45])
def test_takes_other_sizes(size: int) -> None:
    network = DigitCNN(channels=1, width=2, hidden=5, features=7, size=size)
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 7)


def test_refuses_what_is_too_small() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        DigitCNN(size=15)


def test_dropout_drops_in_training_alone() -> None:
    torch.manual_seed(0)
    network, x = DigitCNN(width=4, hidden=64, features=8, dropout=0.5), torch.rand(5, 3, 28, 28)
    dropped: list[torch.Tensor] = []
    network.drop3.register_forward_hook(lambda module, given, result: dropped.append((result == 0) & (given[0] != 0)))
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
    assert [bool(d.any()) for d in dropped] == [True, True, False, False]
    with pytest.raises(ValueError, match=r"dropout is 1\.0"):
        DigitCNN(dropout=1.0)
