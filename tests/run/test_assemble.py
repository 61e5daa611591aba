"""The parts of a recipe: each is made once, when it is first asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_runs import tiny

from mibias_cli.run import assemble as assembling
from mibias_cli.run.assemble import assemble
from mibias_cli.training.fabric import make_fabric


def test_a_backbone_is_loaded_when_it_is_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = assembling.build_backbone

    def build(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(assembling, "build_backbone", build)
    parts = assemble(tiny(), offline=True)
    assert calls == []
    other = replace(parts, data=parts.data)  # as where an attribute is discovered
    assert other.backbone is parts.backbone
    assert len(calls) == 1


def test_models_are_alike_and_leave_the_backbone_alone() -> None:
    parts = assemble(tiny(), offline=True)
    first, second = parts.new_model(), parts.new_model()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1.0)
    fresh = parts.new_model().state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in second.state_dict().items())
    assert parts.weights is parts.weights


def test_a_device_may_be_given_in_place_of_the_recipes() -> None:
    fabric = make_fabric("cpu", "32", deterministic=False)
    parts = assemble(tiny("training.device=cuda"), offline=True, fabric=fabric)
    assert parts.reading == {"batch_size": 128, "num_workers": 0, "device": torch.device("cpu")}
