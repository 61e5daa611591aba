"""Group-robust unlearning: a model forgets rows, and the groups that lose them do not suffer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mibias_cli.data.batch import Batch, Split
from mibias_cli.data.loader import n_batches
from mibias_cli.errors import MibiasError
from mibias_cli.estimators.critics import Critic
from mibias_cli.estimators.measures.bounds import donsker_varadhan
from mibias_cli.estimators.mine import Mine
from mibias_cli.estimators.parameters import full_precision, held_fixed
from mibias_cli.estimators.protocol import EstimatorSpec, EstimatorState, Sample
from mibias_cli.methods.method import Method, MethodSpec, sample_losses
from mibias_cli.seeds import derive_seed, derived_generator

__all__ = ["Retrain", "Unlearn", "group_information", "retained_weights"]

_HIDDEN = (512,)


class Retrain(Method):
    """Exact unlearning: trains anew without the rows to forget, the others drawn in the original groups' proportions.

    One would choose it to know what unlearning should come to, or where a whole training is affordable. Leaving the
    rows out alone would make the group that most of them are of rarer, and the model worse on it. Rows are drawn with
    replacement, by the weights of `retained_weights`. Rows whose attribute is missing are a group of their own.

    References: De Min et al., Group-robust Machine Unlearning, arXiv 2503.09330 (REWEIGHT).
    """

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        forget, group = _marked(spec)
        self.sample_by = retained_weights(group, forget)

    def prepare(self) -> str:
        """Say how many rows are left."""
        forget = _marked(self.spec)[0]
        return f"retrain: {forget.sum()} of {len(forget)} training rows are left out"


class Unlearn(Method):
    """Approximate unlearning (MIU): a trained model forgets rows by information, and keeps its groups' accuracy.

    One would choose it where training anew costs too much. In each of the first `forget_epochs` epochs the rows to
    forget are read once, first of all, and I(features; group) on them is minimised, where a group is a pair of target
    and attribute. Then retained rows train, drawn as `Retrain` draws them, on the cross-entropy plus
    `weight` · (I(features; group) − I(original's features; group))²: what the model tells of groups is held at what the
    original told. The gradient of that term is cut to the length of the cross-entropy's, over all parameters. Each
    model has a critic (MINE), which takes `warmup_steps` steps before the first epoch and `critic_steps` before every
    later one, on random rows of the whole training split, those to forget among them, as they are embedded then.

    The product of marginals is exact where the authors draw groups evenly: each row's scores with all groups, weighted
    by how often these occur in training. In their code both critics learn from the unlearned model's features, and the
    cut reads another network's gradients; here both are as the paper has them. Rows whose attribute is missing are in
    the cross-entropy alone.

    Settings: `weight` λ, `forget_epochs`, `warmup_steps`, `critic_steps`, `critic_rate`: the learning rate of Adam.

    References: De Min et al., Group-robust Machine Unlearning, arXiv 2503.09330 (MIU); MINE: Belghazi et al., arXiv
    1801.04062.
    """

    group: Tensor
    forget: Tensor
    frequency: Tensor

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        forget, group = _marked(spec)
        self.sample_by = retained_weights(group, forget)
        self.first_until = np.where(forget, int(spec.settings["forget_epochs"]), 0)
        if self.first_until.any():
            _check_batches(spec, int(forget.sum()))
        if self.first_until.any() and (group[forget] < 0).all():
            raise MibiasError(
                "data.columns.forget: no marked row has a value of every attribute, so there is no group to unlearn; "
                "name other attributes (debias.attributes), or retrain (method: retrain)"
            )
        counts = np.bincount(group[group >= 0])
        self.register_buffer("group", torch.from_numpy(group), persistent=False)
        self.register_buffer("forget", torch.from_numpy(forget), persistent=False)
        self.register_buffer("frequency", torch.from_numpy(counts / counts.sum()).float(), persistent=False)
        # in tuples, so that they are no parts of the method, which the model's optimizer would train
        self.critics = (_critic(spec, len(counts)), _critic(spec, len(counts)))
        self.models = (spec.model, copy.deepcopy(spec.model).eval().requires_grad_(False))

    def prepare(self) -> str:
        """Say how many rows are forgotten, and how many of them only by not being read any more."""
        forget, group = _marked(self.spec)
        if self.first_until is None or not self.first_until.any():
            return f"miu: {forget.sum()} of {len(forget)} training rows are left out, and none is unlearned"
        missing = int((group[forget] < 0).sum())
        text = f"miu: {forget.sum()} of {len(forget)} training rows are unlearned"
        return f"{text}, but {missing} of them have no group to unlearn, and are only left out" if missing else text

    def begin_epoch(self, epoch: int) -> None:
        """Fit both critics, each on its model's features of the same random training rows."""
        spec, train = self.spec, self.spec.data.train
        steps = int(spec.settings["warmup_steps" if epoch == 0 else "critic_steps"])
        seed = derive_seed(spec.seed, "critic rows")
        rows = np.sort(derived_generator(seed, epoch).permutation(len(train))[: steps * spec.batch_size])
        group = self.group[torch.from_numpy(rows).to(self.group.device)]
        for critic, model in zip(self.critics, self.models, strict=True):
            z = torch.from_numpy(spec.embed(model, train.at(rows))).to(critic.like)
            sample = Sample(z=z, c=group[:, None], y=None, weight=None, known=group >= 0)
            critic.steps = steps
            # the same minibatches for both: what they differ in is then the models
            draws = torch.Generator(z.device).manual_seed(derive_seed(spec.seed, "critic", epoch))
            critic.fit(sample, draws)

    def forward(self, batch: Batch, output: Mapping[str, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """The information of rows to forget; of other rows the cross-entropy, and the penalty."""
        own = self._information(0, output["features"], batch)
        if bool(self.forget[batch.index].all()):
            return own
        x, original = batch.x, self.models[1]
        if x.is_floating_point():
            x = x.to(self.critics[1].like.dtype)
        with torch.no_grad():
            features = self.spec.gather(original.extractor(x).features, len(batch))
            kept = self._information(1, features, batch)
        return sample_losses(output["logits"], batch.y).mean(), self.spec.settings["weight"] * (own - kept).square()

    def _information(self, which: int, features: Tensor, batch: Batch) -> Tensor:
        group = self.group[batch.index]
        known = group >= 0
        critic = self.critics[which]
        if not known.any():
            return features.sum() * 0
        assert isinstance(critic.critic, Critic), "made by _critic"
        with held_fixed(critic), full_precision(features.device):
            z = features[known].to(critic.like.dtype)
            return group_information(critic.critic, z, group[known], self.frequency)

    def get_extra_state(self) -> list[EstimatorState]:
        """Both critics with their optimizers, for a checkpoint."""
        return [critic.state_dict() for critic in self.critics]

    def set_extra_state(self, state: Sequence[EstimatorState]) -> None:
        """Restore what `get_extra_state` gave."""
        for critic, own in zip(self.critics, state, strict=True):
            critic.load_state_dict(own)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move what is no part of the method, too."""
        for module in (*self.critics, self.models[1]):
            module._apply(fn)
        super()._apply(fn, recurse)
        return self


def retained_weights(group: np.ndarray, forget: np.ndarray) -> np.ndarray:
    """Weights (n,) by which rows are drawn so that groups (n,) occur as often as with the rows to forget (n,) bool.

    A retained row of group g has n_g / r_g, the group's rows over those of them that are retained; others have 0. Rows
    of group −1 are a group, too.

    Example:
        >>> retained_weights(np.array([0, 0, 0, 1, 1]), np.array([True, True, False, False, False])).tolist()
        [0.0, 0.0, 3.0, 1.0, 1.0]
    """
    # groups from 0
    of_row = group + 1
    n_all = np.bincount(of_row)
    n_retained = np.bincount(of_row[~forget], minlength=len(n_all))
    return np.where(forget, 0.0, n_all[of_row] / np.maximum(n_retained[of_row], 1))


def group_information(critic: Critic, z: Tensor, group: Tensor, frequency: Tensor) -> Tensor:
    """The Donsker–Varadhan value (scalar, nats) of I(z; group) by a critic of features and one-hot groups.

    E[T(z, g)] − log E_z Σ_g' p(g') exp T(z, g'): every row meets every group, as often as it occurs.

    Args:
        z: Features (n, d) of the rows.
        group: Their groups (n,), from 0.
        frequency: p(g) (k,) of all groups.
    """
    scores = critic.matrix(z, functional.one_hot(torch.arange(len(frequency), device=z.device)).to(z.dtype))
    joint = scores.gather(1, group[:, None])[:, 0]
    weight = frequency.to(scores.dtype).expand_as(scores)
    return donsker_varadhan(joint, scores.flatten(), None, weight.flatten())


def _marked(spec: MethodSpec) -> tuple[np.ndarray, np.ndarray]:
    """Which training rows are to be forgotten (n,), and their groups; a MibiasError where they cannot be."""
    train = spec.data.train
    if train.forget is None:
        raise MibiasError("data.columns.forget: names no column, so there is nothing to forget; name one")
    group = spec.groups(train)[0]
    lost = np.setdiff1d(group[train.forget & (group >= 0)], group[~train.forget])
    if len(lost):
        names = "; ".join(_group_name(spec, train, int(np.flatnonzero(group == g)[0])) for g in lost[:3])
        raise MibiasError(
            f"data.columns.forget: all training rows of {len(lost)} group(s) are marked ({names}), so that no retained "
            "row can stand in for them; leave some unmarked, or take all rows of such groups out of the data"
        )
    return train.forget, group


def _group_name(spec: MethodSpec, train: Split, row: int) -> str:
    """A row's target class and attributes in words."""
    channels = [names for attribute in spec.bias_attributes for names in attribute.class_names]
    own = [names[c] for names, c in zip(channels, spec.bias(train)[row], strict=True)]
    return " / ".join([spec.data.class_names[int(train.y[row])], *own])


def _check_batches(spec: MethodSpec, n_forget: int) -> None:
    """An epoch has as many batches as the training split; some must be left for rows that are retained."""
    n_all, n_first = n_batches(spec.data.train, spec.batch_size), -(-n_forget // spec.batch_size)
    if n_first >= n_all:
        raise MibiasError(
            f"training.batch_size: of {n_all} batch(es) of an epoch {n_first} would hold rows to forget, and none "
            f"would be left for retained rows; lower it from {spec.batch_size}, or retrain (method: retrain)"
        )


def _critic(spec: MethodSpec, n_groups: int) -> Mine:
    """A fresh critic of features and groups."""
    return Mine(
        EstimatorSpec(
            n_features=spec.model.extractor.features_dim,
            n_classes=(n_groups,),
            bin_edges=None,
            hidden=_HIDDEN,
            learning_rate=spec.settings["critic_rate"],
            optimizer="adam",
            beta1=0.9,
            steps=1,
            batch_size=spec.batch_size,
            moving_average=0.99,
            n_random_features=0,
            ridge=0.0,
            make_heads=nn.Identity,
        )
    )
