"""The tables of estimators and of methods: what `debias.estimator` and `method` may say, and what that stands for.

They lie with the recipe because their names are the values that a recipe may hold; `mibias_cli.run.build` resolves
them. A new estimator or method takes a row here and the function or class that it names. Nothing is imported before it
is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

__all__ = ["ESTIMATORS", "LEAST_ROWS", "METHODS", "MI", "EstimatorName", "MethodName", "MethodRow", "Setting"]

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
    # characteristic functions, at frequencies that learn by steps
    "max_norm": "mibias_cli.estimators.characteristic:MaximumNorm",
    # maximal correlation, by two networks and by the singular values of a small basis
    "hgr": "mibias_cli.estimators.hgr:NetworkCorrelation",
    "hgr_basis": "mibias_cli.estimators.hgr:BasisCorrelation",
}

LEAST_ROWS: Mapping[str, int] = (
    dict.fromkeys(ESTIMATORS, 2)
    | dict.fromkeys(("classifier", "lntl"), 1)
    | dict.fromkeys(("hsic", "cka", "dcor", "mmd", "max_norm"), 4)
    | dict.fromkeys(("hgr", "hgr_basis"), 8)
)
"""Rows of a batch below which an estimator gives no penalty: all but two compare rows. Measures without a bias in small
samples need four, canonical correlations of fewer than eight would be 1 by chance."""

MI = "mi"
"""What `method` says where debiasing is by mutual information, as `debias` describes it."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A number that a method takes: its default, which is the paper's, and between what it lies, both ends included."""

    default: float
    least: float = 0.0
    most: float = math.inf
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """A method of the field.

    Args:
        code: `module:class`, a `mibias_cli.methods.method:Method`.
        settings: What `method_settings` may say of it.
        reads_bias: Whether it needs the attribute of training rows.
        knows_all: Whether rows whose attribute is missing take no part, so that every class needs one whose is not.
        takes_target: Whether it learns from a target of classes; else there must be none.
        n_views: Augmented views of each image in a step.
        forgets: Whether it is for rows that `data.columns.forget` marks, which it needs.
        changes: What alone it changes, where that is not the whole model: the features, or the head.
        starts_from: `original` or `initial` weights, whatever `original.start_debiasing_from` says; None: what it says.
        removes: Whether features are to tell less of the bias, so that a report says whether they do.
        filters: Whether it puts a filter of images in front of the backbone.
    """

    code: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    reads_bias: bool = True
    knows_all: bool = False
    takes_target: bool = True
    n_views: int = 1
    forgets: bool = False
    changes: Literal["features", "head"] | None = None
    starts_from: Literal["original", "initial"] | None = None
    removes: bool = False
    filters: bool = False


METHODS: Mapping[str, MethodRow] = {
    # plain training, to compare with
    "plain": MethodRow(code="mibias_cli.methods.method:Method", reads_bias=False),
    # the bias is known
    "group_dro": MethodRow(
        code="mibias_cli.methods.group_dro:GroupDRO",
        settings={"step_size": Setting(default=0.01, most=10), "adjustment": Setting(default=0.0, most=1000)},
        knows_all=True,
    ),
    "dfr": MethodRow(
        code="mibias_cli.methods.dfr:LastLayer",
        settings={
            "inverse_l1": Setting(default=1.0, least=1e-6, most=1e6),
            "subsets": Setting(default=10, least=1, most=1000, whole=True),
        },
        knows_all=True,
        changes="head",
    ),
    "badd": MethodRow(code="mibias_cli.methods.badd:BiasAddition"),
    "domain_independent": MethodRow(code="mibias_cli.methods.domain_independent:DomainHeads"),
    "end": MethodRow(
        code="mibias_cli.methods.end:EntangleDisentangle",
        settings={"alpha": Setting(default=0.1, most=1000), "beta": Setting(default=0.1, most=1000)},
        changes="features",
    ),
    "fair": MethodRow(
        code="mibias_cli.methods.fair:AdversarialWeights",
        settings={"alpha": Setting(default=1.0, most=1e6), "beta": Setting(default=0.0, most=1e6)},
    ),
    "sabaf": MethodRow(
        code="mibias_cli.methods.sabaf:AdversarialFilter",
        settings={
            "epochs": Setting(default=50, least=1, most=100_000, whole=True),
            "width": Setting(default=64, least=1, most=1024, whole=True),
            "critic_steps": Setting(default=5, least=1, most=1000, whole=True),
            "attribute": Setting(default=100.0, most=1e6),
            "information": Setting(default=10.0, most=1e6),
        },
        removes=True,
        filters=True,
    ),
    # the bias is known, and training rows are to be forgotten
    "miu": MethodRow(
        code="mibias_cli.methods.unlearn:Unlearn",
        settings={
            "weight": Setting(default=1.0, most=1e6),
            "forget_epochs": Setting(default=5, most=100_000, whole=True),
            "warmup_steps": Setting(default=100, least=1, most=100_000, whole=True),
            "critic_steps": Setting(default=10, least=1, most=100_000, whole=True),
            "critic_rate": Setting(default=1e-3, least=1e-9, most=1),
        },
        forgets=True,
        changes="features",
        starts_from="original",
    ),
    "retrain": MethodRow(code="mibias_cli.methods.unlearn:Retrain", forgets=True, starts_from="initial"),
    # the bias is known, the target is not
    "contrastive": MethodRow(
        code="mibias_cli.methods.contrastive:ConditionalContrast",
        settings={"temperature": Setting(default=0.5, least=0.01, most=100)},
        takes_target=False,
        n_views=2,
        removes=True,
    ),
    # the bias is unknown
    "jtt": MethodRow(
        code="mibias_cli.methods.jtt:TrainTwice",
        settings={
            "epochs": Setting(default=1, least=1, most=100_000, whole=True),
            "upweight": Setting(default=50.0, least=1, most=1e6),
        },
        reads_bias=False,
    ),
    "weak_learner": MethodRow(
        code="mibias_cli.methods.weak_learner:WeakLearner",
        settings={
            "epochs": Setting(default=1, least=1, most=100_000, whole=True),
            "strength": Setting(default=1.0, most=10),
        },
        reads_bias=False,
    ),
    "lff": MethodRow(
        code="mibias_cli.methods.lff:FromFailure",
        settings={"q": Setting(default=0.7, least=1e-3, most=1), "decay": Setting(default=0.7, most=0.999)},
        reads_bias=False,
    ),
    "ecs_ga": MethodRow(
        code="mibias_cli.methods.ecs_ga:GradientAlignment",
        settings={
            "epochs": Setting(default=50, least=1, most=100_000, whole=True),
            "confidence": Setting(default=0.1, most=1),
            "threshold": Setting(default=0.8, most=1),
            "gamma": Setting(default=1.0, least=1e-6, most=1e6),
        },
        reads_bias=False,
    ),
}

# mypy cannot read a Literal that is made from a table
if TYPE_CHECKING:
    EstimatorName = str
    MethodName = str
else:
    EstimatorName = Literal[(*ESTIMATORS, "none")]
    MethodName = Literal[(MI, *METHODS)]
