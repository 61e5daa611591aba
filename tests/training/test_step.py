"""Steps that are skipped, and how the two gradients meet in a step."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from known_mi import make_spec
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional

from mibias_cli.data.batch import TASK_OFFSET, Batch
from mibias_cli.errors import TrainingError
from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.penalty import gradient_norm
from mibias_cli.training.queue import FeatureQueue
from mibias_cli.training.settings import DebiasSettings, Gradients
from mibias_cli.training.step import Stepper


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        z = torch.tanh(self.features(x))
        return {"features": z, "z": z, "logits": self.head(z)}


def batch(seed: int, bad: bool = False) -> Batch:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (64,), generator=g)
    x = torch.randn(64, 5, generator=g) + y[:, None]
    if bad:
        x[3, 2] = math.nan
    return Batch(x=x, y=y, c={"sex": y[:, None]}, known={"sex": torch.ones(64, dtype=torch.bool)}, index=y)


def stepper(
    gradients: Gradients = "sum", *, clip_norm: float | None = None, rate: float = 0.1, precision: str = "32"
) -> Stepper:
    torch.manual_seed(0)
    fabric = make_fabric("cpu", precision, deterministic=False)
    net = Net()
    model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=rate))
    estimator = ClassifierBound(make_spec(n_features=4, n_classes=(2,), hidden=(8,), learning_rate=2e-3, steps=3))
    debiaser = Debiaser(
        settings=DebiasSettings(gradients=gradients, balance="none"),
        estimators={"sex": estimator}, monitors={"sex": estimator}, queue=FeatureQueue(256, weighted=False), seed=0,
    )  # fmt: skip
    return Stepper(
        fabric=fabric, model=model, optimizer=optimizer, debiaser=debiaser, clip_norm=clip_norm, max_skipped=2
    )


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_step_that_is_not_finite_is_skipped_and_counted_and_too_many_end_the_run(clip_norm: float | None) -> None:
    s = stepper(clip_norm=clip_norm)
    s.run(batch(0), 0, 1.0, None, log=True)
    weights = [p.detach().clone() for p in s.model.parameters()]
    assert s.debiaser is not None
    assert s.debiaser.queue is not None
    held = len(s.debiaser.queue)
    for k in (1, 2):
        assert s.run(batch(k, bad=True), k, 1.0, None, log=True)["skipped_steps"] == k
    assert all(torch.equal(a, b) for a, b in zip(weights, s.model.parameters(), strict=True))
    assert len(s.debiaser.queue) == held  # nothing of it reached the queue or the critic
    assert s.run(batch(3), 3, 1.0, None, log=True)["skipped_steps"] == 2  # a good step begins a new count
    with pytest.raises(TrainingError, match="step 6: task_loss is nan, as in 2 steps before it"):
        for k in (4, 5, 6):
            s.run(batch(k, bad=True), k, 1.0, None, log=True)


def gradients_of(
    mode: Gradients, weight: float, most_nats: float | None = None, share_power: float = 1.0
) -> list[torch.Tensor]:
    s = stepper(mode, rate=0.0)
    assert s.debiaser is not None
    s.debiaser.settings = replace(s.debiaser.settings, most_nats=most_nats, share_power=share_power)
    for k in range(3):
        s.run(batch(k), k, weight, None, log=False)
    return [p.grad.clone() for p in s.model.parameters() if p.grad is not None]


def test_a_ratio_of_norms_is_what_lambda_says() -> None:
    """Rate 0 keeps the network: λ = 0 shows the task gradient alone, the difference is the penalty's part."""
    task = gradients_of("ratio", 0.0)
    both = gradients_of("ratio", 2.0)
    part = gradient_norm([b - t for b, t in zip(both, task, strict=True)])
    norms = []
    for k in range(3):
        s = stepper("sum", rate=0.0)
        s.run(batch(k), 0, 0.0, None, log=False)
        norms.append(gradient_norm([p.grad for p in s.model.parameters()]))
    assert part == pytest.approx(2.0 * sum(norms) / 3, rel=1e-4)


def test_between_measurements_one_backward_pass_keeps_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rate 0 again: of twins at λ = 0 and 2 the difference is the penalty's part, at every step."""
    twins = [stepper("ratio", rate=0.0), stepper("ratio", rate=0.0)]
    passes = 0

    def counted(self: Fabric, loss: torch.Tensor, **given: bool) -> None:
        nonlocal passes
        passes += 1
        loss.backward(**given)

    monkeypatch.setattr(Fabric, "backward", counted)
    ratios, norms = [], []
    for k in range(300):
        found = []
        for s, weight in zip(twins, (0.0, 2.0), strict=True):
            s.run(batch(k), k, weight, None, log=False)
            found.append([p.grad for p in s.model.parameters() if p.grad is not None])
        task, both = found
        norms.append(gradient_norm(task))
        ratios.append(gradient_norm([b - t for b, t in zip(both, task, strict=True)]) / (sum(norms) / len(norms)))
    # steps 0 to 9, then each tenth one, are measured
    assert passes == 2 * (300 + 10 + 29)
    # while the critic is new the penalty's gradient changes faster than that
    assert sum(ratios[200:]) / 100 == pytest.approx(2.0, rel=0.1)


def test_a_first_label_after_many_batches_without_one_is_at_the_ratio_too() -> None:
    """Twelve batches in which no attribute is known, then one in which all are."""
    twins = [stepper("ratio", rate=0.0), stepper("ratio", rate=0.0)]
    for k in range(12):
        unknown = replace(batch(k), known={"sex": torch.zeros(64, dtype=torch.bool)})
        for s in twins:
            s.run(unknown, k, 2.0, None, log=False)
    found = []
    for s, weight in zip(twins, (0.0, 2.0), strict=True):
        s.run(batch(12), 12, weight, None, log=False)
        found.append([p.grad for p in s.model.parameters() if p.grad is not None])
    part = gradient_norm([b - t for t, b in zip(*found, strict=True)])
    state = twins[1].state_dict()
    assert part == pytest.approx(2.0 * state["task_norm_sum"] / state["task_norm_count"], rel=1e-4)


def test_lambda_follows_the_share_of_the_entropy_that_is_estimated() -> None:
    s = stepper("ratio", rate=0.0)
    found = [s.run(batch(k), k, 1.0, None, log=False)["penalty_nats"] for k in range(3)]
    share = sum(min(max(each, 0.0), 1.0) for each in found) / 3
    assert 0 < share < 1
    for power in (1.0, 0.5):
        followed = gradients_of("ratio", 1.0, most_nats=1.0, share_power=power)
        for a, b in zip(followed, gradients_of("ratio", share**power), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_projection_leaves_nothing_of_the_penalty_against_the_task() -> None:
    """y is c here, so the two conflict: the projected sum must still be a descent direction of the task."""
    task = gradients_of("sum", 0.0)

    def along(mode: Gradients) -> float:
        return sum(float((a * b).sum()) for a, b in zip(task, gradients_of(mode, 20.0), strict=True))

    assert along("sum") < 0
    assert along("project") >= 0


def test_what_is_added_to_the_scores_moves_the_task_alone() -> None:
    s, reference = stepper(), stepper()
    b = batch(0)
    offset = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))
    logits = reference.model(b.x)["logits"]
    expected = functional.cross_entropy(logits + offset, b.y)
    given = replace(b, weight={TASK_OFFSET: offset})
    assert s.run(given, 0, 0.0, None, log=False)["task_loss"] == pytest.approx(expected.item(), abs=1e-6)
    expected.backward()
    for p, q in zip(s.model.parameters(), reference.model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("gradients", ["sum", "rescale", "ratio", "project"])
def test_a_logged_step_in_half_precision_agrees_with_one_in_single(gradients: Gradients) -> None:
    """Mixed precision guards the model's output against any backward but its own; what is logged needs one."""
    half = stepper(gradients, precision="bf16").run(batch(0), 0, 1.0, None, log=True)
    single = stepper(gradients).run(batch(0), 0, 1.0, None, log=True)
    assert half.keys() == single.keys()
    assert half["task_loss"] == pytest.approx(single["task_loss"], rel=0.02)
    assert half["grad_norm/total"] == pytest.approx(single["grad_norm/total"], rel=0.1)


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_a_methods_penalty_moves_the_model_no_further_than_its_loss(size: float) -> None:
    """By hand: the gradient of the penalty is cut to the length of the loss's, over all parameters together."""

    class Penalised(nn.Module):
        def forward(self, batch: Batch, output: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            return functional.cross_entropy(output["logits"], batch.y), size * output["z"].square().mean()

        def begin_epoch(self, epoch: int) -> None:
            raise AssertionError("no step begins an epoch")

    s, rows = stepper(), batch(0)
    s = replace(s, debiaser=None, method=Penalised())
    net = Net()
    net.load_state_dict(s.model.state_dict())
    output, parameters = net(rows.x), list(net.parameters())
    g_loss, g_penalty = (
        torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True) for one in Penalised()(rows, output)
    )
    lengths = [math.sqrt(sum(float((g**2).sum()) for g in of if g is not None)) for of in (g_loss, g_penalty)]
    scale = min(1.0, lengths[0] / lengths[1])
    assert (scale < 1) == (size > 1)
    metrics = s.run(rows, 0, 0.0, None, log=True)
    assert metrics["penalty"] == pytest.approx(float(size * output["z"].detach().square().mean()))
    for p, own, a, b in zip(s.model.parameters(), parameters, g_loss, g_penalty, strict=True):
        step = a if b is None else a + scale * b
        torch.testing.assert_close(p, own - 0.1 * step, rtol=1e-4, atol=1e-7)
