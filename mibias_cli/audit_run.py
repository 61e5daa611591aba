"""From models and a split to the audit's input, and from its findings to a report."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mibias_cli import __version__
from mibias_cli.backbone.embed import Embedded, embed
from mibias_cli.backbone.weights import weights_fingerprint
from mibias_cli.data.batch import BiasedData, Split
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.audit_types import AuditedAttribute, AuditInput, AuditSettings, Features
from mibias_cli.progress import Progress
from mibias_cli.recipe.schema import Recipe
from mibias_cli.report.leakage_report import LeakageReport
from mibias_cli.seeds import derive_seed
from mibias_cli.training.model import TaskModel

__all__ = ["AuditTarget", "audit_target"]


@dataclass(frozen=True, kw_only=True)
class AuditTarget:
    """What is audited.

    Args:
        before: The original extractor with its head, or None.
        after: The extractor under audit with its head.
        before_is_backbone: `before` is the backbone's own features: its bottleneck was never trained.
        before_has_head, after_has_head: Whether the head was trained, so that its own accuracy means something.
    """

    before: TaskModel | None
    after: TaskModel
    before_is_backbone: bool = False
    before_has_head: bool = False
    after_has_head: bool = False


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
) -> LeakageReport:
    """Embed the training and the audited samples by each extractor, audit them, and make the report."""
    section = recipe.evaluation
    rows = {
        split.name: _chosen(split, section.max_samples, derive_seed(recipe.seed, "audit", split.name))
        for split in (data.train, data.audit)
    }
    layers = [name for name in recipe.representation.layers if name not in ("features", "output")]
    embedded = {}
    for when, model in (("before", target.before), ("after", target.after)):
        if model is not None:
            progress.stage(f"embedding by the {'original' if when == 'before' else 'audited'} extractor")
            embedded[when] = _embed_both(model, data, rows, layers, recipe, fabric)
    inputs = _audit_input(target, data, rows, embedded, layers)
    progress.stage("auditing")
    settings = AuditSettings(
        probes=tuple(section.probes),
        fit_fraction=section.fit_fraction,
        n_bootstrap=section.n_bootstrap,
        confidence=section.confidence,
        min_cell=section.min_cell,
    )
    result = audit(inputs, settings, seed=derive_seed(recipe.seed, "audit") % 2**32, progress=progress)
    hashes = {
        "mibias_version": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "weights_before_sha256": None if target.before is None else weights_fingerprint(target.before.extractor),
        "weights_after_sha256": weights_fingerprint(target.after.extractor),
        "seed": recipe.seed,
        "device": str(fabric.device),
    }
    return LeakageReport(result=result, provenance=provenance | hashes)


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
    attributes = tuple(
        AuditedAttribute(
            name=name,
            channels=attribute.channels,
            class_names=attribute.class_names,
            c=attribute.classes(data.audit.c[name][audit_rows]),
            known=data.audit.known[name][audit_rows],
        )
        for name, attribute in data.attributes.items()
    )
    return AuditInput(
        before=None if before is None else _features(before, backbone=target.before_is_backbone),
        after=_features(after, backbone=False),
        train_y=data.train.y[rows[data.train.name]],
        audit_y=data.audit.y[audit_rows],
        class_names=data.class_names,
        attributes=attributes,
        group=None if data.audit.group is None else data.audit.group[audit_rows],
        others=_others(before, after, layers),
        head_before=_predicted(target.before, before) if target.before_has_head else None,
        head_after=_predicted(target.after, after) if target.after_has_head else None,
    )


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
    if model is None or embeddings is None:
        return None
    head = model.head.float()
    predicted: np.ndarray = head(torch.from_numpy(embeddings.audit.features)).argmax(dim=1).numpy()
    return predicted
