"""One attribute (or column) on one split, made ready once and then put to any number of representations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput
from mibias_cli.evaluation.leakage.channel import ChannelTask, Question, make_channel_task
from mibias_cli.evaluation.leakage.measure import Inquiry, Measured, answer, measure
from mibias_cli.evaluation.leakage.scoring import families
from mibias_cli.evaluation.leakage_findings import ColumnFindings, Finding, Interval, LayerFindings
from mibias_cli.evaluation.statistics.information import label_entropy_bits
from mibias_cli.evaluation.statistics.partition import Fold, fit_and_score_rows, inner_folds
from mibias_cli.evaluation.statistics.resampling import Resamples

__all__ = ["MAX_FIT_ROWS", "MIN_ROWS", "Prepared", "check_varies", "fit_and_score_parts", "known_parts", "prepare"]

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

    @property
    def n_probes(self) -> int:
        """How many probes one question about all channels fits."""
        return sum(len(families(self.settings.probes, task.kind)) for task in self.tasks)

    def measure(self, z: np.ndarray, advance: Callable[[], None]) -> dict[str, Measured]:
        """By channel, leakage from features (n, d) of the audited samples; given the target too where there is one."""
        inquiry = self._inquiry(z, advance)
        return {task.channel: measure(task, inquiry, conditional=self.conditional) for task in self.tasks}

    def measure_layer(self, z: np.ndarray, advance: Callable[[], None]) -> LayerFindings:
        """Marginal leakage alone, of the leakiest channel."""
        found = self._marginal(z, advance)
        return LayerFindings(
            leakage_bits=found.leakage_bits, headline_probe=found.headline_probe,
            headline_channel=found.headline_channel, n_features=z.shape[1], null=found.null, p_value=found.p_value,
        )  # fmt: skip

    def measure_column(self, z: np.ndarray, advance: Callable[[], None]) -> ColumnFindings:
        """What the features tell of a column of one channel."""
        found = self._marginal(z, advance)
        top, task = found.probes[found.headline_probe], self.tasks[0]
        entropy = label_entropy_bits(np.concatenate([task.c_fit, task.c_score]), task.n_classes)
        return ColumnFindings(
            information_bits=found.leakage_bits, headline_probe=found.headline_probe, probes=found.probes,
            accuracy=top.accuracy, r2=top.r2, chance_accuracy=task.chance_accuracy, entropy_bits=entropy,
        )  # fmt: skip

    def measure_given_target(self, z: np.ndarray) -> Interval:
        """Leakage given the target alone, of the leakiest channel: that half of what `measure` finds."""
        given = replace(self._inquiry(z, lambda: None), seed=self.seed + 1)
        return self._leakiest([(task, task.conditional) for task in self.tasks], given).leakage_bits

    def _inquiry(self, z: np.ndarray, advance: Callable[[], None]) -> Inquiry:
        z_fit, z_score = (np.asarray(z[rows], dtype=np.float64) for rows in (self.fit, self.score))
        return Inquiry(
            z_fit=z_fit, z_score=z_score, probes=self.settings.probes, resamples=self.resamples,
            confidence=self.settings.confidence, seed=self.seed, advance=advance,
        )  # fmt: skip

    def _marginal(self, z: np.ndarray, advance: Callable[[], None]) -> Finding:
        return self._leakiest([(task, task.marginal) for task in self.tasks], self._inquiry(z, advance))

    @staticmethod
    def _leakiest(asked: Sequence[tuple[ChannelTask, Question]], inquiry: Inquiry) -> Finding:
        """One question put to every channel; the leakiest channel's answer, by what was found in the fitting part."""
        found = [answer(task, question, inquiry).finding for task, question in asked]
        return max(found, key=lambda finding: finding.selection_bits)


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
    tasks = []
    for k, channel in enumerate(attribute.channels):
        c = attribute.c[:, k]
        labels = np.stack([c[fit], inputs.audit_y[fit]], axis=1)
        # folds inside the fitting part: probes are tuned, calibrated and chosen there alone
        folds = inner_folds(labels, group=None if group is None else group[fit], seed=seed)
        tasks.append(
            make_channel_task(
                channel, c, inputs.audit_y, fit, score, folds, n_classes=len(attribute.class_names[k]),
                n_y=len(inputs.class_names), values=None if attribute.values is None else attribute.values[:, k],
                group=group, n_permutations=settings.n_permutations, seed=seed,
            )
        )  # fmt: skip
    # drawn once: before, after and every layer see the same resamples, which makes differences paired
    resamples = Resamples(len(score), settings.n_bootstrap, group=None if group is None else group[score], seed=seed)
    return Prepared(
        attribute=attribute, settings=settings, fit=fit, score=score, tasks=tuple(tasks), resamples=resamples,
        seed=seed, conditional=not inputs.without_target,
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
