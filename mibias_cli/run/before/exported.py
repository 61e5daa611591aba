"""Whether a recipe's data are read as an exported model's training data were."""

from __future__ import annotations

from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.data.input_rules import TableRules
from mibias_cli.data.table_encoder import NumberColumn, TableEncoder
from mibias_cli.errors import DataError
from mibias_cli.export.heads_file import ExportInfo
from mibias_cli.run.assemble import Parts

__all__ = ["check_inputs", "check_run_on", "head_warnings", "preprocessing_warnings"]

_MOST_APART = 0.1
"""Of a column's standard deviation, and of the ratio of two: samples of the same data differ by less."""


def check_inputs(info: ExportInfo, parts: Parts) -> list[str]:
    """Refuse inputs of other columns than the export's; a warning of those that are scaled otherwise, or none.

    Raises:
        DataError: The recipe's inputs have other names, another order or another number than the export's.
    """
    data, read = parts.data, info.inputs
    if isinstance(read, TableRules) and isinstance(data.inputs, TableRules):
        own, there = read.encoder.input_names, data.inputs.encoder.input_names
        if own != there:
            differ = [f"{k + 1}: {a!r}, not {b!r}" for k, (a, b) in enumerate(zip(own, there, strict=False)) if a != b]
            raise DataError(
                f"the export's inputs are {first_rows(own, 10)}; the recipe's are {first_rows(there, 10)} "
                f"({first_rows(differ) if differ else f'{len(own)}, not {len(there)}'}); name the export's columns in "
                "data.features, in their order, on training rows that have the same categories"
            )
        if apart := _apart(read.encoder, data.inputs.encoder):
            return [
                f"the export standardises its inputs otherwise than this recipe's training rows: {first_rows(apart)}; "
                "the audit is of inputs that `mibias predict` does not make. Audit it by training rows like its own"
            ]
    elif _kind_of_shape(info.input_shape) != _kind_of_shape(data.input_shape):
        raise DataError(
            f"the export takes inputs of shape {info.input_shape}, and the recipe's data have inputs of shape "
            f"{data.input_shape}; name data like those that it was trained on"
        )
    return []


def preprocessing_warnings(exported: Backbone, parts: Parts) -> list[str]:
    """A warning where the recipe's backbone asks for images of another size, range or cut than the exported one."""
    asked, given = dict(exported.data_config), dict(parts.backbone.data_config)
    keys = sorted(key for key in asked.keys() & given.keys() if asked[key] != given[key])
    other = [f"{key} {given[key]}, not {asked[key]}" for key in keys]
    how = f"images are read as the recipe's backbone asks, and not as the export does: {', '.join(other)}"
    return [f"{how}; name its backbone, and the input_size it was trained with, in the recipe"] if other else []


def check_run_on(info: ExportInfo, parts: Parts) -> list[str]:
    """`check_inputs` of a run on other data than its own, by its export; its heads must tell the target's classes too.

    Raises:
        DataError: Inputs or classes are not the run's.
    """
    warnings = check_inputs(info, parts)
    if info.has_head and not _tells_target(info, parts):
        raise DataError(
            f"{_told(info, parts)}. Where they are the same classes, data.values can name them alike; else evaluate "
            "the run's export, of which features alone are audited then"
        )
    return warnings


def head_warnings(info: ExportInfo, parts: Parts) -> list[str]:
    """A warning where the exported head does not give what the recipe's target asks for, and so is not audited."""
    if not info.has_head or _tells_target(info, parts):
        return []
    alike = "where they are the same classes, data.values can name them alike"
    return [f"{_told(info, parts)}: features alone are audited; {alike}"]


def _tells_target(info: ExportInfo, parts: Parts) -> bool:
    target = parts.data.target
    return info.target_kind == target.kind and info.class_names == target.output_names


def _told(info: ExportInfo, parts: Parts) -> str:
    target = parts.data.target
    return (
        f"the export's head tells {info.target_kind} ({first_rows(info.class_names)}), and the recipe's target is "
        f"{target.kind} ({first_rows(target.output_names)})"
    )


def _kind_of_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """What one input must have: numbers a row, or the channels of images, whose size may differ."""
    return len(shape), shape[0]


def _apart(own: TableEncoder, there: TableEncoder) -> list[str]:
    """Columns of numbers whose mean or scale differs by more than samples of the same data do."""
    pairs = [
        (a, b)
        for a, b in zip(own.columns, there.columns, strict=True)
        if isinstance(a, NumberColumn) and isinstance(b, NumberColumn)
    ]
    return [
        f"{a.name!r} ({a.mean:.3g} ± {a.scale:.3g} there, {b.mean:.3g} ± {b.scale:.3g} here)"
        for a, b in pairs
        if abs(a.mean - b.mean) > _MOST_APART * a.scale or abs(b.scale / a.scale - 1) > _MOST_APART
    ]
