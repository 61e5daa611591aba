"""Seeds derived from the run's seed, and scopes that leave the global generators as they were.

Every random draw is a function of where in the run it happens: of the run's seed and a place in it. So the state of no
generator has to be stored in a checkpoint, and resuming is exact. torch is imported only where a scope needs it.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = [
    "derive_seed",
    "derived_generator",
    "restored_global_generators",
    "scoped_torch_rng",
    "seed_global_generators",
]


def derive_seed(seed: int, *place: int | str) -> int:
    """A seed in [0, 2⁶³) that depends on the run's seed and on a place in the run, for example `("critic", step)`.

    Example:
        >>> derive_seed(0, "critic", 3) == derive_seed(0, "critic", 3) != derive_seed(0, "critic", 4)
        True
    """
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=8).digest()
    # one bit is dropped: torch takes seeds of 63 bits
    return int.from_bytes(digest, "big") >> 1


def derived_generator(*key: int) -> np.random.Generator:
    """A numpy generator that depends on the whole key, for example (seed, epoch); near keys give unrelated streams.

    Example:
        >>> bool(derived_generator(0, 1).integers(100) == derived_generator(0, 1).integers(100))
        True
    """
    return np.random.default_rng(np.random.SeedSequence(key))


@contextlib.contextmanager
def scoped_torch_rng(device: torch.device | None = None) -> Iterator[None]:
    """A scope after which torch's global generators are as they were before it (dropout draws from them)."""
    import torch

    # the CPU's generator is always restored; a GPU's only where work is done on it
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextlib.contextmanager
def restored_global_generators() -> Iterator[None]:
    """A scope after which the global CPU generators of `random`, numpy and torch are as they were before it.

    timm's and torchvision's transforms draw from all three. Seeding them for each sample inside this scope makes an
    augmented image independent of batch order, of worker processes and of everything drawn before.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with scoped_torch_rng():
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def seed_global_generators(*key: int) -> None:
    """Seed the three global CPU generators from a key; only ever inside `restored_global_generators`."""
    import torch

    words = np.random.SeedSequence(key).generate_state(6)
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2:4])
    # not torch.manual_seed: that would seed every GPU's generator too, which the scope does not restore
    torch.default_generator.manual_seed(int(words[4]) << 32 | int(words[5]))
