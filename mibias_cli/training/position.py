"""Where a stage stands between epochs: which weights are the best so far, and whether features have collapsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mibias_cli.backbone.spectrum import has_collapsed
from mibias_cli.data.target import Target
from mibias_cli.training.settings import SelectSettings

__all__ = ["Position"]

_CHANCE_MARGIN = 0.05  # of the way from chance to a perfect score


@dataclass
class Position:
    """Everything that a checkpoint stores beside tensors; the field names are those of the file."""

    epoch: int = 0
    step_in_epoch: int = 0
    best: float | None = None
    stale_epochs: int = 0
    finished: bool = False
    largest_rank: float = 0.0
    most_told: float = 0.0
    collapse_named: bool = False
    kept_score: float | None = None

    def improves(self, figures: Mapping[str, float], select: SelectSettings) -> bool:
        """Whether the weights of the epoch that was validated are to be kept; counts stale epochs, ends by patience."""
        if select.metric is None:
            return True
        value = figures[select.metric]
        better = self.best is None or (value > self.best if select.mode == "max" else value < self.best)
        if better:
            self.best, self.stale_epochs = value, 0
        else:
            self.stale_epochs += 1
            self.finished = select.patience is not None and self.stale_epochs >= select.patience
        return better

    def collapse(self, figures: Mapping[str, float], target: Target) -> str | None:
        """The warning that features have collapsed, by the audit's rule; None before that and after the first warning.

        The reference is the best of the stage so far: its largest effective rank and its best task metric. The first
        epoch has none, nor have targets of two or three classes, whose features end near one or two directions.
        """
        rank = figures.get("validation/effective_rank")
        if rank is None:
            return None
        n_classes = _n_classes(target)
        # untrained features often use more directions than so small a target needs: that fall is no collapse
        before = None if 0 < n_classes <= 3 else self.largest_rank or None
        score = _beyond_chance(figures, target)
        self.largest_rank, self.most_told = max(self.largest_rank, rank), max(self.most_told, score)
        kept = (self.most_told, score)
        if self.collapse_named or not has_collapsed(rank, before, n_classes=n_classes, kept=kept):
            return None
        self.collapse_named = True
        return (
            f"features use {rank:.1f} directions (effective rank), {self.largest_rank:.1f} at most before: "
            "they have collapsed. Lower debias.weight, or lengthen debias.warmup_epochs"
        )

    def keep(self, figures: Mapping[str, float], target: Target) -> None:
        """Note how far beyond chance the weights that are kept predict the target, where there is such a figure."""
        known = any(f"validation/{name}" in figures for name in ("balanced_accuracy", "r2"))
        self.kept_score = _beyond_chance(figures, target) if known else None

    def at_chance(self, target: Target, *, penalised: bool) -> str | None:
        """The warning that the weights that were kept tell no more of the target than chance, or None."""
        chance = 0.0 if target.kind == "regression" else 1 / _n_outcomes(target)
        if self.kept_score is None or not self.kept_score < _CHANCE_MARGIN * (1 - chance):
            return None
        figure = "R²" if target.kind == "regression" else "balanced accuracy"
        return (
            f"the task head ended at chance: its {figure} on validation rows is {self.kept_score + chance:.3f}, chance "
            f"is {chance:.3f}. Lower {'debias.weight or ' if penalised else ''}training.learning_rate, or train longer"
        )


def _n_classes(target: Target) -> int:
    """Classes as `has_collapsed` counts them: one more than the directions that the target needs."""
    if target.kind == "regression":
        return len(target.columns) + 1
    return 0 if target.kind == "none" else len(target.class_names)


def _beyond_chance(figures: Mapping[str, float], target: Target) -> float:
    """Balanced accuracy beyond chance, or R²; 0 without a target."""
    accuracy = figures.get("validation/balanced_accuracy")
    return figures.get("validation/r2", 0.0) if accuracy is None else accuracy - 1 / _n_outcomes(target)


def _n_outcomes(target: Target) -> int:
    """What there is to guess from."""
    # each label is a task of two classes, whatever the number of strata
    return 2 if target.kind == "multilabel" else len(target.class_names)
