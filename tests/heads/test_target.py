from __future__ import annotations

import torch

from mibias_cli.heads.target import TargetHead


def test_target_head_is_linear() -> None:
    head = TargetHead(4, 3)
    x = torch.randn(5, 4)
    torch.testing.assert_close(head(x), x @ head.linear.weight.T + head.linear.bias)
    assert sum(p.numel() for p in head.parameters()) == 15
