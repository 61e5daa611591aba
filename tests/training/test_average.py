from __future__ import annotations

import torch
from torch import nn

from mibias_cli.training.average import WeightAverage, WeightInterpolation


def model_with(value: float) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for tensor in model.state_dict().values():
        tensor.fill_(value)
    return model


def test_is_the_recurrence_with_a_smaller_decay_at_first() -> None:
    model = model_with(0.0)
    average = WeightAverage(model, 0.5)
    expected = 0.0
    for t, value in enumerate((1.0, 4.0, -2.0, 7.0, 3.0, 9.0, 1.0, 2.0, 5.0, 8.0), start=1):
        for tensor in model.state_dict().values():
            tensor.fill_(value)
        average.update(model)
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * value
    with average.applied_to(model):
        assert torch.allclose(model[0].weight, torch.tensor(expected))
        assert torch.equal(model[1].running_mean, torch.full((2,), 8.0))  # buffers: the latest, not the average
    assert torch.equal(model[0].weight, torch.full((2, 2), 8.0))


def test_a_restored_average_goes_on_as_the_old_one() -> None:
    model = model_with(0.0)
    one, other = WeightAverage(model, 0.9), WeightAverage(model, 0.9)
    one.update(model_with(1.0))
    other.load_state_dict(one.state_dict())
    for average in (one, other):
        average.update(model_with(3.0))
    for a, b in zip(one.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True):
        assert torch.equal(a, b)


def test_interpolated_weights_are_on_the_line_from_the_start() -> None:
    model = model_with(2.0)
    model[0].bias.requires_grad_(False)
    between = WeightInterpolation(model, 0.75)
    again = WeightInterpolation(model_with(9.0), 0.75)
    again.load_state_dict(between.state_dict())
    for tensor in model.state_dict().values():
        tensor.fill_(6.0)
    for one in (between, again):
        one.update(model)
        with one.applied_to(model):
            assert torch.equal(model[0].weight, torch.full((2, 2), 5.0))
            # what is frozen does not move, and buffers are the latest
            assert torch.equal(model[0].bias, torch.full((2,), 6.0))
            assert torch.equal(model[1].running_mean, torch.full((2,), 6.0))
        assert torch.equal(model[0].weight, torch.full((2, 2), 6.0))
