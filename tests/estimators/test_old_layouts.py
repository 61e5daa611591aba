"""Checkpoints of older versions: every estimator had a layout of its own, rebuilt here from what it keeps now."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_mi import Known, make_spec, to_sample

from mibias_cli.estimators.protocol import Sample
from mibias_cli.run.build import ESTIMATORS, resolve

CLASSES = (2, 3)
YOUNGER = {"max_norm"}  # there are no checkpoints of it in those layouts
FORMS = {
    "classes": {},
    "values": {"bin_edges": ((0.0,), (-0.5, 0.5))},
    "given y": {"given_target": True, "n_targets": 2},
    "smoothed": {"smoothing": 0.2},
}


def made(name: str, form: str) -> Any:
    return resolve(ESTIMATORS[name])(make_spec(n_features=3, n_classes=CLASSES, **FORMS[form]))


def drawn(form: str, seed: int) -> Sample:
    g = np.random.default_rng(seed)
    c = np.stack([g.integers(k, size=60) for k in CLASSES], axis=1)
    values = c + g.standard_normal((60, 2))
    known = Known(
        z=g.standard_normal((60, 3)) + c[:, :1], c=values if form == "values" else c, y=g.integers(2, size=60)
    )
    return to_sample(known)


def as_of_old(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """The layout that this estimator's checkpoints had."""
    held = {key: value for key, value in state["tensors"].items() if not key.startswith("critic.")}
    critic = {key.removeprefix("critic."): value for key, value in state["tensors"].items() if key not in held}
    learner = {"module": critic, "optimizer": state["optimizer"]}
    statistics = {key: held.pop(f"value_{key}") for key in ("mean", "scale") if f"value_{key}" in held}
    if name in ("classifier", "lntl"):
        counted = list(held["frequencies"].split(CLASSES, dim=1)) if held else []
        return {"head": critic, "optimizer": state["optimizer"], "frequencies": counted}
    if name == "mine":
        return {"critic": critic, "optimizer": state["optimizer"], "c_statistics": statistics} | held
    if name == "cross_sample":
        return learner
    if name in ("hgr", "hgr_basis"):
        maps = {key: held.pop(f"map_{key}") for key in ("f", "g", "solved")}
        return {"functions": learner if critic else held, "maps": maps, "c_statistics": statistics}
    if name == "closed_form":
        return held | {"c_shift": torch.zeros(()), "c_scale": torch.ones(())}
    return {"critic": learner, "c_statistics": statistics} if critic else {}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in YOUNGER])
def test_an_old_state_loads_and_goes_on_as_the_present_one_does(name: str, form: str) -> None:
    torch.manual_seed(0)
    estimator = made(name, form)
    estimator.fit(drawn(form, 0), torch.Generator().manual_seed(0))
    resumed = made(name, form)
    resumed.load_state_dict(as_of_old(name, estimator.state_dict()))
    for one in (estimator, resumed):
        one.fit(drawn(form, 1), torch.Generator().manual_seed(1))
    kept, again = estimator.state_dict(), resumed.state_dict()
    assert kept["tensors"].keys() == again["tensors"].keys()
    assert all(torch.equal(value, again["tensors"][key]) for key, value in kept["tensors"].items())
    assert (kept["optimizer"] is None) == (again["optimizer"] is None)
    held_out = drawn(form, 2)
    assert estimator.estimate(held_out, torch.Generator()) == resumed.estimate(held_out, torch.Generator())
