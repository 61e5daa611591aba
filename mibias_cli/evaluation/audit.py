"""The audit: leakage of every attribute, the task and fidelity, before and after, by one split and one set of draws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.fidelity import compare_features, has_collapsed, recovered_share
from mibias_cli.evaluation.findings import (
    AttributeFindings,
    AuditedAttribute,
    AuditInput,
    AuditResult,
    AuditSettings,
    Change,
    ColumnFindings,
    Features,
    LayerFindings,
    LeakageFindings,
    Similarity,
    TaskFindings,
)
from mibias_cli.evaluation.leakage.attribute import (
    MAX_FIT_ROWS,
    MIN_ROWS,
    Prepared,
    check_varies,
    fit_and_score_parts,
    prepare,
)
from mibias_cli.evaluation.leakage.measure import Measured, paired_change
from mibias_cli.evaluation.leakage.scoring import families
from mibias_cli.evaluation.probes.families import get_probe
from mibias_cli.evaluation.statistics.correction import correct, enough_permutations
from mibias_cli.evaluation.statistics.information import label_entropy_bits, mutual_information_bits
from mibias_cli.evaluation.target_types import RegressionFindings
from mibias_cli.evaluation.task.audit import audit_task
from mibias_cli.progress import Progress

__all__ = ["MAX_FIT_ROWS", "MIN_ROWS", "audit"]

N_THREADS = 1  # many small fits: threads cost more than they give, and results must not vary with the machine

SidesMeasured = dict[str, Measured | None]


def audit(inputs: AuditInput, settings: AuditSettings, *, seed: int, progress: Progress) -> AuditResult:
    """Audit one extractor, beside the original one where there is one.

    Args:
        inputs: Features, targets and attributes.
        settings: How.
        seed: Of the split, the probes and the resamples: the same inputs and seed give the same result.
        progress: Told of every fitted probe.

    Raises:
        EvaluationError: Features that are not finite, a part too small to fit or score on, an attribute of a single
            class, an unknown probe.
    """
    _check(inputs, settings)
    fit, score = fit_and_score_parts(inputs, settings, seed)
    n_tests = sum(len(a.channels) * len(families(settings.probes, a.kind)) for a in inputs.attributes)
    shuffles = enough_permutations(settings.n_permutations, n_tests)

    def ready(attribute: AuditedAttribute) -> Prepared:
        return prepare(attribute, inputs, settings, fit, score, n_permutations=shuffles, seed=seed)

    with threadpool_limits(limits=N_THREADS):
        prepared = {attribute.name: ready(attribute) for attribute in inputs.attributes}
        measured = {name: _measure(p, inputs, progress) for name, p in prepared.items()}
        attributes = _findings(prepared, inputs, settings, measured)
        layers = _audit_layers(prepared, inputs, progress)
        columns = {column.name: _audit_column(ready(column), inputs, progress) for column in inputs.columns}
        progress.stage("auditing the task")
        channels = {name: found.after.headline_channel for name, found in attributes.items()}
        task = audit_task(inputs, settings, channels, seed=seed)
        similarity = _similarity(inputs)
    return AuditResult(
        n_train=len(inputs.train_y),
        n_audit=len(inputs.audit_y),
        n_fit=len(fit),
        n_score=len(score),
        attributes=attributes,
        task_before=task.before,
        task_after=task.after,
        similarity=similarity,
        settings=settings,
        seed=seed,
        fairness=task.fairness,
        intersections=task.intersections,
        columns=columns,
        column_kinds={column.name: column.kind for column in inputs.columns},
        layers=layers,
        collapsed=has_collapsed(
            similarity.effective_rank_after,
            similarity.effective_rank_before,
            n_classes=_n_classes(inputs),
            kept=_kept(task.before, task.after),
        ),
    )


def _similarity(inputs: AuditInput) -> Similarity:
    if inputs.before is None:
        return compare_features(None, inputs.after.audit)
    share = recovered_share(inputs.before, inputs.after)
    return compare_features(inputs.before.audit, inputs.after.audit, original_r2=share)


def _n_classes(inputs: AuditInput) -> int:
    """Of the target, as far as it says how many directions features need."""
    if inputs.without_target:
        return 0
    if inputs.target is not None and inputs.target.kind == "regression":
        return len(inputs.target.names) + 1
    return len(np.unique(inputs.audit_y))


def _kept(
    before: TaskFindings | RegressionFindings | None, after: TaskFindings | RegressionFindings | None
) -> tuple[float, float] | None:
    """Balanced accuracy beyond chance, or R², before and after."""
    if before is None or after is None:
        return None
    return _beyond_chance(before), _beyond_chance(after)


def _beyond_chance(task: TaskFindings | RegressionFindings) -> float:
    if isinstance(task, RegressionFindings):
        return task.r2.estimate
    n_classes = 2 if task.kind == "multilabel" else len({row.y for row in task.groups if row.n})
    return task.balanced_accuracy - 1 / max(n_classes, 1)


def _extractors(inputs: AuditInput) -> Iterator[tuple[str, Features]]:
    if inputs.before is not None:
        yield "the original extractor", inputs.before
    yield "the audited extractor", inputs.after
    if inputs.random is not None:
        yield "the randomly initialised extractor", inputs.random
    for name, (before, after) in (inputs.others | inputs.layers).items():
        if before is not None:
            yield f"'{name}' of the original extractor", before
        yield f"'{name}' of the audited extractor", after


def _check(inputs: AuditInput, settings: AuditSettings) -> None:
    for probe in settings.probes:
        get_probe(probe)
    for name, features in _extractors(inputs):
        for part, z in (("training", features.train), ("audited", features.audit)):
            bad = int((~np.isfinite(z)).any(axis=1).sum())
            if bad:
                raise EvaluationError(
                    f"{name}: {bad} of {len(z)} {part} samples have features that are NaN or infinite; training has "
                    "probably diverged: lower debias.weight or training.learning_rate"
                )
    if len(inputs.audit_y) < 2 * MIN_ROWS:
        raise EvaluationError(
            f"audited split: {len(inputs.audit_y)} samples are too few, {2 * MIN_ROWS} are needed; audit a larger split"
        )
    for attribute in inputs.attributes:
        check_varies(attribute, "attribute")
    for column in inputs.columns:
        check_varies(column, "column")


class _Counter:
    """Tells a progress display of every fitted probe."""

    def __init__(self, progress: Progress, description: str, total: int) -> None:
        self._progress, self._done = progress, 0
        progress.begin(description, total)

    def __call__(self) -> None:
        self._done += 1
        self._progress.advance(self._done)


def _measure(prepared: Prepared, inputs: AuditInput, progress: Progress) -> dict[str, SidesMeasured]:
    """By representation ("" is the audited one) and side."""
    sides: dict[str, dict[str, Features | None]] = {
        "": {"before": inputs.before, "after": inputs.after, "random": inputs.random}
    }
    sides |= {name: {"before": before, "after": after} for name, (before, after) in inputs.others.items()}
    n_measured = sum(features is not None for pair in sides.values() for features in pair.values())
    name = prepared.attribute.name
    progress.stage(f"auditing {name}")
    questions = 2 if prepared.conditional else 1
    advance = _Counter(progress, f"probes of {name}", n_measured * questions * prepared.n_probes)
    measured: dict[str, SidesMeasured] = {
        representation: {
            side: None if features is None else prepared.measure(features.audit, advance)
            for side, features in pair.items()
        }
        for representation, pair in sides.items()
    }
    progress.end()
    return measured


def _findings(
    prepared: dict[str, Prepared],
    inputs: AuditInput,
    settings: AuditSettings,
    measured: dict[str, dict[str, SidesMeasured]],
) -> dict[str, AttributeFindings]:
    """All attributes' findings, their tests corrected together, one representation and side at a time."""
    corrected: dict[tuple[str, str], dict[str, LeakageFindings]] = {}
    for representation in ("", *inputs.others):
        for side in ("before", "after", "random"):
            found = {name: m[representation].get(side) for name, m in measured.items()}
            corrected[representation, side] = correct({n: m.findings for n, m in found.items() if m is not None})
    out = {}
    for name, p in prepared.items():
        before, after = measured[name][""]["before"], measured[name][""]["after"]
        change = None
        if before is not None and after is not None:
            pair = paired_change(before, after, settings.confidence, n_units=p.resamples.n_units)
            change = Change(leakage_bits=pair[0], conditional_leakage_bits=pair[1])
        sides = {key: found.get(name) for key, found in corrected.items()}
        out[name] = _attribute_findings(p.attribute, inputs, sides, change)
    return out


def _attribute_findings(
    attribute: AuditedAttribute,
    inputs: AuditInput,
    sides: dict[tuple[str, str], LeakageFindings | None],
    change: Change | None,
) -> AttributeFindings:
    known = attribute.known
    entropy, target = {}, {}
    for channel, names, c in zip(attribute.channels, attribute.class_names, attribute.c.T, strict=True):
        entropy[channel] = label_entropy_bits(c[known], len(names))
        target[channel] = mutual_information_bits(inputs.audit_y[known], c[known], len(inputs.class_names), len(names))
    after = sides["", "after"]
    assert after is not None
    others = {}
    for name in inputs.others:
        other = sides[name, "after"]
        assert other is not None
        others[name] = (sides[name, "before"], other)
    return AttributeFindings(
        kind=attribute.kind,
        entropy_bits=entropy[after.headline_channel],
        target_attribute_bits=target[after.headline_channel],
        channel_entropy_bits=entropy,
        channel_target_attribute_bits=target,
        n_known=int(known.sum()),
        before=sides["", "before"],
        after=after,
        random=sides["", "random"],
        change=change,
        others=others,
    )


def _audit_layers(
    prepared: dict[str, Prepared], inputs: AuditInput, progress: Progress
) -> dict[str, dict[str, tuple[LayerFindings | None, LayerFindings]]]:
    """By layer, then by attribute."""
    found: dict[str, dict[str, tuple[LayerFindings | None, LayerFindings]]] = {}
    for layer, (before, after) in inputs.layers.items():
        progress.stage(f"auditing layer {layer}")
        total = sum(p.n_probes for p in prepared.values()) * (1 if before is None else 2)
        advance = _Counter(progress, f"probes of layer {layer}", total)
        found[layer] = {
            name: (
                None if before is None else p.measure_layer(before.audit, advance),
                p.measure_layer(after.audit, advance),
            )
            for name, p in prepared.items()
        }
        progress.end()
    return found


def _audit_column(
    prepared: Prepared, inputs: AuditInput, progress: Progress
) -> tuple[ColumnFindings | None, ColumnFindings]:
    before, after = inputs.before, inputs.after
    name = prepared.attribute.name
    progress.stage(f"auditing what is kept of {name}")
    advance = _Counter(progress, f"probes of {name}", prepared.n_probes * (1 if before is None else 2))
    found = (
        None if before is None else prepared.measure_column(before.audit, advance),
        prepared.measure_column(after.audit, advance),
    )
    progress.end()
    return found
