"""The paper's algorithm against a second implementation of its equations, written out without the package's classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from known_mi import make_spec
from torch import Tensor, nn

from mibias_cli.data.batch import Batch
from mibias_cli.estimators.mine import Mine
from mibias_cli.seeds import derive_seed
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.model import TaskModel
from mibias_cli.training.settings import DebiasSettings
from mibias_cli.training.step import Stepper

N, D_IN, D_Z, N_Y, N_C, K, STEPS = 16, 6, 4, 3, 5, 4, 12
RATE, CRITIC_RATE, WEIGHT, SEED = 1e-2, 5e-3, 0.7, 11


@dataclass
class Features:
    features: Tensor
    taps: dict[str, Tensor]


class TinyExtractor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(D_IN, 8), nn.Linear(8, D_Z)

    def forward(self, x: Tensor) -> Features:
        return Features(features=torch.tanh(self.second(torch.tanh(self.first(x)))), taps={})


class TinyCritic(nn.Module):
    """Smooth and without an output bias.

    The bound does not change with an output bias, nor with the bias of a leaky ReLU that is on the same side for all
    rows: their gradients are 0 but for rounding, which Adam divides by its own size, and two right implementations
    then differ by 1e-9.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(D_Z + N_C, 7), nn.Linear(7, 7)
        self.last = nn.Linear(7, 1, bias=False)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.first(torch.cat([z, c], dim=1))))))[:, 0]


def tiny_parts() -> tuple[TinyExtractor, nn.Linear, TinyCritic]:
    torch.manual_seed(3)
    return TinyExtractor().double(), nn.Linear(D_Z, N_Y).double(), TinyCritic().double()


def random_batch(seed: int) -> Batch:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(N_Y, (N,), generator=g)
    c = (y + torch.randint(3, (N,), generator=g)) % N_C
    x = torch.randn(N, D_IN, generator=g, dtype=torch.float64) + c[:, None] * 0.3
    return Batch(x=x, y=y, c={"colour": c[:, None]}, known={"colour": torch.ones(N, dtype=torch.bool)}, index=y)


class HandAdam:
    """Adam as its paper writes it, on a list of tensors."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]
        self.t = 0

    @torch.no_grad()
    def step(self, gradients: list[Tensor], rate: float) -> None:
        self.t += 1
        for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g * g)
            m_hat, v_hat = m / (1 - 0.9**self.t), v / (1 - 0.999**self.t)
            p.sub_(rate * m_hat / (v_hat.sqrt() + 1e-8))


def donsker_varadhan_by_hand(critic: nn.Module, z: Tensor, c: Tensor, place: tuple[int | str, ...]) -> Tensor:
    order = torch.randperm(N, generator=torch.Generator().manual_seed(derive_seed(SEED, *place)))
    one_hot = torch.eye(N_C, dtype=torch.float64)[c[:, 0]]
    return critic(z, one_hot).mean() - (critic(z, one_hot[order]).logsumexp(0) - math.log(N))


def by_hand(batches: list[Batch], fresh: list[Batch], *, released: bool) -> list[Tensor]:
    """method.md, "The paper's algorithm", items 1 and 2 (and 3's second Adam where released)."""
    extractor, head, critic = tiny_parts()
    theta, phi, psi = list(extractor.parameters()), list(head.parameters()), list(critic.parameters())
    task_adam, critic_adam, penalty_adam = HandAdam(theta + phi), HandAdam(psi), HandAdam(theta)
    stream = iter(fresh)
    for step, batch in enumerate(batches):
        for turn in range(K):
            b = next(stream)
            z = extractor(b.x).features.detach()
            bound = donsker_varadhan_by_hand(critic, z, b.c["colour"], ("critic", "colour", step, turn))
            critic_adam.step(list(torch.autograd.grad(-bound, psi)), CRITIC_RATE)
        z = extractor(batch.x).features
        task = nn.functional.cross_entropy(head(z), batch.y)
        information = donsker_varadhan_by_hand(critic, z, batch.c["colour"], ("penalty", "colour", step))
        g_task = torch.autograd.grad(task, theta + phi, retain_graph=True)
        g_mi = torch.autograd.grad(information, theta)
        capped = [
            g * min(float(t.norm()), float(g.norm())) / float(g.norm()) for t, g in zip(g_task, g_mi, strict=False)
        ]
        if released:
            task_adam.step(list(g_task), RATE)
            penalty_adam.step(capped, WEIGHT * RATE)
        else:
            total = [t + WEIGHT * g for t, g in zip(g_task, capped, strict=False)]
            task_adam.step(total + list(g_task[len(theta) :]), RATE)
    return [p.detach() for p in theta + phi + psi]


def by_package(batches: list[Batch], fresh: list[Batch], *, released: bool) -> list[Tensor]:
    extractor, head, critic = tiny_parts()
    fabric = make_fabric("cpu", "64", deterministic=False)
    model = TaskModel(extractor, head, ["features"])
    optimizers = [torch.optim.Adam(model.parameters(), lr=RATE)]
    if released:
        optimizers.append(torch.optim.Adam(model.parameters(), lr=WEIGHT * RATE))
    fabric_model, *optimizers = fabric.setup(model, *optimizers)
    spec = make_spec(n_features=D_Z, n_classes=(N_C,), learning_rate=CRITIC_RATE, steps=1, moving_average=None)
    mine, monitor = Mine(spec, critic), Mine(spec).to(torch.device("cpu"), torch.float64)
    settings = DebiasSettings(
        weight=WEIGHT,
        schedule="fresh",
        critic_steps=K,
        gradients="released" if released else "rescale",
        balance="none",
    )
    debiaser = Debiaser(
        settings=settings, estimators={"colour": mine}, monitors={"colour": monitor}, queue=None, seed=SEED
    )
    stepper = Stepper(
        fabric=fabric,
        model=fabric_model,
        optimizer=optimizers[0],
        penalty_optimizer=optimizers[1] if released else None,
        debiaser=debiaser,
    )
    stream = iter(fresh)
    for step, batch in enumerate(batches):
        stepper.run(batch, step, WEIGHT, stream, log=False)
    return [p.detach() for p in [*extractor.parameters(), *head.parameters(), *critic.parameters()]]


@pytest.mark.parametrize("released", [False, True], ids=["rescale", "released"])
def test_fresh_schedule_follows_the_papers_equations(released: bool) -> None:
    batches = [random_batch(i) for i in range(STEPS)]
    fresh = [random_batch(1000 + i) for i in range(STEPS * K)]
    ours = by_package(batches, fresh, released=released)
    start = [p.detach() for part in tiny_parts() for p in part.parameters()]
    theirs = by_hand(batches, fresh, released=released)
    for a, b, initial in zip(ours, theirs, start, strict=True):
        assert (a - b).abs().max() < 1e-10
        assert (a - initial).abs().max() > 1e-3  # both moved


def test_rescaled_gradients_differ_from_the_plain_sum() -> None:
    """The comparison above would notice a missing cap: without it the weights differ by far more than 1e-10."""
    batches = [random_batch(i) for i in range(3)]
    fresh = [random_batch(1000 + i) for i in range(3 * K)]
    one, other = by_hand(batches, fresh, released=False), by_hand(batches, fresh, released=True)
    assert max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True)) > 1e-4
