"""Randomness as a function of whole numbers, and a scope in which libraries may draw from global generators.

timm's and torchvision's transforms draw from the global generators of `random`, numpy and torch. Seeding those for each
sample from (seed, epoch, row), inside a scope that puts back what it found, makes an augmented image independent of
batch order, of worker processes and of everything drawn before, and so makes resuming exact.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["derived_generator", "restored_global_generators", "seed_global_generators"]


def derived_generator(*key: int) -> np.random.Generator:
    """A generator that depends on the whole key, for example (seed, epoch); near keys give unrelated streams.

    Example:
        >>> bool(derived_generator(0, 1).integers(100) == derived_generator(0, 1).integers(100))
        True
    """
    return np.random.default_rng(np.random.SeedSequence(key))


@contextmanager
def restored_global_generators() -> Iterator[None]:
    """Puts the global CPU generators of `random`, numpy and torch back as they were, whatever happens inside."""
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


def seed_global_generators(*key: int) -> None:
    """Seed the three global CPU generators from a key; only ever inside `restored_global_generators`."""
    words = np.random.SeedSequence(key).generate_state(6)
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2:4])
    # not torch.manual_seed: that would seed every GPU's generator too, which the scope does not restore
    torch.default_generator.manual_seed(int(words[4]) << 32 | int(words[5]))
