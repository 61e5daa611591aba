"""Mixed samples in a training step: the network sees them in another's style, the critic does not see them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from small_runs import tiny, train_alone, trained
from torch import Tensor, nn

from mibias_cli.backbone.mix import Mixed, StatisticsMixer
from mibias_cli.data.batch import TASK_OFFSET, Batch
from mibias_cli.errors import BackboneError, RecipeError
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.settings import DebiasSettings


@pytest.mark.parametrize(
    ("mix", "seen"),
    [("{layer: conv2, share: 0.25}", 0.75), ("{layer: conv1, share: 0.25, copies: true}", 0.25)],
    ids=["their own style alone", "copies alone"],
)
def test_critic_and_penalty_see(mix: str, seen: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    real = Debiaser.penalty

    def spied(self: Debiaser, batch: Batch, z: Tensor, step: int) -> Tensor:
        shares.append(float(batch.known["colour"].float().mean()))
        return real(self, batch, z, step)

    monkeypatch.setattr(Debiaser, "penalty", spied)
    train_alone(tiny(f"debias.mix={mix}", "original=null", "training.epochs=1"), tmp_path / "run")
    assert sum(shares) / len(shares) == pytest.approx(seen, abs=0.05)


def a_debiaser(*, copies: bool) -> Debiaser:
    mixer = StatisticsMixer(nn.Sequential(OrderedDict(inner=nn.Identity())), "inner", 0.5, copies=copies)
    settings = DebiasSettings(weight=1.0, critic_steps=1)
    return Debiaser(
        settings=settings, estimators={}, monitors={}, queue=None, seed=0, mixer=mixer, attributes=["style"]
    )


def a_batch(n: int) -> Batch:
    """The target is the style, but for the last row, whose style is not known; scores are told which."""
    style = torch.arange(n) % 2
    known = torch.ones(n, dtype=torch.bool)
    known[-1] = False
    return Batch(
        x=torch.randn(n, 3, 4, 4),
        y=style,
        c={"style": style[:, None]},
        known={"style": known},
        index=torch.arange(n),
        weight={"style": torch.full((n,), 2.0), TASK_OFFSET: torch.eye(2)[style]},
    )


def test_a_sample_partly_in_another_style_is_not_seen_and_keeps_what_it_is_told() -> None:
    batch = a_batch(6)
    kept, partner = torch.tensor([1.0, 0.75, 0.5, 0.0, 1.0, 0.25]), torch.tensor([1, 0, 3, 2, 5, 4])
    seen = a_debiaser(copies=False).as_mixed(batch, Mixed(kept=kept, partner=partner))
    assert seen.known["style"].tolist() == [True, False, False, False, True, False]
    assert torch.equal(seen.c["style"], batch.c["style"])
    assert seen.weight is batch.weight


def test_of_a_copys_style_its_target_tells_nothing() -> None:
    debiaser, batch = a_debiaser(copies=True), a_batch(4001)
    assert debiaser.mixer is not None
    with debiaser.mixing(batch, 0) as mixed:
        debiaser.mixer.backbone(batch.x)
    assert mixed is not None
    seen = debiaser.as_mixed(batch, mixed)
    rows = seen.known["style"]
    # copies alone, but for the one of the row without a style
    assert torch.equal(rows, (mixed.kept == 0) & (mixed.partner != 4000))
    assert torch.equal(seen.c["style"], batch.c["style"][mixed.partner])
    assert torch.equal(seen.weight["style"], torch.ones(4001))
    counts = torch.zeros(2, 2)
    counts.index_put_((seen.y[rows], seen.c["style"][rows, 0]), torch.ones(int(rows.sum())), accumulate=True)
    assert abs(float(counts[0, 0] / counts[0].sum() - counts[1, 0] / counts[1].sum())) < 0.06
    own = mixed.kept == 1
    assert torch.equal(seen.weight[TASK_OFFSET][own], batch.weight[TASK_OFFSET][own])
    assert torch.equal(seen.weight[TASK_OFFSET][~own], batch.weight[TASK_OFFSET][mixed.partner][~own])


@pytest.mark.parametrize("other", ["debias.balance_by=draws", "debias.schedule=fresh"])
def test_what_gives_the_critic_other_samples_than_copies_is_refused(other: str) -> None:
    with pytest.raises(RecipeError, match=rf"{other.split('=')[0]}: .*debias\.mix\.copies"):
        tiny("debias.mix={layer: conv1, copies: true}", other)


def test_copies_of_no_sample_are_refused_for_the_penalty_would_see_none() -> None:
    with pytest.raises(RecipeError, match=r"debias\.mix\.share: is 0"):
        tiny("debias.mix={layer: conv1, share: 0.0, copies: true}")


def test_a_layer_where_nothing_can_be_mixed_is_said_before_a_run_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"the input of 'fc2' has shape \(16,\)"):
        trained(tiny("debias.mix.layer=fc2"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
