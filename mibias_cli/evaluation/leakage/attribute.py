"""One attribute (or column) on one split, made ready once and then put to any number of representations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput
from mibias_cli.evaluation.leakage.channel import ChannelTask, make_channel_task
from mibias_cli.evaluation.leakage.evidence import Evidence
from mibias_cli.evaluation.leakage.jobs import probe_work
from mibias_cli.evaluation.leakage.measure import Answer, Measured, Terms, answered, asks
from mibias_cli.evaluation.leakage.rare import pool_rare, pooled_names
from mibias_cli.evaluation.leakage.scoring import Ask, Scored, families, fit_and_score
from mibias_cli.evaluation.leakage_findings import ColumnFindings, Finding, Interval, LayerFindings, QuestionName
from mibias_cli.evaluation.statistics.information import label_entropy_bits
from mibias_cli.evaluation.statistics.partition import Fold, fit_and_score_rows, inner_folds
from mibias_cli.evaluation.statistics.resampling import Resamples

__all__ = [
    "MAX_FIT_ROWS", "MIN_ROWS", "Prepared", "channel_task", "check_varies", "fit_and_score_parts", "known_parts",
    "prepare",
]  # fmt: skip

MIN_ROWS = 10
"""Least number of samples with a known attribute in each of the fitting and the scored part."""
MAX_FIT_ROWS = 10_000
"""Probes are fitted on at most so many rows: beyond it they gain little and take long."""


def check_varies(attribute: AuditedAttribute, kind: str) -> None:
    """Raise where a channel holds fewer than two classes; `kind` is what the error calls it, attribute or column."""
    for channel, c in zip(attribute.channels, attribute.c.T, strict=True):
        classes = np.unique(c[attribute.known])
        if len(classes) < 2:
            seen = "no class at all" if len(classes) == 0 else "one class only"
            raise EvaluationError(
                f"{kind} '{attribute.name}', channel '{channel}': the audited split holds {seen}, so nothing "
                f"can leak there; audit a split in which it varies, or leave the {kind} out"
            )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An attribute with its parts, folds, baselines and resamples: the same for every representation."""

    attribute: AuditedAttribute
    settings: AuditSettings
    fit: np.ndarray
    score: np.ndarray
    tasks: tuple[ChannelTask, ...]
    resamples: Resamples
    seed: int
    conditional: bool = True

    def probes(self, evidence: Evidence) -> tuple[str, ...]:
        """The families to which every question is put."""
        return families(evidence.probes(self.settings.probes), self.attribute.kind)

    def n_probes(self, evidence: Evidence) -> int:
        """How many probes answer one question about all channels."""
        return len(self.tasks) * len(self.probes(evidence))

    @property
    def questions(self) -> tuple[QuestionName, ...]:
        """All that `measure` asks: given the target too, where there is one."""
        return ("marginal", "conditional") if self.conditional else ("marginal",)

    def work(self, evidence: Evidence) -> int:
        """What one question about all channels takes, in the unit of `ENOUGH`."""
        n_classes = sum(task.n_classes for task in self.tasks)
        return probe_work(
            n_probes=len(self.probes(evidence)), n_classes=n_classes, n_rows=len(self.fit),
            n_features=evidence.z.shape[1],
        )  # fmt: skip

    def asks(self, evidence: Evidence, kinds: Sequence[QuestionName]) -> Iterator[Ask]:
        """What is to be asked of the audited samples; `measure…` take the answers in this order."""
        terms = self._terms(evidence)
        views = evidence.views(self.fit, self.score, terms.probes, seed=self.seed)
        for task in self.tasks:
            # channels that hold the same labels are asked about once
            if self._twin(task) is task:
                for kind in kinds:
                    yield from asks(task, task.question(kind), views, terms)

    def measure(self, evidence: Evidence, found: Iterator[Scored], advance: Callable[[], None]) -> dict[str, Measured]:
        """By channel, leakage by the answers to all `questions`."""
        answers = self._answers(evidence, found, self.questions, advance)
        return {
            task.channel: Measured(
                marginal=answers[task.channel]["marginal"], conditional=answers[task.channel].get("conditional"),
                chance_accuracy=task.chance_accuracy,
            )
            for task in self.tasks
        }  # fmt: skip

    def measure_layer(self, evidence: Evidence, found: Iterator[Scored], advance: Callable[[], None]) -> LayerFindings:
        """Marginal leakage alone, of the leakiest channel."""
        top = self._leakiest(evidence, found, "marginal", advance)
        return LayerFindings(
            leakage_bits=top.leakage_bits, headline_probe=top.headline_probe, headline_channel=top.headline_channel,
            n_features=evidence.z.shape[1], null=top.null, p_value=top.p_value,
        )  # fmt: skip

    def measure_column(
        self, evidence: Evidence, found: Iterator[Scored], advance: Callable[[], None]
    ) -> ColumnFindings:
        """What the features tell of a column of one channel."""
        finding = self._leakiest(evidence, found, "marginal", advance)
        top, task = finding.probes[finding.headline_probe], self.tasks[0]
        entropy = label_entropy_bits(np.concatenate([task.c_fit, task.c_score]), task.n_classes)
        return ColumnFindings(
            information_bits=finding.leakage_bits, headline_probe=finding.headline_probe, probes=finding.probes,
            accuracy=top.accuracy, r2=top.r2, chance_accuracy=task.chance_accuracy, entropy_bits=entropy,
            pooled=channel_pooled(self.attribute, 0),
        )  # fmt: skip

    def measure_given_target(self, z: np.ndarray) -> Interval:
        """Leakage given the target alone, of the leakiest channel: that half of what `measure` finds."""
        evidence = Evidence(z=z)
        found = map(fit_and_score, self.asks(evidence, ("conditional",)))
        return self._leakiest(evidence, found, "conditional", lambda: None).leakage_bits

    def _terms(self, evidence: Evidence, advance: Callable[[], None] = lambda: None) -> Terms:
        return Terms(
            probes=self.probes(evidence), resamples=self.resamples, confidence=self.settings.confidence, seed=self.seed,
            advance=advance,
        )  # fmt: skip

    def _twin(self, task: ChannelTask) -> ChannelTask:
        """The first channel that holds the same labels, maybe this one."""
        return next(other for other in self.tasks if task.equals(other))

    def _answers(
        self, evidence: Evidence, found: Iterator[Scored], kinds: Sequence[QuestionName], advance: Callable[[], None]
    ) -> dict[str, dict[QuestionName, Answer]]:
        """By channel and kind of question."""
        terms, answers = self._terms(evidence, advance), dict[str, dict[QuestionName, Answer]]()
        for task in self.tasks:
            twin = self._twin(task)
            if twin is task:
                answers[task.channel] = {kind: answered(task, task.question(kind), terms, found) for kind in kinds}
                continue
            answers[task.channel] = {k: a.renamed(task.channel) for k, a in answers[twin.channel].items()}
            for _ in range(len(kinds) * len(terms.probes)):
                advance()
        return answers

    def _leakiest(
        self, evidence: Evidence, found: Iterator[Scored], kind: QuestionName, advance: Callable[[], None]
    ) -> Finding:
        """One question put to every channel; the leakiest channel's answer, by what was found in the fitting part."""
        answers = self._answers(evidence, found, (kind,), advance).values()
        return max((told[kind].finding for told in answers), key=lambda finding: finding.selection_bits)


def fit_and_score_parts(inputs: AuditInput, settings: AuditSettings, seed: int) -> Fold:
    """Rows that probes are fitted on and rows that they are scored on, alike in target and attributes."""
    # both parts are alike in the target and in every attribute; unknown is a value of its own here
    labels = [np.where(a.known[:, None], a.c, -1) for a in inputs.attributes]
    cells = np.concatenate([inputs.audit_y[:, None], *labels], axis=1)
    return fit_and_score_rows(cells, fit_fraction=settings.fit_fraction, group=inputs.group, seed=seed)


def prepare(
    attribute: AuditedAttribute, inputs: AuditInput, settings: AuditSettings, parts: Fold, *, seed: int
) -> Prepared:
    """Make an attribute ready on its known rows; EvaluationError where a part has fewer than `MIN_ROWS` of them."""
    fit, score = known_parts(attribute, inputs, parts, seed)
    group = inputs.group
    tasks = tuple(
        channel_task(k, attribute, inputs, (fit, score), n_permutations=settings.n_permutations, seed=seed)
        for k in range(len(attribute.channels))
    )
    # drawn once: before, after and every layer see the same resamples, which makes differences paired
    resamples = Resamples(len(score), settings.n_bootstrap, group=None if group is None else group[score], seed=seed)
    return Prepared(
        attribute=attribute, settings=settings, fit=fit, score=score, tasks=tasks, resamples=resamples,
        seed=seed, conditional=not inputs.without_target,
    )  # fmt: skip


def channel_pooled(attribute: AuditedAttribute, k: int) -> tuple[str, ...]:
    """Names of the classes of the attribute's channel k that `channel_task` joins with others."""
    if attribute.kind != "categorical":
        return ()
    return pooled_names(attribute.c[:, k], attribute.known, attribute.class_names[k])


def channel_task(
    k: int, attribute: AuditedAttribute, inputs: AuditInput, parts: Fold, *, n_permutations: int, seed: int
) -> ChannelTask:
    """The attribute's channel k, with probes to be fitted and scored on these rows of the audited samples."""
    fit, score = parts
    c, y, group = attribute.c[:, k], inputs.audit_y, inputs.group
    # bins of numbers are alike in size, and hold the order of what they are bins of
    if attribute.kind == "categorical":
        c = pool_rare(c, attribute.known)
    # folds inside the fitting part: probes are tuned, calibrated and chosen there alone
    folds = inner_folds(np.stack([c[fit], y[fit]], axis=1), group=None if group is None else group[fit], seed=seed)
    return make_channel_task(
        attribute.channels[k], c, y, fit, score, folds, n_classes=len(attribute.class_names[k]),
        n_y=len(inputs.class_names), values=None if attribute.values is None else attribute.values[:, k],
        group=group, n_permutations=n_permutations, seed=seed, unpooled=attribute.c[:, k],
    )  # fmt: skip


def known_parts(attribute: AuditedAttribute, inputs: AuditInput, parts: Fold, seed: int) -> Fold:
    """The rows of both parts where the attribute is known, the fitting part thinned to MAX_FIT_ROWS.

    Raises:
        EvaluationError: A part has fewer than `MIN_ROWS` of them.
    """
    fit, score = (rows[attribute.known[rows]] for rows in parts)
    for part, rows in (("fitted", fit), ("scored", score)):
        if len(rows) < MIN_ROWS:
            grouped = " (no group may span both parts)" if inputs.group is not None else ""
            raise EvaluationError(
                f"attribute '{attribute.name}': probes would be {part} on {len(rows)} samples{grouped}, "
                f"{MIN_ROWS} are needed; audit a larger split or change evaluation.fit_fraction"
            )
    if len(fit) > MAX_FIT_ROWS:
        # a random part, not the first rows: files are often sorted
        keep = np.random.default_rng([seed, 4]).permutation(len(fit))[:MAX_FIT_ROWS]
        fit = fit[np.sort(keep)]
    return fit, score
