"""Writing a report into a folder, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mibias_cli.errors import RunError
from mibias_cli.output.text import shown
from mibias_cli.output.whole_files import write_atomically
from mibias_cli.report.document import Report
from mibias_cli.report.html import render_html
from mibias_cli.report.illustrations import Illustrations
from mibias_cli.report.markdown import render_markdown
from mibias_cli.report.read import FILES

__all__ = ["refuse_others_files", "refuse_report", "write_files", "write_report"]


def write_report(
    folder: Path, report: Report, *, illustrations: Illustrations | None = None, overwrite: bool = False
) -> dict[str, Path]:
    """Write leakage.json, leakage.html and leakage.md.

    Each file appears whole or not at all, and all are rendered before the first is written.

    Returns:
        Paths by kind: json, html, markdown.

    Raises:
        RunError: The folder holds a report already, or cannot be written.
    """
    paths = {kind: folder / name for kind, name in FILES.items()}
    refuse_report(folder, overwrite=overwrite)
    # the JSON file comes last, because whoever waits for the report waits for it
    texts = {
        paths["html"]: render_html(report, illustrations),
        paths["markdown"]: render_markdown(report),
        paths["json"]: report.to_json(),
    }
    write_files(texts, "report")
    return paths


def refuse_report(folder: Path, *, overwrite: bool) -> None:
    """Raise a RunError where a folder holds a report that may not be replaced, or is no folder."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose another folder with --out")
    there = [name for name in FILES.values() if (folder / name).exists()]
    if there and not overwrite:
        raise RunError(
            f"{folder}: holds a report already ({', '.join(there)}); choose another folder with --out, or --overwrite"
        )


def refuse_others_files(paths: Iterable[Path], marker: Path, wrote: Callable[[dict[str, object]], bool]) -> None:
    """Raise a RunError where a file of these names is there that this command did not write.

    Args:
        paths: All that may be written.
        marker: The JSON file that the command writes beside them.
        wrote: Whether what it holds says that the command has written them before.
    """
    there = sorted(path.name for path in paths if path.exists())
    if not there:
        return
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not wrote(found):
        raise RunError(
            f"{marker.parent}: {', '.join(there)} would be written over, and may be your own; choose another folder "
            "with --out"
        )


def write_files(texts: Mapping[Path, str], what: str) -> None:
    """Write files of one folder, made if need be, from texts that are all ready; a RunError where that fails."""
    folder = next(iter(texts)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            # names in it may steer a browser or a terminal; JSON means the same
            write_atomically(path, shown(text))
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{folder}: the {what} cannot be written: {reason}; choose another folder") from error
