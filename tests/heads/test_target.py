from __future__ import annotations

import torch

from mibias_cli.heads.target import TargetHead


def test_target_head_is_linear() -> None:
    head = TargetHead(4, 3)
    x = torch.randn(5, 4)
    torch.testing.assert_close(head(x), x @ head.linear.weight.T + head.linear.bias)
    assert sum(p.numel() for p in head.parameters()) == 15


def test_what_a_head_gives_depends_on_its_kind() -> None:
    logits = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(TargetHead(4, 2).probabilities(logits), torch.softmax(logits, dim=1))
    labels = TargetHead(4, 2, kind="multilabel")
    torch.testing.assert_close(labels.probabilities(logits), torch.sigmoid(logits))
    numbers = TargetHead(4, 2, kind="regression", mean=[10.0, 0.0], scale=[2.0, 3.0])
    assert numbers.probabilities(logits).tolist() == logits.tolist()
    assert numbers.in_units(logits).tolist() == [[10.0, 3.0]]
    assert set(numbers.state_dict()) == {"linear.weight", "linear.bias", "mean", "scale"}
