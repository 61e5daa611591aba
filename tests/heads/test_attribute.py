from __future__ import annotations

import torch

from mibias_cli.heads.attribute import AttributeHead


def test_channels_share_a_trunk_and_split_one_output() -> None:
    torch.manual_seed(0)
    head = AttributeHead(3, (2, 4), hidden=[6, 5])
    z = torch.randn(7, 3)
    logits = head(z)
    assert [tuple(one.shape) for one in logits] == [(7, 2), (7, 4)]
    hidden = z
    for layer in (head.trunk[0], head.trunk[2]):
        hidden = torch.nn.functional.leaky_relu(layer(hidden), 0.2)
    torch.testing.assert_close(torch.cat(logits, dim=1), head.output(hidden))


def test_without_hidden_layers_it_is_linear() -> None:
    head = AttributeHead(3, (2,), hidden=())
    z = torch.randn(4, 3)
    torch.testing.assert_close(head(z)[0], head.output(z))
