"""A leakage budget: λ follows what fresh heads measure, and what a budget below I(y; c) must cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BudgetKeeper", "least_error"]

_INTEGRAL = 0.25  # a measurement twice over budget multiplies λ by 1.19 for good
_PROPORTIONAL = 0.5  # and by 1.41 for as long as it is so: leakage follows λ late, and λ must turn before it arrives
_SLACK_BITS = 0.005  # keeps the ratio finite where almost nothing leaks
_LARGEST_ERROR = 1.5
_SMALLEST_WEIGHT = 1e-3


@dataclass(kw_only=True)
class BudgetKeeper:
    """Dual ascent on λ: it rises while the measured leakage is above its budget and falls while it is below.

    The constraint is log(leakage) ≤ log(budget), so that λ moves by factors and one gain fits all budgets; the
    augmented Lagrangian's term in the violation itself adds to the multiplier. λ starts at `weight` and stays within
    [10⁻³, max_weight].

    Example:
        >>> keeper = BudgetKeeper(budget_bits={"colour": 0.1}, weight=1.0)
        >>> keeper.update({"colour": 0.2})
        >>> keeper.weights()["colour"] > 1.0
        True
    """

    budget_bits: Mapping[str, float]
    weight: float
    max_weight: float = 30.0
    _log_multiplier: dict[str, float] = field(default_factory=dict)
    _error: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = math.log(max(self.weight, _SMALLEST_WEIGHT))
        self._log_multiplier = dict.fromkeys(self.budget_bits, start)
        self._error = dict.fromkeys(self.budget_bits, 0.0)

    def update(self, measured_bits: Mapping[str, float]) -> None:
        """Move λ by what was measured, in bits, by attribute; a measurement that is not finite changes nothing."""
        for name, budget in self.budget_bits.items():
            measured = measured_bits[name]
            if not math.isfinite(measured):
                continue
            # the violation log(leakage) − log(budget), bounded: one bad measurement must not throw λ far off
            error = math.log((max(measured, 0.0) + _SLACK_BITS) / (budget + _SLACK_BITS))
            self._error[name] = min(max(error, -_LARGEST_ERROR), _LARGEST_ERROR)
            self._log_multiplier[name] = self._within(self._log_multiplier[name] + _INTEGRAL * self._error[name])

    def weights(self) -> dict[str, float]:
        """λ by attribute."""
        return {
            name: math.exp(self._within(log_multiplier + _PROPORTIONAL * self._error[name]))
            for name, log_multiplier in self._log_multiplier.items()
        }

    def _within(self, log_weight: float) -> float:
        return min(max(log_weight, math.log(_SMALLEST_WEIGHT)), math.log(self.max_weight))

    def state_dict(self) -> dict[str, dict[str, float]]:
        """What a resumed run needs."""
        return {"log_multiplier": dict(self._log_multiplier), "error": dict(self._error)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Restore what `state_dict` gave."""
        self._log_multiplier, self._error = dict(state["log_multiplier"]), dict(state["error"])


def least_error(bits: float, n_classes: int) -> float:
    """The smallest error rate in [0, 1 − 1/n_classes] at which H(y | prediction) can reach so many bits.

    Features that leak at most b bits of c leave H(y | prediction) ≥ I(y; c) − b, since I(y; c) ≤ I(ŷ; c) + H(y | ŷ).
    With `bits` = I(y; c) − b this is what a marginal budget b must cost; 0 or less costs nothing.

    References: Fano's inequality: Cover and Thomas, Elements of Information Theory, theorem 2.10.1.

    Example:
        >>> round(least_error(1.0, 2), 6)
        0.5
    """
    low, high = 0.0, 1.0 - 1.0 / n_classes
    if bits <= 0:
        return 0.0
    # bisection: Fano's bound rises from 0 to log2(n) on this interval, and 60 halvings leave less than float64 resolves
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _fano_bits(middle, n_classes) < bits:
            low = middle
        else:
            high = middle
    return high


def _fano_bits(error: float, n_classes: int) -> float:
    """h(e) + e log2(n − 1): the most uncertainty about y that an error rate e allows; rises up to e = 1 − 1/n."""
    if error <= 0:
        return 0.0
    entropy = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    return entropy + error * math.log2(n_classes - 1) if n_classes > 2 else entropy
