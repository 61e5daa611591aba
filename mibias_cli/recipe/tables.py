"""The table of estimators: what `debias.estimator` may say, and which `module:object` that stands for.

It lies with the recipe because its names are the values that a recipe may hold; `mibias_cli.run.build` resolves them.
A new estimator takes a row here and the function that it names. Nothing is imported before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

__all__ = ["ESTIMATORS", "EstimatorName"]

ESTIMATORS: Mapping[str, str] = {
    # bias-attribute heads
    "classifier": "mibias_cli.estimators.classifier:ClassifierBound",
    "lntl": "mibias_cli.estimators.reversal:GradientReversal",
    "vclub": "mibias_cli.estimators.club:Club",
    # neural bounds on one critic
    "mine": "mibias_cli.estimators.mine:Mine",
    "dv": "mibias_cli.estimators.neural:dv",
    "nwj": "mibias_cli.estimators.neural:nwj",
    "js": "mibias_cli.estimators.neural:js",
    "infonce": "mibias_cli.estimators.neural:infonce",
    "smile": "mibias_cli.estimators.neural:smile",
    "flo": "mibias_cli.estimators.neural:flo",
    "cross_sample": "mibias_cli.estimators.cross_sample:CrossSample",
    # nothing that learns by steps
    "closed_form": "mibias_cli.estimators.closed_form:ClosedForm",
    "hsic": "mibias_cli.estimators.kernel:hsic",
    "cka": "mibias_cli.estimators.kernel:cka",
    "dcor": "mibias_cli.estimators.kernel:dcor",
    "mmd": "mibias_cli.estimators.kernel:mmd",
    # maximal correlation, by two networks and by the singular values of a small basis
    "hgr": "mibias_cli.estimators.hgr:NetworkCorrelation",
    "hgr_basis": "mibias_cli.estimators.hgr:BasisCorrelation",
}

# mypy cannot read a Literal that is made from a table
if TYPE_CHECKING:
    EstimatorName = str
else:
    EstimatorName = Literal[(*ESTIMATORS, "none")]
