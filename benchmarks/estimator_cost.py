"""CPU time of one training step's estimator work, for every estimator: critic steps on the queue, then the penalty.

python benchmarks/estimator_cost.py [--width 256] [--repeats 3]: a table on stdout. z (128, width), a queue of 32
batches, an attribute of 3 × 8 classes (the colour of coloured digits), K = 15, critics of 3 × 128: the defaults.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import torch

from mibias_cli.estimators.protocol import EstimatorSpec, Sample
from mibias_cli.heads.attribute import AttributeHead
from mibias_cli.run.build import ESTIMATORS, resolve

CLASSES = (8, 8, 8)
HIDDEN = (128, 128, 128)
N_TARGETS = 10


def draw(n: int, width: int, seed: int) -> Sample:
    """z that carries a little of y and c."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, N_TARGETS, (n,), generator=g)
    c = torch.stack([(y + torch.randint(0, 4, (n,), generator=g)) % k for k in CLASSES], dim=1)
    z = torch.randn(n, width, generator=g)
    z[:, :3] += c
    return Sample(z=z, c=c, y=y, weight=None, known=torch.ones(n, dtype=torch.bool))


def milliseconds(name: str, width: int, repeats: int, *, given_target: bool) -> float:
    """CPU time of a step, the best of some."""
    torch.manual_seed(0)
    spec = EstimatorSpec(
        n_features=width,
        n_classes=CLASSES,
        bin_edges=None,
        hidden=HIDDEN,
        learning_rate=2e-3,
        optimizer="adam",
        beta1=0.9,
        steps=15,
        batch_size=128,
        moving_average=0.99,
        n_random_features=512,
        ridge=1e-2,
        make_heads=partial(AttributeHead, n_classes=CLASSES, hidden=HIDDEN),
        given_target=given_target,
        n_targets=N_TARGETS,
    )
    estimator = resolve(ESTIMATORS[name])(spec)
    queue, batch, g = draw(4096, width, 0), draw(128, width, 1), torch.Generator().manual_seed(0)
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        estimator.fit(queue, g)
        z = batch.z.clone().requires_grad_()
        estimator.penalty(Sample(z=z, c=batch.c, y=batch.y, weight=None, known=batch.known), g).backward()
        taken.append(time.process_time() - start)
    return 1e3 * min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| estimator | marginal, ms | given y, ms |")
    print("|---|---|---|")
    for name in ESTIMATORS:
        marginal, given = (milliseconds(name, options.width, options.repeats, given_target=t) for t in (False, True))
        print(f"| `{name}` | {marginal:.0f} | {given:.0f} |", flush=True)


if __name__ == "__main__":
    main()
