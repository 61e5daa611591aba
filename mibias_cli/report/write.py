"""Writing a report into a folder, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from mibias_cli.errors import RunError
from mibias_cli.report.html import render_html
from mibias_cli.report.leakage_report import LeakageReport
from mibias_cli.report.markdown import render_markdown

__all__ = ["FILES", "write_report"]

FILES = {"json": "leakage.json", "html": "leakage.html", "markdown": "leakage.md"}


def write_report(folder: Path, report: LeakageReport, *, overwrite: bool = False) -> dict[str, Path]:
    """Write leakage.json, leakage.html and leakage.md.

    Each file appears whole or not at all, and all are rendered before the first is written.

    Args:
        folder: Made if it does not exist.
        report: The report.
        overwrite: Whether a report that is there may be replaced.

    Returns:
        Paths by kind: json, html, markdown.

    Raises:
        RunError: The folder holds a report already, or cannot be written.
    """
    folder = Path(folder)
    paths = {kind: folder / name for kind, name in FILES.items()}
    there = [path.name for path in paths.values() if path.exists()]
    if there and not overwrite:
        raise RunError(
            f"{folder}: holds a report already ({', '.join(there)}); write to another folder or allow overwriting"
        )
    data = report.to_dict()
    texts = {
        "html": render_html(data),
        "markdown": render_markdown(data),
        # last, because who waits for the report waits for this file
        "json": json.dumps(data, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, text in texts.items():
            _write_atomically(paths[kind], text)
    except OSError as error:
        raise RunError(
            f"{folder}: the report cannot be written: {error.strerror or error}; choose another folder"
        ) from error
    return paths


def _write_atomically(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes it private, a report is to be read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
