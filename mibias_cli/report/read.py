"""Reading a report that was written earlier: for gates, baselines and comparisons."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

from pydantic import ValidationError

from mibias_cli.errors import RunError
from mibias_cli.output.whole_files import NO_FILE
from mibias_cli.report.document import SCHEMA_VERSION, Report
from mibias_cli.report.plausible import implausible, once_each

__all__ = ["FILES", "find_report", "read_report"]

FILES = {"json": "leakage.json", "html": "leakage.html", "markdown": "leakage.md"}
"""What a report's folder holds."""
_PARTS = ("schema_version", "attributes", "task", "similarity", "provenance")


def find_report(place: Path) -> Path:
    """The leakage.json that a path means: itself, or that of a report's folder, a run or an export; else a RunError."""
    name = FILES["json"]
    for candidate in (place, place / name, place / "report" / name):
        if candidate.is_file():
            return candidate
    what = "holds no report" if place.is_dir() else NO_FILE if place.exists() else "there is no such file or folder"
    raise RunError(f"{place}: {what}; name a run, a report's folder or its {name}")


def read_report(path: Path | str) -> Report:
    """The report in a leakage.json, or that of a run, an export or a report's folder; also an earlier mibias's.

    Raises:
        RunError: It cannot be read, is no leakage report, is of a later version, or holds what no audit writes.
    """
    path = find_report(Path(path)) if Path(path).is_dir() else Path(path)
    try:
        # editors and shells of Windows put a mark before it, or write it in UTF-16
        data = path.read_bytes()
        encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        plain = json.loads(data.decode(encoding), parse_constant=_refuse_constant, object_pairs_hook=once_each)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path}: is no JSON ({error}); put it back, or remove it and audit again (`mibias evaluate`; a run's own: "
            "`mibias train --resume RUN`)"
        ) from error
    # a later form may have other names, and then the message should be about the version, not about them
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunError(f"{path}: version {version} of the report's form; this mibias reads {SCHEMA_VERSION}")
    # figures that an older report lacks have defaults; without these parts it is another file, and a gate on it would
    # compare nothing and pass
    lacking = [name for name in _PARTS if not isinstance(plain, dict) or name not in plain]
    if lacking:
        raise RunError(
            f"{path}: is no leakage report (it has no {', '.join(lacking)}); name the leakage.json that an audit wrote"
        )
    try:
        report = Report.model_validate(plain)
    except ValidationError as error:
        # of many problems the first is enough to see that it is another file
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        # in our words: a validator's are for programmers
        why = "is unknown" if first["type"] == "extra_forbidden" else "is not what an audit writes there"
        raise RunError(
            f"{path}: is no leakage report ({place}: {why}); was it edited, or written by another version of mibias? "
            "Audit again, or name the leakage.json that an audit wrote"
        ) from error
    reason = next(implausible(plain, report.attributes), None)
    if reason is not None:
        raise RunError(f"{path}: was edited or damaged: {reason}; audit again")
    return report


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON, and no audit writes it")
