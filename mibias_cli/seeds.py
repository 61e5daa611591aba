"""Seeds derived from the run's seed, so that every random draw is a function of where in the run it happens."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["derive_seed", "scoped_torch_rng"]


def derive_seed(seed: int, *place: int | str) -> int:
    """A seed in [0, 2⁶³) that depends on the run's seed and on a place in the run, for example `("critic", step)`.

    A step that draws from a generator seeded so needs no generator state in the checkpoint: resuming is exact by
    construction.

    Example:
        >>> derive_seed(0, "critic", 3) == derive_seed(0, "critic", 3) != derive_seed(0, "critic", 4)
        True
    """
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextlib.contextmanager
def scoped_torch_rng(device: torch.device | None = None) -> Iterator[None]:
    """A scope after which torch's global generators are as they were before it (dropout draws from them)."""
    import torch

    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
