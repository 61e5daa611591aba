"""The audit: leakage of every attribute, the task and fidelity, before and after, by one split and one set of draws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.audit_types import (
    AttributeFindings,
    AuditedAttribute,
    AuditInput,
    AuditResult,
    AuditSettings,
    Change,
    Features,
    TaskFindings,
)
from mibias_cli.evaluation.group_metrics import task_findings
from mibias_cli.evaluation.information import label_entropy_bits, mutual_information_bits
from mibias_cli.evaluation.leakage import ChannelTask, Measured, headline, make_channel_task, measure, paired_change
from mibias_cli.evaluation.partition import fit_and_score_rows, inner_folds
from mibias_cli.evaluation.probes import get_probe
from mibias_cli.evaluation.resampling import Resamples
from mibias_cli.evaluation.similarity import compare_features
from mibias_cli.evaluation.task_rule import predict_task
from mibias_cli.progress import Progress

__all__ = ["MAX_FIT_ROWS", "MIN_ROWS", "audit"]

MIN_ROWS = 10
"""Least number of samples with a known attribute in each of the fitting and the scored part."""
MAX_FIT_ROWS = 10_000
"""Probes are fitted on at most so many rows: beyond it they gain little and take long."""
N_THREADS = 1  # many small fits: threads cost more than they give, and results must not vary with the machine


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
    labels = np.concatenate([inputs.audit_y[:, None], *(_labels(a) for a in inputs.attributes)], axis=1)
    fit, score = fit_and_score_rows(labels, fit_fraction=settings.fit_fraction, group=inputs.group, seed=seed)
    with threadpool_limits(limits=N_THREADS):
        attributes = {
            attribute.name: _audit_attribute(attribute, inputs, settings, fit, score, seed, progress)
            for attribute in inputs.attributes
        }
        progress.stage("auditing the task")
        before, after = _audit_task(inputs, settings, seed)
        similarity = compare_features(None if inputs.before is None else inputs.before.audit, inputs.after.audit)
    return AuditResult(
        n_train=len(inputs.train_y),
        n_audit=len(inputs.audit_y),
        n_fit=len(fit),
        n_score=len(score),
        attributes=attributes,
        task_before=before,
        task_after=after,
        similarity=similarity,
        settings=settings,
        seed=seed,
    )


def _labels(attribute: AuditedAttribute) -> np.ndarray:
    return np.where(attribute.known[:, None], attribute.c, -1)


def _extractors(inputs: AuditInput) -> Iterator[tuple[str, Features]]:
    if inputs.before is not None:
        yield "the original extractor", inputs.before
    yield "the audited extractor", inputs.after
    for name, (before, after) in inputs.others.items():
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
        for channel, c in zip(attribute.channels, attribute.c.T, strict=True):
            classes = np.unique(c[attribute.known])
            if len(classes) < 2:
                seen = "no class at all" if len(classes) == 0 else "one class only"
                raise EvaluationError(
                    f"attribute '{attribute.name}', channel '{channel}': the audited split holds {seen}, so nothing "
                    "can leak there; audit a split in which it varies, or leave the attribute out"
                )


def _parts(
    attribute: AuditedAttribute, inputs: AuditInput, fit: np.ndarray, score: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both parts where the attribute is known, the fitting part thinned to MAX_FIT_ROWS."""
    fit, score = fit[attribute.known[fit]], score[attribute.known[score]]
    for part, rows in (("fitted", fit), ("scored", score)):
        if len(rows) < MIN_ROWS:
            grouped = " (no group may span both parts)" if inputs.group is not None else ""
            raise EvaluationError(
                f"attribute '{attribute.name}': probes would be {part} on {len(rows)} samples{grouped}, "
                f"{MIN_ROWS} are needed; audit a larger split or change evaluation.fit_fraction"
            )
    if len(fit) > MAX_FIT_ROWS:
        keep = np.random.default_rng([seed, 4]).permutation(len(fit))[:MAX_FIT_ROWS]
        fit = fit[np.sort(keep)]
    return fit, score


def _audit_attribute(
    attribute: AuditedAttribute,
    inputs: AuditInput,
    settings: AuditSettings,
    fit: np.ndarray,
    score: np.ndarray,
    seed: int,
    progress: Progress,
) -> AttributeFindings:
    fit, score = _parts(attribute, inputs, fit, score, seed)
    group = inputs.group
    tasks = [_channel_task(attribute, k, inputs, fit, score, seed) for k in range(len(attribute.channels))]
    resamples = Resamples(len(score), settings.n_bootstrap, group=None if group is None else group[score], seed=seed)
    representations = {"": (inputs.before, inputs.after), **inputs.others}
    n_measured = sum(1 + (before is not None) for before, _ in representations.values())
    progress.stage(f"auditing {attribute.name}")
    progress.begin(f"probes of {attribute.name}", n_measured * len(tasks) * 2 * len(settings.probes))
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress.advance(done)

    def run(features: Features | None) -> Measured | None:
        if features is None:
            return None
        z = np.asarray(features.audit, dtype=np.float64)
        return headline(
            {
                task.channel: measure(
                    task, z[fit], z[score], probes=settings.probes, resamples=resamples,
                    confidence=settings.confidence, seed=seed, advance=advance,
                )
                for task in tasks
            }
        )  # fmt: skip

    measured = {name: (run(before), run(after)) for name, (before, after) in representations.items()}
    progress.end()
    return _findings(attribute, inputs, settings, measured)


def _channel_task(
    attribute: AuditedAttribute, k: int, inputs: AuditInput, fit: np.ndarray, score: np.ndarray, seed: int
) -> ChannelTask:
    c = attribute.c[:, k]
    labels = np.stack([c[fit], inputs.audit_y[fit]], axis=1)
    folds = inner_folds(labels, group=None if inputs.group is None else inputs.group[fit], seed=seed)
    return make_channel_task(
        attribute.channels[k], c, inputs.audit_y, fit, score, folds,
        n_classes=len(attribute.class_names[k]), n_y=len(inputs.class_names),
    )  # fmt: skip


def _findings(
    attribute: AuditedAttribute,
    inputs: AuditInput,
    settings: AuditSettings,
    measured: dict[str, tuple[Measured | None, Measured | None]],
) -> AttributeFindings:
    known = attribute.known
    entropy, target = {}, {}
    for channel, names, c in zip(attribute.channels, attribute.class_names, attribute.c.T, strict=True):
        entropy[channel] = label_entropy_bits(c[known], len(names))
        target[channel] = mutual_information_bits(inputs.audit_y[known], c[known], len(inputs.class_names), len(names))
    before, after = measured.pop("")
    assert after is not None
    change = None
    if before is not None:
        leakage, conditional = paired_change(before, after, settings.confidence)
        change = Change(leakage_bits=leakage, conditional_leakage_bits=conditional)
    top = after.findings.headline_channel
    return AttributeFindings(
        entropy_bits=entropy[top],
        target_attribute_bits=target[top],
        channel_entropy_bits=entropy,
        channel_target_attribute_bits=target,
        n_known=int(known.sum()),
        before=None if before is None else before.findings,
        after=after.findings,
        change=change,
        others={
            name: (None if b is None else b.findings, a.findings) for name, (b, a) in measured.items() if a is not None
        },
    )


def _audit_task(inputs: AuditInput, settings: AuditSettings, seed: int) -> tuple[TaskFindings | None, TaskFindings]:
    resamples = Resamples(len(inputs.audit_y), settings.n_bootstrap, group=inputs.group, seed=seed)

    def run(features: Features, head_predicted: np.ndarray | None) -> TaskFindings:
        return task_findings(
            predict_task(features, inputs.train_y), inputs.audit_y, inputs.attributes,
            class_names=inputs.class_names, head_predicted=head_predicted, resamples=resamples,
            min_cell=settings.min_cell, confidence=settings.confidence,
        )  # fmt: skip

    before = None if inputs.before is None else run(inputs.before, inputs.head_before)
    return before, run(inputs.after, inputs.head_after)
