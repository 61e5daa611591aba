"""From models and a split to the audit's input, and from its findings to a report."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mibias_cli import __version__
from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.embed import Embedded, embed
from mibias_cli.backbone.reinitialise import reinitialised_extractor
from mibias_cli.backbone.weights.matching import weights_fingerprint
from mibias_cli.data.batch import Attribute, BiasedData, Split
from mibias_cli.data.files.stored_reader import hold_rows
from mibias_cli.errors import EvaluationError, did_you_mean
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, AuditInput, Features
from mibias_cli.evaluation.leakage.held_out import leakage_given_target
from mibias_cli.heads.target import TargetHead
from mibias_cli.progress import Progress
from mibias_cli.recipe.schema import EvaluationSection, Recipe
from mibias_cli.report.document import Report, make_report
from mibias_cli.run.debias import debiased_attributes
from mibias_cli.seeds import derive_seed
from mibias_cli.training.model import TaskModel

__all__ = ["AuditTarget", "audit_target", "validation_leakage"]

MAX_VALIDATION_ROWS = 6_000
"""Validation rows by which leakage is told at the end of training: enough for about ±.01 bits."""


@dataclass(frozen=True, kw_only=True)
class AuditTarget:
    """What is audited.

    Args:
        before: The original extractor with its head, or None.
        after: The extractor under audit with its head.
        before_is_backbone: `before` is the backbone's own features: its bottleneck was never trained.
        before_has_head, after_has_head: Whether the head was trained, so that its own accuracy means something.
        backbone: The backbone as it was built, so that the control with weights drawn anew can be; None: no control.
    """

    before: TaskModel | None
    after: TaskModel
    before_is_backbone: bool = False
    before_has_head: bool = False
    after_has_head: bool = False
    backbone: Backbone | None = None


@dataclass(frozen=True, kw_only=True)
class _Embeddings:
    train: Embedded
    audit: Embedded


def audit_target(
    target: AuditTarget,
    recipe: Recipe,
    data: BiasedData,
    fabric: Any,
    provenance: dict[str, Any],
    progress: Progress,
) -> Report:
    """Embed the training and the audited samples by each extractor, audit them, and make the report."""
    section = recipe.evaluation
    rows = {
        split.name: _chosen(split, section.max_samples, derive_seed(recipe.seed, "audit", split.name))
        for split in (data.train, data.audit)
    }
    _check_crossings(section.crossings, data)
    data = hold_rows(data, rows)
    layers = [name for name in recipe.representation.layers if name not in ("features", "output")]
    embedded = {}
    for when, model in (("before", target.before), ("after", target.after)):
        if model is not None:
            progress.stage(f"embedding by the {'original' if when == 'before' else 'audited'} extractor")
            embedded[when] = _embed_both(model, data, rows, layers, recipe, fabric)
    inputs = _audit_input(target, data, rows, embedded, layers)
    if section.random_control and target.backbone is not None:
        progress.stage("embedding by a randomly initialised extractor")
        inputs = replace(inputs, random=_random_features(target, target.backbone, data, rows, recipe, fabric))
    progress.stage("auditing")
    result = audit(inputs, _settings(section), seed=derive_seed(recipe.seed, "audit") % 2**32, progress=progress)
    hashes = {
        "mibias_version": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "weights_before_sha256": None if target.before is None else weights_fingerprint(target.before.extractor),
        "weights_after_sha256": weights_fingerprint(target.after.extractor),
        "seed": recipe.seed,
        "device": str(fabric.device),
    }
    return make_report(result, provenance | hashes)


def validation_leakage(model: TaskModel, recipe: Recipe, data: BiasedData, fabric: Any) -> float | None:
    """Bits that a model's features tell of the debiased attributes beyond the target, on validation rows.

    None where there is nothing to tell it by: no classes, no attribute that varies, too few validation rows, or
    features that are not finite (which the audit will say).
    """
    split, names = data.validation, debiased_attributes(recipe, data)
    if not names or data.target.kind != "classes" or not len(split):
        return None
    seed = derive_seed(recipe.seed, "validation leakage")
    rows = _chosen(split, MAX_VALIDATION_ROWS, seed)
    z = embed(
        model.extractor, split, batch_size=recipe.training.batch_size, device=fabric.device,
        num_workers=recipe.training.num_workers, rows=rows,
    ).features  # fmt: skip
    attributes = [_column(data.attributes[name], split.c[name][rows], split.known[name][rows]) for name in names]
    group = None if split.group is None else split.group[rows]
    try:
        return leakage_given_target(
            z, split.y[rows], attributes, class_names=data.class_names, group=group, seed=seed % 2**32
        )
    except EvaluationError:
        return None


def _settings(section: EvaluationSection) -> AuditSettings:
    return AuditSettings(
        probes=tuple(section.probes),
        fit_fraction=section.fit_fraction,
        n_bootstrap=section.n_bootstrap,
        confidence=section.confidence,
        min_cell=section.min_cell,
        n_permutations=section.n_permutations,
        crossings=None if section.crossings is None else tuple(tuple(names) for names in section.crossings),
    )


def _check_crossings(crossings: list[list[str]] | None, data: BiasedData) -> None:
    for k, names in enumerate(crossings or []):
        for name in names:
            if name not in data.attributes:
                known = ", ".join(data.attributes)
                raise EvaluationError(
                    f"evaluation.crossings[{k}]: the data have no attribute '{name}'"
                    f"{did_you_mean(name, data.attributes)}; they are {known}"
                )
        if len(set(names)) < 2:
            raise EvaluationError(f"evaluation.crossings[{k}]: names fewer than two attributes; name two or more")


def _random_features(
    target: AuditTarget,
    backbone: Backbone,
    data: BiasedData,
    rows: dict[str, np.ndarray],
    recipe: Recipe,
    fabric: Any,
) -> Features:
    """The audited samples through the same architecture with weights drawn anew; no task head is fitted on it."""
    seed = derive_seed(recipe.seed, "random control") % 2**31
    extractor = reinitialised_extractor(target.after.extractor, backbone, seed=seed)
    found = embed(
        extractor, data.audit, batch_size=recipe.training.batch_size, device=fabric.device,
        num_workers=recipe.training.num_workers, rows=rows[data.audit.name],
    )  # fmt: skip
    return Features(train=found.features[:0], audit=found.features)


def _chosen(split: Split, limit: int, seed: int) -> np.ndarray:
    """Positions of at most `limit` samples of a split, in order."""
    if len(split) <= limit:
        return np.arange(len(split))
    return np.sort(np.random.default_rng(seed).choice(len(split), size=limit, replace=False))


def _embed_both(
    model: TaskModel, data: BiasedData, rows: dict[str, np.ndarray], layers: list[str], recipe: Recipe, fabric: Any
) -> _Embeddings:
    model.to(fabric.device)

    def embedded(split: Split) -> Embedded:
        return embed(
            model.extractor,
            split,
            batch_size=recipe.training.batch_size,
            device=fabric.device,
            num_workers=recipe.training.num_workers,
            rows=rows[split.name],
            layers=[layer for layer in layers if layer in model.layers],
            view=recipe.evaluation.layers if split is data.audit else (),
        )

    result = _Embeddings(train=embedded(data.train), audit=embedded(data.audit))
    model.to("cpu")
    return result


def _audit_input(
    target: AuditTarget,
    data: BiasedData,
    rows: dict[str, np.ndarray],
    embedded: dict[str, _Embeddings],
    layers: list[str],
) -> AuditInput:
    audit_rows = rows[data.audit.name]
    after, before = embedded["after"], embedded.get("before")
    return AuditInput(
        before=None if before is None else _features(before, backbone=target.before_is_backbone),
        after=_features(after, backbone=False),
        train_y=data.train.strata[rows[data.train.name]],
        audit_y=data.audit.strata[audit_rows],
        class_names=data.class_names,
        attributes=tuple(_audited(attribute, data, rows) for attribute in data.attributes.values()),
        columns=tuple(_kept(column, data.audit, audit_rows) for column in data.kept.values()),
        layers=_layers(before, after),
        group=None if data.audit.group is None else data.audit.group[audit_rows],
        others=_others(before, after, layers),
        head_before=_predicted(target.before, before) if target.before_has_head else None,
        head_after=_predicted(target.after, after) if target.after_has_head else None,
        target=_audited_target(data, rows),
    )


def _audited_target(data: BiasedData, rows: dict[str, np.ndarray]) -> AuditedTarget | None:
    """Labels or numbers in the user's units; None where the target is classes."""
    target = data.target
    if target.kind == "classes":
        return None
    train, audited = (split.y[rows[split.name]] for split in (data.train, data.audit))
    if target.kind == "none":
        train, audited = train[:, None], audited[:, None]
    return AuditedTarget(
        kind=target.kind, names=target.columns, train=target.in_units(train), audit=target.in_units(audited)
    )


def _audited(attribute: Attribute, data: BiasedData, rows: dict[str, np.ndarray]) -> AuditedAttribute:
    train_rows, audit_rows = rows[data.train.name], rows[data.audit.name]
    name = attribute.name
    plain = _column(attribute, data.audit.c[name][audit_rows], data.audit.known[name][audit_rows])
    return replace(
        plain,
        train_c=attribute.classes(data.train.c[name][train_rows]),
        train_known=data.train.known[name][train_rows],
    )


def _kept(column: Attribute, audit: Split, rows: np.ndarray) -> AuditedAttribute:
    return _column(column, audit.kept[column.name][rows], audit.kept_known[column.name][rows])


def _column(attribute: Attribute, values: np.ndarray, known: np.ndarray) -> AuditedAttribute:
    return AuditedAttribute(
        name=attribute.name,
        channels=attribute.channels,
        class_names=attribute.class_names,
        c=attribute.classes(values),
        known=known,
        kind=attribute.kind,
        values=np.asarray(values, dtype=np.float64) if attribute.kind == "continuous" else None,
    )


def _layers(before: _Embeddings | None, after: _Embeddings) -> dict[str, tuple[Features | None, Features]]:
    def features(embeddings: _Embeddings, layer: str) -> Features:
        z = embeddings.audit.view[layer]
        return Features(train=z[:0], audit=z)

    return {
        layer: (None if before is None else features(before, layer), features(after, layer))
        for layer in after.audit.view
    }


def _features(embeddings: _Embeddings, *, backbone: bool) -> Features:
    if backbone:
        return Features(train=embeddings.train.backbone_features, audit=embeddings.audit.backbone_features)
    return Features(train=embeddings.train.features, audit=embeddings.audit.features)


def _others(
    before: _Embeddings | None, after: _Embeddings, layers: list[str]
) -> dict[str, tuple[Features | None, Features]]:
    """The backbone's own features where a bottleneck stands behind them, and the penalised inner layers."""
    others: dict[str, tuple[Features | None, Features]] = {}
    if after.audit.backbone_features is not after.audit.features:
        others["backbone"] = (
            None if before is None else _features(before, backbone=True),
            _features(after, backbone=True),
        )
    for layer in layers:
        if layer in after.audit.taps:
            tapped = Features(train=after.train.taps[layer], audit=after.audit.taps[layer])
            original = None
            if before is not None:
                original = Features(train=before.train.taps[layer], audit=before.audit.taps[layer])
            others[layer] = (original, tapped)
    return others


@torch.no_grad()
def _predicted(model: TaskModel | None, embeddings: _Embeddings | None) -> np.ndarray | None:
    """What the head itself says: classes (n,), labels (n, k), or numbers (n, k) in the user's units."""
    if model is None or embeddings is None or not isinstance(model.head, TargetHead):
        return None
    head = model.head.float()
    logits = head(torch.from_numpy(embeddings.audit.features))
    if head.kind == "classes":
        logits = logits.argmax(dim=1)
    elif head.kind == "multilabel":
        logits = (logits > 0).long()
    else:
        logits = head.in_units(logits.double())
    predicted: np.ndarray = logits.numpy()
    return predicted
