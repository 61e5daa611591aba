"""What is said of data and weights before a run, and images that cannot be read."""

from __future__ import annotations

from mibias_cli.backbone.embed import spread_rows
from mibias_cli.data.batch import Split
from mibias_cli.data.files.images import ImageReader
from mibias_cli.data.files.tabular import first_rows
from mibias_cli.errors import DataError
from mibias_cli.progress import Progress
from mibias_cli.recipe.tables import MI
from mibias_cli.run.assemble import Parts
from mibias_cli.run.before.proxies import proxy_notes
from mibias_cli.run.before.unaudited import unaudited

__all__ = ["check_files", "tell"]

SAMPLED_FILES = 256
"""Audited images that are read before a run."""


def check_files(parts: Parts, *, everything: bool) -> None:
    """Raise a DataError that names the images that cannot be read, of all splits or of a sample of the audited one."""
    data = parts.data
    if not isinstance(data.audit.reader, ImageReader):
        return
    found = [
        fault
        for split in ((data.train, data.validation, data.audit) if everything else (data.audit,))
        for fault in _unreadable(split, len(split) if everything else SAMPLED_FILES)
    ]
    if found:
        looked = "all images" if everything else f"{min(SAMPLED_FILES, len(data.audit))} of the audited images"
        raise DataError(
            f"{len(found)} image(s) cannot be read, of {looked}: {first_rows(found)}; mend the files, take the rows "
            "out, or set data.on_bad_sample: skip"
            + ("" if everything else "; --check-files reads all images of all splits")
        )


def _unreadable(split: Split, most: int) -> list[str]:
    """What is wrong with some images of a split, spread over it."""
    faults = []
    for position in spread_rows(len(split), most):
        try:
            split.reader.read(split.rows[[position]], None)
        except DataError as error:
            faults.append(str(error).partition(" cannot be read")[0])
    return faults


def tell(parts: Parts, progress: Progress, *, weights: bool = True) -> None:
    """Say what the user should know of data and weights as they were read: weights that fit in part are a warning."""
    for note in (*parts.data.notes, *proxy_notes(parts)):
        progress.note(note)
    for warning in unaudited(parts.data):
        progress.warn(warning)
    if parts.data.target.kind == "none":
        learns = parts.recipe.method
        task = "features are to stay close to the original's" if learns == MI else f"features learn by method: {learns}"
        progress.note(
            f"no target: {task}, and samples are not balanced (debias.balance is none: its weights are made from a "
            "target)"
        )
    report = parts.backbone.load_report if weights else None
    if report is not None:
        for note in report.notes():
            progress.note(note)
        for warning in report.warnings():
            progress.warn(warning)
