"""Two ranks are one process: the same losses, gradients, critics and queues for every estimator, on gloo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from on_ranks import CASES, Found, alone, finished, start

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found, Found]:
    """What one process finds, and each of two ranks."""
    out = tmp_path_factory.mktemp("ranks")
    expected = alone()
    finished(start(TESTS / "on_ranks.py", "steps", str(out)))
    first, second = (torch.load(out / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    return expected, first, second


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_take_the_steps_of_one(name: str, both: tuple[Found, Found, Found]) -> None:
    expected, first, _ = (found[name] for found in both)
    assert expected.keys() == first.keys()
    assert float(expected["metrics"].abs().sum()) > 0
    assert any(float(value.abs().max()) > 1e-4 for key, value in expected.items() if key.startswith("grad "))
    for key, value in expected.items():
        torch.testing.assert_close(first[key], value, rtol=1e-7, atol=1e-8, msg=lambda text, k=key: f"{k}: {text}")


@pytest.mark.parametrize("name", CASES)
def test_both_ranks_hold_the_same_to_the_bit(name: str, both: tuple[Found, Found, Found]) -> None:
    _, first, second = (found[name] for found in both)
    assert [key for key, value in first.items() if not torch.equal(value, second[key])] == []


def test_a_batch_is_gathered_in_its_order_and_rank_0_decides(both: tuple[Found, Found, Found]) -> None:
    _, first, second = both
    for found in (first, second):
        assert found["gathered"]["rows"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert int(found["agreed"]["rank"]) == 0
