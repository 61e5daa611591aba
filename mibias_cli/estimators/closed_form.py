"""The closed-form critic: ridge regression from z and random features of z to the attribute, solved anew each time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from mibias_cli.estimators.base import BaseEstimator
from mibias_cli.estimators.critics import attribute_classes, encode_attribute
from mibias_cli.estimators.measures.bounds import normal_weight
from mibias_cli.estimators.measures.predictive import cross_entropy_bound, cross_entropy_gain, explained_share_nats
from mibias_cli.estimators.measures.random_features import draw_random_weights, random_features, standardisation
from mibias_cli.estimators.measures.ridge import ridge_solution
from mibias_cli.estimators.protocol import Sample
from mibias_cli.estimators.rows import apply_by_group, known_rows, rows_by_group

__all__ = ["ClosedForm"]

# A regression of its own takes so many rows of a target class.
_LEAST_ROWS = 8
_ROWS_PER_FEATURE = 4
"""With fewer rows in a target class for each feature, all classes share their coefficients."""
# Floor of a predicted class probability, as a share of the class's frequency.
_LEAST_PROBABILITY = 0.02


class ClosedForm(BaseEstimator):
    """A critic that never lags: the best ridge regression on the queue, held fixed while z moves against it.

    Each fit draws new random ReLU features of the standardised z, adds z itself and an intercept, and solves for the
    attribute (one-hot classes or bins, or standardised values). The penalty is, summed over channels,
    −½ log(1 − R²) with R² the share of the channel's variance that the held solution explains in the sample at hand:
    use samples that the fit has not seen. On this scale the gradient neither dies where R² nears 1 nor runs away
    where z has turned against the solution, as that of R² itself does in both places: in a trial on a small biased
    task both removed c at λ = 0.3 and 1, and at λ = 3 this scale kept the task where R² lost part of it.

    `direction` is none: −½ log(1 − R²) bounds I(z; c) from below only where c is Gaussian. For classes `estimate` is
    nevertheless a lower bound up to sampling error: the regression's predictions, made probabilities, in H(c) − CE.

    Given the target there is one regression per target class, with an intercept of its own, and R² is the share of the
    variance of c within target classes; a class of fewer than eight rows in the queue is left out. A fit then costs one
    solve per class.

    A continuous attribute is seen through its bins; beyond 512 dimensions z is projected at random to 512.

    References: Rahimi and Recht, Weighted sums of random kitchen sinks (2008).
    """

    direction = "none"
    reads_values = False

    def rows(self, sample: Sample) -> Sample:
        return known_rows(sample, self.like.dtype)

    def measured(self, sample: Sample) -> Sample:
        """The known rows of groups that have a regression; none before the first fit."""
        rows, held = self.rows(sample), self.held()
        if "solved" not in held:
            return rows.take(slice(0, 0))
        solved = held["solved"] > 0
        return rows if bool(solved.all()) else rows.take(solved[self.group(rows)])

    def solve(self, rows: Sample, generator: Generator) -> None:
        """Draw new random features and solve on this sample."""
        z, weight = rows.z, normal_weight(rows.z, rows.weight)
        held = standardisation(z, weight)
        held |= draw_random_weights(self.spec.n_features, self.spec.n_random_features, generator, z)
        self.hold(held | self._regressions(random_features(z, held), self._one_hot(rows), weight, self.group(rows)))

    def values(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        """Per channel the nats of the explained share, pooled over the channel's classes (and over target classes)."""
        weight, held = normal_weight(rows.z, rows.weight), self.held()
        targets = self._one_hot(rows)
        # R² in this sample under a solution of other rows: what z tells of c now, not what was memorised
        residual = weight @ (targets - self._predict(rows, held)) ** 2
        # a batch holds too few rows of a target class for means of its own
        mean = weight @ targets if self.n_targets is None else held["c_mean"][self.group(rows)]
        total = weight @ (targets - mean) ** 2
        by_channel = [sums.split(self.spec.n_classes) for sums in (residual, total, held["c_variance"])]
        return [explained_share_nats(r.sum(), t.sum(), v.sum()) for r, t, v in zip(*by_channel, strict=True)]

    def reported(self, rows: Sample, generator: Generator) -> Sequence[Tensor]:
        """Per channel H(c) − CE of the regression, or its gain over the frequencies of c given the target."""
        held, group, widths = self.held(), self.group(rows), self.spec.n_classes
        classes = attribute_classes(rows.c, self.spec.bin_edges).unbind(dim=1)
        predicted = self._predict(rows, held).split(widths, dim=1)
        frequencies = (held["c_mean"] + 1e-6).split(widths, dim=1)
        found: list[Tensor] = []
        for c, p, frequency in zip(classes, predicted, frequencies, strict=True):
            # least squares may predict less than nothing: what is too small becomes a small probability
            logits = torch.maximum(p, _LEAST_PROBABILITY * frequency[group]).log()
            if self.n_targets is None:
                found.append(cross_entropy_bound(logits, c, rows.weight))
            else:
                found.append(cross_entropy_gain(logits, c, group, frequency, rows.weight))
        return found

    def _regressions(self, features: Tensor, targets: Tensor, weight: Tensor, group: Tensor) -> dict[str, Tensor]:
        """One regression per group: means and coefficients, stacked over groups, and which groups have one."""
        n_groups, least = (1, 2) if self.n_targets is None else (self.n_targets, _LEAST_ROWS)
        rows_of = rows_by_group(group, n_groups)
        is_solved = [len(rows) >= least for rows in rows_of]
        solved = torch.tensor(is_solved, device=group.device)
        features_mean = features.new_zeros(n_groups, features.shape[1])
        c_mean = (weight @ targets).repeat(n_groups, 1)
        coefficients = features.new_zeros(n_groups, features.shape[1], targets.shape[1])
        variance = torch.zeros_like(targets[0])
        shared = n_groups > 1 and len(features) < _ROWS_PER_FEATURE * n_groups * features.shape[1]
        centred, left = torch.zeros_like(features), torch.zeros_like(targets)
        for k, rows in enumerate(rows_of):
            if not is_solved[k]:
                continue
            share = weight[rows].sum()
            w = weight[rows] / torch.where(share > 0, share, 1.0)
            x, t = features[rows], targets[rows]
            # centring both sides is what an intercept of the group's own amounts to
            features_mean[k], c_mean[k] = w @ x, w @ t
            centred[rows], left[rows] = x - features_mean[k], t - c_mean[k]
            if not shared:
                coefficients[k] = ridge_solution(centred[rows], left[rows], w, self.spec.ridge)
            variance += share * (w @ (t - c_mean[k]) ** 2)
        # too few rows for a regression per class, which would learn them by heart: one slope for all, own intercepts
        if shared and any(is_solved):
            used = solved[group].to(weight.dtype) * weight
            coefficients[:] = ridge_solution(centred, left, used / used.sum(), self.spec.ridge)
        return {
            "features_mean": features_mean,
            "c_mean": c_mean,
            "coefficients": coefficients,
            "c_variance": variance,
            "solved": solved.to(features.dtype),
        }

    def _one_hot(self, rows: Sample) -> Tensor:
        """What is regressed on (n, all classes of all channels)."""
        return encode_attribute(attribute_classes(rows.c, self.spec.bin_edges), self.spec.n_classes, self.like.dtype)

    def _predict(self, rows: Sample, held: dict[str, Tensor]) -> Tensor:
        """What the held solution says of each row's one-hot classes."""
        group = self.group(rows)
        centred = random_features(rows.z, held) - held["features_mean"][group]
        return apply_by_group(centred, held["coefficients"], group) + held["c_mean"][group]
