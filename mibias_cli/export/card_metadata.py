"""The model card's front matter: what the hub reads of an export, with its evaluation results."""

from __future__ import annotations

import math
from collections.abc import Iterator

from huggingface_hub import EvalResult, ModelCardData

from mibias_cli.evaluation.task_findings import Accuracies, RegressionFindings
from mibias_cli.export.heads_file import ExportInfo
from mibias_cli.report.document import Report
from mibias_cli.report.tables import LABELS
from mibias_cli.report.task.score import REFITTED

__all__ = ["evaluation_results", "front_matter"]

_UNKNOWN = "unknown"
"""The hub's word where there is no licence."""


def front_matter(info: ExportInfo, report: Report | None) -> str:
    """YAML between two lines of dashes; what users named is quoted by the library that reads it."""
    is_timm, is_image = info.kind == "timm", len(info.input_shape) == 3
    results = [] if report is None else list(evaluation_results(info, report))
    data = ModelCardData(
        license=info.licence or _UNKNOWN,
        library_name="timm" if is_timm else "mibias",
        pipeline_tag="image-feature-extraction" if is_image else None,
        tags=[*(["timm", "image-feature-extraction"] if is_timm else ["feature-extraction"]), "mibias", "debiasing"],
        model_name=info.name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def evaluation_results(info: ExportInfo, report: Report) -> Iterator[EvalResult]:
    """What the hub lists beside the model: task figures, then the leakage of each attribute, of the side `after`."""
    sort = "image" if len(info.input_shape) == 3 else "tabular"
    task = f"{sort}-regression" if info.target_kind == "regression" else f"{sort}-classification"
    features = "image-feature-extraction" if sort == "image" else "feature-extraction"
    found = [(task, *figure) for figure in _task_figures(report)]
    found += [(features, "mutual_information", *figure) for figure in _leakage_figures(report)]
    # the hub has no name for a user's data: how many samples, and which
    known = report.data_sha256
    data = f"{report.samples.audit:,} held-out samples{f', sha256 {known[:12]}' if isinstance(known, str) else ''}"
    for task_type, metric, name, value in found:
        if value is not None and math.isfinite(value):
            yield EvalResult(
                task_type=task_type,
                dataset_type="custom",
                dataset_name=data,
                metric_type=metric,
                metric_name=name,
                metric_value=value,
            )


def _task_figures(report: Report) -> Iterator[tuple[str, str, float | None]]:
    """The metric's id on the hub, its name, and its value: of the trained head, if there is one, and the refitted."""
    if report.head is None:
        yield from _figures_of(report.task.after, "")
        return
    yield from _figures_of(report.head.task.after, " (trained head)")
    yield from _figures_of(report.task.after, f" ({REFITTED})")


def _figures_of(task: Accuracies | RegressionFindings | None, whose: str) -> Iterator[tuple[str, str, float | None]]:
    if isinstance(task, RegressionFindings):
        yield "r_squared", f"R²{whose}", task.r2.estimate
        unit = ", in standard deviations" if task.in_deviations else ""
        yield "mae", f"Mean absolute error{unit}{whose}", task.mae.estimate
    elif task is not None:
        yield "accuracy", f"Accuracy{whose}", task.accuracy.estimate
        yield "accuracy", f"Balanced accuracy{whose}", task.balanced_accuracy
        yield "accuracy", f"Accuracy in the worst group{whose}", task.worst_group_accuracy


def _leakage_figures(report: Report) -> Iterator[tuple[str, float]]:
    for name, found in report.attributes.items():
        for question, answer in found.after.questions:
            yield f"Leakage of {name}{LABELS[question]} (bits)", answer.leakage_bits.estimate
