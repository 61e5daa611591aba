from __future__ import annotations

import math

import pytest

from mibias_cli.training.control.budget import BudgetKeeper, least_error


@pytest.mark.parametrize("budget", [0.02, 0.1, 0.5])
@pytest.mark.parametrize(("scale", "power"), [(0.3, 1.0), (2.0, 0.5), (0.05, 2.0)])
def test_drives_a_falling_leakage_to_its_budget(budget: float, scale: float, power: float) -> None:
    """Leakage 1 / (1 + λ/scale)^power bits: the fixed point is known, whatever the scale of λ."""

    def leakage(weight: float) -> float:
        return 1.0 / (1.0 + weight / scale) ** power

    keeper = BudgetKeeper(budget_bits={"a": budget}, weight=1.0, max_weight=1e4)
    for _ in range(60):
        keeper.update({"a": leakage(keeper.weights()["a"])})
    assert leakage(keeper.weights()["a"]) == pytest.approx(budget, rel=0.05)


def test_attributes_have_their_own_weights_and_limits() -> None:
    keeper = BudgetKeeper(budget_bits={"a": 0.1, "b": 0.1}, weight=1.0, max_weight=5.0)
    for _ in range(20):
        keeper.update({"a": 1.0, "b": -0.01})  # never reached; and always below, negative estimates included
    assert keeper.weights()["a"] == pytest.approx(5.0)
    assert keeper.weights()["b"] < 0.01
    keeper.update({"a": math.nan, "b": math.nan})
    assert keeper.weights()["a"] == pytest.approx(5.0)


def test_goes_on_where_it_stopped() -> None:
    one, other = (BudgetKeeper(budget_bits={"a": 0.1}, weight=1.0) for _ in range(2))
    one.update({"a": 0.3})
    other.load_state_dict(one.state_dict())
    for keeper in (one, other):
        keeper.update({"a": 0.2})
    assert one.weights() == other.weights()


@pytest.mark.parametrize(("n_classes", "error"), [(2, 0.11), (10, 0.3), (3, 0.6)])
def test_least_error_inverts_fano(n_classes: int, error: float) -> None:
    bits = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    bits += error * math.log2(n_classes - 1) if n_classes > 2 else 0.0
    assert least_error(bits, n_classes) == pytest.approx(error, abs=1e-9)
    assert least_error(-0.1, n_classes) == 0.0
    assert least_error(99.0, n_classes) == pytest.approx(1 - 1 / n_classes)
