"""The same steps on one process and on several, for tests that compare them; run as a program, it is one rank.

The ranks meet over gloo on this machine, started by `start` with the variables that `mibias train --devices` sets.
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
from known_mi import make_spec
from lightning_fabric import Fabric
from small_runs import tiny
from torch import nn

from mibias_cli.backbone.mix import StatisticsMixer
from mibias_cli.data.batch import TASK_OFFSET, Batch
from mibias_cli.ranks.exchange import ALONE, Ranks
from mibias_cli.ranks.place import find_place
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import workflow
from mibias_cli.run.build import ESTIMATORS, resolve
from mibias_cli.training.control.recycle import Recycler
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.fabric import make_fabric
from mibias_cli.training.queue import FeatureQueue
from mibias_cli.training.settings import DebiasSettings
from mibias_cli.training.step import Stepper

__all__ = ["CASES", "RUNS", "Case", "Found", "alone", "differing", "environment", "finished", "fit", "start"]

Found = dict[str, dict[str, torch.Tensor]]
"""By case: losses (steps, 2), gradients, weights, the critic's weights and the queue, by name."""


_PLAIN = DebiasSettings(balance="critic")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A few steps of one kind."""

    estimator: str = "classifier"
    settings: DebiasSettings = _PLAIN
    sizes: tuple[int, ...] = (64, 64, 64)
    draws: bool = False
    mixes: bool = False
    copies: bool = False
    recycles: bool = False
    clip_norm: float | None = None


CASES: dict[str, Case] = {name: Case(estimator=name) for name in ESTIMATORS}
CASES |= {
    mode: Case(settings=DebiasSettings(gradients=mode, balance="both"))
    for mode in ("rescale", "ratio", "project", "released")
}
CASES |= {
    # the twelfth step takes one backward pass
    "ratio, later steps": Case(settings=DebiasSettings(gradients="ratio", balance="both"), sizes=(64,) * 12),
    "fresh": Case(estimator="mine", settings=DebiasSettings(schedule="fresh", critic_steps=2, balance="critic")),
    "given the target": Case(settings=DebiasSettings(objective="conditional", balance="critic")),
    # the last batch leaves the second rank nothing at all, the one before an uneven share
    "uneven": Case(sizes=(64, 7, 1)),
    "draws": Case(draws=True, settings=DebiasSettings(balance="critic", balance_by="draws")),
    "mix": Case(mixes=True, sizes=(64, 63)),
    "copies": Case(mixes=True, copies=True, sizes=(64, 63)),
    "recycle": Case(recycles=True, sizes=(64, 63)),
    "clip": Case(clip_norm=0.1),
}


_DOUBLE = ("training.precision='64'", "original=null", "training.epochs=2", "training.batch_size=256")
RUNS: dict[str, tuple[str, ...]] = {
    "both stages": ("training.precision='64'", "training.epochs=1", "training.batch_size=256"),
    "draws, budget, average": (
        *_DOUBLE,
        "training.epochs=1",
        "debias.balance_by=draws",
        "debias.draw_share=0.7",
        "debias.budget_bits=0.2",
        "debias.warmup_epochs=0.5",
        "debias.budget.max_samples=300",
        "debias.budget.every_epochs=0.5",
    ),
    "mixed, heads first, interpolated": (
        *_DOUBLE,
        "debias.mix.layer=conv2",
        "training.head_first=0.03",
        "training.interpolation=0.5",
    ),
    "heads last, mixed": (
        *_DOUBLE,
        "representation={layers: [features], bottleneck: {width: 6, hidden: [12], dropout: 0}}",
        "debias={weight: 0.5, critic: {steps: 2, hidden: [16]}, mix: {layer: conv2}}",
        "training.head_last=0.03",
    ),
    "fresh, recycled": (
        *_DOUBLE,
        "debias.estimator=mine",
        "debias.schedule=fresh",
        "debias.recycle_every_steps=3",
        "debias.gradients=rescale",
    ),
    "discovered": (*_DOUBLE, "discover={clusters: 2, epochs: 1}", "data={source: digits, variance: 0.05, size: 28}"),
    # single precision: what is kept is kept in it
    "kept features": ("original=null", "training.epochs=2", "backbone.train=[fc1, fc2]", "representation.layers=[fc1]"),
}
"""Settings of whole runs, none of which a network without normalisation may show on which number of ranks it was."""


class Net(nn.Module):
    """Tokens (n, 3, 5) through two layers, without normalisation; recyclable as the digit network is."""

    recyclable: ClassVar[dict[str, tuple[str, str]]] = {"relu": ("inner", "last")}

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.relu, self.last = nn.Linear(15, 8), nn.ReLU(), nn.Linear(8, 4)
        self.tokens, self.head = nn.Identity(), nn.Linear(4, 2)
        with torch.no_grad():
            self.inner.bias[:2] = -100.0  # two units are dead

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        z = torch.tanh(self.last(self.relu(self.inner(self.tokens(x).flatten(1)))))
        return {"features": z, "z": z, "logits": self.head(z)}


def batch(seed: int, n: int, ranks: Ranks, *, draws: bool) -> Batch:
    """Labels and weights of all rows, inputs of this rank's share."""
    g = torch.Generator().manual_seed(seed)
    rows = 2 * n if draws else n
    y = torch.randint(2, (rows,), generator=g)
    c = torch.where(torch.rand(rows, generator=g) < 0.8, y, torch.randint(3, (rows,), generator=g))
    x = torch.randn(rows, 3, 5, generator=g) + y[:, None, None] + c[:, None, None]
    return Batch(
        x=x[ranks.share.of(rows)],
        y=y,
        c={"sex": c[:, None]},
        known={"sex": torch.rand(rows, generator=g) < 0.9},
        index=torch.arange(rows),
        weight={"sex": torch.rand(rows, generator=g) + 0.5, "*task*": torch.rand(rows, generator=g) + 0.5}
        | {TASK_OFFSET: torch.randn(rows, 2, generator=g)},
        n_own=n if draws else None,
    )


def run_case(case: Case, ranks: Ranks, fabric: Fabric) -> dict[str, torch.Tensor]:
    """Take the steps, in double precision: sums in another order then show in the fifteenth digit."""
    torch.manual_seed(0)
    net, settings = Net(), case.settings
    given = settings.objective == "conditional"
    spec = make_spec(n_features=4, n_classes=(3,), hidden=(8,), steps=2, batch_size=48, given_target=given, n_targets=2)
    estimator = resolve(ESTIMATORS[case.estimator])(spec)
    monitor = estimator if case.estimator == "classifier" else resolve(ESTIMATORS["classifier"])(spec)
    for one in (estimator, monitor):
        one.to(torch.device("cpu"), torch.float64)
    optimizers = [torch.optim.Adam([{"params": list(net.parameters()), "peak_lr": 1e-2}], lr=1e-2)]
    if settings.gradients == "released":
        optimizers.append(torch.optim.Adam(net.parameters(), lr=1e-2))
    recycler = Recycler(net, ["relu"], every_steps=2) if case.recycles else None
    model, *optimizers = fabric.setup(net, *optimizers)
    mixer = None
    if case.mixes:
        mixer = StatisticsMixer(net, "tokens", 0.5, copies=case.copies, rows=ranks.share, gather=ranks.gather)
    queue = FeatureQueue(128, weighted=True) if settings.schedule == "queue" else None
    debiaser = Debiaser(
        attributes=["sex"],
        settings=settings,
        estimators={"sex": estimator},
        monitors={"sex": monitor},
        queue=queue,
        seed=0,
        mixer=mixer,
    )
    s = Stepper(
        fabric=fabric,
        model=model,
        optimizer=optimizers[0],
        penalty_optimizer=optimizers[1] if len(optimizers) > 1 else None,
        debiaser=debiaser,
        clip_norm=case.clip_norm,
        ranks=ranks,
    )
    losses = []
    for step, n in enumerate(case.sizes):
        torch.manual_seed(step)
        fresh = (batch(100 + k, n, ranks, draws=False) for k in count(10 * step))
        given_batch = batch(step, n, ranks, draws=case.draws)
        found = s.run(given_batch, step, 0.7, fresh, log=True)
        if recycler is not None:
            found |= recycler.look(optimizers[0], step, partial(ranks.mean_of_rows, n=len(given_batch)))
        losses.append([value for _, value in sorted(found.items())])
    width = max(map(len, losses))
    result = {f"grad {k}": p.grad.clone() for k, p in net.named_parameters() if p.grad is not None}
    result |= {f"weight {k}": p.detach().clone() for k, p in net.named_parameters()}
    result |= {f"critic {k}": v for k, v in estimator.state_dict()["tensors"].items()}
    result |= {} if queue is None else {f"queue {k}": v for k, v in queue.state_dict()["buffers"].items()}
    result["metrics"] = torch.tensor([row + [0.0] * (width - len(row)) for row in losses])
    return result


def fit(recipe: Recipe, out: Path) -> None:
    """Train a recipe, without what comes after: one rank alone does that."""
    ended = {"_finish": mock.Mock(), "read_report": mock.Mock(), "with_gates": mock.Mock()}
    with mock.patch.multiple(workflow, **ended):
        workflow.train(recipe, out=out, offline=True)


def differing(expected: list[dict[str, Any]], found: list[dict[str, Any]], tolerance: float) -> list[tuple[Any, ...]]:
    """The figures of two runs' metrics that are not close, and whatever else is not equal: step, key, both values."""

    def close(one: Any, other: Any) -> bool:
        if isinstance(one, float) and isinstance(other, float):
            return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
        return bool(one == other)

    assert [line.keys() for line in found] == [line.keys() for line in expected]
    pairs = zip(expected, found, strict=True)
    return [(a["step"], key, a[key], b[key]) for a, b in pairs for key in a if not close(a[key], b[key])]


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """Of one rank of this machine."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    given = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **given, **{name: str(value) for name, value in own.items()}}


def start(program: Path, *arguments: str, size: int = 2) -> list[subprocess.Popen[str]]:
    """Run a program on some ranks, as torchrun would."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, str(program), *arguments],
            env=environment(rank, size, port) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]


def finished(ranks: list[subprocess.Popen[str]], seconds: float = 1800) -> list[str]:
    """Their output, once all have ended well."""
    said = []
    try:
        for rank in ranks:
            said.append(rank.communicate(timeout=seconds)[0])
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0] * len(ranks), "\n".join(said)
    return said


def runs(out: Path) -> None:
    for name, options in RUNS.items():
        fit(tiny(*options), out / name)


def steps(out: Path) -> None:
    fabric = make_fabric("cpu", "64", deterministic=False, place=find_place(os.environ))
    ranks = Ranks(fabric)
    found = {name: run_case(case, ranks, fabric) for name, case in CASES.items()}
    # gathering, uneven, and what is told from one to all
    rows = np.arange(5.0)[ranks.share.of(5)]
    found["gathered"] = {"rows": ranks.gather(torch.from_numpy(rows), 5)}
    found["agreed"] = {"rank": torch.tensor(ranks.agreed(ranks.share.rank))}
    torch.save(found, out / f"{ranks.share.rank}.pt")


def alone() -> Found:
    """All cases on one process."""
    fabric = make_fabric("cpu", "64", deterministic=False)
    return {name: run_case(case, ALONE, fabric) for name, case in CASES.items()}


if __name__ == "__main__":
    {"steps": steps, "runs": runs}[sys.argv[1]](Path(sys.argv[2]))
