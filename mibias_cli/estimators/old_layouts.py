"""Estimators in checkpoints of older versions, which had a layout for each estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mibias_cli.estimators.protocol import EstimatorState

__all__ = ["present_layout"]


def present_layout(state: Mapping[str, Any]) -> EstimatorState:
    """What an estimator saved, in the one layout that all have now; a present state is returned as it is.

    The layouts of old, by their keys:

    - classifier, lntl: head, optimizer, frequencies (a list, one per channel);
    - mine: critic, optimizer, log_average, c_statistics;
    - vclub and the bounds on all pairs: critic (module, optimizer), c_statistics;
    - hgr: functions (module, optimizer), maps, c_statistics; hgr_basis: the same, its functions are tensors;
    - cross_sample: module, optimizer;
    - closed_form: tensors by name; kernels: nothing.
    """
    if "tensors" in state:
        return {"tensors": state["tensors"], "optimizer": state["optimizer"]}
    functions = state.get("functions", {})
    nested = (one for one in (state.get("critic", {}), functions) if "module" in one)
    learner = next(nested, state)
    critic: Mapping[str, Any] = next((learner[key] for key in ("module", "critic", "head") if key in learner), {})
    tensors = {f"critic.{name}": value for name, value in critic.items()}
    tensors |= {f"value_{name}": value for name, value in state.get("c_statistics", {}).items()}
    tensors |= {f"map_{name}": value for name, value in state.get("maps", {}).items()}
    if "log_average" in state:
        tensors["log_average"] = state["log_average"]
    if state.get("frequencies"):
        tensors["frequencies"] = torch.cat(state["frequencies"], dim=1)
    if "module" not in functions:
        tensors |= functions
    if "coefficients" in state:
        # scales of an attribute seen as values, which no recipe could ask for
        tensors |= {name: value for name, value in state.items() if name not in ("c_shift", "c_scale")}
    return {"tensors": tensors, "optimizer": learner.get("optimizer")}
