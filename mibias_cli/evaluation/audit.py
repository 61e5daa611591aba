"""The audit: leakage of every attribute, the task and fidelity, before and after, by one split and one set of draws."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

from mibias_cli.backbone.spectrum import has_collapsed
from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.check import check_rows
from mibias_cli.evaluation.fidelity import compare_features
from mibias_cli.evaluation.findings import AuditFindings, AuditSettings, Fidelity, Samples
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.evaluation.leakage.attribute import Prepared, channel_pooled, fit_and_score_parts, prepare
from mibias_cli.evaluation.leakage.evidence import Evidence, head_scores
from mibias_cli.evaluation.leakage.jobs import Fitters
from mibias_cli.evaluation.leakage.measure import Measured, headline, paired_change
from mibias_cli.evaluation.leakage.scoring import Scored, families
from mibias_cli.evaluation.leakage.sizes import size_curve
from mibias_cli.evaluation.leakage_findings import (
    SIDES,
    AttributeFindings,
    ChannelFindings,
    ColumnSides,
    LayerFindings,
    Leakage,
    QuestionName,
    Side,
    Sides,
    SizeCurve,
)
from mibias_cli.evaluation.probes.families import HEAD, get_probe
from mibias_cli.evaluation.statistics.correction import correct, enough_permutations
from mibias_cli.evaluation.statistics.information import label_entropy_bits, mutual_information_bits
from mibias_cli.evaluation.task.audit import audit_task
from mibias_cli.evaluation.task.forgetting import forgetting_findings
from mibias_cli.evaluation.task_findings import LabelFindings, RegressionFindings, TaskFindings, TaskSides
from mibias_cli.progress import Progress

__all__ = ["audit"]

SidesMeasured = dict[str, dict[str, Measured]]
"""By side (loaded, before, after, random; those there are), then by channel."""

MIN_BOOTSTRAP = 100
"""Fewest bootstrap resamples of an audit."""


def audit(
    inputs: AuditInput,
    settings: AuditSettings,
    *,
    seed: int,
    progress: Progress,
    fitters: Fitters | None = None,
    sizes_of: QuestionName | None = None,
) -> AuditFindings:
    """Audit one extractor, beside the original one where there is one; `progress` is told of every fitted probe.

    The seed is that of the split, the probes and the resamples: the same inputs and seed give the same result, whatever
    processes fit the probes (`fitters`; None: this one alone). With `sizes_of` the answers to that question (the
    marginal one without a target) have a curve of leakage by number of samples.

    Raises:
        EvaluationError: Features that are not finite, a part too small to fit or score on, an attribute of a single
            class, an unknown probe.
    """
    _check(inputs, settings)
    parts = fit_and_score_parts(inputs, settings, seed)
    n_tests = sum(len(a.channels) * len(families(settings.probes, a.kind)) for a in inputs.attributes)
    shuffles = {"n_permutations": enough_permutations(settings.n_permutations, n_tests)}

    def ready(attribute: AuditedAttribute) -> Prepared:
        return prepare(attribute, inputs, settings.model_copy(update=shuffles), parts, seed=seed)

    # many small fits: threads cost more than they give, and results must not vary with the machine
    with threadpool_limits(limits=1), fitters or Fitters(1) as fitters:
        # what does not depend on features is made once: parts, folds, baselines, resamples, shuffles
        prepared = {attribute.name: ready(attribute) for attribute in inputs.attributes}
        measured = {name: _measure(p, inputs, progress, fitters) for name, p in prepared.items()}
        attributes = _findings(prepared, inputs, measured)
        if sizes_of is not None:
            asked: QuestionName = "marginal" if inputs.without_target else sizes_of
            for name, p in prepared.items():
                curves = _sizes(p, inputs, measured[name][""], attributes[name], asked, progress, fitters)
                attributes[name] = attributes[name].model_copy(update={"sizes": curves})
        layers = _audit_layers(prepared, inputs, progress, fitters)
        columns = {column.name: _audit_column(ready(column), inputs, progress, fitters) for column in inputs.columns}
        progress.stage("auditing the task")
        # a crossing of attributes shows each one's headline channel
        channels = {name: found.after.marginal.headline_channel for name, found in attributes.items()}
        task = audit_task(inputs, settings, channels, seed=seed)
        similarity = compare_features(inputs.before, inputs.after, inputs.loaded)
    # low leakage of features that hold nothing is no success, so the audit says which it is
    ranks = similarity.effective_rank_after, similarity.effective_rank_before
    collapsed = has_collapsed(*ranks, n_classes=_n_classes(inputs), kept=_kept(task.sides))
    return AuditFindings(
        attributes=attributes,
        task=task.sides,
        similarity=similarity,
        fairness=task.fairness,
        impact=task.impact,
        head=task.head,
        intersections=task.intersections,
        fidelity=Fidelity(collapsed=collapsed, columns=columns),
        forgetting=forgetting_findings(inputs, settings, seed=seed),
        layers=layers,
        samples=Samples(train=len(inputs.train_y), audit=len(inputs.audit_y), fit=len(parts[0]), score=len(parts[1])),
        settings=settings,
        seed=seed,
    )


def _n_classes(inputs: AuditInput) -> int:
    """Of the target, as far as it says how many directions features need."""
    if inputs.without_target:
        return 0
    if inputs.target is not None and inputs.target.kind == "regression":
        return len(inputs.target.names) + 1
    return len(np.unique(inputs.audit_y))


def _kept(task: TaskSides) -> tuple[float, float] | None:
    """Balanced accuracy beyond chance, or R², before and after."""
    if task.before is None or task.after is None:
        return None
    return _beyond_chance(task.before), _beyond_chance(task.after)


def _beyond_chance(task: TaskFindings | LabelFindings | RegressionFindings) -> float:
    if isinstance(task, RegressionFindings):
        return task.r2.estimate
    n_classes = 2 if task.kind == "multilabel" else len({row.y for row in task.groups if row.n})
    return task.balanced_accuracy - 1 / max(n_classes, 1)


def _extractors(inputs: AuditInput) -> Iterator[tuple[str, Features]]:
    names = {"loaded": "the loaded extractor", "before": "the original extractor", "after": "the audited extractor"}
    for side, features in inputs.sides.items():
        yield names[side], features
    if inputs.random is not None:
        yield "the randomly initialised extractor", inputs.random
    for name, (before, after) in (inputs.others | inputs.layers).items():
        if before is not None:
            yield f"'{name}' of the original extractor", before
        yield f"'{name}' of the audited extractor", after


def _check(inputs: AuditInput, settings: AuditSettings) -> None:
    for probe in settings.probes:
        get_probe(probe)
    if set(settings.probes) <= {HEAD}:
        raise EvaluationError("probes: none of them reads features; name at least one beside 'head'")
    # the ends of a 95 % interval are quantiles of 2.5 %: of fewer draws they are noise
    if settings.n_bootstrap < MIN_BOOTSTRAP:
        raise EvaluationError(
            f"n_bootstrap: {settings.n_bootstrap} resamples give no interval that holds; {MIN_BOOTSTRAP} are needed"
        )
    for name, features in _extractors(inputs):
        for part, z in (("training", features.train), ("audited", features.audit)):
            bad = int((~np.isfinite(z)).any(axis=1).sum())
            if bad:
                raise EvaluationError(
                    f"{name}: {bad} of {len(z)} {part} samples have features that are NaN or infinite; training has "
                    "probably diverged: lower debias.weight or training.learning_rate"
                )
    check_rows(inputs)


@contextmanager
def _counting(progress: Progress, what: str, whose: str, n_probes: int) -> Iterator[Callable[[], None]]:
    """Tells a progress display of every fitted probe: that is what takes the time."""
    progress.stage(f"auditing {what}")
    progress.begin(f"probes of {whose}", n_probes)
    done = itertools.count(1)
    yield lambda: progress.advance(next(done))
    progress.end()


def _fitted(
    prepared: Prepared, read: Sequence[Evidence], kinds: Sequence[QuestionName], fitters: Fitters
) -> Iterator[Scored]:
    """Every probe that answers these questions about one representation after another, fitted and scored."""
    work, n_probes = (sum(map(count, read)) * len(kinds) for count in (prepared.work, prepared.n_probes))
    asks = (ask for evidence in read for ask in prepared.asks(evidence, kinds))
    return fitters.fit_all(asks, work=work, n_asks=n_probes)


def _evidence(inputs: AuditInput, side: Side) -> Evidence:
    """What probes may read of one side's extractor."""
    kind = "classes" if inputs.target is None else inputs.target.kind
    return Evidence(z=inputs.sides[side].audit, scores=head_scores(inputs.heads.get(side), kind=kind))


def _measure(prepared: Prepared, inputs: AuditInput, progress: Progress, fitters: Fitters) -> dict[str, SidesMeasured]:
    """By representation ("" is the audited one), side and channel."""
    sides: dict[str, dict[str, Evidence]] = {"": {side: _evidence(inputs, side) for side in inputs.sides}}
    if inputs.random is not None:
        sides[""]["random"] = Evidence(z=inputs.random.audit)
    for name, (before, after) in inputs.others.items():
        pair = {"before": before, "after": after}
        sides[name] = {side: Evidence(z=features.audit) for side, features in pair.items() if features is not None}
    there = {(r, s): evidence for r, pair in sides.items() for s, evidence in pair.items()}
    # features that training left as they were are measured once
    same = {place: next(p for p in there if there[p].equals(read)) for place, read in there.items()}
    distinct = [there[place] for place in there if same[place] == place]
    n_probes = sum(map(prepared.n_probes, distinct)) * len(prepared.questions)
    name, measured = prepared.attribute.name, dict[tuple[str, str], dict[str, Measured]]()
    with _counting(progress, name, name, n_probes) as advance:
        found = _fitted(prepared, distinct, prepared.questions, fitters)
        for place, read in there.items():
            # the first of a kind stands before the others
            measured[place] = prepared.measure(read, found, advance) if same[place] == place else measured[same[place]]
    return {r: {s: measured[r, s] for s in pair} for r, pair in sides.items()}


def _findings(
    prepared: dict[str, Prepared], inputs: AuditInput, measured: dict[str, dict[str, SidesMeasured]]
) -> dict[str, AttributeFindings]:
    """All attributes' findings, their tests corrected together, one representation and side at a time."""
    # one extractor's tests are one family: by representation and side, then by attribute and channel
    corrected: dict[tuple[str, str], dict[str, dict[str, Leakage]]] = {}
    for representation in ("", *inputs.others):
        for side in (*SIDES, "random"):
            found = {name: m[representation][side] for name, m in measured.items() if side in m[representation]}
            leakage = {name: {c: m.leakage for c, m in channels.items()} for name, channels in found.items()}
            corrected[representation, side] = correct(leakage)
    out = {}
    for name, p in prepared.items():
        sides, change = measured[name][""], None
        if "before" in sides:
            change = paired_change(sides["before"], sides["after"], p.settings.confidence, n_units=p.resamples.n_units)
        own = {key: by_attribute.get(name, {}) for key, by_attribute in corrected.items()}
        out[name] = _attribute_findings(p.attribute, inputs, own).model_copy(update={"change": change})
    return out


def _attribute_findings(
    attribute: AuditedAttribute, inputs: AuditInput, found: dict[tuple[str, str], dict[str, Leakage]]
) -> AttributeFindings:
    """One attribute: its headline, and where it has several channels each of them beside it.

    `found` is by representation and side, then by channel; empty where that side was not measured.
    """
    known = attribute.known
    channels = {}
    named = zip(attribute.channels, attribute.class_names, attribute.c.T, strict=True)
    for k, (channel, names, c) in enumerate(named):
        channels[channel] = ChannelFindings(
            entropy_bits=label_entropy_bits(c[known], len(names)),
            target_attribute_bits=mutual_information_bits(
                inputs.audit_y[known], c[known], len(inputs.class_names), len(names)
            ),
            before=found["", "before"].get(channel),
            after=found["", "after"][channel],
            loaded=found["", "loaded"].get(channel),
            random=found["", "random"].get(channel),
            pooled=channel_pooled(attribute, k),
        )

    def top(representation: str, side: str) -> Leakage | None:
        return headline(found[representation, side]) if found[representation, side] else None

    after = headline(found["", "after"])
    # H(c) and I(y; c) stand beside a leakage of the same channel
    shown = channels[after.marginal.headline_channel]
    return AttributeFindings(
        kind=attribute.kind,
        entropy_bits=shown.entropy_bits,
        target_attribute_bits=shown.target_attribute_bits,
        n_known=int(known.sum()),
        before=top("", "before"),
        after=after,
        loaded=top("", "loaded"),
        random=top("", "random"),
        pooled=shown.pooled,
        channels=channels if len(channels) > 1 else {},
        others={
            name: Sides[Leakage](before=top(name, "before"), after=headline(found[name, "after"]))
            for name in inputs.others
        },
    )


def _sizes(
    prepared: Prepared,
    inputs: AuditInput,
    measured: SidesMeasured,
    findings: AttributeFindings,
    asked: QuestionName,
    progress: Progress,
    fitters: Fitters,
) -> Sides[SizeCurve] | None:
    """Curves of the original and the audited extractor, where there are samples enough."""
    progress.stage(f"auditing {prepared.attribute.name} on fewer samples")
    found = {
        side: size_curve(prepared, inputs, _evidence(inputs, side), measured[side], findings, asked, fitters)
        for side in inputs.sides
        if side != "loaded"
    }
    curves: dict[Side, SizeCurve] = {side: curve for side, curve in found.items() if curve is not None}
    return Sides[SizeCurve].of(curves) if "after" in curves else None


def _audit_layers(
    prepared: dict[str, Prepared], inputs: AuditInput, progress: Progress, fitters: Fitters
) -> dict[str, dict[str, Sides[LayerFindings]]]:
    """By layer, then by attribute."""
    found: dict[str, dict[str, Sides[LayerFindings]]] = {}
    for layer, (before, after) in inputs.layers.items():
        sides: dict[Side, Features | None] = {"before": before, "after": after}
        there = {side: Evidence(z=features.audit) for side, features in sides.items() if features is not None}
        n_probes = sum(p.n_probes(read) for p in prepared.values() for read in there.values())
        with _counting(progress, f"layer {layer}", f"layer {layer}", n_probes) as advance:
            found[layer] = {}
            for name, p in prepared.items():
                scored = _fitted(p, list(there.values()), ("marginal",), fitters)
                found[layer][name] = Sides[LayerFindings].of(
                    {side: p.measure_layer(read, scored, advance) for side, read in there.items()}
                )
    return found


def _audit_column(prepared: Prepared, inputs: AuditInput, progress: Progress, fitters: Fitters) -> ColumnSides:
    name, there = prepared.attribute.name, {side: Evidence(z=features.audit) for side, features in inputs.sides.items()}
    n_probes = sum(map(prepared.n_probes, there.values()))
    with _counting(progress, f"what is kept of {name}", name, n_probes) as advance:
        scored = _fitted(prepared, list(there.values()), ("marginal",), fitters)
        found = {side: prepared.measure_column(read, scored, advance) for side, read in there.items()}
    return ColumnSides.of(found, kind=prepared.attribute.kind)
