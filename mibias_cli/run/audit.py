"""From models to a report: embed the chosen rows by each extractor, audit them, and say what was audited."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import JsonValue
from torch import nn

from mibias_cli import __version__
from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.embed import embed, fit_input_scale, refuse_not_finite, spread_rows
from mibias_cli.backbone.reinitialise import reinitialised_extractor
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.data.batch import Attribute, BiasedData
from mibias_cli.data.files.readers import hold_rows
from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.check import check_auditable
from mibias_cli.evaluation.findings import AuditFindings, AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, AuditInput, Features
from mibias_cli.evaluation.leakage.held_out import leakage_given_target
from mibias_cli.evaluation.leakage.jobs import Fitters, probe_work
from mibias_cli.evaluation.leakage_findings import Side
from mibias_cli.heads.target import TargetHead
from mibias_cli.progress import Progress
from mibias_cli.recipe.load import dump_recipe
from mibias_cli.recipe.tables import METHODS, MI
from mibias_cli.report.document import Report, make_report
from mibias_cli.report.illustrations import read_metrics
from mibias_cli.run.assemble import Parts
from mibias_cli.run.before.unaudited import unaudited
from mibias_cli.run.cached import cached_parts, shares_prefix
from mibias_cli.run.methods.forgotten_rows import Rows, audited_rows, chosen_rows, retained_rows, trained_rows
from mibias_cli.run_folder import RunFolder
from mibias_cli.seeds import derive_seed
from mibias_cli.training.model import TaskModel

__all__ = ["AuditTarget", "audit_target", "check_audit", "validation_leakage"]

MAX_VALIDATION_ROWS = 6_000
"""Validation rows by which leakage is measured at the end of training: enough for about ±.01 bits."""
_ROWS_OF_CONTROL_SCALE = 500
"""Training rows by which the control's features are standardised."""


@dataclass(frozen=True, kw_only=True)
class AuditTarget:
    """What is audited.

    Args:
        name, weights: Backbone and weights, as the report's provenance says them.
        before: The original extractor with its head, or None.
        loaded: Pretrained weights as they were loaded, where `before` was trained on the task, or None.
        after: The extractor under audit with its head.
        untrained_is_backbone: A bottleneck that was never trained is nobody's extractor: of `loaded`, and of a `before`
            without a head, the backbone's own features are taken.
        before_has_head, after_has_head: Whether the head was trained, so that its own accuracy means something.
        backbone: The backbone as it was built, from which a control with random weights is made; None: no control.
        run: The run that it belongs to, whose training curves the report's page shows.
        unfinished: What the run had not done yet; None: it had ended, or there is none.
        warnings: What differs between the recipe's data and those that the model was trained on.
    """

    name: str
    weights: str
    before: TaskModel | None = None
    after: TaskModel
    loaded: TaskModel | None = None
    untrained_is_backbone: bool = False
    before_has_head: bool = False
    after_has_head: bool = False
    backbone: Backbone | None = None
    run: RunFolder | None = None
    unfinished: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Side:
    """What one extractor makes of the chosen rows: its features, and by name what lies within.

    `predicted` and `predicted_train` are what its head, if it was trained, says of audited and of training rows.
    """

    features: Features
    within: dict[str, Features]
    layers: dict[str, Features]
    predicted: np.ndarray | None
    predicted_train: np.ndarray | None = None


def audit_target(target: AuditTarget, parts: Parts, progress: Progress, *, jobs: int | None = 1) -> Report:
    """Embed the training and the audited samples by each extractor, audit them, and make the report."""
    with Fitters(jobs) as fitters:
        result = _findings(target, parts, progress, fitters)
    asked, metrics = parts.recipe.debias.objective, () if target.run is None else read_metrics(target.run.metrics)
    return make_report(
        result, _provenance(target, parts), asked, metrics, target.unfinished, _debiased(target, parts),
        _budget_bits(target, parts), (*target.warnings, *unaudited(parts.data)),
    )  # fmt: skip


def _findings(target: AuditTarget, parts: Parts, progress: Progress, fitters: Fitters) -> AuditFindings:
    """What the audit finds of the features that each extractor gives."""
    section, seed, data = parts.recipe.evaluation, parts.recipe.seed, parts.data
    rows = audited_rows(parts)
    # they take seconds to start, in which this process embeds
    fitters.expect(*_probe_work(target, parts, len(rows[data.audit.name])))
    # stored embeddings are read from their file once, not once per extractor
    parts = replace(parts, data=hold_rows(data, rows))
    # a run's extractors have the same frozen stages: what these give for a sample is computed once
    kept = parts if target.run is None else cached_parts(parts, progress, _cacheable(rows, parts))

    loaded = before = None
    if target.loaded is not None:
        progress.stage("embedding by the weights as loaded")
        loaded = _embedded(target.loaded, parts, kept, rows, bare=target.untrained_is_backbone, has_head=False)
    if target.before is not None:
        progress.stage("embedding by the original extractor")
        bare = target.untrained_is_backbone and not target.before_has_head
        before = _embedded(target.before, parts, kept, rows, bare=bare, has_head=target.before_has_head)
    progress.stage("embedding by the audited extractor")
    after = _embedded(target.after, parts, kept, rows, has_head=target.after_has_head)
    random = None
    if section.random_control and target.backbone is not None:
        progress.stage("embedding by a randomly initialised extractor")
        random = _random_features(target.after, target.backbone, parts, rows)

    progress.stage("auditing")
    inputs = _audit_input(parts, rows, before, after)
    inputs = replace(inputs, random=random, loaded=None if loaded is None else loaded.features)
    settings = _settings(parts)
    return audit(
        inputs, settings, seed=derive_seed(seed, "audit") % 2**32, progress=progress, fitters=fitters,
        sizes_of=parts.recipe.debias.objective,
    )  # fmt: skip


def _probe_work(target: AuditTarget, parts: Parts, n: int) -> tuple[int, int]:
    """How much work the probes of n audited samples are, as far as is known before they are embedded, and how many."""
    channels = [n_classes for attribute in parts.data.attributes.values() for n_classes in attribute.n_classes]
    n_sides = 1 + sum(model is not None for model in (target.loaded, target.before))
    n_probes = n_sides * len(parts.recipe.evaluation.probes)
    work = probe_work(
        n_probes=n_probes, n_classes=sum(channels), n_rows=n // 2, n_features=target.after.extractor.features_dim
    )
    return work, n_probes * len(channels)


def _provenance(target: AuditTarget, parts: Parts) -> dict[str, JsonValue]:
    """Where the report comes from."""
    return {
        "backbone": target.name,
        "weights": target.weights,
        "recipe_sha256": hashlib.sha256(dump_recipe(parts.recipe).encode()).hexdigest(),
        "data_sha256": parts.data.fingerprint,
        "mibias_version": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **({} if target.loaded is None else {"weights_loaded_sha256": weights_fingerprint(target.loaded.extractor)}),
        "weights_before_sha256": None if target.before is None else weights_fingerprint(target.before.extractor),
        "weights_after_sha256": weights_fingerprint(target.after.extractor),
        "seed": parts.recipe.seed,
        "device": str(parts.fabric.device),
    }


def _budget_bits(target: AuditTarget, parts: Parts) -> Mapping[str, float]:
    """The leakage that a run was to leave of each attribute; empty where it had no budget."""
    has_budget = target.run is not None and target.unfinished is None and parts.recipe.method == MI
    return parts.budgets if has_budget else {}


def _debiased(target: AuditTarget, parts: Parts) -> Sequence[str] | None:
    """The attributes that a run was asked to remove; None: all. Methods of the field are asked for other things."""
    method = parts.recipe.method
    asked = method == MI or METHODS[method].removes or parts.recipe.debias.erase != "none"
    removes = target.run is not None and asked
    return parts.recipe.debias.attributes if removes else ()


def check_audit(parts: Parts) -> None:
    """Raise the EvaluationError that an audit of these data would end with, whatever the features are."""
    rows = audited_rows(parts)
    fitted = retained_rows(parts.data, rows)
    train, audited = (np.empty((len(fitted[split.name]), 0)) for split in (parts.data.train, parts.data.audit))
    nothing = Features(train=train, audit=audited)
    side = _Side(features=nothing, within={"backbone": nothing}, layers={}, predicted=None)
    seed = derive_seed(parts.recipe.seed, "audit") % 2**32
    check_auditable(_audit_input(parts, rows, None, side), _settings(parts), seed=seed)


def _settings(parts: Parts) -> AuditSettings:
    section = parts.recipe.evaluation
    return AuditSettings.model_validate(section.model_dump(include=set(AuditSettings.model_fields)))


def validation_leakage(model: TaskModel, parts: Parts) -> float | None:
    """Leakage in bits of the debiased attributes beyond the target, by a model's features of validation rows.

    None where there is nothing to measure it by: no classes, no attribute that varies, too few validation rows, or
    features that are not finite (which the audit will say).
    """
    data, split, names = parts.data, parts.data.validation, parts.debiased
    if not names or data.target.kind != "classes" or not len(split):
        return None
    seed = derive_seed(parts.recipe.seed, "validation leakage")
    rows = chosen_rows(len(split), MAX_VALIDATION_ROWS, seed)
    z = embed(model.extractor, split, **parts.reading, rows=rows).features
    attributes = [_column(data.attributes[name], split.c[name][rows], split.known[name][rows]) for name in names]
    group = None if split.group is None else split.group[rows]
    try:
        return leakage_given_target(
            z, split.y[rows], attributes, class_names=data.class_names, group=group, seed=seed % 2**32
        )
    except EvaluationError:
        return None


# --- features ---


def _cacheable(rows: Rows, parts: Parts) -> Rows:
    """The rows whose images need not go through frozen stages again: not those of which inner layers are shown."""
    return {k: v for k, v in rows.items() if k != parts.data.audit.name or not parts.recipe.evaluation.layers}


def _embedded(model: TaskModel, parts: Parts, kept: Parts, rows: Rows, *, bare: bool = False, has_head: bool) -> _Side:
    """A model's features of the training samples, on which the task head is fitted, and of the audited ones.

    `kept` are the parts with what frozen stages made of those inputs, where the model has the same stages.
    """
    shown = parts.recipe.evaluation.layers
    kept = kept if kept.computed is None or shares_prefix(model.extractor, kept) else parts
    # penalised inner layers, where the model is the recipe's own and not one that only gives features
    taps = [name for name in model.layers if name in model.extractor.inner_layers]
    # on the device only while it embeds
    model.to(parts.fabric.device)
    train_rows, audit_rows = rows[parts.data.train.name], rows[parts.data.audit.name]
    model.extractor.computed = kept.computed
    train = embed(model.extractor, kept.data.train, **kept.reading, rows=train_rows, layers=taps)
    # inner layers that are shown are read in a pass from the image on
    read = parts if shown else kept
    model.extractor.computed = read.computed
    audited = embed(model.extractor, read.data.audit, **read.reading, rows=audit_rows, layers=taps, view=shown)
    model.extractor.computed = None
    model.to("cpu")
    for embedded in (train, audited):
        refuse_not_finite(embedded.features)
    fitted = np.isin(train_rows, parts.data.train.retained)
    own = Features(train=train.backbone_features[fitted], audit=audited.backbone_features)
    return _Side(
        features=own if bare else Features(train=train.features[fitted], audit=audited.features),
        within={"backbone": own} | {k: Features(train=train.taps[k][fitted], audit=audited.taps[k]) for k in taps},
        # layers that are only shown have no head fitted on them, so they need no training samples
        layers={name: Features(train=z[:0], audit=z) for name, z in audited.view.items()},
        predicted=_predicted(model.head, audited.features) if has_head else None,
        predicted_train=_predicted(model.head, train.features) if has_head and not fitted.all() else None,
    )


def _random_features(model: TaskModel, backbone: Backbone, parts: Parts, rows: Rows) -> Features:
    """The audited samples through the same architecture with new random weights; no task head is fitted on it."""
    seed = derive_seed(parts.recipe.seed, "random control") % 2**31
    data, extractor = parts.data, reinitialised_extractor(model.extractor, backbone, seed=seed)
    if parts.recipe.training.channels_last:
        extractor.to(memory_format=torch.channels_last)
    among = retained_rows(data, rows)[data.train.name]
    among = among[spread_rows(len(among), _ROWS_OF_CONTROL_SCALE)]
    fit_input_scale(extractor, data.train, **parts.reading, rows=among)
    z = embed(extractor, data.audit, **parts.reading, rows=rows[data.audit.name]).features
    return Features(train=z[:0], audit=z)


def _predicted(head: nn.Module, features: np.ndarray) -> np.ndarray | None:
    """What a head itself says: probabilities of classes (n, K) or labels (n, k), numbers (n, k) in the user's units."""
    if not isinstance(head, TargetHead):
        return None
    predicted = np.asarray(head.float().predict(torch.from_numpy(features)).numpy())
    if not np.isfinite(predicted).all():
        raise EvaluationError(
            "the trained head predicts what is no finite number: its weights are damaged, or training diverged; lower "
            "training.learning_rate, training.weight_decay or debias.weight"
        )
    return predicted


# --- the audit's input ---


def _audit_input(parts: Parts, rows: Rows, before: _Side | None, after: _Side) -> AuditInput:
    """Features and labels of the chosen rows, side by side: everything that is audited but the random control."""
    sides: dict[Side, _Side] = {"after": after} if before is None else {"before": before, "after": after}
    said = {side: own.predicted_train for side, own in sides.items()}
    data, trained = parts.data, trained_rows(parts, rows, said)
    rows = retained_rows(data, rows)
    train_rows, audit_rows = rows[data.train.name], rows[data.audit.name]
    within = dict(after.within)
    # the backbone's own features are worth a row of their own only where a bottleneck or an eraser stands behind them
    if within["backbone"].audit is after.features.audit:
        del within["backbone"]
    kept, kept_known = data.audit.kept, data.audit.kept_known
    return AuditInput(
        before=None if before is None else before.features,
        after=after.features,
        train_y=data.train.strata[train_rows],
        audit_y=data.audit.strata[audit_rows],
        class_names=data.class_names,
        attributes=tuple(_audited(attribute, data, train_rows, audit_rows) for attribute in data.attributes.values()),
        columns=tuple(_column(a, kept[k][audit_rows], kept_known[k][audit_rows]) for k, a in data.kept.items()),
        layers=_pairs(None if before is None else before.layers, after.layers),
        group=None if data.audit.group is None else data.audit.group[audit_rows],
        others=_pairs(None if before is None else before.within, within),
        heads={side: own.predicted for side, own in sides.items() if own.predicted is not None},
        trained=trained,
        target=_audited_target(data, rows),
    )


def _pairs(
    before: Mapping[str, Features] | None, after: Mapping[str, Features]
) -> dict[str, tuple[Features | None, Features]]:
    return {name: (None if before is None else before[name], found) for name, found in after.items()}


def _column(attribute: Attribute, values: np.ndarray, known: np.ndarray) -> AuditedAttribute:
    """An attribute (or another column) on some rows: values (n, channels), known (n,)."""
    return AuditedAttribute(
        name=attribute.name,
        channels=attribute.channels,
        class_names=attribute.class_names,
        c=attribute.classes(values),
        known=known,
        kind=attribute.kind,
        values=np.asarray(values, dtype=np.float64) if attribute.kind == "continuous" else None,
    )


def _audited(attribute: Attribute, data: BiasedData, train_rows: np.ndarray, rows: np.ndarray) -> AuditedAttribute:
    name, train, audited = attribute.name, data.train, data.audit
    train_c, train_known = attribute.classes(train.c[name][train_rows]), train.known[name][train_rows]
    column = _column(attribute, audited.c[name][rows], audited.known[name][rows])
    return replace(column, train_c=train_c, train_known=train_known)


def _audited_target(data: BiasedData, rows: Rows) -> AuditedTarget | None:
    """Labels or numbers in the user's units; None where the target is classes."""
    target = data.target
    if target.kind == "classes":
        return None
    train, audited = (split.y[rows[split.name]] for split in (data.train, data.audit))
    if target.kind == "none":
        train, audited = train[:, None], audited[:, None]
    train, audited = target.in_units(train), target.in_units(audited)
    return AuditedTarget(kind=target.kind, names=target.columns, train=train, audit=audited)
