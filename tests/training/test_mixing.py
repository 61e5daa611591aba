"""Mixed samples in a training step: the network sees them in another's style, the critic does not see them."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import tiny, train_alone, trained
from torch import Tensor

from mibias_cli.data.batch import Batch
from mibias_cli.errors import BackboneError
from mibias_cli.training.debiaser import Debiaser


def test_critic_and_penalty_see_samples_of_their_own_style_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = []
    real = Debiaser.penalty

    def spied(self: Debiaser, batch: Batch, z: Tensor, step: int) -> Tensor:
        shares.append(float(batch.known["colour"].float().mean()))
        return real(self, batch, z, step)

    monkeypatch.setattr(Debiaser, "penalty", spied)
    mix = ("debias.mix.layer=conv2", "debias.mix.share=0.25", "original=null", "training.epochs=1")
    train_alone(tiny(*mix), tmp_path / "run")
    assert sum(shares) / len(shares) == pytest.approx(0.75, abs=0.05)


def test_a_layer_where_nothing_can_be_mixed_is_said_before_a_run_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"the input of 'fc2' has shape \(16,\)"):
        trained(tiny("debias.mix.layer=fc2"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
