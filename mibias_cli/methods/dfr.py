"""DFR: after plain training the last layer alone is fitted anew, on as many rows of every group."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from mibias_cli.heads.target import TargetHead
from mibias_cli.methods.method import Method
from mibias_cli.seeds import derived_generator

__all__ = ["LastLayer", "balanced_head"]

_MAX_ITERATIONS = 1000
# scikit-learn 1.8 says otherwise how a penalty is an L1 penalty
_L1 = {"l1_ratio": 1.0} if LogisticRegression().penalty == "deprecated" else {"penalty": "l1"}
_NEVER = -50.0
"""Score of a class of which there is no row."""


class LastLayer(Method):
    """Deep feature reweighting: trains plainly, then fits the task head on group-balanced subsets of held-out rows.

    One would choose it where features are good and only the head leans on the bias; the features stay as they are, and
    tell of the bias what they told before. The mean of the heads of several subsets, each a logistic regression with
    an L1 penalty on features that are standardised by the training split. Subsets are drawn from the validation split,
    as the paper's main form has it, where that has a row of every (y, c) group that the training split has, and else
    from both splits together.

    Settings: `inverse_l1`, C of the L1 penalty, 1 at most in the paper's grid, which chooses it by the worst group of
    half of the validation rows; `subsets`, 10.

    References: Kirichenko et al., Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations, arXiv
    2204.02937.
    """

    def finish(self) -> str:
        """Fit the head anew; from which rows."""
        spec, (train, validation) = self.spec, (self.spec.data.train, self.spec.data.validation)
        groups = spec.groups(train, validation)
        embedded = spec.embed(spec.model, train)
        mean, deviation = embedded.mean(axis=0), embedded.std(axis=0)
        scale = np.where(deviation > 1e-6 * deviation.max(), deviation, np.inf)
        # a group of which no training row is known stays out
        wanted = set(groups[0].tolist()) - {-1}
        source = "the validation split"
        x, y, group = spec.embed(spec.model, validation) if len(validation) else embedded[:0], validation.y, groups[1]
        if not wanted <= set(group.tolist()):
            source = "the training and validation splits"
            x, y, group = np.concatenate([embedded, x]), np.concatenate([train.y, y]), np.concatenate(groups)
        rows = np.isin(group, list(wanted))
        weight, bias, least = balanced_head(
            (x[rows] - mean) / scale,
            y[rows],
            group[rows],
            n_classes=len(spec.data.class_names),
            inverse_l1=spec.settings["inverse_l1"],
            n_subsets=int(spec.settings["subsets"]),
            generator=derived_generator(spec.seed, 0xDF4),
        )
        self._set_head(weight / scale, bias - weight @ (mean / scale))
        return f"dfr: the head is fitted anew on {least} rows of each of {len(wanted)} groups, from {source}"

    @torch.no_grad()
    def _set_head(self, weight: np.ndarray, bias: np.ndarray) -> None:
        head = self.spec.model.head
        assert isinstance(head, TargetHead), "the target is checked to be classes"
        linear: nn.Linear = head.linear
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))


def balanced_head(
    x: np.ndarray,
    y: np.ndarray,
    group: np.ndarray,
    *,
    n_classes: int,
    inverse_l1: float,
    n_subsets: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, int]:
    """The mean of logistic regressions on group-balanced subsets.

    Args:
        x: Standardised features (n, d).
        y: Classes (n,).
        group: Groups (n,); of each as many rows as the smallest has.

    Returns:
        Weights (n_classes, d), biases (n_classes,), and rows of each group in a subset.
    """
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    least = min(map(len, members))
    weight, bias = np.zeros((n_classes, x.shape[1])), np.zeros(n_classes)
    for _ in range(n_subsets):
        rows = np.concatenate([generator.permutation(own)[:least] for own in members])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that iterations do not suffice
            fit = LogisticRegression(C=inverse_l1, solver="saga", max_iter=_MAX_ITERATIONS, random_state=0, **_L1).fit(
                x[rows], y[rows]
            )
        coefficients, intercepts = fit.coef_, fit.intercept_
        # of two classes there is one score, of the second against the first
        if len(fit.classes_) == 2:
            coefficients, intercepts = np.vstack([-coefficients, coefficients]) / 2, np.r_[-intercepts, intercepts] / 2
        weight[fit.classes_] += coefficients / n_subsets
        bias[fit.classes_] += intercepts / n_subsets
    bias[~np.isin(np.arange(n_classes), y)] = _NEVER
    return weight, bias, least
