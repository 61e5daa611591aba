from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mibias_cli.seeds import derived_generator, restored_global_generators, seed_global_generators


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_scope_restores_all_three_generators_even_after_an_error() -> None:
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    expected = draw()
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    with pytest.raises(ZeroDivisionError), restored_global_generators():
        seed_global_generators(1, 2)
        draw()
        raise ZeroDivisionError
    assert draw() == expected


def test_seeding_depends_on_the_whole_key() -> None:
    drawn = {}
    with restored_global_generators():
        for key in ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 2)):
            seed_global_generators(*key)
            drawn[key] = draw()
            seed_global_generators(*key)
            assert draw() == drawn[key]
    assert all(len({values[k] for values in drawn.values()}) == 4 for k in range(3))


def test_derived_generators_differ_by_key() -> None:
    streams = [derived_generator(*key).integers(0, 2**62, 4).tolist() for key in ((0, 1), (1, 0), (0, 2))]
    assert len({tuple(stream) for stream in streams}) == 3
